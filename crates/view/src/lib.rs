//! A view: one SQL file, planned once, kept up to date by what is new.
//!
//! ```text
//!  files        SQL files: front matter, parameters, statements, the folder, what deserves a refusal or a warning
//!  incremental  a file's plan, cut in two: deltas below the cut, the residual plan above it
//!  results      two results of one view: their digests, their difference, how exactly a column can be compared
//! ```
//!
//! ```
//! use std::sync::Arc;
//! use datafusion::arrow::array::{AsArray as _, Int64Array, RecordBatch};
//! use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
//! use tallgrass_planner::{logical_plan, parse};
//! use tallgrass_sql::session;
//! use tallgrass_view::incremental::cut::Use;
//! use tallgrass_view::incremental::source::{LiveRelation, RelationKind};
//! use tallgrass_view::{InputRows, LiveView};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
//! let context = session::live();
//! context.register_table("s", Arc::new(LiveRelation::new("s", Arc::clone(&schema), RelationKind::Stream)))?;
//! let plan = logical_plan(&context.state(), parse("SELECT sum(x) FROM s")?).await?;
//! let mut view = LiveView::plan(&context.state(), plan, Use::Result, 1_000).await?;
//!
//! for micro_batch in [vec![1, 2], vec![3]] {
//!     let rows = [RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(micro_batch))])?];
//!     view.apply(InputRows { relation: "s", columns: &[0], batches: &rows }).await?;
//! }
//! let result = view.evaluate(&[], 0).await?;
//! assert_eq!(result[0].column(0).as_primitive::<Int64Type>().values(), &[6]);
//! # Ok(())
//! # }
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
