//! How a dashboard is doing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::input::MicroBatch;
use tallgrass_kafka::{AsOf, HistoryStart};
use tallgrass_relation::BadRecords;

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RebuildStatus {
    /// Share of the history that was there at its start, 0 to 1; never falls.
    pub progress: f64,
    /// Records a second since its start.
    pub records_per_s: f64,
    /// Time left at that rate.
    pub left: Option<Duration>,
}

/// How far one topic has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// Offsets that were there when reading started, or have been read since.
    pub total: i64,
    /// Offsets that have been read.
    pub done: i64,
}

/// How a dashboard is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// When it started.
    pub started: Instant,
    /// Messages read.
    pub messages: u64,
    /// The same by topic.
    pub messages_of: BTreeMap<Arc<str>, u64>,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Rows that they became; a record is one in each relation over its topic, a tombstone too.
    pub rows: u64,
    /// Bad records, which became no rows.
    pub bad_records: u64,
    /// The same by reason, with examples.
    pub bad: BadRecords,
    /// Reading of each topic; one that does not exist is left out.
    pub topics: BTreeMap<Arc<str>, TopicStatus>,
    /// Topics that do not exist (yet).
    pub missing: Vec<Arc<str>>,
    /// What the broker's trouble is, while it has some.
    pub trouble: Option<String>,
    /// Since when.
    pub trouble_since: Option<Instant>,
    /// Time between two refreshes, at least.
    pub interval: Duration,
    /// Partitions whose beginning the broker no longer has.
    pub history: Vec<HistoryStart>,
    /// What is wrong with the declarations, while they are; the relations of before stay.
    pub sources_error: Option<String>,
    /// Where partitions ended when that was last asked, some seconds ago.
    pub ends: AsOf,
    /// Rebuilds begun.
    pub rebuilds: u64,
    /// Views that are being rebuilt, and how far that is.
    pub rebuild: Option<(Vec<Arc<str>>, RebuildStatus)>,
}

impl Status {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            messages: 0,
            messages_of: BTreeMap::new(),
            bytes: 0,
            rows: 0,
            bad_records: 0,
            bad: BadRecords::default(),
            topics: BTreeMap::new(),
            missing: Vec::new(),
            trouble: None,
            trouble_since: None,
            interval: Duration::ZERO,
            history: Vec::new(),
            sources_error: None,
            ends: AsOf::default(),
            rebuilds: 0,
            rebuild: None,
        }
    }

    /// Share of what was there at the start that has been read, 0 to 1.
    pub fn progress(&self) -> f64 {
        let (done, total) =
            self.topics.values().fold((0, 0), |(done, total), topic| (done + topic.done, total + topic.total));
        if total == 0 { 1.0 } else { done as f64 / total as f64 }
    }

    /// Where history starts, as offsets, for partitions that have lost their beginning.
    pub fn since(&self) -> AsOf {
        let mut since = AsOf::default();
        for start in &self.history {
            since.set(&start.topic, start.partition, start.first_offset);
        }
        since
    }

    /// Whether what was there at the start has been read.
    pub fn caught_up(&self) -> bool {
        self.topics.values().all(|topic| topic.done >= topic.total)
    }

    /// Records of a topic that were there when that was last asked, and are not in results of this as-of.
    pub fn lag(&self, topic: &str, as_of: &AsOf) -> i64 {
        let ends = self.ends.topic(topic).into_iter().flatten();
        let of_partition = |(partition, end): (&i32, &i64)| {
            as_of.next_offset(topic, *partition).map_or(0, |next_offset| (end - next_offset).max(0))
        };
        let since_asked: i64 = ends.map(of_partition).sum();
        let since_start = self.topics.get(topic).map_or(0, |topic| topic.total - topic.done);
        since_asked.max(since_start)
    }

    pub(super) fn count(&mut self, batch: &MicroBatch) {
        self.messages += batch.messages;
        self.bytes += batch.bytes;
        self.rows += batch.rows.iter().map(|(_, rows)| rows.batch.num_rows() as u64).sum::<u64>();
        for (topic, messages) in &batch.messages_of {
            *self.messages_of.entry(Arc::clone(topic)).or_default() += messages;
        }
    }
}
