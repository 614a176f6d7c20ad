//! Columns as people want to read them: digits grouped, doubles of one width, moments without needless parts.

use std::borrow::Cow;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Field;

use super::cells::{Cells, decimals_for, group_digits, is_number, is_time, numbers, show_double};
use super::sanitize::sanitize;

/// The sign for a null: quieter than the word, drawn dim so that no text looks like it.
pub const NULL: &str = "—";

/// Some rows of one column, as a person wants to read them.
#[derive(Debug, Clone)]
pub struct ReadableColumn {
    /// The column's name, sanitized
    pub header: String,
    /// The values; a null is `None`
    pub cells: Vec<Option<String>>,
    /// Whether they are numbers
    pub right: bool,
    /// Whether they are moments or days
    pub moment: bool,
}

/// The first rows of a column: digits grouped, doubles rounded to one width, moments without needless parts.
pub fn column(field: &Field, batches: &[RecordBatch], index: usize, rows: usize) -> ReadableColumn {
    let (mut cells, mut left, mut seen) = (Vec::new(), rows, Vec::new());
    for batch in batches {
        if left == 0 {
            break;
        }
        let batch = batch.slice(0, batch.num_rows().min(left));
        left -= batch.num_rows();
        match batch.columns().get(index).map(|array| Cells::new(array)) {
            Some(Ok(text)) => cells.extend((0..batch.num_rows()).map(|row| text.get(row))),
            _ => cells.extend(std::iter::repeat_n(None, batch.num_rows())),
        }
        seen.push(batch);
    }
    let data_type = field.data_type();
    if data_type.is_floating() {
        round(&mut cells, field.name(), &numbers(&seen, index));
    } else if is_number(data_type) {
        cells.iter_mut().flatten().for_each(|cell| *cell = group_digits(cell));
    } else if is_time(data_type) {
        cells.iter_mut().flatten().for_each(|cell| *cell = show_moment(cell));
    }
    let header = sanitize(field.name()).into_owned();
    ReadableColumn { header, cells, right: is_number(data_type), moment: is_time(data_type) }
}

fn round(cells: &mut [Option<String>], name: &str, values: &[Option<f64>]) {
    // Four decimals of a degree are eleven metres: near enough to walk there.
    let degrees = ["lat", "lon", "lng", "latitude", "longitude"].iter().any(|place| name.eq_ignore_ascii_case(place));
    let decimals = if degrees { 4 } else { decimals_for(values.iter().copied().flatten()) };
    for (cell, value) in cells.iter_mut().zip(values) {
        // NaN and infinities have no double here and keep their names.
        if let (Some(cell), Some(value)) = (cell, value) {
            *cell = show_double(*value, decimals);
        }
    }
}

/// `2026-01-31T09:00:00.123` as `2026-01-31 09:00:00`.
pub fn show_moment(iso: &str) -> String {
    let Some((day, time)) = iso.split_once('T') else { return iso.to_owned() };
    let seconds: Cow<'_, str> = match time.split_once('.') {
        None => time.into(),
        Some((seconds, rest)) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{seconds}{zone}").into()
        }
    };
    format!("{day} {seconds}")
}

/// `showing 8 of 120 rows`, or nothing where all are shown.
pub fn showing(shown: usize, total: usize) -> String {
    if shown < total { format!("showing {shown} of {} rows", group_digits(&total.to_string())) } else { String::new() }
}
