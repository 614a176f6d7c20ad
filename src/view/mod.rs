//! A view: one SQL file, planned once, kept up to date by what is new.

pub mod clock;
pub mod cut;
mod diagnose;
pub mod difference;
pub mod digest;
pub mod exact_sum;
pub mod explain;
pub mod fingerprint;
pub mod front_matter;
pub mod lint;
#[cfg(test)]
mod lint_tests;
pub mod live_view;
pub mod needs;
pub mod order;
mod param;
mod places;
pub mod reducer;
pub mod refusal;
pub mod run;
pub mod session;
#[cfg(test)]
mod shipped_tests;
pub mod signed;
pub mod source;
pub mod sql_error;
pub mod sql_file;
pub mod statement;
pub mod tolerance;
pub mod weights;
#[cfg(test)]
mod weights_tests;
pub mod workspace;

pub use difference::Difference;
pub use explain::Description;
pub use fingerprint::{Fingerprint, fingerprints};
pub use front_matter::{ColumnName, FrontMatter, Param};
pub use live_view::{LiveView, Maintenance};
pub use run::Rows;
pub(crate) use sql_error::did_you_mean_hint;
pub use sql_error::{Span, SqlError, SqlReport, SqlWarning};
pub use sql_file::{
    Bindings, SqlFile, explain_statement, load_folder, plan, plan_statement, plan_unbound, plan_with, read_regular,
};
pub use statement::{allow_prepared, allow_statement, only_reads, refuse_deep_statement};
pub use tolerance::{Tolerance, tolerance};
pub use workspace::{LoadedFile, Workspace, WorkspaceError, live_view};

/// What DataFusion says about a view, without its own headings.
pub fn words(error: &datafusion::error::DataFusionError) -> String {
    use datafusion::error::DataFusionError as Error;
    match error {
        Error::External(inner) => inner.to_string(),
        Error::Plan(words) | Error::Execution(words) => {
            words.split("\n\nbacktrace: ").next().unwrap_or_default().to_owned()
        }
        Error::Context(_, inner) => words(inner),
        Error::Shared(inner) => words(inner),
        other => other.strip_backtrace(),
    }
}
