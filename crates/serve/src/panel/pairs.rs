//! One SQL for all panels: the file's parameters become columns of a relation of panels.
//!
//! ```text
//!  SELECT …, haversine_km(lat, lon, $lat, $lon) FROM pokemons WHERE haversine_km(lat, lon, $lat, $lon) <= $radius_km
//!      │ each row beside each panel that it may concern
//!      ▼
//!  SELECT …, haversine_km(lat, lon, p1, p2), panel FROM pairs WHERE haversine_km(lat, lon, p1, p2) <= p3
//! ```
//!
//! # Contract
//! The rewritten plan over (row, panel) pairs gives, for each panel, what the file alone gives over its rows with the
//! panel's values bound. A plan of filters, projections, unions, unnesting and joins with static relations takes each row
//! by itself, so a row beside a panel can be taken as one row of more columns; what is not such a plan is refused, as by
//! `control-panel`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::{interleave, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference, plan_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, Union};

use super::near::Near;
use tallgrass_diagnostics::message_of;
use tallgrass_relation::KafkaRelation;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::incremental::source::{LiveRelation, RelationKind};
use tallgrass_view::{InputRows, LiveView, SqlFile, Workspace, WorkspaceError, live_view, plan_unbound};

/// The column that says of which pair a row is.
const PAIR: &str = "__panel";

/// Pairs that one run looks at: bounds the memory of a run, and fills a vector well.
pub const PAIRS_AT_ONCE: usize = 8192;

const NO_STREAM: &str = "a panel reads one stream";

/// The column of a parameter, from 1.
fn param_column(number: usize) -> String {
    format!("__panel_{number}")
}

/// A row beside a panel: batch, row, panel.
pub type Pair = (usize, usize, u32);

/// The file's plan over pairs.
#[derive(Debug)]
pub struct Pairs {
    file: SqlFile,
    view: LiveView,
    relation: Arc<KafkaRelation>,
    /// Columns of the relation that the plan reads, ascending.
    columns: Vec<usize>,
    /// Parameters that it reads, from 0.
    params: Vec<usize>,
    near: Option<Near>,
    shown: SchemaRef,
}

impl Pairs {
    /// Plans a file.
    pub async fn plan(workspace: &Workspace, file: SqlFile) -> Result<Self, WorkspaceError> {
        let session = workspace.live_session().await?;
        let plan = plan_unbound(&session, &file).await?;
        let types: Vec<DataType> = file.params().iter().map(|param| param.data_type.clone()).collect();
        let paired = over_pairs(&plan, &types).map_err(|error| file.refused(message_of(&error)))?;
        let view = live_view(&session, &file, paired, Use::NewRows, 0).await?;
        let Some((relation, read)) = workspace.only_stream(&view) else { return Err(file.refused(NO_STREAM).into()) };
        let width = relation.schema().fields().len();
        let columns = read.iter().copied().filter(|column| *column < width).collect();
        let params = read.iter().filter_map(|column| column.checked_sub(width + 1)).collect();
        let near = Near::of(&plan);
        let shown = plan.schema().as_arrow().fields().clone();
        Ok(Self { view, relation, columns, params, near, shown: Arc::new(Schema::new(shown)), file })
    }

    /// The file.
    pub fn file(&self) -> &SqlFile {
        &self.file
    }

    /// The stream that it reads.
    pub fn relation(&self) -> &Arc<KafkaRelation> {
        &self.relation
    }

    /// The condition that an index can serve, if there is one.
    pub fn near(&self) -> Option<&Near> {
        self.near.as_ref()
    }

    /// The columns of a panel's rows.
    pub fn shown(&self) -> &SchemaRef {
        &self.shown
    }

