//! From a parsed statement to a logical plan.

use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use futures::future::BoxFuture;

use crate::rewrite::rewrite;
use crate::star;

/// Plans a parsed statement, rewritten where the planner needs it.
pub fn logical_plan(state: &SessionState, statement: Statement) -> BoxFuture<'_, Result<LogicalPlan>> {
    Box::pin(async move {
        let statement = star::as_declared(state, statement)?;
        tallgrass_planner::logical_plan(state, rewrite(statement)?).await
    })
}
