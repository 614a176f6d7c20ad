//! The recent trend of numbers: the samples behind the sparklines.

use std::collections::BTreeMap;

use super::{ChartKind, Frame};
use crate::trend::{Trend, measured};

/// The trends of each big number and of the event rate.
#[derive(Debug, Clone, Default)]
pub struct Trends {
    rate: Trend,
    tiles: BTreeMap<String, Trend>,
}

impl Trends {
    /// Takes one sample of everything in the frame, and drops tiles that are no longer in it. Call it once a second.
    pub fn sample(&mut self, frame: &Frame) {
        let at_ms = i64::try_from(frame.strip.elapsed.as_millis()).unwrap_or(i64::MAX);
        self.rate.push(at_ms, frame.strip.events_per_s);
        if frame.strip.catching_up.is_some() {
            // While history is read, a changing number is not a trend.
            return;
        }
        self.tiles.retain(|name, _| frame.tiles.iter().any(|tile| tile.name == *name));
        for tile in frame.tiles.iter().filter(|tile| tile.chart == ChartKind::Number) {
            if let Some(value) = measured(&tile.schema, &tile.rows, tile.y.as_deref().as_slice()) {
                self.tiles.entry(tile.name.clone()).or_default().push(at_ms, value);
            }
        }
    }

    /// Samples of the event rate, oldest first.
    pub fn rate(&self) -> Vec<f64> {
        values(&self.rate)
    }

    /// Samples of a tile's number, oldest first.
    pub fn tile(&self, name: &str) -> Vec<f64> {
        self.tiles.get(name).map(values).unwrap_or_default()
    }
}

fn values(trend: &Trend) -> Vec<f64> {
    trend.samples().map(|(_, value)| value).collect()
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
}
