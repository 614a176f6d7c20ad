//! Rows as lines: text for people, safe for a terminal, or objects for programs.

use datafusion::arrow::array::RecordBatch;

use crate::cli::LineFormat;
use tallgrass_sink::cells::Cells;
use tallgrass_sink::terminal::show_moment;
use tallgrass_sink::text::json_rows;

/// Makes a line of each row.
pub type RowFormatter = fn(&[RecordBatch]) -> anyhow::Result<Vec<String>>;

/// Lines in the requested format: `text` makes a role's own sentence.
pub fn lines_of(format: LineFormat, text: RowFormatter) -> RowFormatter {
    match format {
        LineFormat::Text => text,
        LineFormat::Ndjson => objects,
    }
}

/// Each row as a JSON object of all its columns, nulls among them.
fn objects(rows: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    match rows {
        [] => Ok(Vec::new()),
        [first, ..] => Ok(json_rows("row", &first.schema(), rows)?),
    }
}

/// The named values of one row, nulls left out, in the order of the columns.
pub struct RowValues {
    values: Vec<(String, String)>,
}

impl RowValues {
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

    /// Removes a value by its column's name.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let index = self.values.iter().position(|(column, _)| column == name)?;
        Some(self.values.remove(index).1)
    }

    /// The values that are left: `id 7, _timestamp 2026-01-31 09:00:00`.
    pub fn rest(&self) -> String {
        let rest: Vec<String> =
            self.values.iter().map(|(name, value)| format!("{} {value}", name.trim_start_matches('_'))).collect();
        rest.join(", ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn an_object_has_every_column_and_its_value_unchanged() {
        let batch = RecordBatch::try_from_iter([
            ("name", Arc::new(StringArray::from(vec![Some("Nidoran♂\u{1b}[2J\u{202e}\n"), None])) as ArrayRef),
            ("distance_km", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
            ("_timestamp", Arc::new(TimestampMillisecondArray::from(vec![Some(1_767_225_600_123), None]))),
        ])
        .unwrap();
        let lines = lines_of(LineFormat::Ndjson, |_| unreachable!("text was not asked for"));
        assert!(lines(&[]).unwrap().is_empty());
        let lines = lines(&[batch.clone(), batch]).unwrap();
        assert_eq!(
            lines[..2],
            [
                r#"{"name":"Nidoran♂\u001b[2J\u202e\n","distance_km":0.1,"_timestamp":"2026-01-01T00:00:00.123"}"#,
                r#"{"name":null,"distance_km":null,"_timestamp":null}"#,
            ]
        );
        assert_eq!(lines[..2], lines[2..]);
    }
}
