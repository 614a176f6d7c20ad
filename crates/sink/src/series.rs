//! Rows as marks: several series over one axis.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;

use super::cells::numbers;
use super::chart::Axes;
use super::readable::{NULL, column};
use super::sanitize::sanitize;

/// Marks of one picture at most: more than the dots of any terminal, and bounds what a refresh costs.
pub const MAX_MARKS: usize = 50_000;

/// The marks of one series.
#[derive(Debug, Clone)]
pub struct Series {
    /// What tells it from the others, made safe
    pub name: String,
    /// Where its marks are, in the order of x
    pub marks: Vec<(f64, f64)>,
    /// Which of the rows each mark is
    pub rows: Vec<usize>,
}

/// The last rows, no more than can be drawn.
pub fn newest_rows(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let (mut left, mut newest) = (MAX_MARKS, Vec::new());
    for batch in batches.iter().rev() {
        let rows = batch.num_rows().min(left);
        newest.push(batch.slice(batch.num_rows() - rows, rows));
        left -= rows;
    }
    newest.reverse();
    newest
}

/// Where a mark is, and which row.
type Point = (f64, f64, usize);

/// The marks by series, each in the order of x; a series is a text's value, or else a measure. A few
/// more than `most` come back, so that a picture can say how many it leaves out.
pub fn all_series(schema: &Schema, axes: &Axes, rows: &[RecordBatch], most: usize) -> Vec<Series> {
    let xs = numbers(rows, axes.x);
    let mut all: Vec<(String, Vec<Point>)> = Vec::new();
    if let (Some(text), Some(measure)) = (axes.series, axes.y.first()) {
        let names = column(schema.field(text), rows, text, MAX_MARKS).cells;
        for (row, ((x, y), name)) in xs.iter().zip(numbers(rows, *measure)).zip(names).enumerate() {
            let (Some(x), Some(y)) = (*x, y) else { continue };
            let name = name.unwrap_or_else(|| NULL.to_owned());
            match all.iter().position(|series| series.0 == name) {
                Some(at) => all[at].1.push((x, y, row)),
                // Beyond a few more than can be distinguished, looking for a series in a list would be slow.
                None if all.len() < 2 * most => all.push((name, vec![(x, y, row)])),
                None => {}
            }
        }
    } else {
        for measure in &axes.y {
            let pairs = xs.iter().zip(numbers(rows, *measure)).enumerate();
            let marks = pairs.filter_map(|(row, (x, y))| Some(((*x)?, y?, row))).collect();
            all.push((sanitize(schema.field(*measure).name()).into_owned(), marks));
        }
    }
    all.into_iter()
        .map(|(name, mut marks)| {
            marks.sort_by(|left, right| left.0.total_cmp(&right.0));
            let (marks, rows) = marks.into_iter().map(|(x, y, row)| ((x, y), row)).unzip();
            Series { name, marks, rows }
        })
        .collect()
}
