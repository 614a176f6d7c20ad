//! The watch over history: the offset from which a partition counts once its beginning is lost.
//!
//! Retention on a real Kafka and the embedded broker's bounded memory look the same from here: the low watermark rises
//! above zero. A reader from earliest then counts from there, and must report it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::cluster::{Cluster, Watermarks};
use super::error::KafkaError;

/// A partition whose history no longer starts at its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStart {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The oldest offset that can still be read.
    pub first_offset: i64,
}

/// `pokemons[3] counts from offset 1200: the broker no longer has the records before it`
impl fmt::Display for HistoryStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, first_offset } = self;
        write!(
            f,
            "{topic}[{partition}] counts from offset {first_offset}: the broker no longer has the records before it"
        )
    }
}

/// Remembers each partition's beginning and reports those that have moved.
#[derive(Debug, Default)]
pub struct HistoryGuard {
    first_offsets: BTreeMap<(Arc<str>, i32), i64>,
}

impl HistoryGuard {
    /// Asks the broker: one request per topic and broker, so a call every few seconds costs nothing.
    /// Returns what has changed since the last call.
    pub fn poll(&mut self, cluster: &Cluster, topics: &[Arc<str>]) -> Result<Vec<HistoryStart>, KafkaError> {
        let mut moved = Vec::new();
        for topic in topics {
            moved.extend(self.observe(topic, &cluster.low_watermarks(topic)?));
        }
        Ok(moved)
    }

    /// The same from watermarks that were fetched for another reason.
    pub fn observe_watermarks(
        &mut self,
        topic: &Arc<str>,
        watermarks: &BTreeMap<i32, Watermarks>,
    ) -> Vec<HistoryStart> {
        self.observe(topic, &watermarks.iter().map(|(partition, marks)| (*partition, marks.low)).collect())
    }

    /// The same from low watermarks. A mark of zero is a whole history and nothing to report.
    pub fn observe(&mut self, topic: &Arc<str>, low_watermarks: &BTreeMap<i32, i64>) -> Vec<HistoryStart> {
        let mut moved = Vec::new();
        for (&partition, &first_offset) in low_watermarks {
            let known = self.first_offsets.entry((Arc::clone(topic), partition)).or_insert(0);
            if *known != first_offset {
                *known = first_offset;
                if first_offset > 0 {
                    moved.push(HistoryStart { topic: Arc::clone(topic), partition, first_offset });
                }
            }
        }
        moved
    }

    /// All partitions whose beginning is lost, as last seen.
    pub fn starts(&self) -> impl Iterator<Item = HistoryStart> + '_ {
        self.first_offsets.iter().filter(|(_, first_offset)| **first_offset > 0).map(
            |((topic, partition), first_offset)| HistoryStart {
                topic: Arc::clone(topic),
                partition: *partition,
                first_offset: *first_offset,
            },
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_history_is_silent_and_each_loss_is_reported_once() {
        let topic: Arc<str> = Arc::from("pokemons");
        let mut guard = HistoryGuard::default();
        assert_eq!(guard.observe(&topic, &BTreeMap::from([(0, 0), (1, 0)])), []);
        let moved = guard.observe(&topic, &BTreeMap::from([(0, 0), (1, 12)]));
        assert_eq!(moved.len(), 1);
        assert_eq!(
            moved[0].to_string(),
            "pokemons[1] counts from offset 12: the broker no longer has the records before it"
        );
        assert_eq!(guard.observe(&topic, &BTreeMap::from([(0, 0), (1, 12)])), []);
        assert_eq!(guard.observe(&topic, &BTreeMap::from([(1, 20)]))[0].first_offset, 20);
        assert_eq!(guard.starts().count(), 1);
    }

    #[test]
    fn a_topic_created_again_has_its_whole_history() {
        let topic: Arc<str> = Arc::from("users");
        let mut guard = HistoryGuard::default();
        guard.observe(&topic, &BTreeMap::from([(0, 7)]));
        assert_eq!(guard.observe(&topic, &BTreeMap::from([(0, 0)])), []);
        assert_eq!(guard.starts().count(), 0);
    }
}
