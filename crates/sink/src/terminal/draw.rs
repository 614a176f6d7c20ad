//! A frame into cells: strip, grid of tiles, log panes. Pure, so that it is tested without a terminal.

use std::borrow::Cow;

use ratatui::buffer::{Buffer, CellWidth};
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::grid::{self, Item};
use super::{ChartKind, Frame, LogPane, ScreenState, Tile, big, charts, map, rows, strip};
use crate::sanitize::sanitize;

/// Lines of a note that are shown at most; a longer one is cut.
const MAX_NOTE_LINES: usize = 6;
/// Lines of a number's note: more would make its whole row too high.
const MAX_NUMBER_NOTE_LINES: usize = 2;
/// Columns of a number's tile at least: six big digits.
const NUMBER_WIDTH: u16 = 18;

/// The outcome of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Rows of tiles that can be scrolled past, at most
    pub max_scroll: usize,
}

/// Draws the frame into the area.
pub fn render(frame: &Frame, state: &ScreenState, area: Rect, buf: &mut Buffer) -> Drawn {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return Drawn::default();
    }
    // One blank column on each side keeps text off the window's edge; a narrow screen needs the room.
    let margin = u16::from(area.width >= 60);
    let area = Rect { x: area.x + margin, width: area.width - 2 * margin, ..area };
    let top = strip::HEIGHT.min(area.height);
    strip::draw(&frame.strip, state, Rect { height: top, ..area }, buf);
    let rest = Rect { y: area.y + top, height: area.height - top, ..area };
    let (tiles, logs) = split_logs(&frame.logs, rest);
    for (pane, area) in frame.logs.iter().zip(logs) {
        draw_log(pane, state, area, buf);
    }
    draw_tiles(frame, state, tiles, buf)
}

/// The text if it fits, else its beginning and `…`.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    let span = Span::raw(text);
    if span.width() <= width {
        return Cow::Borrowed(text);
    }
    let Some(room) = width.checked_sub(1) else { return Cow::Borrowed("") };
    let (mut used, mut cut) = (0, String::new());
    for grapheme in span.styled_graphemes(ratatui::style::Style::new()) {
        used += usize::from(grapheme.symbol.cell_width());
        if used > room {
            break;
        }
        cut.push_str(grapheme.symbol);
    }
    cut.push('…');
    Cow::Owned(cut)
}

/// Columns that the text takes on screen.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Room for the tiles, and a place for each pane: at the right of a wide screen, else at the bottom, none on a tiny one.
fn split_logs(logs: &[LogPane], area: Rect) -> (Rect, Vec<Rect>) {
    let count = logs.len() as u16;
    if count == 0 || area.height < 12 || area.width < 30 {
        return (area, Vec::new());
    }
    if area.width >= 150 && area.height / count >= 4 {
        let width = (area.width / 3).min(64);
        let tiles = Rect { width: area.width - width - 3, ..area };
        let side = Rect { x: tiles.right() + 3, width, ..area };
        let edge = |number: u16| (u32::from(side.height) * u32::from(number) / u32::from(count)) as u16;
        let pane = |number| Rect {
            y: side.y + edge(number),
            height: (edge(number + 1) - edge(number)).saturating_sub(1),
            ..side
        };
        return (tiles, (0..count).map(pane).collect());
    }
    let abreast = (area.width / 38).clamp(1, count);
    let layers = count.div_ceil(abreast);
    // A quarter of the screen: the tiles matter most.
    let layer = (area.height / 4 / layers).clamp(2, 8);
    let height = (layer * layers).min(area.height / 2);
    let tiles = Rect { height: area.height - height - 1, ..area };
    let pane = |number: u16| {
        let (column, row) = (number % abreast, number / abreast);
        let from = area.width * column / abreast;
        let to = area.width * (column + 1) / abreast;
        let gutter = if column + 1 == abreast { 0 } else { 2 };
        Rect { x: area.x + from, y: tiles.bottom() + 1 + row * layer, width: to - from - gutter, height: layer }
            .intersection(area)
    };
    (tiles, (0..count).map(pane).collect())
}

fn draw_log(pane: &LogPane, state: &ScreenState, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    buf.set_string(area.x, area.y, fit(&sanitize(&pane.title), width), state.palette.title());
    let room = usize::from(area.height - 1);
    let newest = pane.lines.iter().skip(pane.lines.len().saturating_sub(room));
    for (y, line) in (area.y + 1..).zip(newest) {
        buf.set_string(area.x, y, fit(&sanitize(line), width), state.palette.text());
    }
}

