//! The rows behind marks, as hover text.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::interleave_record_batch;
use datafusion::arrow::datatypes::Schema;

use super::ink::tip;
use crate::readable::{NULL, ReadableColumn, column};

/// Some rows of a result, all columns readable.
pub struct ReadableRows(Vec<ReadableColumn>);

impl ReadableRows {
    /// These rows of the batches, in this order.
    pub fn pick(schema: &Schema, batches: &[RecordBatch], rows: &[usize]) -> Self {
        let places: Vec<(usize, usize)> = rows.iter().filter_map(|row| place(batches, *row)).collect();
        let all: Vec<&RecordBatch> = batches.iter().collect();
        let picked: Vec<RecordBatch> = if places.is_empty() {
            Vec::new()
        } else {
            // Rows that Arrow cannot take have no text; the picture does not depend on it.
            interleave_record_batch(&all, &places).into_iter().collect()
        };
        let fields = schema.fields().iter().enumerate();
        Self(fields.map(|(index, field)| column(field, &picked, index, rows.len())).collect())
    }

    /// The text of one of them: a line for each of these columns, or for all.
    pub fn tip(&self, row: usize, columns: Option<&[usize]>, more: Option<(&str, &str)>) -> String {
        let wanted = |index: &usize| columns.is_none_or(|columns| columns.contains(index));
        let lines = self.0.iter().enumerate().filter(|(index, _)| wanted(index));
        let cell = |column: &'_ ReadableColumn| column.cells.get(row).cloned().flatten();
        let lines: Vec<(&str, String)> = lines
            .map(|(_, column)| (column.header.as_str(), cell(column).unwrap_or_else(|| NULL.to_owned())))
            .collect();
        tip(lines.iter().map(|(name, value)| (*name, value.as_str())).chain(more))
    }
}

fn place(batches: &[RecordBatch], row: usize) -> Option<(usize, usize)> {
    let mut left = row;
    for (index, batch) in batches.iter().enumerate() {
        if left < batch.num_rows() {
            return Some((index, left));
        }
        left -= batch.num_rows();
    }
    None
}
