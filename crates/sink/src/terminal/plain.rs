//! A frame as plain text, for a pipe, a file or a log: one block per call, no escape sequences.

use std::io::{self, Write};

use super::rows;
use super::strip::show_duration;
use super::{ChartKind, Frame, Strip, Tile};
use crate::cells::{Cells, group_digits, show_double};
use crate::chart::Axes;
use crate::sanitize::sanitize;

/// Rows of a tile that a block shows; the others are counted.
const MAX_ROWS: usize = 10;
/// Lines of a log pane that a block repeats.
const MAX_LOG_LINES: usize = 3;

/// Writes the frame as one block that ends with a blank line.
pub fn draw_plain(out: &mut dyn Write, frame: &Frame) -> io::Result<()> {
    // One write, so that lines of other writers cannot end up in the middle of a block.
    let mut block = Vec::new();
    write_strip(&mut block, &frame.strip)?;
    for tile in &frame.tiles {
        write_tile(&mut block, tile)?;
    }
    for pane in &frame.logs {
        writeln!(block, "\n{}", sanitize(&pane.title))?;
        for line in pane.lines.iter().skip(pane.lines.len().saturating_sub(MAX_LOG_LINES)) {
            writeln!(block, "  {}", sanitize(line))?;
        }
    }
    writeln!(block)?;
    out.write_all(&block)?;
    out.flush()
}

fn write_strip(block: &mut Vec<u8>, strip: &Strip) -> io::Result<()> {
    let count = |count: u64| group_digits(&count.to_string());
    let rate = show_double(strip.events_per_s.round(), 0);
    write!(block, "── {} · {rate} events/s · {} events", sanitize(&strip.name), count(strip.events))?;
    write!(block, " · lag {}", count(strip.lag))?;
    if strip.bad_records > 0 {
        write!(block, " · {} bad records", count(strip.bad_records))?;
    }
    if let Some(share) = strip.catching_up {
        write!(block, " · catching up {:.0}%", (share * 100.0).floor())?;
    }
    if !strip.as_of.is_empty() {
        write!(block, " · as of {}", sanitize(&strip.as_of))?;
    }
    if let Some(proof) = &strip.proof {
        write!(block, " · {}", sanitize(&proof.text))?;
    }
    writeln!(block, " · {} ──", show_duration(strip.elapsed))
}

fn write_tile(block: &mut Vec<u8>, tile: &Tile) -> io::Result<()> {
    let heading = sanitize(tile.heading());
    let number = number_text(tile);
    match &number {
        Some(number) => writeln!(block, "\n{heading}: {number}")?,
        None => writeln!(block, "\n{heading}")?,
    }
    for (at, line) in tile.note.iter().flat_map(|note| note.lines()).enumerate() {
        writeln!(block, "  {} {}", if at == 0 { "!" } else { " " }, sanitize(line))?;
    }
    if number.is_none() {
        for line in rows::lines(tile, MAX_ROWS) {
            writeln!(block, "  {line}")?;
        }
    }
    Ok(())
}

/// The value of a number tile, all digits, grouped.
fn number_text(tile: &Tile) -> Option<String> {
    if tile.chart != ChartKind::Number {
        return None;
    }
    let axes = Axes::of(tile.chart, &tile.schema, None, tile.y.as_deref().as_slice())?;
    let batch = tile.rows.iter().find(|batch| batch.num_rows() > 0)?;
    let value = Cells::new(batch.columns().get(axes.x)?).ok()?.get(0);
    Some(value.map_or_else(|| "NULL".to_owned(), |value| group_digits(&value)))
}
