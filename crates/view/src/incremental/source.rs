//! The leaf of a live plan: a relation whose rows the engine provides.
//!
//! DataFusion plans a view once, over [`LiveRelation`]s that hold nothing. Their physical form is a [`SourceExec`],
//! whose [`RowCell`] the engine fills before each run: with a micro-batch for a delta plan, with reducers' results and
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

/// The kind of a relation, for the cut of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// Insertions only: a linear plan over it runs on the new rows alone.
    Stream,
    /// Insertions and retractions: a linear plan over it runs on either. The current rows are a leaf of the residual plan.
    Table,
    /// The result of a reducer: a leaf of the residual plan, made by the cut itself.
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
    /// A relation named `name`, with all its columns.
    pub fn new(name: impl Into<Arc<str>>, schema: SchemaRef, kind: RelationKind) -> Self {
        Self { name: name.into(), schema, kind, key: None }
    }

    /// With a column whose values are unique.
    #[must_use]
    pub fn with_key(mut self, column: Option<&str>) -> Self {
        self.key = column.map(Into::into);
        self
    }

    /// A column whose values are unique, where one is known. Used for warnings about the order of rows; the optimizer does
    /// not see it, so that plans are those of a bounded read.
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

/// The rows that the next run of a [`SourceExec`] will read; empty until it is filled.
#[derive(Debug, Clone, Default)]
pub struct RowCell(Arc<Mutex<Vec<RecordBatch>>>);

impl RowCell {
    /// Replaces the rows; they have the leaf's schema.
    pub fn fill(&self, rows: Vec<RecordBatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    fn rows(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The physical leaf: reads its [`RowCell`], any number of times.
///
/// It has no statistics: an exact row count would let the optimizer answer `count(*)` at planning.
#[derive(Debug)]
pub struct SourceExec {
    relation: Arc<str>,
    columns: Vec<usize>,
    cell: RowCell,
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
        Self { relation, columns, cell: RowCell::default(), properties: Arc::new(properties) }
    }

    /// A leaf with all columns of a schema and without a relation, for plans that the engine builds itself.
    pub fn anonymous(schema: &Schema) -> Self {
        Self::new("".into(), (0..schema.fields().len()).collect(), Arc::new(schema.clone()))
    }

    /// The cell for its rows.
    pub fn cell(&self) -> &RowCell {
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

    /// A run leaves no state in the leaf: its rows are the engine's to change.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(MemoryStream::try_new(self.cell.rows(), self.schema(), None)?))
    }
}

/// A leaf of a plan, as the engine feeds it.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The relation whose rows it reads.
    pub relation: Arc<str>,
    /// The relation's columns that it reads, in this order.
    pub columns: Vec<usize>,
    /// The cell for its rows.
    pub cell: RowCell,
}

/// Every [`SourceExec`] below `plan`.
pub fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect_leaves(plan, &mut found);
    found
}

fn collect_leaves(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Leaf>) {
    let any: &dyn Any = plan.as_ref();
    if let Some(source) = any.downcast_ref::<SourceExec>() {
        found.push(Leaf {
            relation: Arc::clone(&source.relation),
            columns: source.columns.clone(),
            cell: source.cell.clone(),
        });
    }
    for child in plan.children() {
        collect_leaves(child, found);
    }
}
