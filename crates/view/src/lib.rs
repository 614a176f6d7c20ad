//! A view: one SQL file, planned once, kept up to date by what is new.
//!
//! ```text
//!  files        SQL files: front matter, parameters, statements, the folder, what deserves a refusal or a warning
//!  incremental  a file's plan, cut in two: deltas below the cut, the residual plan above it
//!  results      two results of one view: their digests, their difference, how exactly a column can be compared
//! ```

pub mod files;
pub mod incremental;
pub mod results;

pub use files::{
    AREA, Bindings, ColumnName, DASHBOARD, Fingerprint, FrontMatter, LoadedFile, PANELS, PanelFile, Param, SOURCES,
    SqlFile, Workspace, WorkspaceError, allow_prepared, allow_statement, explain_statement, fingerprints, live_view,
    load_folder, load_panels, only_reads, plan, plan_statement, plan_unbound, plan_with, read_regular,
    refuse_deep_statement,
};
pub use incremental::{Description, InputRows, LiveView, Maintenance};