    /// The columns of the relation that rows must have, ascending: what the plan reads, and what the index does.
    pub fn wanted(&self, others: &[usize]) -> Vec<usize> {
        let index = self.near.iter().flat_map(|near| near.columns);
        let mut wanted: Vec<usize> = self.columns.iter().copied().chain(index).chain(others.iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Runs the plan over pairs, at most [`PAIRS_AT_ONCE`] of them; `batches` have the `wanted` columns. The rows come
    /// with the number of their pair in one more column, the last: see [`pairs_of_rows`].
    pub async fn run(
        &mut self,
        wanted: &[usize],
        batches: &[&RecordBatch],
        pairs: &[Pair],
        panels: &ParamColumns,
    ) -> Result<Vec<RecordBatch>> {
        debug_assert!(pairs.len() <= PAIRS_AT_ONCE, "bounded by the caller");
        let width = self.relation.schema().fields().len();
        let rows: Vec<(usize, usize)> = pairs.iter().map(|(batch, row, _)| (*batch, *row)).collect();
        let owners = UInt32Array::from_iter_values(pairs.iter().map(|(_, _, panel)| *panel));
        let (mut columns, mut arrays, mut fields) = (Vec::new(), Vec::<ArrayRef>::new(), Vec::new());
        for column in &self.columns {
            let Ok(place) = wanted.binary_search(column) else { continue };
            let values: Vec<_> = batches.iter().map(|batch| batch.column(place).as_ref()).collect();
            arrays.push(interleave(&values, &rows)?);
            fields.push(self.relation.schema().field(*column).clone());
            columns.push(*column);
        }
        for param in &self.params {
            let Some(values) = panels.params.get(*param) else { continue };
            arrays.push(take(values, &owners, None)?);
            fields.push(Field::new(param_column(param + 1), values.data_type().clone(), true));
            columns.push(width + 1 + param);
        }
        arrays.push(Arc::new(UInt32Array::from_iter_values(0..pairs.len() as u32)));
        fields.push(Field::new(PAIR, DataType::UInt32, false));
        columns.push(width);
        let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        let new = InputRows { relation: self.relation.name(), columns: &columns, batches: &[batch] };
        self.view.apply(new).await
    }
}

/// Which pair each row of a result is of.
pub fn pairs_of_rows(batch: &RecordBatch) -> &[u32] {
    let last = batch.columns().last().and_then(|column| column.as_primitive_opt::<UInt32Type>());
    last.map_or(&[], |numbers| numbers.values())
}

/// The values of all panels, a column a parameter; a panel's number is its row.
#[derive(Debug, Default)]
pub struct ParamColumns {
    params: Vec<ArrayRef>,
}

impl ParamColumns {
    /// From the types of the parameters and each panel's values; a number that no panel has holds nulls.
    pub fn new(types: &[DataType], panels: &[Option<&[ScalarValue]>]) -> Result<Self> {
        let column = |(param, data_type): (usize, &DataType)| {
            let null = ScalarValue::try_from(data_type)?;
            let value = |panel: Option<&[ScalarValue]>| {
                panel.and_then(|values| values.get(param)).cloned().unwrap_or_else(|| null.clone())
            };
            ScalarValue::iter_to_array(panels.iter().copied().map(value))
        };
        Ok(Self { params: types.iter().enumerate().map(column).collect::<Result<_>>()? })
    }
}

/// The plan with parameters as columns, and one column more that says of which pair a row is.
fn over_pairs(plan: &LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let Some(threaded) = thread(plan, types)? else { return plan_err!("{NO_STREAM}") };
    let mut open = false;
    threaded.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            open |= expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if open {
        return plan_err!("many panels share this statement, so its parameters cannot stand in a subquery");
    }
    let columns = threaded.schema().columns();
    let own = columns.iter().take(plan.schema().fields().len()).cloned();
    let exprs = own.chain([panel_column(threaded.schema(), PAIR)?]).map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(threaded))?))
}

