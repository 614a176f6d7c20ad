//! One live result: all that a replay needs, and what it must give.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};

use tallgrass_diagnostics::message_of;
use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{Snapshot, ViewResult};
use tallgrass_view::results::Digest;

/// A live result of one view, at one moment.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The view.
    pub view: Arc<str>,
    /// Everything below these offsets is in it, nothing at or above.
    pub as_of: AsOf,
    /// First offsets of the partitions that had lost their beginning when the live run started.
    pub since: AsOf,
    /// The value of `now()`, in nanoseconds since 1970 UTC.
    pub now_ns: i64,
    /// The result, or why there is none.
    pub result: Result<LiveResult, String>,
}

/// A live result.
#[derive(Debug, Clone)]
pub struct LiveResult {
    /// Its digest.
    pub digest: Digest,
    /// Its rows.
    pub rows: LiveRows,
}

/// Rows of a live result, as they were kept.
#[derive(Debug, Clone)]
pub enum LiveRows {
    /// In memory.
    Arrow(SchemaRef, Vec<RecordBatch>),
    /// As objects of JSON.
    Json(Vec<Map<String, Value>>),
}

impl Claim {
    /// All results of a snapshot. `since` is where its live run's history starts.
    pub fn all(snapshot: &Snapshot, since: &AsOf) -> Vec<Self> {
        let claim = |view: &ViewResult| Self {
            view: Arc::clone(&view.name),
            as_of: snapshot.as_of.clone(),
            since: since.clone(),
            now_ns: snapshot.now_ns,
            result: LiveResult::of(view),
        };
        snapshot.results.iter().map(claim).collect()
    }
}

impl LiveResult {
    /// The result of a view, or why there is none.
    pub fn of(view: &ViewResult) -> Result<Self, String> {
        let rows = view.rows.as_ref().map_err(|error| message_of(error))?;
        let digest = Digest::of(&view.schema, rows).map_err(|error| message_of(&error))?;
        Ok(Self { digest, rows: LiveRows::Arrow(Arc::clone(&view.schema), rows.clone()) })
    }
}

impl LiveRows {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Arrow(_, batches) => batches.iter().map(RecordBatch::num_rows).sum(),
            Self::Json(rows) => rows.len(),
        }
    }
}
