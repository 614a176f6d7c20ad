//! Two results compared as bags of rows: which rows only one of them has.
//!
//! SQL gives rows an order at the root alone, and ties are free even there, so the order of rows counts for nothing here,
//! and a row that stands twice on one side must stand twice on the other. Rows are compared exactly first, as bytes; only
//! what is left over is looked at value by value, where a column may be allowed a [`Tolerance`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use serde_json::Value;

use tallgrass_sink::cells::Cells;
use tallgrass_sink::sanitize::sanitize;
use tallgrass_sink::table::shown;
use tallgrass_view::results::digest::RowEncoder;
use tallgrass_view::{Tolerance, tolerance};

/// Rows of each side that a difference shows.
pub const MAX_SHOWN: usize = 5;

/// How far the numbers of a result's columns may lie apart and still count as the same. Columns that are not named must
/// be the same exactly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tolerances {
    columns: BTreeMap<Arc<str>, Tolerance>,
}

impl Tolerances {
    /// Every column exactly.
    pub fn exact() -> Self {
        Self::default()
    }

    /// What the functions in a plan allow.
    pub fn of(plan: &LogicalPlan) -> Result<Self, DataFusionError> {
        let names = plan.schema().fields().iter().map(|field| field.name().as_str());
        let allowed = names.zip(tolerance(plan)?);
        Ok(allowed.fold(Self::exact(), |all, (name, tolerance)| all.allow(name, tolerance)))
    }

    /// Allows the numbers of one column to differ.
    #[must_use]
    pub fn allow(mut self, column: &str, tolerance: Tolerance) -> Self {
        if tolerance != Tolerance::Exact {
            self.columns.insert(column.into(), tolerance);
        }
        self
    }

    fn column(&self, column: &str) -> Option<Tolerance> {
        self.columns.get(column).copied()
    }
}

/// One row, value by value.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, PartialEq)]
struct Cell {
    column: Arc<str>,
    text: String,
    number: Option<f64>,
}

/// `type_1 = Water, seen = 538`
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cell) in self.cells.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} = {}", sanitize(&cell.column), sanitize(&cell.text))?;
        }
        Ok(())
    }
}

/// Whether two rows say the same: their values read the same, or are numbers within their column's tolerance.
pub fn same_row(live: &Row, replay: &Row, tolerance: &Tolerances) -> bool {
    let same = |(live, replay): (&Cell, &Cell)| {
        live.column == replay.column
            && (live.text == replay.text
                || match (tolerance.column(&live.column), live.number, replay.number) {
                    (Some(tolerance), Some(a), Some(b)) => tolerance.allows(a, b),
                    _ => false,
                })
    };
    live.cells.len() == replay.cells.len() && live.cells.iter().zip(&replay.cells).all(same)
}

/// What two results do not share. A changed row counts on both sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// Rows that the replay does not have.
    pub only_live: Side,
    /// Rows that the live result does not have.
    pub only_replay: Side,
    /// Rows that are not the same exactly, but within the tolerance.
    pub close: usize,
}

impl Difference {
    /// Whether nothing differs beyond the tolerance.
    pub fn is_empty(&self) -> bool {
        self.only_live.rows == 0 && self.only_replay.rows == 0
    }
}

/// Rows that one side has alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Side {
    /// How many.
    pub rows: usize,
    /// The first [`MAX_SHOWN`] of them.
    pub first: Vec<Row>,
}

/// Compares rows in memory.
pub fn batches(live: &[RecordBatch], replay: &[RecordBatch], tolerance: &Tolerances) -> Result<Difference, ArrowError> {
    differ(encoded(live)?, encoded(replay)?, &|(batch, row)| arrow_row(batch, *row), tolerance)
}

/// Compares rows that were written as JSON: whatever reads back as the same value is the same.
pub fn json(live: &[Value], replay: &[Value], tolerance: &Tolerances) -> Result<Difference, ArrowError> {
    let encoded = |rows: &'_ [Value]| rows.iter().map(|row| (row.to_string().into_bytes(), row.clone())).collect();
    differ(encoded(live), encoded(replay), &|row| Ok(json_row(row)), tolerance)
}

