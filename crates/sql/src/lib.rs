//! SQL as PostgreSQL means it, planned by `DataFusion`: one meaning in files, by hand and over psql.
//!
//! ```text
//!  text ──parse──▶ statement ──rewrite──▶ statement ──plan──▶ logical plan ──rules──▶ analyzed plan
//! ```
//!
//! A statement that the planner would refuse or take for another one is replaced by an equal one before planning
//! ([`rewrite`]); a plan that would give a wrong number is corrected before it is optimized ([`rules`]); a function of
//! PostgreSQL's name has PostgreSQL's meaning ([`functions`]).
//!
//! # Contract
//! Both executions plan through [`logical_plan`] in a session of [`session`], so nothing here can tell them apart.
//!
//! ```
//! use datafusion::arrow::array::AsArray as _;
//! use datafusion::arrow::datatypes::Float64Type;
//! use tallgrass_planner::{dataframe, parse};
//! use tallgrass_sql::{logical_plan, session};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let context = session::batch();
//! let statement = parse("SELECT sum(x) AS s FROM (VALUES (1e300), (0.1), (-1e300)) AS t (x)")?;
//! let plan = logical_plan(&context.state(), statement).await?;
//! let rows = dataframe(&context, plan).await?.collect().await?;
//! assert_eq!(rows[0].column(0).as_primitive::<Float64Type>().values(), &[0.1]);
//! # Ok(())
//! # }
//! ```

pub mod functions;
pub mod log_order;
mod plan;
pub mod rewrite;
pub mod rules;
pub mod session;
mod star;

pub use plan::logical_plan;
