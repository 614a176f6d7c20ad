//! A reducer keeps one slot: the state of an operator over all rows so far, fed by the new ones only.
//!
//! Over a stream it uses DataFusion's own operators, so every built-in and user-defined aggregate works:
//!
//! ```text
//!  micro-batch ─▶ delta plan ─▶ Partial ─▶ runs of partial states ─(refresh)─▶ Final ─▶ slot
//!                                           folded by PartialReduce when a run has grown as long as the one before
//! ```
//!
//! Folding like that (a binary counter of runs) costs each partial row O(log n) merges and keeps at most twice the
//! groups in memory, so cost per batch does not depend on history.
//!
//! Retractions follow the same path. Their partial states are negated ([`signed`]) before they join the runs, and a group
//! whose states add up to zero is dropped when runs are folded.

use std::any::Any;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{exec_datafusion_err, internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{LogicalPlan, Sort};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

use crate::incremental::cut::{Reduction, Slot, read_slot, slot_column};
use crate::incremental::run::{InputRows, Runner, with_schema};
use crate::incremental::signed;
use crate::incremental::source::SourceExec;
use tallgrass_relation::compacted;

/// Maintains the content of one slot.
#[derive(Debug)]
pub struct Reducer {
    name: Arc<str>,
    reduction: Reduction,
    /// The slot's columns, [`slot_column`] by name.
    schema: SchemaRef,
    delta: Runner,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    Aggregate(PartialStates),
    TopK { sort: Runner, rows: Vec<RecordBatch> },
    Rows { rows: Vec<RecordBatch>, count: usize, limit: usize },
}

impl Reducer {
    /// Plans the operators of a slot. `max_rows` is the limit of a slot that keeps its rows.
    pub async fn plan(state: &SessionState, slot: &Slot, max_rows: usize) -> Result<Self> {
        let fields: Vec<Field> = slot
            .plan
            .schema()
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| field.as_ref().clone().with_name(slot_column(index)))
            .collect();
        let whole = Runner::plan(state, &slot.plan).await?;
        let (delta, state) = match slot.reduction {
            Reduction::Aggregate | Reduction::Weighted => {
                let weighted = slot.reduction == Reduction::Weighted;
                let (delta, states) = PartialStates::split(whole, weighted, state.task_ctx())?;
                (delta, SlotState::Aggregate(states))
            }
            Reduction::TopK => {
                let sort = Runner::plan(state, &sort_again(&slot.plan)?).await?;
                (whole, SlotState::TopK { sort, rows: Vec::new() })
            }
            Reduction::Rows => (whole, SlotState::Rows { rows: Vec::new(), count: 0, limit: max_rows }),
        };
        Ok(Self {
            name: Arc::clone(&slot.name),
            reduction: slot.reduction,
            schema: Arc::new(Schema::new(fields)),
            delta,
            state,
        })
    }

    /// The slot's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many columns the slot has.
    pub fn width(&self) -> usize {
        self.schema.fields().len()
    }

    /// How it is kept.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// The delta plan, which runs on new rows first.
    pub fn delta(&self) -> &Runner {
        &self.delta
    }

    /// Takes in retractions of one relation, of rows inserted before. Only a [`Reduction::Weighted`] slot can.
    pub async fn retract(&mut self, retractions: InputRows<'_>) -> Result<()> {
        let delta = self.delta_of(retractions).await?;
        match &mut self.state {
            _ if delta.is_empty() => Ok(()),
            SlotState::Aggregate(states) => states.retract(delta).await,
            SlotState::TopK { .. } | SlotState::Rows { .. } => {
                internal_err!("rows of {} were retracted from a slot that cannot retract", retractions.relation)
            }
        }
    }

    /// The delta plan's result over rows of one relation; nothing if it does not read that relation.
    async fn delta_of(&mut self, rows: InputRows<'_>) -> Result<Vec<RecordBatch>> {
        if !self.delta.reads(rows.relation) {
            return Ok(Vec::new());
        }
        self.delta.fill(rows)?;
        self.delta.run().await
    }

    /// Takes in insertions of one relation.
    pub async fn apply(&mut self, insertions: InputRows<'_>) -> Result<()> {
        let delta = self.delta_of(insertions).await?;
        if delta.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            SlotState::Aggregate(states) => states.push(delta).await,
            SlotState::TopK { sort, rows } => {
                let mut all = std::mem::take(rows);
                for batch in &delta {
                    all.push(with_schema(batch, &self.schema)?);
                }
                let sorted = run_over(sort, all).await?;
                // Without compacting, a text row would keep the buffers of every micro-batch alive that it was sorted with.
                let kept = sorted.iter().map(|batch| with_schema(&compacted(batch)?, &self.schema));
                *rows = kept.collect::<Result<_>>()?;
                Ok(())
            }
            SlotState::Rows { rows, count, limit } => {
                *count += delta.iter().map(RecordBatch::num_rows).sum::<usize>();
                if *count > *limit {
                    rows.clear();
                    return Err(exec_datafusion_err!(
                        "this view needs every row of its stream, and more than {limit} have arrived; \
                         aggregate or filter below the operator that needs them, or raise --max-retained-rows"
                    ));
                }
                rows.extend(delta);
                Ok(())
            }
        }
    }

    /// The slot's content over all rows so far.
    pub async fn evaluate(&mut self) -> Result<Vec<RecordBatch>> {
        let batches = match &mut self.state {
            SlotState::Aggregate(states) => states.finish().await?,
            SlotState::TopK { rows, .. } | SlotState::Rows { rows, .. } => rows.clone(),
        };
        batches.iter().map(|batch| with_schema(batch, &self.schema)).collect()
    }

    /// Bytes of state, and how many rows (groups, kept rows) it has.
    pub fn size(&self) -> StateSize {
        let batches: Vec<&RecordBatch> = match &self.state {
            SlotState::Aggregate(states) => states.runs.iter().flat_map(|run| &run.batches).collect(),
            SlotState::TopK { rows, .. } | SlotState::Rows { rows, .. } => rows.iter().collect(),
        };
        StateSize {
            bytes: batches.iter().map(|batch| batch.get_array_memory_size()).sum(),
            rows: batches.iter().map(|batch| batch.num_rows()).sum(),
        }
    }
}

