//! Views: one SQL file each, planned once, the same in a replay and live.

mod diagnose;
pub mod front_matter;
mod param;
#[cfg(test)]
mod shipped_tests;
pub mod sql_error;
pub mod sql_file;
pub mod statement;

pub use front_matter::{Chart, ColumnName, FrontMatter, Param};
pub use sql_error::{Span, SqlError, SqlReport, SqlWarning};
pub use sql_file::{Bindings, SqlFile, load_folder, plan, plan_statement, plan_unbound, plan_with};
pub use statement::allow_statement;
