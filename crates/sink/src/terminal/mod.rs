//! The live terminal: one model of the screen, two forms of output.
//!
//! ```text
//!             ┌─▶ render ─▶ Screen: a terminal, redrawn in place
//!   Frame ────┤
//!             └─▶ draw_plain: a pipe or a file, one block after the other
//! ```
//!
//! A [`Frame`] is all that is shown at one moment, and rendering it is a pure function of the frame, the [`ScreenState`] and the
//! area. No boxes: a bold title, space, and a quiet foot line hold a tile together.
//!
//! # Contract
//! A frame's tiles are of one moment; the builder of the frame ensures that. Text from events (rows, log lines, titles)
//! may contain anything: it is sanitized here.

mod big;
mod charts;
mod draw;
mod grid;
mod map;
mod palette;
mod plain;
mod rows;
mod screen;
mod strip;
mod tail;
mod trend;

use std::collections::VecDeque;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use tallgrass_chart::ChartKind;

pub(crate) use self::draw::{Drawn, render};
pub(crate) use self::palette::Palette;
pub use self::plain::draw_plain;
pub use self::screen::{Key, Screen};
pub use self::strip::show_duration;
pub use self::tail::LogTail;
pub(crate) use self::trend::Trends;
pub use super::readable::show_moment;

/// All that is on screen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// The line on top
    pub strip: Strip,
    /// The results, in reading order
    pub tiles: Vec<Tile>,
    /// Log lines of other parts of this process, if any
    pub logs: Vec<LogPane>,
}

/// Is it running, and is it correct: the line on top of a dashboard.
#[derive(Debug, Clone, Default)]
pub struct Strip {
    /// What this is, such as `tallgrass demo`
    pub name: String,
    /// Where it reads from
    pub broker: String,
    /// Where its page is served, if it is
    pub page: String,
    /// Events per second, just now
    pub events_per_s: f64,
    /// Events read since the start
    pub events: u64,
    /// Records at the broker that were not read yet
    pub lag: u64,
    /// Records that could not be decoded
    pub bad_records: u64,
    /// The moment of every tile, for people: a time of day, or offsets
    pub as_of: String,
    /// How long it has run
    pub elapsed: Duration,
    /// While history is read: how much of it was, 0 to 1
    pub catching_up: Option<f64>,
    /// Whether a replay agrees, if it is checked
    pub proof: Option<ProofNote>,
}

/// What the last comparison with a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofNote {
    /// For people, such as `live = replay, 12 s ago`
    pub text: String,
    /// Whether the replay agrees
    pub good: bool,
}

/// One result and how to show it.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The view's name, which identifies its tile in all frames
    pub name: String,
    /// The heading
    pub title: String,
    /// The picture
    pub chart: ChartKind,
    /// The column along the picture, by name; guessed when left out
    pub x: Option<String>,
    /// The measured column, by name; guessed when left out
    pub y: Option<String>,
    /// Columns of twelve
    pub width: u16,
    /// The rows' columns
    pub schema: SchemaRef,
    /// The rows
    pub rows: Vec<RecordBatch>,
    /// An error, or a caveat about the numbers; may have several lines
    pub note: Option<String>,
    /// The quiet line below: age, cost
    pub foot: String,
}

/// The last log lines of a part of the process.
#[derive(Debug, Clone, Default)]
pub struct LogPane {
    /// Its name
    pub title: String,
    /// Oldest first
    pub lines: VecDeque<String>,
}

/// How a frame is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScreenState {
    /// The colours
    pub palette: Palette,
    /// Rows of tiles scrolled past
    pub scroll: usize,
    /// Earlier values of the big numbers
    pub trends: Trends,
}

impl Tile {
    /// The heading: the title, or the name where there is none.
    pub fn heading(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    /// How many rows the result has, shown or not.
    pub(crate) fn total_rows(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
