//! Plans that can be interrupted.
//!
//! A task ends where it next yields, and DataFusion's operators yield where they read. A join that makes a billion rows of
//! two batches reads nothing for minutes. So every operator whose output can be much larger than its input yields after
//! some batches of its own, and the filter of a nested loop, which may visit all pairs without one row of output, checks
//! each time whether the statement has ended.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::joins::utils::JoinFilter;

/// Whether a statement has ended, even if parts of it still run.
pub type Ended = Arc<AtomicBool>;

/// The same plan, made to end soon after its statement does.
pub fn interruptible(plan: Arc<dyn ExecutionPlan>, ended: &Ended) -> Result<Arc<dyn ExecutionPlan>> {
    let guarded = plan.transform_up(|node| {
        if !multiplies(node.as_ref()) {
            return Ok(Transformed::no(node));
        }
        let node = match nested_loop(&node, ended)? {
            Some(join) => join,
            None => node,
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(guarded.data)
}

/// Whether an operator may return many batches for one that it reads.
fn multiplies(node: &dyn ExecutionPlan) -> bool {
    let name = node.name();
    name.contains("Join") || name.contains("Unnest") || name.contains("Window") || name.contains("RecursiveQuery")
}

fn nested_loop(node: &Arc<dyn ExecutionPlan>, ended: &Ended) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let any: &dyn Any = node.as_ref();
    let Some(join) = any.downcast_ref::<NestedLoopJoinExec>() else { return Ok(None) };
    let Some(filter) = join.filter() else { return Ok(None) };
    let looking = Looking { inner: Arc::clone(filter.expression()), ended: Arc::clone(ended) };
    let filter = JoinFilter::new(Arc::new(looking), filter.column_indices().to_vec(), Arc::clone(filter.schema()));
    let projection = join.projection().as_ref().map(|projection| projection.to_vec());
    let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
    let join = NestedLoopJoinExec::try_new(left, right, Some(filter), join.join_type(), projection)?;
    Ok(Some(Arc::new(join)))
}

/// An expression that fails once its statement has ended.
#[derive(Debug)]
struct Looking {
    inner: Arc<dyn PhysicalExpr>,
    ended: Ended,
}

impl PhysicalExpr for Looking {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.ended.load(Ordering::Relaxed) {
            return exec_err!("the statement has ended");
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        if let (Some(inner), true) = (children.pop(), children.is_empty()) {
            Ok(Arc::new(Self { inner, ended: Arc::clone(&self.ended) }))
        } else {
            internal_err!("one expression inside, always")
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for Looking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl PartialEq for Looking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Looking {}

impl Hash for Looking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
