//! Offsets are the clock: how far each partition has been read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Topic → partition → next offset: everything below those offsets is in the result, nothing at or above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsOf {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, i64>>,
}

impl AsOf {
    /// Moves one partition to `next_offset`.
    pub fn set(&mut self, topic: &Arc<str>, partition: i32, next_offset: i64) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, next_offset);
        } else {
            self.topics.insert(Arc::clone(topic), BTreeMap::from([(partition, next_offset)]));
        }
    }

    /// The next offset of one partition.
    pub fn next_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.topics.get(topic)?.get(&partition).copied()
    }

    /// Partition → next offset of one topic.
    pub fn topic(&self, topic: &str) -> Option<&BTreeMap<i32, i64>> {
        self.topics.get(topic)
    }

    /// Every (topic, partition, next offset), ordered.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, i64)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(partition, next)| (topic, *partition, *next)))
    }
}

/// `pokemons 0:120 1:98, users 0:7`
impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, partitions)) in self.topics.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(topic)?;
            for (partition, next_offset) in partitions {
                write!(f, " {partition}:{next_offset}")?;
            }
        }
        Ok(())
    }
}
