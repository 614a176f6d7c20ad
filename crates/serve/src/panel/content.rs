//! What a panel shows, and how it grows.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;

use super::link::Area;
use super::row::{RowShape, json_rows};
use tallgrass_geo::Projection;

/// Rows that a panel keeps.
pub const KEPT: usize = 200;

/// Seconds that the count per minute looks back.
const MINUTE: usize = 60;

/// What a panel shows at a moment.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Another one means: what was shown before is void.
    pub epoch: u64,
    /// Whether it has been filled at all.
    pub ready: bool,
    /// Of what the rows consist.
    pub shape: Arc<RowShape>,
    /// The newest rows as JSON, oldest first, at most [`KEPT`].
    pub rows: Vec<Arc<str>>,
    /// The number that the next row will get.
    pub next_k: u64,
    /// Rows since the panel was opened, shown or not.
    pub total: u64,
    /// Of these in the last minute.
    pub minute: u64,
    /// Whether rows between these have been counted only.
    pub sampled: bool,
    /// Why there are none.
    pub error: Option<Arc<str>>,
}

/// A panel's content as it grows.
#[derive(Debug)]
pub struct RowLog {
    /// What is to be shown next.
    pub content: Content,
    plane: Projection,
    started: Instant,
    second: u64,
    seconds: [u32; MINUTE],
}

impl RowLog {
    /// Nothing yet, in an epoch of its own; numbers and counts go on from `before`.
    pub fn new(area: Area, shape: Arc<RowShape>, epoch: u64, before: &Content) -> Self {
        let Content { next_k, total, .. } = *before;
        Self {
            content: Content { epoch, shape, next_k, total, ..Content::default() },
            plane: Projection::new(area.lat, area.lon),
            started: Instant::now(),
            second: 0,
            seconds: [0; MINUTE],
        }
    }

    /// Adds some rows of a batch, uncounted; the oldest give way.
    pub fn push(&mut self, batch: &RecordBatch, chosen: &[usize]) -> Result<(), ArrowError> {
        let content = &mut self.content;
        let rows = json_rows(&content.shape, &self.plane, batch, chosen, content.next_k)?;
        content.next_k += rows.len() as u64;
        content.rows.extend(rows);
        let over = content.rows.len().saturating_sub(KEPT);
        content.rows.drain(..over);
        Ok(())
    }

    /// Counts rows, as of now.
    pub fn count(&mut self, rows: u32) {
        self.content.total += u64::from(rows);
        self.content.minute += u64::from(rows);
        self.seconds[self.second as usize % MINUTE] += rows;
    }

    /// Lets seconds pass out of the last minute.
    pub fn pass_time(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.started).as_secs();
        while self.second < second {
            // After a pause longer than a minute, all of it has passed.
            self.second = (self.second + 1).max(second.saturating_sub(MINUTE as u64));
            let passed = std::mem::take(&mut self.seconds[self.second as usize % MINUTE]);
            self.content.minute -= u64::from(passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_minute_forgets_second_by_second_and_all_at_once() {
        let area = Area { lat: 0.0, lon: 0.0, radius_km: 1.0 };
        let before = Content { next_k: 7, total: 10, minute: 5, ..Content::default() };
        let mut log = RowLog::new(area, Arc::default(), 2, &before);
        let after = |seconds: u64| log.started + Duration::from_secs(seconds);
        let times = [0, 30, 59, 60, 90, 300].map(after);
        log.count(2);
        log.pass_time(times[1]);
        log.count(3);
        let mut counts = Vec::new();
        for time in &times[2..] {
            log.pass_time(*time);
            counts.push(log.content.minute);
        }
        assert_eq!((log.content.total, log.content.next_k), (15, 7));
        assert_eq!(counts, [5, 3, 0, 0]);
    }
}
