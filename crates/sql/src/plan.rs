//! From a parsed statement to a logical plan.

use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use futures::future::BoxFuture;

use crate::log_order::{in_log_order, needs_order};
use crate::rewrite::rewrite;
use crate::star;

/// Plans a parsed statement, rewritten where the planner needs it.
pub fn logical_plan(state: &SessionState, statement: Statement) -> BoxFuture<'_, Result<LogicalPlan>> {
    Box::pin(async move {
        let statement = rewrite(star::as_declared(state, statement)?)?;
        let plan = tallgrass_planner::logical_plan(state, statement.clone()).await?;
        if !needs_order(&plan)? {
            return Ok(plan);
        }
        // The planner drops the ORDER BY of a subquery, which is an order that somebody named.
        let mut state = state.clone();
        state.config_mut().options_mut().sql_parser.enable_subquery_sort_elimination = false;
        let plan = tallgrass_planner::logical_plan(&state, statement).await?;
        in_log_order(&state, plan)
    })
}
