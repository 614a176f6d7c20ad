//! A physical plan that runs repeatedly over rows that are put into its leaves.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::error::Result;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect};

use crate::incremental::source::{Leaf, leaves};

/// Rows of a relation as input: insertions, retractions or its current rows, with some of its columns.
#[derive(Debug, Clone, Copy)]
pub struct InputRows<'a> {
    /// The relation's name.
    pub relation: &'a str,
    /// The relation's columns that the batches hold, in their order.
    pub columns: &'a [usize],
    /// The rows.
    pub batches: &'a [RecordBatch],
}

/// A plan of one partition, planned once, run often.
#[derive(Debug, Clone)]
pub struct Runner {
    plan: Arc<dyn ExecutionPlan>,
    leaves: Vec<Leaf>,
    context: Arc<TaskContext>,
    keeps_state: bool,
    /// Since the plan was last reset.
    runs: u32,
}

/// Runs after which a plan is reset: each run adds its metrics to those of all before, and they are never read.
const RESET_AFTER: u32 = 64;

impl Runner {
    /// Plans an optimized logical plan. The session must have one target partition and no dynamic filters.
    pub async fn plan(state: &SessionState, plan: &LogicalPlan) -> Result<Self> {
        let physical = state.query_planner().create_physical_plan(plan, state).await?;
        Ok(Self::new(physical, state.task_ctx()))
    }

    /// Wraps a physical plan of one partition.
    pub fn new(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Self {
        Self { leaves: leaves(&plan), keeps_state: keeps_state(&plan), plan, context, runs: 0 }
    }

    /// The physical plan.
    pub fn physical(&self) -> &Arc<dyn ExecutionPlan> {
        &self.plan
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Whether a leaf reads this relation.
    pub fn reads(&self, relation: &str) -> bool {
        self.leaves.iter().any(|leaf| leaf.relation.as_ref() == relation)
    }

    /// Puts rows into every leaf that reads their relation.
    pub fn fill(&self, rows: InputRows<'_>) -> Result<()> {
        for leaf in self.leaves.iter().filter(|leaf| leaf.relation.as_ref() == rows.relation) {
            let positions = positions(&leaf.columns, rows)?;
            let batches = rows.batches.iter().map(|batch| batch.project(&positions)).collect::<Result<Vec<_>, _>>()?;
            leaf.cell.fill(batches);
        }
        Ok(())
    }

    /// Runs over what is in the leaves and empties them.
    pub async fn run(&mut self) -> Result<Vec<RecordBatch>> {
        // A hash join keeps the table that it built: each run needs a new one. The leaves stay the same.
        if self.keeps_state || self.runs >= RESET_AFTER {
            self.plan = reset_plan_states(Arc::clone(&self.plan))?;
            self.runs = 0;
        }
        self.runs += 1;
        let result = collect(Arc::clone(&self.plan), Arc::clone(&self.context)).await;
        for leaf in &self.leaves {
            leaf.cell.fill(Vec::new());
        }
        Ok(result?.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }
}

fn positions(wanted: &[usize], rows: InputRows<'_>) -> Result<Vec<usize>> {
    wanted
        .iter()
        .map(|column| {
            rows.columns.iter().position(|held| held == column).ok_or_else(|| {
                ArrowError::SchemaError(format!("column {column} of {} is missing from its rows", rows.relation)).into()
            })
        })
        .collect()
}

/// Whether the plan has a node that may keep state between runs: any but the plainest.
fn keeps_state(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let plain = matches!(
        plan.name(),
        "SourceExec" | "FilterExec" | "ProjectionExec" | "CoalesceBatchesExec" | "AggregateExec" | "UnionExec"
    );
    !plain || plan.children().into_iter().any(keeps_state)
}

/// The same columns under another schema with the same types.
pub fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::incremental::source::{LiveRelation, RelationKind};
    use tallgrass_sql::session;

    fn metrics(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let own = plan.metrics().map_or(0, |metrics| metrics.iter().count());
        own + plan.children().into_iter().map(metrics).sum::<usize>()
    }

    #[tokio::test]
    async fn a_plan_that_runs_for_days_keeps_no_trace_of_its_runs() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let context = session::live();
        for name in ["s", "r"] {
            let relation = LiveRelation::new(name, Arc::clone(&schema), RelationKind::Table);
            context.register_table(name, Arc::new(relation)).unwrap();
        }
        for sql in [
            "SELECT n % 3, count(*), sum(n) FROM s WHERE n > 1 GROUP BY n % 3",
            "SELECT n FROM s WHERE n > 1 UNION ALL SELECT n + 1 FROM r",
            "SELECT s.n, r.n FROM s JOIN r ON s.n = r.n ORDER BY s.n LIMIT 3",
            "SELECT n, rank() OVER (ORDER BY n) FROM s",
            "SELECT unnest([n, n]) FROM s CROSS JOIN (SELECT max(n) FROM r)",
        ] {
            let plan = tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse(sql).unwrap())
                .await
                .unwrap();
            let plan = context.state().optimize(&plan).unwrap();
            let mut runner = Runner::plan(&context.state(), &plan).await.unwrap();
            let batch =
                RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]).unwrap();
            let mut counts = Vec::new();
            for _ in 0..500 {
                for relation in ["s", "r"] {
                    runner.fill(InputRows { relation, columns: &[0], batches: std::slice::from_ref(&batch) }).unwrap();
                }
                assert!(!runner.run().await.unwrap().is_empty(), "{sql}");
                counts.push(metrics(runner.physical()));
            }
            let (early, late) = (counts[..100].iter().max(), counts[400..].iter().max());
            assert_eq!(early, late, "{sql}");
        }
    }
}