/// The size of a reducer's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Bytes of Arrow arrays.
    pub bytes: usize,
    /// Rows of state; a group may have a few until its runs are folded.
    pub rows: usize,
}

/// Runs of partial aggregate states, the longest first.
#[derive(Debug)]
struct PartialStates {
    runs: Vec<StateRun>,
    fold: Runner,
    finish: Runner,
    /// The whole aggregate, for the result over no rows: without a GROUP BY, or with an empty grouping set, that is a row.
    nothing: Runner,
    /// For a weighted slot, how many leading columns are the group's.
    groups_of_weights: Option<usize>,
}

#[derive(Debug)]
struct StateRun {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl StateRun {
    fn new(batches: Vec<RecordBatch>) -> Self {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Self { batches, rows }
    }
}

impl PartialStates {
    /// Splits the planned aggregate: the part that runs on new rows, and the part that merges its states.
    fn split(nothing: Runner, weighted: bool, context: Arc<TaskContext>) -> Result<(Runner, Self)> {
        let plan = Arc::clone(nothing.physical());
        let whole = find_aggregate(&plan)
            .ok_or_else(|| internal_datafusion_err!("an aggregate was planned as {}", plan.name()))?;
        let input_schema = whole.input_schema();
        // Even where the rows of one batch arrive in an aggregate's order, its states of several batches do not.
        let of_states = |aggregate: &Arc<AggregateFunctionExpr>| -> Result<Arc<AggregateFunctionExpr>> {
            let unordered = Arc::clone(aggregate).with_beneficial_ordering(false)?;
            Ok(unordered.map_or_else(|| Arc::clone(aggregate), Arc::new))
        };
        let merging: Vec<_> = whole.aggr_expr().iter().map(of_states).collect::<Result<_>>()?;
        let partial = Arc::new(AggregateExec::try_new(
            AggregateMode::Partial,
            whole.group_expr().clone(),
            whole.aggr_expr().to_vec(),
            whole.filter_expr().to_vec(),
            Arc::clone(whole.input()),
            Arc::clone(&input_schema),
        )?);
        let states = partial.schema();
        let merge = |mode| -> Result<Runner> {
            let merge = AggregateExec::try_new(
                mode,
                whole.group_expr().as_final(),
                merging.clone(),
                vec![None; merging.len()],
                Arc::new(SourceExec::anonymous(&states)),
                Arc::clone(&input_schema),
            )?;
            Ok(Runner::new(Arc::new(merge), Arc::clone(&context)))
        };
        let (fold, finish) = (merge(AggregateMode::PartialReduce)?, merge(AggregateMode::Final)?);
        let groups_of_weights = weighted.then_some(whole.group_expr().expr().len());
        Ok((
            Runner::new(in_place_of(&plan, partial)?, context),
            Self { runs: Vec::new(), fold, finish, nothing, groups_of_weights },
        ))
    }

    /// Takes in the partial states of retractions.
    async fn retract(&mut self, partial: Vec<RecordBatch>) -> Result<()> {
        let Some(groups) = self.groups_of_weights else {
            return internal_err!("rows were retracted from an aggregate that cannot retract");
        };
        self.push(partial.iter().map(|states| signed::negated(states, groups)).collect::<Result<_>>()?).await
    }