fn draw_tiles(frame: &Frame, state: &ScreenState, area: Rect, buf: &mut Buffer) -> Drawn {
    let items: Vec<Item> = frame.tiles.iter().map(|tile| item(tile, area)).collect();
    let mut placed = grid::place(&items, state.scroll, area);
    if placed.above + placed.below > 0 && area.height > 1 {
        // The last line says what is not shown.
        placed = grid::place(&items, state.scroll, Rect { height: area.height - 1, ..area });
        let more = match (placed.above, placed.below) {
            (0, 1) => "+1 more tile, ↓ scrolls".to_owned(),
            (0, below) => format!("+{below} more tiles, ↓ scrolls"),
            (1, 0) => "1 tile above, ↑ scrolls".to_owned(),
            (above, 0) => format!("{above} tiles above, ↑ scrolls"),
            (above, below) => format!("{above} tiles above, {below} below, ↑↓ scroll"),
        };
        let more = fit(&more, usize::from(area.width)).into_owned();
        buf.set_string(area.x, area.bottom() - 1, more, state.palette.quiet());
    }
    for (index, area) in placed.tiles {
        draw_tile(&frame.tiles[index], state, area, buf);
    }
    Drawn { max_scroll: placed.max_scroll }
}

/// A tile's size requirements.
fn item(tile: &Tile, area: Rect) -> Item {
    // A number's note is a sentence and wraps; elsewhere it may be an error with a caret below its column.
    let columns = area.width * tile.width.clamp(1, 12) / 12;
    let note = match tile.chart {
        ChartKind::Number => wrapped_note(tile, usize::from(columns.max(NUMBER_WIDTH) - 3)).len(),
        _ => note_lines(tile).len(),
    };
    // Title and foot.
    let frame = 2 + note as u16;
    let rows = tile.total_rows().clamp(1, 1000) as u16;
    // A picture that is twice as wide as high in lines looks right; higher than that, its dots only stretch.
    let picture = (columns / 2).max(8);
    let (min_width, body, full) = match tile.chart {
        ChartKind::Number => (NUMBER_WIDTH, big::HEIGHT, big::HEIGHT),
        ChartKind::Bar => (34, rows.min(5), rows),
        ChartKind::Table => (34, (rows + 1).min(6), rows + 1),
        ChartKind::Line | ChartKind::Scatter | ChartKind::Map => (34, 6, picture),
    };
    Item { columns: tile.width, min_width, min_height: frame + body, full_height: frame + full }
}

fn note_lines(tile: &Tile) -> Vec<&str> {
    tile.note.as_deref().map(|note| note.lines().take(MAX_NOTE_LINES).collect()).unwrap_or_default()
}

fn draw_tile(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let palette = state.palette;
    let width = usize::from(area.width);
    buf.set_string(area.x, area.y, fit(&sanitize(tile.heading()), width), palette.title());
    let mut body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let notes = note_lines(tile);
    // Big numbers of one row are at one height, so a number's note goes below it.
    let note_below = tile.chart == ChartKind::Number && tile.total_rows() > 0;
    if !note_below {
        let lines = (notes.len() as u16).min(body.height.saturating_sub(1));
        draw_note(&notes, state, Rect { height: lines, ..body }, buf);
        body = Rect { y: body.y + lines, height: body.height - lines, ..body };
    }
    // The foot line is dropped first when there is no room: the numbers matter more.
    let foot = (body.height > 1).then(|| {
        body.height -= 1;
        Rect { y: body.bottom(), height: 1, ..body }
    });
    if body.is_empty() {
        return;
    }
    if note_below {
        let picture = Rect { height: body.height.min(big::HEIGHT), ..body };
        draw_note(
            &wrapped_note(tile, width),
            state,
            Rect { y: picture.bottom(), height: body.height - picture.height, ..body },
            buf,
        );
        body = picture;
    }
    let shown = draw_body(tile, state, body, buf);
    if let Some(foot) = foot {
        let parts = [shown.as_str(), &tile.foot];
        let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
        buf.set_string(foot.x, foot.y, fit(&sanitize(&text), width), palette.quiet());
    }
}

/// The note wrapped to few lines of this width.
fn wrapped_note(tile: &Tile, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in note_lines(tile).into_iter().flat_map(str::split_whitespace) {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    // A text that is too long is cut in the last line.
    let rest = lines.split_off(lines.len().min(MAX_NUMBER_NOTE_LINES - 1)).join(" ");
    lines.extend(Some(rest).filter(|rest| !rest.is_empty()));
    lines
}

fn draw_note<T: AsRef<str>>(lines: &[T], state: &ScreenState, area: Rect, buf: &mut Buffer) {
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        buf.set_string(area.x, y, fit(&sanitize(line.as_ref()), usize::from(area.width)), state.palette.warning());
    }
}

/// Draws the picture; returns a note about rows that it does not show.
fn draw_body(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) -> String {
    if tile.total_rows() == 0 {
        buf.set_stringn(area.x, area.y, "no rows yet", usize::from(area.width), state.palette.quiet());
        return String::new();
    }
    let drawn = match tile.chart {
        ChartKind::Number => charts::number(tile, state, area, buf),
        ChartKind::Bar => charts::bars(tile, state, area, buf),
        ChartKind::Line | ChartKind::Scatter => charts::trend(tile, state, area, buf),
        ChartKind::Map => map::draw(tile, state, area, buf),
        ChartKind::Table => None,
    };
    // Rows without the columns that a chart needs are shown as a table.
    drawn.unwrap_or_else(|| rows::draw(tile, state, area, buf))
}
