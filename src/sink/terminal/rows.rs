//! Rows as a table inside of a tile.

use std::borrow::Cow;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Field;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{fit, width};
use super::{Look, Tile};
use crate::sink::cells::{Cells, decimals_for, group_digits, is_number, is_time, numbers, show_double};
use crate::sink::sanitize::sanitize;

/// Blank columns between two columns.
const GAP: usize = 2;
/// Text is cut no shorter than this, as long as leaving out a column helps instead.
const MIN_TEXT: usize = 8;
/// What stands for a null: quieter than the word, drawn dim so that no text looks like it.
pub const NULL: &str = "—";

/// Text is cut after this in plain lines, which have no width of their own.
const MAX_PLAIN_TEXT: usize = 48;

/// Some rows of one column, as a person wants to read them.
pub struct Column {
    header: String,
    /// The values; a null is `None`
    pub cells: Vec<Option<String>>,
    right: bool,
    moment: bool,
    width: usize,
}

/// Draws as many rows as fit; returns what is left out, in words.
pub fn draw(tile: &Tile, look: &Look, area: Rect, buf: &mut Buffer) -> String {
    let room = usize::from(area.height.saturating_sub(1));
    let mut columns: Vec<Column> = (0..tile.schema.fields().len())
        .map(|index| column(&tile.schema.fields()[index], &tile.rows, index, room))
        .collect();
    let hidden = squeeze(&mut columns, usize::from(area.width));
    let mut x = area.x;
    for column in &columns {
        let left = usize::from(area.right().saturating_sub(x)).min(column.width);
        put(column, &column.header, look.palette.quiet(), (x, area.y, left), buf);
        for (y, cell) in (area.y + 1..area.bottom()).zip(&column.cells) {
            let (text, style) = match cell {
                Some(text) => (text.as_str(), look.palette.text()),
                None => (NULL, look.palette.quiet()),
            };
            put(column, text, style, (x, y, left), buf);
        }
        x = x.saturating_add((left + GAP) as u16);
        if x >= area.right() {
            break;
        }
    }
    let total = tile.total_rows();
    let columns = match hidden {
        0 => String::new(),
        1 => "1 column hidden".to_owned(),
        hidden => format!("{hidden} columns hidden"),
    };
    [showing(room, total), columns].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The same table as lines of plain text.
pub fn lines(tile: &Tile, limit: usize) -> Vec<String> {
    let total = tile.total_rows();
    if total == 0 {
        return vec!["no rows yet".to_owned()];
    }
    let fields = tile.schema.fields().iter().enumerate();
    let columns: Vec<Column> = fields.map(|(index, field)| column(field, &tile.rows, index, limit)).collect();
    let line = |row: Option<usize>| {
        let cells = columns.iter().map(|column| {
            let text = match row {
                None => column.header.as_str(),
                Some(row) => column.cells.get(row).and_then(Option::as_deref).unwrap_or(NULL),
            };
            let room = column.width.min(MAX_PLAIN_TEXT);
            let text = fit(text, room);
            let blank = " ".repeat(room.saturating_sub(width(&text)));
            if column.right { blank + &text } else { text.into_owned() + &blank }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = std::iter::once(None).chain((0..total.min(limit)).map(Some)).map(line).collect();
    lines.extend(Some(showing(limit, total)).filter(|words| !words.is_empty()));
    lines
}

/// `showing 8 of 120 rows`, or nothing where all are shown.
pub fn showing(shown: usize, total: usize) -> String {
    if shown < total { format!("showing {shown} of {} rows", group_digits(&total.to_string())) } else { String::new() }
}

fn put(column: &Column, text: &str, style: ratatui::style::Style, (x, y, room): (u16, u16, usize), buf: &mut Buffer) {
    let text = fit(text, room);
    let indent = if column.right { room.saturating_sub(width(&text)) } else { 0 };
    buf.set_stringn(x.saturating_add(indent as u16), y, text, room, style);
}

/// The first rows of a column: digits grouped, doubles rounded to one width, moments without what nobody reads.
pub fn column(field: &Field, batches: &[RecordBatch], index: usize, rows: usize) -> Column {
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
    let widest = cells.iter().map(|cell| cell.as_deref().map_or(1, width)).max().unwrap_or(0);
    let width = widest.max(width(&header));
    Column { width, header, cells, right: is_number(data_type), moment: is_time(data_type) }
}

fn round(cells: &mut [Option<String>], name: &str, values: &[Option<f64>]) {
    // Four decimals of a degree are eleven metres: as near as anyone walks.
    let degrees = ["lat", "lon", "lng", "latitude", "longitude"].iter().any(|place| name.eq_ignore_ascii_case(place));
    let decimals = if degrees { 4 } else { decimals_for(values.iter().copied().flatten()) };
    for (cell, value) in cells.iter_mut().zip(values) {
        // NaN and infinities have no double here and keep their words.
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

/// Makes the columns fit: moments of one day lose the day, long text is cut, then columns go from the right. Returns
/// how many went.
fn squeeze(columns: &mut Vec<Column>, room: usize) -> usize {
    let total = |columns: &[Column]| columns.iter().map(|column| column.width + GAP).sum::<usize>().saturating_sub(GAP);
    if total(columns) > room {
        columns.iter_mut().for_each(drop_common_day);
    }
    while total(columns) > room {
        let longest = columns.iter_mut().filter(|column| !column.right && column.width > MIN_TEXT);
        match longest.max_by_key(|column| column.width) {
            Some(column) => column.width -= 1,
            None => break,
        }
    }
    let before = columns.len();
    while columns.len() > 1 && total(columns) > room {
        columns.pop();
    }
    before - columns.len()
}

fn drop_common_day(column: &mut Column) {
    let day = |cell: &String| cell.split_once(' ').map(|(day, _)| day.to_owned());
    let mut days = column.cells.iter().flatten().map(day);
    let Some(Some(first)) = days.next().filter(|_| column.moment) else { return };
    if days.all(|other| other.as_ref() == Some(&first)) {
        column.cells.iter_mut().flatten().for_each(|cell| *cell = cell[first.len() + 1..].to_owned());
        let widest = column.cells.iter().map(|cell| cell.as_deref().map_or(1, width)).max().unwrap_or(0);
        column.width = widest.max(width(&column.header));
    }
}
