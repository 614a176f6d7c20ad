//! What changed in a relation.

use datafusion::arrow::array::RecordBatch;

/// Rows that left a relation and rows that arrived, each once. The relation after a change is the sum of all deltas so far.
///
/// A stream only ever grows, so nothing of it is retracted; an update of a keyed table retracts the old row and inserts the
/// new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// The rows that left.
    pub retractions: RecordBatch,
    /// The rows that arrived, with the same columns.
    pub insertions: RecordBatch,
}

impl Delta {
    /// A change that retracts nothing.
    pub fn insertions(rows: RecordBatch) -> Self {
        Self { retractions: RecordBatch::new_empty(rows.schema()), insertions: rows }
    }

    /// How many rows left or arrived.
    pub fn num_rows(&self) -> usize {
        self.retractions.num_rows() + self.insertions.num_rows()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }
}
