//! Rows as lines of text, safe for a terminal.

use datafusion::arrow::array::RecordBatch;

use crate::sink::cells::Cells;
use crate::sink::terminal::show_moment;

/// The named values of one row, nulls left out, in the order of the columns.
pub struct Line {
    values: Vec<(String, String)>,
}

impl Line {
    /// One line for each row.
    pub fn all(batches: &[RecordBatch]) -> anyhow::Result<Vec<Self>> {
        let mut lines = Vec::new();
        for batch in batches {
            let columns =
                batch.columns().iter().map(|column| Cells::new(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
            let schema = batch.schema();
            for row in 0..batch.num_rows() {
                let values = columns.iter().zip(schema.fields()).filter_map(|(cells, field)| {
                    let value = cells.get(row)?;
                    let value = if field.data_type().is_temporal() { show_moment(&value) } else { value };
                    Some((field.name().clone(), value))
                });
                lines.push(Self { values: values.collect() });
            }
        }
        Ok(lines)
    }

    /// Takes a value out by its column's name.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let index = self.values.iter().position(|(column, _)| column == name)?;
        Some(self.values.remove(index).1)
    }

    /// What has not been taken: `id 7, _timestamp 2026-01-31 09:00:00`.
    pub fn rest(&self) -> String {
        let rest: Vec<String> =
            self.values.iter().map(|(name, value)| format!("{} {value}", name.trim_start_matches('_'))).collect();
        rest.join(", ")
    }
}
