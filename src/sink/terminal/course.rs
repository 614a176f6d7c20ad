//! How numbers moved lately: the short memory behind the sparklines.

use std::collections::{BTreeMap, VecDeque};

use super::{ChartKind, Frame};
use crate::sink::cells::numbers;
use crate::sink::chart::Axes;

/// Samples kept of each number: two minutes at one a second, and as many as a wide tile has room for.
const MAX_SAMPLES: usize = 120;

/// The last samples of each big number and of the event rate, one a second.
#[derive(Debug, Clone, Default)]
pub struct Courses {
    rate: VecDeque<f64>,
    tiles: BTreeMap<String, VecDeque<f64>>,
}

impl Courses {
    /// Takes one sample of everything in the frame, and forgets tiles that are gone. Call it once a second.
    pub fn sample(&mut self, frame: &Frame) {
        push(&mut self.rate, frame.strip.events_per_s);
        if frame.strip.catching_up.is_some() {
            // Reading history is no change of what it tells.
            return;
        }
        self.tiles.retain(|name, _| frame.tiles.iter().any(|tile| tile.name == *name));
        for tile in frame.tiles.iter().filter(|tile| tile.chart == ChartKind::Number) {
            let value = Axes::of(tile.chart, &tile.schema, None, tile.y.as_deref().as_slice())
                .and_then(|axes| numbers(&tile.rows, axes.x).first().copied().flatten());
            if let Some(value) = value {
                push(self.tiles.entry(tile.name.clone()).or_default(), value);
            }
        }
    }

    /// Samples of the event rate, oldest first.
    pub fn rate(&self) -> Vec<f64> {
        self.rate.iter().copied().collect()
    }

    /// Samples of a tile's number, oldest first.
    pub fn tile(&self, name: &str) -> Vec<f64> {
        self.tiles.get(name).map(|samples| samples.iter().copied().collect()).unwrap_or_default()
    }
}

fn push(samples: &mut VecDeque<f64>, value: f64) {
    if samples.len() == MAX_SAMPLES {
        samples.pop_front();
    }
    samples.push_back(value);
}

/// The newest samples as a row of bars, at most so many columns; the lowest sample is the lowest bar.
pub fn sparkline(samples: &[f64], columns: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = &samples[samples.len().saturating_sub(columns)..];
    let (low, high) =
        newest.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    newest
        .iter()
        .map(|value| {
            let share = if high > low { (value - low) / (high - low) } else { 0.0 };
            BARS[((share * 7.0).round() as usize).min(7)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_the_newest_samples() {
        assert_eq!(sparkline(&[9.0, 0.0, 1.0, 2.0], 3), "▁▅█");
        assert_eq!(sparkline(&[5.0, 5.0], 9), "▁▁");
        assert_eq!(sparkline(&[], 9), "");
        assert_eq!(sparkline(&[1.0], 0), "");
    }

    #[test]
    fn memory_is_bounded() {
        let mut courses = Courses::default();
        for _ in 0..500 {
            courses.sample(&Frame::default());
        }
        assert_eq!(courses.rate().len(), MAX_SAMPLES);
    }
}
