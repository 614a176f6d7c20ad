//! Views over relations: takes in micro-batches, gives results. No I/O, no clock but `now()` of the views themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;

use super::feed::{FeedInput, FeedTopic, InputId, MicroBatch};
use tallgrass_kafka::AsOf;
use tallgrass_relation::{Catalog, KafkaRelation, KeyedTable, RelationError, Wanted};
use tallgrass_view::incremental::reducer::StateSize;
use tallgrass_view::{Description, Fingerprint, LiveView, Rows, clock, words};

/// A view under its name.
#[derive(Debug)]
pub struct NamedView {
    /// The file's name.
    pub name: Arc<str>,
    /// What the file meant when it was planned.
    pub fingerprint: Fingerprint,
    /// The planned view, or why it is none any more.
    pub view: Result<LiveView, Arc<DataFusionError>>,
    /// What it reads.
    inputs: BTreeSet<InputId>,
    cost: Cost,
}

impl NamedView {
    /// A view that has read nothing yet.
    pub fn new(
        name: impl Into<Arc<str>>,
        fingerprint: Fingerprint,
        view: Result<LiveView, Arc<DataFusionError>>,
    ) -> Self {
        Self { name: name.into(), fingerprint, view, inputs: BTreeSet::new(), cost: Cost::default() }
    }

    async fn feed(&mut self, rows: Rows<'_>, change: Change) {
        let Ok(view) = &mut self.view else { return };
        let started = Instant::now();
        let fed = match change {
            Change::Gone => view.retract(rows).await,
            Change::Came => view.apply(rows).await.map(|_| ()),
        };
        self.cost.rows += rows.batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        self.cost.reducing += started.elapsed();
        if let Err(error) = fed {
            tracing::debug!("{}: {}", self.name, words(&error));
            self.view = Err(Arc::new(error));
        }
    }

    async fn evaluate(&mut self, inputs: &[Input], now_ns: i64) -> Result<ViewResult, RelationError> {
        let Ok(view) = &mut self.view else { return Ok(self.failed()) };
        let mut current = Vec::new();
        for input in inputs.iter().filter(|input| self.inputs.contains(&input.id)) {
            let relation = input.wanted.relation.name();
            if let Some(table) = input.table.as_ref().filter(|_| view.reads_rows_of(relation)) {
                current.push((relation, input.wanted.columns.as_slice(), table.current()?));
            }
        }
        let rows = |(relation, columns, batches)| Rows { relation, columns, batches };
        let tables: Vec<Rows<'_>> = current
            .iter()
            .map(|(relation, columns, batches)| rows((*relation, *columns, batches.as_slice())))
            .collect();
        let started = Instant::now();
        let rows = view.evaluate(&tables, now_ns).await.map_err(Arc::new);
        self.cost.refresh = started.elapsed();
        self.cost.state = view.state_size();
        Ok(ViewResult {
            name: Arc::clone(&self.name),
            schema: Arc::clone(view.schema()),
            description: Some(Arc::clone(view.describe())),
            rows,
            cost: self.cost,
        })
    }

    fn failed(&self) -> ViewResult {
        let rows = match &self.view {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(Arc::clone(error)),
        };
        let schema = SchemaRef::new(datafusion::arrow::datatypes::Schema::empty());
        ViewResult { name: Arc::clone(&self.name), schema, description: None, rows, cost: self.cost }
    }
}

/// What a view has cost so far, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Rows that it was told, those that went too.
    pub rows: u64,
    /// Time spent on them.
    pub reducing: Duration,
    /// Time of the last refresh.
    pub refresh: Duration,
    /// What its reducers hold.
    pub state: StateSize,
}

/// What one view says at one moment.
#[derive(Debug, Clone)]
pub struct ViewResult {
    /// The view's name.
    pub name: Arc<str>,
    /// The result's columns; none where it failed.
    pub schema: SchemaRef,
    /// How it is kept up to date; none where it failed.
    pub description: Option<Arc<Description>>,
    /// The rows, or why there are none.
    pub rows: Result<Vec<RecordBatch>, Arc<DataFusionError>>,
    /// What it has cost.
    pub cost: Cost,
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
#[derive(Debug, Default)]
pub struct Engine {
    inputs: Vec<Input>,
    views: Vec<NamedView>,
    as_of: AsOf,
}

/// A relation that views read, with the columns that any of them wants.
#[derive(Debug)]
struct Input {
    id: InputId,
    wanted: Wanted,
    /// The current rows of a keyed relation.
    table: Option<KeyedTable>,
}

/// What became of rows.
#[derive(Debug, Clone, Copy)]
enum Change {
    Gone,
    Came,
}

impl Engine {
    /// Wires views to the Kafka relations of a catalog.
    pub fn new(catalog: &Catalog, views: Vec<NamedView>) -> Result<Self, DataFusionError> {
        Self::beside(&[], catalog, views)
    }

