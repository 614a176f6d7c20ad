//! What two results of one view do not share.
//!
//! Results are bags: SQL gives rows an order at the root alone, and ties are free even there, so the order of rows does not
//! count, and a row that stands twice on one side must stand twice on the other. A swap counts the rows of a difference,
//! the changes of a view are its rows, and the proof looks for rows of it that a [tolerance](super::tolerance) allows.

use std::collections::HashMap;
use std::fmt;

use datafusion::arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::arrow::error::ArrowError;

use super::row::{columns, count, row_hashes};
use super::tolerance::{Tolerance, Tolerances};

/// The rows that only one of two results has, each side in its own order.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// Rows of the new result that have no counterpart in the old one.
    pub added: Vec<RecordBatch>,
    /// Rows of the old result that have none in the new one.
    pub removed: Vec<RecordBatch>,
    /// Whether the columns differ: then no row has a counterpart.
    pub columns: bool,
}

impl Difference {
    /// Compares two results. Fails for a type that Arrow's row format does not know.
    pub fn between(
        (old_schema, old): (&Schema, &[RecordBatch]),
        (new_schema, new): (&Schema, &[RecordBatch]),
    ) -> Result<Self, ArrowError> {
        if columns(old_schema) != columns(new_schema) {
            return Ok(Self { added: new.to_vec(), removed: old.to_vec(), columns: true });
        }
        let (old_rows, new_rows) = (row_hashes(old)?, row_hashes(new)?);
        let mut surplus: HashMap<u128, i64> = HashMap::with_capacity(new_rows.len());
        for row in &new_rows {
            *surplus.entry(*row).or_default() += 1;
        }
        for row in &old_rows {
            *surplus.entry(*row).or_default() -= 1;
        }
        // Takes one of what is left of a row, if anything is on this side.
        let mut take_one = |row: u128, side: i64| match surplus.get_mut(&row) {
            Some(left) if *left * side > 0 => {
                *left -= side;
                true
            }
            _ => false,
        };
        let added = pick(new, |row| take_one(new_rows[row], 1))?;
        let removed = pick(old, |row| take_one(old_rows[row], -1))?;
        Ok(Self { added, removed, columns: false })
    }

    /// Whether both results are the same.
    pub fn is_empty(&self) -> bool {
        !self.columns && count(&self.added) == 0 && count(&self.removed) == 0
    }

    /// Its rows, counted.
    pub fn counts(&self) -> Result<ChangeCounts, ArrowError> {
        let (added, removed) = (count(&self.added), count(&self.removed));
        if self.columns {
            return Ok(ChangeCounts { added, removed, changed: 0, columns: true });
        }
        let labels = |batches| row_hashes(&project(batches, |field| !field.data_type().is_numeric())?);
        let mut open: HashMap<u128, usize> = HashMap::new();
        for label in labels(&self.added)? {
            *open.entry(label).or_default() += 1;
        }
        let mut changed = 0;
        for label in labels(&self.removed)? {
            if let Some(left) = open.get_mut(&label).filter(|left| **left > 0) {
                *left -= 1;
                changed += 1;
            }
        }
        Ok(ChangeCounts { added: added - changed, removed: removed - changed, changed, columns: false })
    }

    /// Takes out pairs of rows that are the same within the tolerances of their columns; gives the number of pairs.
    pub fn forgive(&mut self, tolerances: &Tolerances) -> Result<usize, ArrowError> {
        if tolerances.is_empty() || self.columns {
            return Ok(0);
        }
        let (old, new) = (InexactRow::all(&self.removed, tolerances)?, InexactRow::all(&self.added, tolerances)?);
        // Only rows whose exact columns agree are tried with each other.
        let mut candidates: HashMap<u128, Vec<usize>> = HashMap::new();
        for (index, row) in new.iter().enumerate() {
            candidates.entry(row.exact).or_default().push(index);
        }
        let (mut old_paired, mut new_paired) = (vec![false; old.len()], vec![false; new.len()]);
        for (row, paired) in old.iter().zip(&mut old_paired) {
            let Some(rows) = candidates.get_mut(&row.exact) else { continue };
            if let Some(place) = rows.iter().position(|other| row.is_near(&new[*other])) {
                *paired = true;
                new_paired[rows.swap_remove(place)] = true;
            }
        }
        self.removed = pick(&self.removed, |row| !old_paired[row])?;
        self.added = pick(&self.added, |row| !new_paired[row])?;
        Ok(old_paired.into_iter().filter(|paired| *paired).count())
    }
}

/// A row with columns that need not agree to the bit.
struct InexactRow {
    /// The hash of its other columns.
    exact: u128,
    /// Each inexact value, as its hash and as a number where it is one.
    inexact: Vec<(Tolerance, u128, Option<f64>)>,
}

impl InexactRow {
    fn all(batches: &[RecordBatch], tolerances: &Tolerances) -> Result<Vec<Self>, ArrowError> {
        let exact = row_hashes(&project(batches, |field| !tolerances.contains_key(field.name()))?)?;
        let mut rows: Vec<Self> = exact.into_iter().map(|exact| Self { exact, inexact: Vec::new() }).collect();
        for (name, tolerance) in tolerances {
            let column = project(batches, |field| field.name() == name)?;
            let numbers = column.iter().flat_map(numbers);
            for ((row, hash), number) in rows.iter_mut().zip(row_hashes(&column)?).zip(numbers) {
                row.inexact.push((*tolerance, hash, number));
            }
        }
        Ok(rows)
    }

    fn is_near(&self, other: &Self) -> bool {
        self.inexact.iter().zip(&other.inexact).all(|((tolerance, a_hash, a), (_, b_hash, b))| {
            a_hash == b_hash || a.zip(*b).is_some_and(|(a, b)| tolerance.allows(a, b))
        })
    }
}

