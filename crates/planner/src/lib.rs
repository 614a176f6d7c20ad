//! `DataFusion`'s planning, compiled once.
//!
//! The body of an `async fn` is compiled in each crate that polls it, with everything generic that it calls: for a
//! statement that is `DataFusion`'s whole SQL planner, a minute of the compiler's time. So these futures are polled here
//! alone, and everybody else polls a box.
//!
//! ```
//! use datafusion::prelude::SessionContext;
//! use tallgrass_planner::{logical_plan, parse, physical_plan};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let context = SessionContext::new();
//! let plan = logical_plan(&context.state(), parse("SELECT 1 AS one")?).await?;
//! let plan = physical_plan(&context, plan).await?;
//! assert_eq!(plan.schema().field(0).name(), "one");
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use datafusion::common::{Result, plan_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use futures::future::BoxFuture;

/// The one statement of a text.
pub fn parse(sql: &str) -> Result<Statement> {
    let mut statements = DFParser::parse_sql(sql)?;
    if let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) {
        Ok(statement)
    } else {
        plan_err!("one statement is needed")
    }
}

/// The logical plan of a statement, with `DataFusion`'s own meaning.
pub fn logical_plan(state: &SessionState, statement: Statement) -> BoxFuture<'_, Result<LogicalPlan>> {
    Box::pin(state.statement_to_plan(statement))
}

/// A statement's plan and its session, as [`SessionContext::sql`] gives them.
pub fn sql<'a>(context: &'a SessionContext, sql: &'a str) -> BoxFuture<'a, Result<DataFrame>> {
    Box::pin(context.sql(sql))
}

/// A plan and its session, as [`SessionContext::execute_logical_plan`] gives them.
pub fn dataframe(context: &SessionContext, plan: LogicalPlan) -> BoxFuture<'_, Result<DataFrame>> {
    Box::pin(context.execute_logical_plan(plan))
}

/// The physical plan of a logical one, optimized.
pub fn physical_plan(context: &SessionContext, plan: LogicalPlan) -> BoxFuture<'_, Result<Arc<dyn ExecutionPlan>>> {
    Box::pin(async move { dataframe(context, plan).await?.create_physical_plan().await })
}
