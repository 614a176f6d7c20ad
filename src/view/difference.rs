//! How two results differ, as people see it: rows that came, rows that went, rows that changed.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};

/// Numbers of rows by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rows of the new result that have no counterpart in the old one.
    pub added: usize,
    /// Rows of the old result that have none in the new one.
    pub removed: usize,
    /// Rows with the same labels (all columns that are no numbers) and other numbers.
    pub changed: usize,
    /// Whether the columns themselves are others: then all rows went and came.
    pub columns: bool,
}

impl Difference {
    /// Compares results as bags of rows, since only a root's ORDER BY gives an order.
    pub fn between(
        (old_schema, old): (&SchemaRef, &[RecordBatch]),
        (new_schema, new): (&SchemaRef, &[RecordBatch]),
    ) -> Result<Self, ArrowError> {
        let columns = |schema: &SchemaRef| -> Vec<_> {
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if columns(old_schema) != columns(new_schema) {
            let count = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum();
            return Ok(Self { added: count(new), removed: count(old), changed: 0, columns: true });
        }
        let fields = |all: bool| -> Vec<usize> {
            let is_label = |index: &usize| all || !new_schema.field(*index).data_type().is_numeric();
            (0..new_schema.fields().len()).filter(is_label).collect()
        };
        let (whole, labels) = (fields(true), fields(false));
        let converter = |columns: &[usize]| {
            let field = |column: &usize| SortField::new(new_schema.field(*column).data_type().clone());
            RowConverter::new(columns.iter().map(field).collect())
        };
        let (row_of, label_of) = (converter(&whole)?, converter(&labels)?);
        let mut weights: BTreeMap<(Vec<u8>, Vec<u8>), i64> = BTreeMap::new();
        for (batches, weight) in [(old, -1), (new, 1)] {
            for batch in batches {
                let rows = row_of.convert_columns(batch.columns())?;
                // Without a label all rows are alike.
                let names = if labels.is_empty() {
                    None
                } else {
                    Some(label_of.convert_columns(batch.project(&labels)?.columns())?)
                };
                for row in 0..batch.num_rows() {
                    let label = names.as_ref().map(|names| names.row(row).as_ref().to_vec()).unwrap_or_default();
                    *weights.entry((label, rows.row(row).as_ref().to_vec())).or_default() += weight;
                }
            }
        }
        let mut by_label: BTreeMap<Vec<u8>, (u64, u64)> = BTreeMap::new();
        for ((label, _), weight) in weights {
            let (came, went) = by_label.entry(label).or_default();
            *came += weight.max(0).unsigned_abs();
            *went += weight.min(0).unsigned_abs();
        }
        let mut difference = Self::default();
        for (came, went) in by_label.into_values() {
            let changed = came.min(went);
            difference.changed += changed as usize;
            difference.added += (came - changed) as usize;
            difference.removed += (went - changed) as usize;
        }
        Ok(difference)
    }
}

/// `2 rows added, 1 removed, 3 changed`, `no row differs`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, removed, changed, columns } = *self;
        if columns {
            return write!(f, "other columns, {added} rows instead of {removed}");
        }
        let mut parts = Vec::new();
        for (count, verb) in [(added, "added"), (removed, "removed"), (changed, "changed")] {
            if count > 0 {
                let rows = if parts.is_empty() { if count == 1 { " row" } else { " rows" } } else { "" };
                parts.push(format!("{count}{rows} {verb}"));
            }
        }
        if parts.is_empty() { f.write_str("no row differs") } else { f.write_str(&parts.join(", ")) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, StringViewArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn result(rows: &[(&str, i64)]) -> (SchemaRef, Vec<RecordBatch>) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8View, true),
            Field::new("seen", DataType::Int64, true),
        ]));
        let names = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|(name, _)| *name)));
        let seen = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, seen)| *seen)));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![names, seen]).unwrap();
        (schema, vec![batch])
    }

    fn between(old: &[(&str, i64)], new: &[(&str, i64)]) -> String {
        let ((old_schema, old), (new_schema, new)) = (result(old), result(new));
        Difference::between((&old_schema, &old), (&new_schema, &new)).unwrap().to_string()
    }

    #[test]
    fn rows_with_the_same_labels_have_changed() {
        assert_eq!(between(&[("a", 1), ("b", 2)], &[("b", 3), ("a", 1), ("c", 1)]), "1 row added, 1 changed");
        assert_eq!(between(&[("a", 1), ("b", 2), ("c", 3)], &[("b", 2)]), "2 rows removed");
        assert_eq!(between(&[("a", 1), ("b", 2)], &[("b", 2), ("a", 1)]), "no row differs");
        assert_eq!(between(&[("a", 1), ("a", 1)], &[("a", 1)]), "1 row removed");
    }

    #[test]
    fn a_number_alone_changes() {
        let number = |n: i64| {
            let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap();
            (schema, vec![batch])
        };
        let ((schema, old), (_, new)) = (number(1), number(2));
        let difference = Difference::between((&schema, &old), (&schema, &new)).unwrap();
        assert_eq!(difference, Difference { changed: 1, ..Difference::default() });
        let (other, rows) = result(&[("a", 1)]);
        let difference = Difference::between((&schema, &old), (&other, &rows)).unwrap();
        assert_eq!(difference.to_string(), "other columns, 1 rows instead of 1");
    }
}