/// A batch of one column as numbers. A number that was written as text is one too.
fn numbers(batch: &RecordBatch) -> Vec<Option<f64>> {
    let column = batch.columns().first().filter(|column| {
        let data_type = column.data_type();
        data_type.is_numeric() || data_type.is_string()
    });
    match column.and_then(|column| cast(column, &DataType::Float64).ok()) {
        Some(numbers) => numbers.as_primitive::<Float64Type>().iter().collect(),
        None => vec![None; batch.num_rows()],
    }
}

/// The wanted columns of each batch.
fn project(batches: &[RecordBatch], wanted: impl Fn(&Field) -> bool) -> Result<Vec<RecordBatch>, ArrowError> {
    let project = |batch: &RecordBatch| {
        let fields = batch.schema();
        let columns = fields.fields().iter().enumerate().filter(|(_, field)| wanted(field));
        batch.project(&columns.map(|(index, _)| index).collect::<Vec<_>>())
    };
    batches.iter().map(project).collect()
}

/// The wanted rows, by their numbers in all batches.
fn pick(batches: &[RecordBatch], mut wanted: impl FnMut(usize) -> bool) -> Result<Vec<RecordBatch>, ArrowError> {
    let (mut picked, mut first) = (Vec::new(), 0);
    for batch in batches {
        let rows: BooleanArray = (first..first + batch.num_rows()).map(|row| Some(wanted(row))).collect();
        first += batch.num_rows();
        if rows.true_count() > 0 {
            picked.push(filter_record_batch(batch, &rows)?);
        }
    }
    Ok(picked)
}

/// A difference as people see it: numbers of rows by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Rows that are new.
    pub added: usize,
    /// Rows that are no longer there.
    pub removed: usize,
    /// Rows with the same labels (all columns that are not numbers) and other numbers.
    pub changed: usize,
    /// Whether the columns differ: then all rows were removed and added.
    pub columns: bool,
}

/// `2 rows added, 1 removed, 3 changed`, `no row differs`
impl fmt::Display for ChangeCounts {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringViewArray};

    use super::*;

    fn named(rows: &[(&str, f64)]) -> RecordBatch {
        let names: ArrayRef = Arc::new(StringViewArray::from_iter_values(rows.iter().map(|(name, _)| *name)));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, value)| *value)));
        RecordBatch::try_from_iter([("name", names), ("x", values)]).unwrap()
    }

    fn numbers(values: &[i64]) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn between(old: &[RecordBatch], new: &[RecordBatch]) -> Difference {
        Difference::between((&old[0].schema(), old), (&new[0].schema(), new)).unwrap()
    }

    fn counted(old: &[(&str, f64)], new: &[(&str, f64)]) -> String {
        between(&[named(old)], &[named(new)]).counts().unwrap().to_string()
    }

    #[test]
    fn a_difference_counts_repeats_and_knows_no_batches() {
        let old = [numbers(&[1, 2, 2]), numbers(&[3, 3])];
        let found = between(&old, &[numbers(&[2]), numbers(&[3, 3, 3, 4, 1])]);
        assert_eq!((found.added, found.removed), (vec![numbers(&[3, 4])], vec![numbers(&[2])]));
        assert!(between(&old, &[numbers(&[3, 2, 1, 2, 3])]).is_empty());
    }

    #[test]
    fn rows_with_the_same_labels_have_changed() {
        let old = [("a", 1.0), ("b", 2.0), ("c", 3.0)];
        assert_eq!(counted(&old[..2], &[("b", 3.0), ("a", 1.0), ("c", 1.0)]), "1 row added, 1 changed");
        assert_eq!(counted(&old, &[("b", 2.0)]), "2 rows removed");
        assert_eq!(counted(&old[..2], &[("b", 2.0), ("a", 1.0)]), "no row differs");
        assert_eq!(counted(&[("a", 1.0), ("a", 1.0)], &[("a", 1.0)]), "1 row removed");
        // Without a label all rows are alike.
        let numbers = between(&[numbers(&[1])], &[numbers(&[2])]).counts().unwrap();
        assert_eq!(numbers, ChangeCounts { changed: 1, ..ChangeCounts::default() });
    }

    #[test]
    fn other_names_or_types_of_columns_are_another_result() {
        let empty = between(&[numbers(&[])], &[named(&[])]);
        assert!(!empty.is_empty());
        let found = between(&[numbers(&[1])], &[named(&[("a", 1.0)])]).counts().unwrap();
        assert_eq!(found.to_string(), "other columns, 1 rows instead of 1");
    }

    #[test]
    fn a_tolerance_forgives_its_column_alone() {
        let forgive = |new: &[(&str, f64)], column: &str| {
            let mut found = between(&[named(&[("a", 1.0), ("b", f64::NAN), ("c", 3.0)])], &[named(new)]);
            let tolerances = Tolerances::from([(column.to_owned(), Tolerance::Relative(1e-12))]);
            let close = found.forgive(&tolerances).unwrap();
            (close, count(&found.added), count(&found.removed))
        };
        let near = [("c", 3.0), ("b", f64::NAN), ("a", 1.0 + 1e-15)];
        assert_eq!((forgive(&near, "x"), forgive(&near, "name")), ((1, 0, 0), (0, 1, 1)));
        assert_eq!(forgive(&[("a", 1.1), ("b", f64::NAN), ("c", 3.0)], "x"), (0, 1, 1));
        assert_eq!(forgive(&[("a", 1.0), ("b", 0.0), ("d", 3.0)], "x"), (0, 2, 2));
    }
}
