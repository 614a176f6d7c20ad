//! From a parsed statement to a logical plan.

use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use futures::future::BoxFuture;

use crate::rewrite::rewrite;

/// Plans a parsed statement, rewritten where the planner needs it. The future is boxed: that `DataFusion`'s may move
/// between threads takes the compiler seconds to prove in each function that awaits it.
pub fn logical_plan(state: &SessionState, statement: Statement) -> BoxFuture<'_, Result<LogicalPlan>> {
    Box::pin(async move { state.statement_to_plan(rewrite(statement)?).await })
}
