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

pub mod functions;
mod plan;
pub mod rewrite;
pub mod rules;
pub mod session;

pub use plan::logical_plan;
