//! A frame as plain text, for a pipe, a file or a log: one block a call, no escape sequences.

use std::io::{self, Write};

use super::rows;
use super::strip::show_duration;
use super::{ChartKind, Frame, Tile};
use crate::sink::cells::{Cells, group_digits, show_double};
use crate::sink::chart::Axes;
use crate::sink::sanitize::sanitize;

/// Rows of a tile that a block shows; the rest is counted.
const MAX_ROWS: usize = 10;
/// Lines of a log pane that a block repeats.
const MAX_LOG_LINES: usize = 3;

/// Writes the frame as one block that ends with a blank line.
pub fn draw_plain(out: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    // One write, so that lines of other writers cannot stand in the middle of a block.
    let mut block = String::new();
    let strip = &frame.strip;
    let count = |count: u64| group_digits(&count.to_string());
    block.push_str(&format!(
        "── {} · {} events/s · {} events · lag {}",
        sanitize(&strip.name),
        show_double(strip.events_per_s.round(), 0),
        count(strip.events),
        count(strip.lag)
    ));
    if strip.bad_records > 0 {
        block.push_str(&format!(" · {} bad records", count(strip.bad_records)));
    }
    if let Some(share) = strip.catching_up {
        block.push_str(&format!(" · catching up {:.0}%", (share * 100.0).floor()));
    }
    if !strip.as_of.is_empty() {
        block.push_str(&format!(" · as of {}", sanitize(&strip.as_of)));
    }
    block.push_str(&format!(" · {} ──\n", show_duration(strip.elapsed)));
    for tile in &frame.tiles {
        block.push_str(&tile_text(tile));
    }
    for pane in &frame.logs {
        block.push_str(&format!("\n{}\n", sanitize(&pane.title)));
        for line in pane.lines.iter().skip(pane.lines.len().saturating_sub(MAX_LOG_LINES)) {
            block.push_str(&format!("  {}\n", sanitize(line)));
        }
    }
    block.push('\n');
    out.write_all(block.as_bytes())?;
    out.flush()
}

fn tile_text(tile: &Tile) -> String {
    let title = sanitize(if tile.title.is_empty() { &tile.name } else { &tile.title }).into_owned();
    let note = tile.note.iter().flat_map(|note| note.lines()).enumerate();
    let note: String =
        note.map(|(at, line)| format!("  {} {}\n", if at == 0 { "!" } else { " " }, sanitize(line))).collect();
    if let Some(number) = number_text(tile) {
        return format!("\n{title}: {number}\n{note}");
    }
    let rows: String = rows::lines(tile, MAX_ROWS).iter().map(|line| format!("  {line}\n")).collect();
    format!("\n{title}\n{note}{rows}")
}

/// The value of a number tile, all digits, grouped.
fn number_text(tile: &Tile) -> Option<String> {
    if tile.chart != ChartKind::Number {
        return None;
    }
    let axes = Axes::of(tile.chart, &tile.schema, None, tile.y.as_deref())?;
    let batch = tile.rows.iter().find(|batch| batch.num_rows() > 0)?;
    let value = Cells::new(batch.columns().get(axes.x)?).ok()?.get(0);
    Some(value.map_or_else(|| "NULL".to_owned(), |value| group_digits(&value)))
}
