//! SQL files: what a folder holds, what each file means, and what is wrong with it.

mod diagnose;
mod fingerprint;
pub mod front_matter;
pub mod lint;
#[cfg(test)]
mod lint_tests;
pub mod order;
mod panel;
pub(crate) mod param;
mod places;
pub mod refusal;
#[cfg(test)]
pub(crate) mod shipped_tests;
mod sql_file;
mod statement;
mod workspace;

pub use fingerprint::{Fingerprint, fingerprints};
pub use front_matter::{ColumnName, FrontMatter};
pub use panel::{AREA, PANELS, PanelFile, load_panels};
pub use param::Param;
pub use sql_file::{
    Bindings, LoadedFile, SqlFile, explain_statement, load_folder, plan, plan_statement, plan_unbound, plan_with,
    read_regular,
};
pub use statement::{allow_prepared, allow_statement, only_reads, refuse_deep_statement};
pub use workspace::{DASHBOARD, SOURCES, Workspace, WorkspaceError, live_view};
