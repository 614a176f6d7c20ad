//! Rows as a table inside a tile.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{fit, width};
use super::{ScreenState, Tile};
use crate::readable::{self, NULL, ReadableColumn, showing};

/// Blank columns between two columns.
const GAP: usize = 2;
/// Text is not cut shorter than this as long as hiding a column helps instead.
const MIN_TEXT: usize = 8;
/// Text is cut after this in plain lines, which have no width of their own.
const MAX_PLAIN_TEXT: usize = 48;

/// A column and its width.
struct Fitted {
    of: ReadableColumn,
    width: usize,
}

fn columns(tile: &Tile, rows: usize) -> Vec<Fitted> {
    let fields = tile.schema.fields().iter().enumerate();
    let columns = fields.map(|(index, field)| readable::column(field, &tile.rows, index, rows));
    columns.map(|of| Fitted { width: widest(&of), of }).collect()
}

fn widest(column: &ReadableColumn) -> usize {
    let cells = column.cells.iter().map(|cell| cell.as_deref().map_or(1, width));
    cells.max().unwrap_or(0).max(width(&column.header))
}

/// Draws as many rows as fit; returns a note about what is left out.
pub fn draw(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) -> String {
    let room = usize::from(area.height.saturating_sub(1));
    let mut columns = columns(tile, room);
    let hidden = squeeze(&mut columns, usize::from(area.width));
    let mut x = area.x;
    for column in &columns {
        let left = usize::from(area.right().saturating_sub(x)).min(column.width);
        put(column, &column.of.header, state.palette.quiet(), (x, area.y, left), buf);
        for (y, cell) in (area.y + 1..area.bottom()).zip(&column.of.cells) {
            let (text, style) = match cell {
                Some(text) => (text.as_str(), state.palette.text()),
                None => (NULL, state.palette.quiet()),
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
    [showing(room, total), columns].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The same table as lines of plain text.
pub fn lines(tile: &Tile, limit: usize) -> Vec<String> {
    let total = tile.total_rows();
    if total == 0 {
        return vec!["no rows yet".to_owned()];
    }
    let columns = columns(tile, limit);
    let line = |row: Option<usize>| {
        let cells = columns.iter().map(|column| {
            let text = match row {
                None => column.of.header.as_str(),
                Some(row) => column.of.cells.get(row).and_then(Option::as_deref).unwrap_or(NULL),
            };
            let room = column.width.min(MAX_PLAIN_TEXT);
            let text = fit(text, room);
            let blank = " ".repeat(room.saturating_sub(width(&text)));
            if column.of.right { blank + &text } else { text.into_owned() + &blank }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = std::iter::once(None).chain((0..total.min(limit)).map(Some)).map(line).collect();
    lines.extend(Some(showing(limit, total)).filter(|note| !note.is_empty()));
    lines
}

fn put(column: &Fitted, text: &str, style: ratatui::style::Style, (x, y, room): (u16, u16, usize), buf: &mut Buffer) {
    let text = fit(text, room);
    let indent = if column.of.right { room.saturating_sub(width(&text)) } else { 0 };
    buf.set_stringn(x.saturating_add(indent as u16), y, text, room, style);
}

/// Makes the columns fit: moments of one day lose the day, long text is cut, then columns are hidden from the right.
/// Returns how many were hidden.
fn squeeze(columns: &mut Vec<Fitted>, room: usize) -> usize {
    let total = |columns: &[Fitted]| columns.iter().map(|column| column.width + GAP).sum::<usize>().saturating_sub(GAP);
    if total(columns) > room {
        columns.iter_mut().for_each(drop_common_day);
    }
    while total(columns) > room {
        let longest = columns.iter_mut().filter(|column| !column.of.right && column.width > MIN_TEXT);
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

fn drop_common_day(column: &mut Fitted) {
    let day = |cell: &String| cell.split_once(' ').map(|(day, _)| day.to_owned());
    let mut days = column.of.cells.iter().flatten().map(day);
    let Some(Some(first)) = days.next().filter(|_| column.of.moment) else { return };
    if days.all(|other| other.as_ref() == Some(&first)) {
        column.of.cells.iter_mut().flatten().for_each(|cell| *cell = cell[first.len() + 1..].to_owned());
        column.width = widest(&column.of);
    }
}