    /// The same for views that shall join those of a running engine, whose inputs these are: what both read alike is one
    /// input, so that one feed can serve both.
    pub fn beside(
        running: &[FeedInput],
        catalog: &Catalog,
        mut views: Vec<NamedView>,
    ) -> Result<Self, DataFusionError> {
        let mut inputs: Vec<Input> = Vec::new();
        for relation in catalog.kafka_relations() {
            let mut columns = BTreeSet::new();
            let mut readers = Vec::new();
            for named in &mut views {
                let reads = named.view.as_ref().map(LiveView::inputs).unwrap_or_default();
                let reads: Vec<_> = reads.into_iter().filter(|(name, _)| **name == *relation.name()).collect();
                if !reads.is_empty() {
                    columns.extend(reads.into_iter().flat_map(|(_, columns)| columns));
                    readers.push(named);
                }
            }
            if readers.is_empty() {
                continue;
            }
            let FeedInput { id, wanted } = Self::input(running, relation, columns);
            for reader in readers {
                reader.inputs.insert(id);
            }
            let table = if relation.is_keyed() {
                Some(KeyedTable::new(Arc::new(relation.schema().project(&wanted.columns)?)))
            } else {
                None
            };
            inputs.push(Input { id, wanted, table });
        }
        Ok(Self { inputs, views, as_of: AsOf::default() })
    }

    /// The running input that has all these columns of the relation (a stream's can have more from now on), or a new one.
    fn input(running: &[FeedInput], relation: &Arc<KafkaRelation>, columns: BTreeSet<usize>) -> FeedInput {
        let same = running.iter().filter(|input| input.wanted.relation.same_declaration(relation));
        for input in same {
            let has = |column: &usize| input.wanted.columns.binary_search(column).is_ok();
            if relation.is_keyed() {
                if columns.iter().all(has) {
                    return input.clone();
                }
            } else {
                let union: BTreeSet<usize> = input.wanted.columns.iter().copied().chain(columns).collect();
                let relation = Arc::clone(&input.wanted.relation);
                return FeedInput { id: input.id, wanted: Wanted { relation, columns: union.into_iter().collect() } };
            }
        }
        let wanted = Wanted { relation: Arc::clone(relation), columns: columns.into_iter().collect() };
        FeedInput { id: InputId::next(), wanted }
    }

    /// What it must be told: the relations, each with the wanted columns, ascending.
    pub fn inputs(&self) -> Vec<FeedInput> {
        self.inputs.iter().map(|input| FeedInput { id: input.id, wanted: input.wanted.clone() }).collect()
    }

    /// What must be read for the views.
    pub fn topics(&self) -> Vec<FeedTopic> {
        topics(self.inputs())
    }

    /// The views.
    pub fn views(&self) -> &[NamedView] {
        &self.views
    }

    /// Everything below these offsets has been taken in.
    pub fn as_of(&self) -> &AsOf {
        &self.as_of
    }

    /// Whether some view changes though nothing new comes.
    pub fn follows_the_clock(&self) -> bool {
        self.views.iter().any(|view| view.view.as_ref().is_ok_and(LiveView::follows_the_clock))
    }

    /// Where reading starts: an empty partition counts as read up to there.
    pub fn start_at(&mut self, topic: &Arc<str>, partition: i32, next_offset: i64) {
        if self.reads(topic) {
            self.as_of.set(topic, partition, next_offset);
        }
    }

    /// Whether some view reads this topic.
    pub fn reads(&self, topic: &str) -> bool {
        self.inputs.iter().any(|input| **input.wanted.relation.topic() == *topic)
    }

