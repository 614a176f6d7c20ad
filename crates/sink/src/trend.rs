//! The recent trend of a number.

use std::collections::VecDeque;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;

use super::cells::numbers;
use super::chart::Axes;
use tallgrass_chart::ChartKind;

/// The time that a trend covers.
const SPAN_MS: i64 = 300_000;
/// Samples of one trend: one a second, both ends, and the newest.
const MAX_SAMPLES: usize = (SPAN_MS / 1000) as usize + 2;

/// The samples of one number in the last five minutes, at most one a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    samples: VecDeque<(i64, f64)>,
}

impl Trend {
    /// Takes the value at this moment (milliseconds of any monotonic clock). The first of a second is kept,
    /// and the newest of all.
    pub fn push(&mut self, at_ms: i64, value: f64) {
        if !value.is_finite() {
            return;
        }
        // The last sample was kept only because it was the newest.
        let newest = self.samples.iter().rev();
        let gap_ms = newest.clone().zip(newest.skip(1)).map(|(last, before)| last.0.saturating_sub(before.0)).next();
        if gap_ms.is_some_and(|gap_ms| gap_ms < 1000) {
            self.samples.pop_back();
        }
        self.samples.push_back((at_ms, value));
        while self.samples.len() > MAX_SAMPLES
            || self.samples.front().is_some_and(|(oldest_ms, _)| at_ms.saturating_sub(*oldest_ms) > SPAN_MS)
        {
            self.samples.pop_front();
        }
    }

    /// Drops all samples: the number means something else from now on.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// Seconds before the newest sample, and the value; oldest first.
    pub fn samples(&self) -> impl Iterator<Item = (f64, f64)> {
        let newest = self.samples.back().map_or(0, |(at_ms, _)| *at_ms);
        self.samples.iter().map(move |(at_ms, value)| (newest.saturating_sub(*at_ms) as f64 / 1000.0, *value))
    }

    /// The change per minute, measured over the last one; `None` before there are a few seconds of samples.
    pub(crate) fn per_minute(&self) -> Option<f64> {
        const MINUTE_S: f64 = 60.0;
        const LEAST_S: f64 = 5.0;
        let (_, newest) = *self.samples.back()?;
        let (ago_s, before) = self.samples().find(|(ago_s, _)| *ago_s <= MINUTE_S)?;
        (ago_s >= LEAST_S).then(|| (newest - before) / ago_s * MINUTE_S)
    }
}

/// The number whose trend a tile shows: of the first row, the measured or the first number column.
pub fn measured(schema: &Schema, batches: &[RecordBatch], y: &[&str]) -> Option<f64> {
    let axes = Axes::of(ChartKind::Number, schema, None, y)?;
    let first = batches.iter().find(|batch| batch.num_rows() > 0)?.slice(0, 1);
    numbers(std::slice::from_ref(&first), axes.x).first().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_bounded_and_knows_the_change_per_minute() {
        let mut trend = Trend::default();
        assert_eq!(trend.per_minute(), None);
        for quarter in 0..4000 {
            trend.push(quarter * 250, quarter as f64);
        }
        let samples: Vec<(f64, f64)> = trend.samples().collect();
        assert!(samples.len() <= MAX_SAMPLES && samples.len() > 290, "{}", samples.len());
        assert_eq!(samples.last(), Some(&(0.0, 3999.0)), "the newest is always there");
        assert!(samples.windows(2).take(250).all(|pair| pair[0].0 - pair[1].0 >= 1.0));
        assert_eq!(trend.per_minute(), Some(240.0));
        trend.push(1_000_000, f64::NAN);
        assert_eq!(trend.samples().count(), samples.len());
    }

    #[test]
    fn a_course_of_a_moment_has_no_rate() {
        let mut trend = Trend::default();
        trend.push(0, 5.0);
        trend.push(2000, 9.0);
        assert_eq!(trend.per_minute(), None);
    }
}