/// Each row's bytes, and where it lies.
type Encoded<R> = Vec<(Vec<u8>, R)>;

fn encoded(batches: &[RecordBatch]) -> Result<Encoded<(&RecordBatch, usize)>, ArrowError> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    let Some(first) = batches.first() else { return Ok(rows) };
    let encoder = RowEncoder::new(&first.schema())?;
    for batch in batches {
        let mut row = 0;
        encoder.each(batch, |bytes| {
            rows.push((bytes.to_vec(), (batch, row)));
            row += 1;
        })?;
    }
    Ok(rows)
}

fn differ<R>(
    mut live: Encoded<R>,
    mut replay: Encoded<R>,
    read: &dyn Fn(&R) -> Result<Row, ArrowError>,
    tolerance: &Tolerances,
) -> Result<Difference, ArrowError> {
    live.sort_by(|(a, _), (b, _)| a.cmp(b));
    replay.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (mut only_live, mut only_replay) = (Vec::new(), Vec::new());
    let (mut live, mut replay) = (live.into_iter().peekable(), replay.into_iter().peekable());
    loop {
        let order = match (live.peek(), replay.peek()) {
            (Some((live, _)), Some((replay, _))) => live.cmp(replay),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => break,
        };
        let (from_live, from_replay) = (live.next_if(|_| order.is_le()), replay.next_if(|_| order.is_ge()));
        if order.is_ne() {
            only_live.extend(from_live.map(|(_, row)| row));
            only_replay.extend(from_replay.map(|(_, row)| row));
        }
    }
    if *tolerance == Tolerances::exact() {
        let side = |rows: &[R]| {
            let first = rows.iter().take(MAX_SHOWN).map(read).collect::<Result<_, _>>()?;
            Ok::<_, ArrowError>(Side { rows: rows.len(), first })
        };
        return Ok(Difference { only_live: side(&only_live)?, only_replay: side(&only_replay)?, close: 0 });
    }
    let only_live = only_live.iter().map(read).collect::<Result<_, _>>()?;
    let only_replay = only_replay.iter().map(read).collect::<Result<_, _>>()?;
    Ok(pair(only_live, only_replay, tolerance))
}

/// Pairs the rows that are the same within the tolerance. Only rows whose other columns agree are tried with each other.
fn pair(live: Vec<Row>, replay: Vec<Row>, tolerance: &Tolerances) -> Difference {
    let exact = |row: &Row| -> Vec<String> {
        let exact = row.cells.iter().filter(|cell| tolerance.column(&cell.column).is_none());
        exact.map(|cell| cell.text.clone()).collect()
    };
    let mut candidates: BTreeMap<Vec<String>, Vec<Row>> = BTreeMap::new();
    for row in replay {
        candidates.entry(exact(&row)).or_default().push(row);
    }
    let mut difference = Difference::default();
    for row in live {
        let rows = candidates.get_mut(&exact(&row));
        let found = rows.and_then(|rows| {
            let place = rows.iter().position(|other| same_row(&row, other, tolerance))?;
            Some(rows.remove(place))
        });
        match found {
            Some(_) => difference.close += 1,
            None => difference.only_live.push(row),
        }
    }
    candidates.into_values().flatten().for_each(|row| difference.only_replay.push(row));
    difference
}

impl Side {
    fn push(&mut self, row: Row) {
        self.rows += 1;
        if self.first.len() < MAX_SHOWN {
            self.first.push(row);
        }
    }
}

fn arrow_row(batch: &RecordBatch, row: usize) -> Result<Row, ArrowError> {
    let schema = batch.schema();
    let cells = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let text = shown(Cells::new(column.as_ref())?.get(row));
        let number = column.as_primitive_opt::<Float64Type>().filter(|column| column.is_valid(row));
        Ok(Cell { column: field.name().as_str().into(), text, number: number.map(|column| column.value(row)) })
    });
    Ok(Row { cells: cells.collect::<Result<_, ArrowError>>()? })
}

