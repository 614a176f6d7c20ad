//! What a dashboard knows of the log: what each partition held when it was found, and how much of that has been read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::status::TopicStatus;
use tallgrass_kafka::{AsOf, HistoryGuard, HistoryStart, Watermarks};

/// The partitions that have been found.
#[derive(Debug, Default)]
pub(super) struct LogHistory {
    /// First and last known offset.
    marks: BTreeMap<(Arc<str>, i32), Watermarks>,
    guard: HistoryGuard,
}

impl LogHistory {
    /// Partitions that are read from now on; one whose beginning is lost is logged.
    pub(super) fn found(&mut self, topic: &Arc<str>, partitions: &BTreeMap<i32, Watermarks>) {
        for (partition, marks) in partitions {
            self.marks.entry((Arc::clone(topic), *partition)).or_insert(*marks);
        }
        for start in self.guard.observe_watermarks(topic, partitions) {
            tracing::warn!("{start}");
        }
    }

    /// Whether a topic has been found.
    pub(super) fn has(&self, topic: &Arc<str>) -> bool {
        self.marks.keys().any(|(known, _)| known == topic)
    }

    /// Partitions whose beginning the broker no longer had.
    pub(super) fn starts(&self) -> Vec<HistoryStart> {
        self.guard.starts().collect()
    }

    /// The first offset of each partition.
    pub(super) fn first_offsets(&self) -> AsOf {
        let mut first_offsets = AsOf::default();
        for ((topic, partition), marks) in &self.marks {
            first_offsets.set(topic, *partition, marks.low);
        }
        first_offsets
    }

    /// How far each topic has been read.
    pub(super) fn progress(&mut self, as_of: &AsOf) -> BTreeMap<Arc<str>, TopicStatus> {
        let mut topics: BTreeMap<Arc<str>, TopicStatus> = BTreeMap::new();
        for ((topic, partition), marks) in &mut self.marks {
            let Some(next_offset) = as_of.next_offset(topic, *partition) else { continue };
            marks.high = marks.high.max(next_offset);
            let status = topics.entry(Arc::clone(topic)).or_default();
            status.total += marks.high - marks.low;
            status.done += next_offset - marks.low;
        }
        topics
    }
}