    /// Takes in a whole micro-batch. A view that fails keeps its error from then on; the others go on.
    pub async fn apply(&mut self, batch: MicroBatch) -> Result<(), RelationError> {
        for (id, rows) in batch.rows {
            let Some(input) = self.inputs.iter_mut().find(|input| input.id == id) else { continue };
            let relation = Arc::clone(&input.wanted.relation);
            let told = |view: &NamedView| {
                let changes = |view: &LiveView| view.reads_changes_of(relation.name());
                view.inputs.contains(&id) && view.view.as_ref().is_ok_and(changes)
            };
            let mut changes = Vec::with_capacity(2);
            match &mut input.table {
                Some(table) if self.views.iter().any(told) => {
                    let (gone, came) = table.apply(rows)?.gone_and_came();
                    changes.extend([(Change::Gone, gone), (Change::Came, came)]);
                }
                Some(table) => table.absorb(rows)?,
                None => changes.push((Change::Came, rows.batch)),
            }
            for (change, batch) in changes.iter().filter(|(_, batch)| batch.num_rows() > 0) {
                let columns = input.wanted.columns.as_slice();
                let rows = Rows { relation: relation.name(), columns, batches: std::slice::from_ref(batch) };
                for view in self.views.iter_mut().filter(|view| told(view)) {
                    view.feed(rows, *change).await;
                }
            }
        }
        for (topic, partition, next_offset) in batch.next_offsets.iter() {
            self.start_at(topic, partition, next_offset);
        }
        Ok(())
    }

    /// Every view's result, all as of the same offsets.
    pub async fn refresh(&mut self) -> Result<Snapshot, RelationError> {
        self.refresh_some(|_| true).await
    }

    /// The same for some of the views, by name.
    pub async fn refresh_some(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Snapshot, RelationError> {
        let now_ns = clock::now_ns();
        let mut results = Vec::with_capacity(self.views.len());
        for view in self.views.iter_mut().filter(|view| wanted(&view.name)) {
            results.push(view.evaluate(&self.inputs, now_ns).await?);
        }
        Ok(Snapshot { as_of: self.as_of.clone(), now_ns, results })
    }

    /// Lets the views of another engine take the places of those with the same names.
    ///
    /// # Contract
    /// The other one was made [beside](Self::beside) this one and stands at the same offsets in every topic that both
    /// read; and where they share a table, both read it from the same offsets on.
    pub fn adopt(&mut self, other: Self) {
        for input in other.inputs {
            match self.inputs.iter_mut().find(|own| own.id == input.id) {
                Some(own) if own.table.is_none() => own.wanted = input.wanted,
                // The same rows.
                Some(_) => {}
                None => self.inputs.push(input),
            }
        }
        for view in other.views {
            match self.views.iter_mut().find(|own| own.name == view.name) {
                Some(own) => *own = view,
                None => self.views.push(view),
            }
        }
        for (topic, partition, next_offset) in other.as_of.iter() {
            self.as_of.set(topic, partition, next_offset);
        }
        self.prune();
    }

    /// Keeps the views of these names only, in this order.
    pub fn arrange(&mut self, names: &[Arc<str>]) {
        let place = |view: &NamedView| names.iter().position(|name| *name == view.name);
        self.views.retain(|view| place(view).is_some());
        self.views.sort_by_key(place);
        self.prune();
    }

    /// Gives a view another name.
    pub fn rename(&mut self, from: &str, to: &Arc<str>) {
        if let Some(view) = self.views.iter_mut().find(|view| *view.name == *from) {
            view.name = Arc::clone(to);
        }
    }

    /// Drops what no view reads any more.
    fn prune(&mut self) {
        let Self { inputs, views, .. } = self;
        inputs.retain(|input| views.iter().any(|view| view.inputs.contains(&input.id)));
        let mut as_of = AsOf::default();
        for (topic, partition, next_offset) in self.as_of.iter().filter(|(topic, ..)| self.reads(topic)) {
            as_of.set(topic, partition, next_offset);
        }
        self.as_of = as_of;
    }
}

/// Inputs by the topics that they come from.
pub fn topics(inputs: Vec<FeedInput>) -> Vec<FeedTopic> {
    let mut topics: Vec<FeedTopic> = Vec::new();
    for input in inputs {
        let topic = input.wanted.relation.topic();
        match topics.iter_mut().find(|known| known.topic == *topic) {
            Some(known) => known.inputs.push(input),
            None => topics.push(FeedTopic { topic: Arc::clone(topic), inputs: vec![input], later: false }),
        }
    }
    topics
}
