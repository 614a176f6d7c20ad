//! Views over relations: takes in micro-batches, gives results. No I/O, no clock but `now()` of the views themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;

use super::feed::{FeedTopic, MicroBatch};
use crate::kafka::AsOf;
use crate::relation::{Catalog, KafkaRelation, KeyedTable, RelationError, RelationRows, Wanted};
use crate::view::{LiveView, Rows, clock, words};

/// A view under its name.
#[derive(Debug)]
pub struct NamedView {
    /// The file's name.
    pub name: Arc<str>,
    /// The planned view, or why there is none.
    pub view: Result<LiveView, Arc<DataFusionError>>,
}

/// What one view says at one moment.
#[derive(Debug, Clone)]
pub struct ViewResult {
    /// The view's name.
    pub name: Arc<str>,
    /// The result's columns; those of the last good result where it failed.
    pub schema: SchemaRef,
    /// The rows, or why there are none.
    pub rows: Result<Vec<RecordBatch>, Arc<DataFusionError>>,
}

/// All views at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Everything below these offsets is in every result, nothing at or above.
    pub as_of: AsOf,
    /// What `now()` says in every result, in nanoseconds since 1970 UTC.
    pub now_ns: i64,
    /// One for each view, in the order in which they were given.
    pub results: Vec<ViewResult>,
}

/// The state of all views, kept together with the offsets that it stands for.
#[derive(Debug)]
pub struct Engine {
    topics: Vec<FeedTopic>,
    tables: BTreeMap<Arc<str>, Table>,
    views: Vec<NamedView>,
    as_of: AsOf,
}

/// A keyed relation's current rows, and which of its columns they have.
#[derive(Debug)]
struct Table {
    columns: Vec<usize>,
    rows: KeyedTable,
}

impl Engine {
    /// Wires views to the Kafka relations of a catalog.
    pub fn new(catalog: &Catalog, views: Vec<NamedView>) -> Result<Self, DataFusionError> {
        let mut wanted: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (relation, columns) in views.iter().filter_map(|view| view.view.as_ref().ok()).flat_map(LiveView::inputs) {
            wanted.entry(relation).or_default().extend(columns);
        }
        let mut topics: Vec<FeedTopic> = Vec::new();
        let mut tables = BTreeMap::new();
        for (name, mut columns) in wanted {
            let Some(relation) = catalog.get(&name).and_then(|relation| relation.as_kafka()) else { continue };
            columns.sort_unstable();
            columns.dedup();
            if relation.is_keyed() {
                let schema = Arc::new(relation.schema().project(&columns)?);
                tables.insert(name, Table { columns: columns.clone(), rows: KeyedTable::new(schema) });
            }
            let wanted = Wanted { relation: Arc::clone(relation), columns };
            match topics.iter_mut().find(|topic| topic.topic == *relation.topic()) {
                Some(topic) => topic.wanted.push(wanted),
                None => topics.push(FeedTopic { topic: Arc::clone(relation.topic()), wanted: vec![wanted] }),
            }
        }
        Ok(Self { topics, tables, views, as_of: AsOf::default() })
    }

    /// What must be read for the views.
    pub fn topics(&self) -> &[FeedTopic] {
        &self.topics
    }

    /// The views.
    pub fn views(&self) -> &[NamedView] {
        &self.views
    }

    /// Whether some view changes though nothing new comes.
    pub fn follows_the_clock(&self) -> bool {
        self.views.iter().any(|view| view.view.as_ref().is_ok_and(LiveView::follows_the_clock))
    }

    /// Where reading starts: an empty partition counts as read up to there.
    pub fn start_at(&mut self, topic: &Arc<str>, partition: i32, next_offset: i64) {
        self.as_of.set(topic, partition, next_offset);
    }

    /// Takes in a whole micro-batch. A view that fails keeps its error from then on; the others go on.
    pub async fn apply(&mut self, batch: MicroBatch) -> Result<(), RelationError> {
        for (topic, rows) in batch.rows {
            let Some(topic) = self.topics.get(topic) else { continue };
            for (wanted, rows) in topic.wanted.iter().zip(rows) {
                if wanted.relation.is_keyed() {
                    if let Some(table) = self.tables.get_mut(wanted.relation.name()) {
                        table.rows.absorb(rows)?;
                    }
                } else {
                    Self::feed(&mut self.views, &wanted.relation, &wanted.columns, &rows).await;
                }
            }
        }
        for (topic, partition, next_offset) in batch.next_offsets.iter() {
            self.as_of.set(topic, partition, next_offset);
        }
        Ok(())
    }

    async fn feed(views: &mut [NamedView], relation: &KafkaRelation, columns: &[usize], rows: &RelationRows) {
        if rows.batch.num_rows() == 0 {
            return;
        }
        let rows = Rows { relation: relation.name(), columns, batches: std::slice::from_ref(&rows.batch) };
        for named in views {
            if let Ok(view) = &mut named.view
                && let Err(error) = view.apply(rows).await
            {
                tracing::debug!("{}: {}", named.name, words(&error));
                named.view = Err(Arc::new(error));
            }
        }
    }

    /// Every view's result, all as of the same offsets.
    pub async fn refresh(&mut self) -> Result<Snapshot, RelationError> {
        let now_ns = clock::now_ns();
        let mut current = Vec::with_capacity(self.tables.len());
        for (name, table) in &self.tables {
            current.push((Arc::clone(name), &table.columns, table.rows.current()?));
        }
        let tables: Vec<Rows<'_>> =
            current.iter().map(|(relation, columns, batches)| Rows { relation, columns, batches }).collect();
        let mut results = Vec::with_capacity(self.views.len());
        for named in &mut self.views {
            let (schema, rows) = match &mut named.view {
                Ok(view) => (Arc::clone(view.schema()), view.evaluate(&tables, now_ns).await.map_err(Arc::new)),
                Err(error) => (SchemaRef::new(datafusion::arrow::datatypes::Schema::empty()), Err(Arc::clone(error))),
            };
            results.push(ViewResult { name: Arc::clone(&named.name), schema, rows });
        }
        Ok(Snapshot { as_of: self.as_of.clone(), now_ns, results })
    }
}
