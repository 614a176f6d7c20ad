//! Numbers three rows high, to be read from across a room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

/// Rows of a big number.
pub const HEIGHT: u16 = 3;

/// Every digit is equally wide, so that a number that counts up does not jitter.
const fn glyph(c: char) -> Option<[&'static str; 3]> {
    Some(match c {
        '0' => ["┏━┓", "┃ ┃", "┗━┛"],
        '1' => [" ╻ ", " ┃ ", " ╹ "],
        '2' => ["╺━┓", "┏━┛", "┗━╸"],
        '3' => ["╺━┓", "╺━┫", "╺━┛"],
        '4' => ["╻ ╻", "┗━┫", "  ╹"],
        '5' => ["┏━╸", "┗━┓", "╺━┛"],
        '6' => ["┏━╸", "┣━┓", "┗━┛"],
        '7' => ["╺━┓", "  ┃", "  ╹"],
        '8' => ["┏━┓", "┣━┫", "┗━┛"],
        '9' => ["┏━┓", "┗━┫", "╺━┛"],
        '-' => ["   ", "╺━╸", "   "],
        '.' => [" ", " ", "."],
        ',' => [" ", " ", ","],
        _ => return None,
    })
}

/// Columns of this text when drawn big; `None` if it has a character without a big form.
pub fn width(text: &str) -> Option<u16> {
    let mut columns = 0_u16;
    for c in text.chars() {
        columns = columns.saturating_add(Span::raw(glyph(c)?[0]).width() as u16);
    }
    Some(columns)
}

/// Draws the text big if it has such a form and fits; returns whether it did.
pub fn draw(text: &str, style: Style, area: Rect, buf: &mut Buffer) -> bool {
    if area.height < HEIGHT || width(text).is_none_or(|columns| columns > area.width) {
        return false;
    }
    let mut x = area.x;
    for glyph in text.chars().filter_map(glyph) {
        let mut next = x;
        for (row, line) in (area.y..).zip(glyph) {
            next = buf.set_stringn(x, row, line, usize::from(area.right() - x), style).0;
        }
        x = next;
    }
    true
}
