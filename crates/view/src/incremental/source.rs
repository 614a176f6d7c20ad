//! The leaf of a live plan: a relation whose rows are put there by hand.
//!
//! DataFusion plans a view once, over [`LiveRelation`]s that hold nothing. Their physical form is a [`SourceExec`],
//! whose [`Cell`] the engine fills before each run: with a micro-batch for a delta plan, with reducers' results and
//! tables' current rows for a residual plan.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions, SendableRecordBatchStream,
};

/// What a relation is to the cut of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// Rows only come: what is linear over it can run on the new rows alone.
    Stream,
    /// Rows change and go: what is linear over it can run on those that came and on those that went. The current rows
    /// are a source of the residual plan.
    Table,
    /// The result of a reducer: a source of the residual plan, made by the cut itself.
    Slot,
}

/// A relation as the planner sees it: a name, a schema and a kind, no rows.
#[derive(Debug, Clone)]
pub struct LiveRelation {
    name: Arc<str>,
    schema: SchemaRef,
    kind: RelationKind,
    key: Option<Arc<str>>,
}

impl LiveRelation {
    /// A relation called `name`, with all its columns.
    pub fn new(name: impl Into<Arc<str>>, schema: SchemaRef, kind: RelationKind) -> Self {
        Self { name: name.into(), schema, kind, key: None }
    }

    /// With a column that no two rows have in common.
    #[must_use]
    pub fn with_key(mut self, column: Option<&str>) -> Self {
        self.key = column.map(Into::into);
        self
    }

    /// A column that no two rows have in common, where one is known. For words about the order of rows: the optimizer
    /// is not told, so that plans are those of a bounded read.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its kind.
    pub fn kind(&self) -> RelationKind {
        self.kind
    }
}

#[async_trait]
impl TableProvider for LiveRelation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        Ok(Arc::new(SourceExec::new(Arc::clone(&self.name), columns, schema)))
    }
}

/// The rows that the next run of a [`SourceExec`] will read; empty unless somebody fills it.
#[derive(Debug, Clone, Default)]
pub struct Cell(Arc<Mutex<Vec<RecordBatch>>>);

impl Cell {
    /// Puts rows there, in the source's schema, in place of what was there.
    pub fn fill(&self, rows: Vec<RecordBatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    fn rows(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The physical leaf: reads its [`Cell`], any number of times.
///
/// It tells no statistics: an exact row count would let the optimizer answer `count(*)` at planning.
#[derive(Debug)]
pub struct SourceExec {
    relation: Arc<str>,
    columns: Vec<usize>,
    cell: Cell,
    properties: Arc<PlanProperties>,
}

impl SourceExec {
    /// A leaf over columns (indices into the relation's schema) of a relation; `schema` is already projected.
    pub fn new(relation: Arc<str>, columns: Vec<usize>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { relation, columns, cell: Cell::default(), properties: Arc::new(properties) }
    }

    /// The whole of an anonymous schema, for plans that the engine puts together itself.
    pub fn anonymous(schema: &Schema) -> Self {
        Self::new("".into(), (0..schema.fields().len()).collect(), Arc::new(schema.clone()))
    }

    /// Where to put the rows.
    pub fn cell(&self) -> &Cell {
        &self.cell
    }
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceExec: {}", self.relation)
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &'static str {
        "SourceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// The leaf has no state of a run: its rows are the engine's to change.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(MemoryStream::try_new(self.cell.rows(), self.schema(), None)?))
    }
}

/// A leaf of a plan, as the engine feeds it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The relation whose rows it reads.
    pub relation: Arc<str>,
    /// Which of the relation's columns, in this order.
    pub columns: Vec<usize>,
    /// Where the rows go.
    pub cell: Cell,
}

/// Every [`SourceExec`] below `plan`.
pub fn sources(plan: &Arc<dyn ExecutionPlan>) -> Vec<Source> {
    let mut found = Vec::new();
    collect_sources(plan, &mut found);
    found
}

fn collect_sources(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Source>) {
    let any: &dyn Any = plan.as_ref();
    if let Some(source) = any.downcast_ref::<SourceExec>() {
        found.push(Source {
            relation: Arc::clone(&source.relation),
            columns: source.columns.clone(),
            cell: source.cell.clone(),
        });
    }
    for child in plan.children() {
        collect_sources(child, found);
    }
}
