//! What can be wrong with the rows of a relation.

use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// A relation's rows cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelationError {
    /// A declared relation cannot be read, such as a file that is missing.
    #[error("{file}:{line}:{column}: {relation}: {reason}", file = file.display())]
    Unusable {
        /// The file that declares it.
        file: PathBuf,
        /// Line of its name there, from 1.
        line: usize,
        /// Column of its name there in characters, from 1.
        column: usize,
        /// Its name.
        relation: String,
        /// Why.
        reason: String,
    },
    /// Evaluating `deleted_when` failed on some record, such as a division by zero in it.
    #[error("deleted_when of {relation} ({sql}) failed")]
    DeletedWhen {
        /// The keyed relation.
        relation: String,
        /// The condition as written.
        sql: String,
        /// DataFusion's error.
        source: Box<DataFusionError>,
    },
    /// A column has a type that records cannot be decoded into.
    #[error("relation {relation}: {reason}")]
    UnsupportedType {
        /// The relation.
        relation: String,
        /// The decoder's reason.
        reason: String,
    },
    /// Rows without record keys were given to a keyed table.
    #[error("rows without keys cannot update a keyed table")]
    NotKeyed,
    /// A partition ended before the end offset that it had when the read was planned.
    #[error(
        "{topic}[{partition}] ends at offset {next_offset}, but reached to {end} before: was the topic created again?"
    )]
    Shortened {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Where it ends now.
        next_offset: i64,
        /// Where it ended when the read was planned.
        end: i64,
    },
    /// Nothing arrived for a long while although there was more to read.
    #[error("{topic}[{partition}] has sent nothing for {after:?}: stopped at offset {next_offset} of {end}")]
    Stalled {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The next offset that was asked for.
        next_offset: i64,
        /// Where the read was to end.
        end: i64,
        /// How long the reader waited.
        after: std::time::Duration,
    },
    /// The thread that read a partition has ended.
    #[error("the reader of {topic}[{partition}] ended without finishing")]
    ReaderDied {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
    },
    /// Arrow refused to put the columns together.
    #[error("columns do not fit together")]
    Arrow(#[from] ArrowError),
}