/// Carries the panel's columns from the stream up through a linear plan; none for a plan without a stream.
fn thread(plan: &LogicalPlan, types: &[DataType]) -> Result<Option<LogicalPlan>> {
    if let LogicalPlan::TableScan(scan) = plan {
        let provider = source_as_provider(&scan.source)?;
        let provider: &dyn std::any::Any = provider.as_ref();
        let Some(live) = provider.downcast_ref::<LiveRelation>() else { return Ok(None) };
        return match live.kind() {
            RelationKind::Stream => pairs_of(live, &scan.table_name, types).map(Some),
            RelationKind::Table | RelationKind::Slot => refused(),
        };
    }
    let inputs = plan.inputs();
    let threaded = inputs.iter().map(|input| thread(input, types)).collect::<Result<Vec<_>>>()?;
    if threaded.iter().all(Option::is_none) {
        return Ok(None);
    }
    if let LogicalPlan::Union(_) = plan {
        let branches: Option<Vec<_>> = threaded.into_iter().map(|branch| branch.map(Arc::new)).collect();
        let Some(branches) = branches else { return refused() };
        return Ok(Some(LogicalPlan::Union(Union::try_new_with_loose_types(branches)?)));
    }
    if threaded.iter().filter(|input| input.is_some()).count() > 1 {
        return refused();
    }
    let inputs: Vec<LogicalPlan> =
        threaded.into_iter().zip(inputs).map(|(threaded, input)| threaded.unwrap_or_else(|| input.clone())).collect();
    let mut schema = DFSchema::empty();
    for input in &inputs {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(plan);
    let mut exprs = Vec::new();
    for expr in plan.expressions() {
        let name = names.save(&expr);
        exprs.push(name.restore(with_columns(expr, &schema)?));
    }
    match plan {
        LogicalPlan::Projection(_) => {
            exprs.push(Expr::Column(panel_column(&schema, PAIR)?));
            for number in 1..=types.len() {
                exprs.push(Expr::Column(panel_column(&schema, &param_column(number))?));
            }
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) | LogicalPlan::Join(_) => {}
        _ => return refused(),
    }
    plan.with_new_exprs(exprs, inputs)?.recompute_schema().map(Some)
}

fn refused<T>() -> Result<T> {
    plan_err!(
        "rows can be passed on as they arrive only from a SELECT of filters and projections over streams: \
         no aggregate, DISTINCT, ORDER BY, LIMIT, window or keyed table"
    )
}

/// The stream with the panel's columns behind its own.
fn pairs_of(live: &LiveRelation, name: &TableReference, types: &[DataType]) -> Result<LogicalPlan> {
    let own = datafusion::catalog::TableProvider::schema(live);
    let panel = Arc::new(Field::new(PAIR, DataType::UInt32, false));
    let param =
        |(index, data_type): (usize, &DataType)| Arc::new(Field::new(param_column(index + 1), data_type.clone(), true));
    let params = types.iter().enumerate().map(param);
    let fields: Vec<_> = own.fields().iter().cloned().chain([panel]).chain(params).collect();
    let pairs = LiveRelation::new(Arc::clone(live.name()), Arc::new(Schema::new(fields)), RelationKind::Stream);
    LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::new(pairs)), None)?.build()
}

fn with_columns(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|expr| match &expr {
        Expr::Placeholder(placeholder) => match number(placeholder) {
            Some(number) => Ok(Transformed::yes(Expr::Column(panel_column(schema, &param_column(number))?))),
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    })
    .map(|transformed| transformed.data)
}

/// `$2` → 2
pub(super) fn number(placeholder: &Placeholder) -> Option<usize> {
    placeholder.id.strip_prefix('$')?.parse().ok()
}

fn panel_column(schema: &DFSchema, name: &str) -> Result<Column> {
    let found = schema.iter().find(|(_, field)| field.name() == name);
    found
        .map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name()))
        .ok_or_else(|| DataFusionError::Plan("a subquery here cannot use the statement's parameters".to_owned()))
}
