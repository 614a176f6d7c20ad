//! Views over relations: takes in micro-batches, gives results. No I/O, no clock but `now()` of the views themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::error::DataFusionError;

use super::input::{EngineInput, FeedInput, FeedTopic, InputId, MicroBatch, topics};
use super::named_view::{Change, NamedView, ViewResult};
use tallgrass_kafka::AsOf;
use tallgrass_relation::{Catalog, Delta, KafkaRelation, KeyedTable, RelationError, Wanted};
use tallgrass_view::incremental::clock;
use tallgrass_view::{InputRows, LiveView};

/// All views at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Everything below these offsets is in every result, nothing at or above.
    pub as_of: AsOf,
    /// What `now()` is in every result, in nanoseconds since 1970 UTC.
    pub now_ns: i64,
    /// One for each view, in the order in which they were given.
    pub results: Vec<ViewResult>,
}

/// The state of all views, kept together with the offsets that it stands for.
#[derive(Debug, Default)]
pub struct Engine {
    inputs: Vec<EngineInput>,
    views: Vec<NamedView>,
    as_of: AsOf,
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
        let mut inputs: Vec<EngineInput> = Vec::new();
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
            let feed = Self::input(running, relation, columns);
            for reader in readers {
                reader.wire(feed.id);
            }
            let table = if relation.is_keyed() {
                Some(KeyedTable::new(Arc::new(relation.schema().project(&feed.wanted.columns)?)))
            } else {
                None
            };
            inputs.push(EngineInput { feed, table });
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

    /// What it must be fed: the relations, each with the wanted columns, ascending.
    pub fn inputs(&self) -> Vec<FeedInput> {
        self.inputs.iter().map(|input| input.feed.clone()).collect()
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

    /// Whether some view changes though nothing new arrives.
    pub fn follows_the_clock(&self) -> bool {
        self.views.iter().any(|view| view.view.as_ref().is_ok_and(LiveView::follows_the_clock))
    }

    /// Counts everything below these offsets as taken in, as far as it is read.
    pub fn start_at(&mut self, next_offsets: &AsOf) {
        for (topic, partition, next_offset) in next_offsets.iter() {
            if self.reads(topic) {
                self.as_of.set(topic, partition, next_offset);
            }
        }
    }

    /// Whether some view reads this topic.
    pub fn reads(&self, topic: &str) -> bool {
        self.inputs.iter().any(|input| **input.feed.wanted.relation.topic() == *topic)
    }

    /// Takes in a whole micro-batch. A view that fails keeps its error from then on; the others go on.
    pub async fn apply(&mut self, batch: MicroBatch) -> Result<(), RelationError> {
        let Self { inputs, views, .. } = self;
        for (id, rows) in batch.rows {
            let Some(input) = inputs.iter_mut().find(|input| input.feed.id == id) else { continue };
            let mut readers: Vec<&mut NamedView> =
                views.iter_mut().filter(|view| view.reads_deltas_of(input)).collect();
            let delta = match &mut input.table {
                Some(table) if readers.is_empty() => {
                    table.absorb(rows)?;
                    continue;
                }
                Some(table) => table.apply(rows)?,
                None => Delta::insertions(rows.batch),
            };
            let Wanted { relation, columns } = &input.feed.wanted;
            let halves = [(Change::Retraction, delta.retractions), (Change::Insertion, delta.insertions)];
            for (change, batch) in halves.iter().filter(|(_, batch)| batch.num_rows() > 0) {
                let rows = InputRows { relation: relation.name(), columns, batches: std::slice::from_ref(batch) };
                for reader in &mut readers {
                    reader.apply(rows, *change).await;
                }
            }
        }
        self.start_at(&batch.next_offsets);
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
            match self.inputs.iter_mut().find(|own| own.feed.id == input.feed.id) {
                Some(own) if own.table.is_none() => own.feed.wanted = input.feed.wanted,
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
        inputs.retain(|input| views.iter().any(|view| view.reads(input.feed.id)));
        let mut as_of = AsOf::default();
        for (topic, partition, next_offset) in self.as_of.iter().filter(|(topic, ..)| self.reads(topic)) {
            as_of.set(topic, partition, next_offset);
        }
        self.as_of = as_of;
    }
}
