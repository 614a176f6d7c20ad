//! Results for people and programs: Arrow batches become text, files, and a live terminal.
//!
//! ```text
//!                       ┌─▶ text      table, JSON, NDJSON, CSV, Markdown ─▶ stdout, files
//!   schema + batches ───┼─▶ columns   Parquet, Arrow IPC ─▶ files, pipes
//!                       ├─▶ terminal  a frame of tiles ─▶ redrawn in place, or plain blocks
//!                       └─▶ svg       pictures and tables as markup ─▶ a page, `.svg` files
//! ```
//!
//! A sink knows Arrow and nothing of Kafka, views or SQL: whoever calls it says what a result is called, what it should
//! look like, and what moment it belongs to.
//!
//! # Contract
//! Event data is hostile. What goes to a terminal passes through [`sanitize`]; what goes to a program
//! ([`Format::Json`], [`Format::Ndjson`], [`Format::Csv`], [`ColumnFormat`]) carries every value unchanged.

pub mod cells;
pub mod chart;
pub mod columns;
pub mod course;
pub mod files;
mod format;
pub mod places;
mod portable;
pub mod progress;
pub mod readable;
pub mod sanitize;
pub mod scale;
mod series;
pub mod svg;
pub mod table;
pub mod terminal;
pub mod text;

use std::io;
use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;

pub use self::format::{ColumnFormat, Encoding, Format};

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The destination took no more bytes.
    #[error("cannot write the result")]
    Write(#[from] io::Error),
    /// A column's type or value has no form in this format.
    #[error("cannot write '{view}' as {format}")]
    Encode {
        /// The view whose rows they are
        view: String,
        /// The format asked for
        format: Encoding,
        /// What Arrow says
        source: ArrowError,
    },
    /// A file of the output folder could not be made.
    #[error("cannot write {}", path.display())]
    File {
        /// The file or folder
        path: PathBuf,
        /// What the system says
        source: io::Error,
    },
    /// A view's name cannot be the name of a file.
    #[error("'{name}' cannot be a file's name")]
    FileName {
        /// The view's name
        name: String,
    },
}

impl SinkError {
    /// Whether the reader of our output went away (`… | head`), which is no failure of ours.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