    async fn push(&mut self, partial: Vec<RecordBatch>) -> Result<()> {
        let mut last = StateRun::new(partial);
        while let Some(before) = self.runs.pop_if(|before| before.rows <= 2 * last.rows) {
            let batches = before.batches.into_iter().chain(last.batches).collect();
            let mut folded = run_over(&mut self.fold, batches).await?;
            // Without a GROUP BY there is one state, and it is kept.
            if let Some(groups @ 1..) = self.groups_of_weights {
                folded =
                    folded.into_iter().map(|states| signed::without_zeros(states, groups)).collect::<Result<_>>()?;
            }
            last = StateRun::new(compact(folded)?);
        }
        if last.rows > 0 {
            self.runs.push(last);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        if self.runs.is_empty() {
            return self.nothing.run().await;
        }
        let batches = self.runs.iter().flat_map(|run| run.batches.iter().cloned()).collect();
        run_over(&mut self.finish, batches).await
    }
}

/// Concatenates batches: operators return slices of 8,192 rows that keep their whole buffers alive.
fn compact(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    match batches.as_slice() {
        [] | [_] => Ok(batches),
        [first, ..] => Ok(vec![concat_batches(&first.schema(), &batches)?]),
    }
}

async fn run_over(runner: &mut Runner, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    if let [leaf] = runner.leaves() {
        leaf.cell.fill(batches);
    }
    runner.run().await
}

/// The aggregate itself: whole, or the lower half where the planner made two of it.
fn find_aggregate(plan: &Arc<dyn ExecutionPlan>) -> Option<&AggregateExec> {
    let any: &dyn Any = plan.as_ref();
    if let Some(aggregate) = any.downcast_ref::<AggregateExec>() {
        return match aggregate.mode() {
            AggregateMode::Final | AggregateMode::FinalPartitioned => find_aggregate(aggregate.input()),
            _ => Some(aggregate),
        };
    }
    match plan.children().as_slice() {
        [child] => find_aggregate(child),
        [child, ..] if any.is::<ScalarSubqueryExec>() => find_aggregate(child),
        _ => None,
    }
}

/// `partial` below the node that provides the values of scalar subqueries (over static relations) to the plan below it.
fn in_place_of(plan: &Arc<dyn ExecutionPlan>, partial: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let any: &dyn Any = plan.as_ref();
    if !any.is::<ScalarSubqueryExec>() {
        return Ok(partial);
    }
    let subqueries = plan.children().into_iter().skip(1).cloned();
    let children = std::iter::once(partial).chain(subqueries).collect();
    Arc::clone(plan).replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// The same sort with the same limit, over rows that the engine provides.
fn sort_again(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Sort(sort) = plan else {
        return Err(internal_datafusion_err!("a slot of the first rows is not a sort"));
    };
    let input = Arc::new(read_slot(&"__first".into(), plan.schema())?);
    Ok(LogicalPlan::Sort(Sort { expr: sort.expr.clone(), input, fetch: sort.fetch }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringViewArray};
    use datafusion::arrow::datatypes::DataType;

    use super::*;
    use crate::incremental::cut::Use;
    use crate::incremental::live_view::LiveView;
    use crate::incremental::source::{LiveRelation, RelationKind};
    use tallgrass_sql::session;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("at", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, false),
        ]))
    }

    /// Bytes of state after so many micro-batches of a hundred rows.
    async fn state_after(sql: &str, batches: i64) -> usize {
        let context = session::live();
        context.register_table("s", Arc::new(LiveRelation::new("s", schema(), RelationKind::Stream))).unwrap();
        let plan =
            tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse(sql).unwrap()).await.unwrap();
        let mut view = LiveView::plan(&context.state(), plan, Use::Result, 0).await.unwrap();
        for batch in 0..batches {
            let rows = batch * 100..(batch + 1) * 100;
            // Too long for the twelve bytes that a view holds in place.
            let text =
                StringViewArray::from_iter_values(rows.clone().map(|row| format!("the text of row {}", row % 50)));
            let columns: Vec<datafusion::arrow::array::ArrayRef> =
                vec![Arc::new(Int64Array::from_iter_values(rows)), Arc::new(text)];
            let new = [RecordBatch::try_new(schema(), columns).unwrap()];
            view.apply(InputRows { relation: "s", columns: &[0, 1], batches: &new }).await.unwrap();
        }
        view.state_size().bytes
    }

    #[tokio::test]
    async fn state_does_not_grow_with_history() {
        for sql in [
            "SELECT * FROM s ORDER BY at DESC LIMIT 20",
            "SELECT text, count(*), max(text), sum(at) FROM s GROUP BY text",
            "SELECT DISTINCT text FROM s",
        ] {
            let (early, late) = (state_after(sql, 20).await, state_after(sql, 1_000).await);
            assert!(late < 3 * early, "{sql}: {early} bytes, then {late}");
        }
    }
}
