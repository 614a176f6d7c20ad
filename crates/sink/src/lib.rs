//! Results for people and programs: Arrow batches become text, files, and a live terminal.
//!
//! ```text
//!                       ┌─▶ text      table, JSON, NDJSON, CSV, Markdown ─▶ stdout, files
//!   schema + batches ───┼─▶ columns   Parquet, Arrow IPC ─▶ files, pipes
//!                       ├─▶ terminal  a frame of tiles ─▶ redrawn in place, or plain blocks
//!                       └─▶ svg       pictures and tables as markup ─▶ a page, `.svg` files
//! ```
//!
//! A sink knows Arrow and nothing of Kafka, views or SQL: the caller gives a result's name, its form, and the moment that it
//! belongs to.
//!
//! # Contract
//! Event data is hostile. What goes to a terminal passes through [`sanitize`]; what goes to a program
//! ([`Format::Json`], [`Format::Ndjson`], [`Format::Csv`], [`ColumnFormat`]) carries every value unchanged.
//!
//! ```
//! use std::sync::Arc;
//! use datafusion::arrow::array::{Int64Array, RecordBatch};
//! use tallgrass_sink::{Format, text};
//!
//! let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
//! let mut out = Vec::new();
//! text::write_view(&mut out, Format::Ndjson, "numbers", &rows.schema(), &[rows.clone()])?;
//! assert_eq!(out, b"{\"n\":1}\n{\"n\":2}\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cells;
pub mod chart;
pub mod columns;
pub mod files;
mod format;
pub mod places;
mod portable;
pub mod progress;
mod readable;
pub mod sanitize;
pub mod scale;
mod series;
pub mod svg;
pub mod table;
pub mod terminal;
pub mod text;
pub mod trend;

use std::io;
use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;

pub use self::format::{ColumnFormat, Format, ResultFormat};

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The destination accepts no more bytes.
    #[error("cannot write the result")]
    Write(#[from] io::Error),
    /// A column's type or value cannot be written in this format.
    #[error("cannot write '{view}' as {format}")]
    Encode {
        /// The view whose rows they are
        view: String,
        /// The requested format
        format: ResultFormat,
        /// Arrow's error
        source: ArrowError,
    },
    /// A file of the output folder could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file or folder
        path: PathBuf,
        /// The system's error
        source: io::Error,
    },
    /// A view's name cannot be the name of a file.
    #[error("'{name}' cannot be a file's name")]
    FileName {
        /// The view's name
        name: String,
    },
}
