//! What changed in a relation: a Z-set, that is, rows with signed weights.

use datafusion::arrow::array::{Int64Array, RecordBatch};

/// Rows that came (+) and went (−). The relation after a change is the sum of all deltas so far.
///
/// A stream only ever grows, so its deltas carry no weights at all; an update of a keyed table is the old row at −1
/// and the new one at +1.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// The rows that changed.
    pub rows: RecordBatch,
    /// One weight per row, never null, never 0; `None` means that every row weighs +1.
    pub weights: Option<Int64Array>,
}

impl Delta {
    /// Rows that all came.
    pub fn insertions(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// How many rows changed, whatever their weights.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// The weight of one row.
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    /// The rows that went and those that came, where all of the former stand before the latter, each with weight ±1: as
    /// a keyed table gives them.
    pub fn gone_and_came(&self) -> (RecordBatch, RecordBatch) {
        let gone = self.weights.as_ref().map_or(0, |weights| weights.values().partition_point(|weight| *weight < 0));
        (self.rows.slice(0, gone), self.rows.slice(gone, self.num_rows() - gone))
    }

    /// Whether a row may have gone, so that a reader must look at the weights.
    pub fn retracts(&self) -> bool {
        self.weights.as_ref().is_some_and(|weights| weights.values().iter().any(|weight| *weight < 0))
    }
}
