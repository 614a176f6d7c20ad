//! A view under its name: what it takes in, what it gives, and what that costs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;

use super::input::{EngineInput, InputId};
use tallgrass_diagnostics::message_of;
use tallgrass_relation::RelationError;
use tallgrass_view::incremental::reducer::StateSize;
use tallgrass_view::{Description, Fingerprint, InputRows, LiveView};

/// A view under its name.
#[derive(Debug)]
pub struct NamedView {
    /// The file's name.
    pub name: Arc<str>,
    /// What the file meant when it was planned.
    pub fingerprint: Fingerprint,
    /// The planned view, or why it has failed.
    pub view: Result<LiveView, Arc<DataFusionError>>,
    inputs: BTreeSet<InputId>,
    cost: Cost,
}

/// Which half of a delta rows are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Retraction,
    Insertion,
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

    /// Lets it read an input.
    pub(super) fn wire(&mut self, input: InputId) {
        self.inputs.insert(input);
    }

    /// Whether it reads an input.
    pub(super) fn reads(&self, input: InputId) -> bool {
        self.inputs.contains(&input)
    }

    /// Whether it takes in an input's deltas; else it reads the current rows at a refresh.
    pub(super) fn reads_deltas_of(&self, input: &EngineInput) -> bool {
        let reads = |view: &LiveView| view.reads_deltas_of(input.feed.wanted.relation.name());
        self.reads(input.feed.id) && self.view.as_ref().is_ok_and(reads)
    }

    /// Takes in rows of an input. If that fails, the view keeps the error from then on.
    pub(super) async fn apply(&mut self, rows: InputRows<'_>, change: Change) {
        let Ok(view) = &mut self.view else { return };
        let started = Instant::now();
        let applied = match change {
            Change::Retraction => view.retract(rows).await,
            Change::Insertion => view.apply(rows).await.map(|_| ()),
        };
        self.cost.rows += rows.batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        self.cost.reducing += started.elapsed();
        if let Err(error) = applied {
            tracing::debug!("{}: {}", self.name, message_of(&error));
            self.view = Err(Arc::new(error));
        }
    }

    /// Its result now.
    pub(super) async fn evaluate(&mut self, inputs: &[EngineInput], now_ns: i64) -> Result<ViewResult, RelationError> {
        let Ok(view) = &mut self.view else { return Ok(self.failed()) };
        let mut current = Vec::new();
        for input in inputs.iter().filter(|input| self.inputs.contains(&input.feed.id)) {
            let wanted = &input.feed.wanted;
            if let Some(table) = input.table.as_ref().filter(|_| view.reads_rows_of(wanted.relation.name())) {
                current.push((wanted, table.current()?));
            }
        }
        let rows = current.iter().map(|(wanted, batches)| InputRows {
            relation: wanted.relation.name(),
            columns: &wanted.columns,
            batches,
        });
        let tables: Vec<InputRows<'_>> = rows.collect();
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
        let schema = SchemaRef::new(Schema::empty());
        ViewResult { name: Arc::clone(&self.name), schema, description: None, rows, cost: self.cost }
    }
}

/// What a view has cost so far, measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Rows of deltas that it has taken in, retractions too.
    pub rows: u64,
    /// Time spent on them.
    pub reducing: Duration,
    /// Time of the last refresh.
    pub refresh: Duration,
    /// What its reducers hold.
    pub state: StateSize,
}

/// What one view shows at one moment.
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