fn json_row(row: &Value) -> Row {
    let cell = |(column, value): (&str, &Value)| Cell {
        column: column.into(),
        text: value.to_string(),
        number: value.as_f64(),
    };
    let cells = match row {
        Value::Object(columns) => columns.iter().map(|(column, value)| cell((column, value))).collect(),
        other => vec![cell(("row", other))],
    };
    Row { cells }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, StringArray};
    use serde_json::json;

    use super::*;

    fn rows(rows: &[(&str, f64)]) -> Vec<RecordBatch> {
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(name, _)| name)));
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, value)| *value)));
        vec![RecordBatch::try_from_iter([("name", names), ("x", values)]).unwrap()]
    }

    fn texts(side: &Side) -> Vec<String> {
        side.first.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn order_and_batches_do_not_count_and_repeats_do() {
        let live = [rows(&[("a", 1.0), ("b", 2.0)]), rows(&[("a", 1.0)])].concat();
        let same = rows(&[("a", 1.0), ("a", 1.0), ("b", 2.0)]);
        assert!(batches(&live, &same, &Tolerances::exact()).unwrap().is_empty());
        let once = batches(&live, &rows(&[("a", 1.0), ("b", 2.0)]), &Tolerances::exact()).unwrap();
        assert_eq!((once.only_live.rows, once.only_replay.rows), (1, 0));
        assert_eq!(texts(&once.only_live), ["name = a, x = 1.0"]);
        assert_eq!(batches(&[], &same, &Tolerances::exact()).unwrap().only_replay.rows, 3);
    }

    #[test]
    fn a_changed_row_shows_on_both_sides_and_only_the_first_are_shown() {
        let many = |add: f64| {
            rows(&[("\x1b[2J", 1.0), ("b", add), ("c", add), ("d", add), ("e", add), ("f", add), ("g", add)])
        };
        let found = batches(&many(1.0), &many(2.0), &Tolerances::exact()).unwrap();
        assert_eq!((found.only_live.rows, found.only_replay.rows), (6, 6));
        assert_eq!((found.only_live.first.len(), found.only_replay.first.len()), (MAX_SHOWN, MAX_SHOWN));
        assert_eq!(texts(&found.only_replay)[0], "name = b, x = 2.0");
        let hostile = batches(&many(1.0)[..], &[], &Tolerances::exact()).unwrap();
        assert_eq!(texts(&hostile.only_live)[0], "name = \\x1b[2J, x = 1.0");
    }

    #[test]
    fn a_tolerance_forgives_its_column_alone() {
        let (live, replay) = (rows(&[("a", 1.0), ("b", 2.0)]), rows(&[("b", 2.0), ("a", 1.0 + 1e-15)]));
        assert!(!batches(&live, &replay, &Tolerances::exact()).unwrap().is_empty());
        let close = batches(&live, &replay, &Tolerances::exact().allow("x", Tolerance::Relative(1e-12))).unwrap();
        assert_eq!((close.is_empty(), close.close), (true, 1));
        assert!(
            !batches(&live, &replay, &Tolerances::exact().allow("name", Tolerance::Relative(1e-12)))
                .unwrap()
                .is_empty()
        );
        let far = batches(
            &live,
            &rows(&[("a", 1.1), ("b", 2.0)]),
            &Tolerances::exact().allow("x", Tolerance::Relative(1e-12)),
        )
        .unwrap();
        assert_eq!(
            (texts(&far.only_live), texts(&far.only_replay)),
            (vec!["name = a, x = 1.0".into()], vec!["name = a, x = 1.1".into()])
        );
    }

    #[test]
    fn json_rows_are_compared_as_values() {
        let live = [json!({"a": 1, "b": null}), json!({"a": 2, "b": "x"})];
        let replay = [json!({"b": "x", "a": 2}), json!({"b": null, "a": 3})];
        let found = json(&live, &replay, &Tolerances::exact()).unwrap();
        assert_eq!(texts(&found.only_live), ["a = 1, b = null"]);
        assert_eq!(texts(&found.only_replay), ["a = 3, b = null"]);
        assert!(json(&live, &replay, &Tolerances::exact().allow("a", Tolerance::Relative(0.7))).unwrap().is_empty());
    }
}
