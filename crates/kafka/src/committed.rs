//! What consumer groups have committed, and where they continue. Asked from outside: nothing here joins a group.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::Offset;

use super::cluster::{Cluster, REQUEST_TIMEOUT, Watermarks};
use super::error::KafkaError;
use super::log::{ASKS_ONLY, ClientLog};

impl Cluster {
    /// The names of all consumer groups that the brokers show us, in order. `None` where the broker cannot list them: the
    /// embedded one knows no such request and would let it time out.
    pub fn groups(&self) -> Result<Option<Vec<String>>, KafkaError> {
        if self.is_embedded() {
            return Ok(None);
        }
        let started = Instant::now();
        let answer = self.client.client().fetch_group_list(None, REQUEST_TIMEOUT);
        let answer = answer.map_err(|source| self.problem("list groups".to_owned(), source, started.elapsed()))?;
        let mut names: Vec<String> = answer.groups().iter().map(|group| group.name().to_owned()).collect();
        names.sort();
        names.dedup();
        Ok(Some(names))
    }

    /// Topic → partition → next offset as `group` has committed it; partitions without a commit are left out, and so are
    /// topics without any. A group that never existed has committed nothing.
    ///
    /// Opens a client of its own, since Kafka answers for the group that a client names.
    pub fn committed(
        &self,
        group: &str,
        partitions: &[(&str, i32)],
    ) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let client: BaseConsumer<ClientLog> = self
            .config
            .for_committed(group)?
            .create_with_context(ClientLog::new(ASKS_ONLY))
            .map_err(|source| KafkaError::client("create a metadata client", source))?;
        let started = Instant::now();
        let answer = client.committed_offsets(list, REQUEST_TIMEOUT);
        let answer = answer.map_err(|source| {
            self.problem(format!("look up what group '{group}' has committed"), source, started.elapsed())
        })?;
        let mut committed: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for element in answer.elements() {
            // A partition without a commit has another kind of offset here.
            if let (Ok(()), Offset::Offset(next_offset)) = (element.error(), element.offset()) {
                committed.entry(element.topic().to_owned()).or_default().insert(element.partition(), next_offset);
            }
        }
        Ok(committed)
    }
}

/// Where a group continues in a partition, and the committed offset if it is out of range. `end` is where a partition
/// without a commit starts, if not at its oldest record.
pub(super) fn resume(committed: Option<i64>, marks: Watermarks, end: Option<i64>) -> (i64, Option<i64>) {
    match committed {
        Some(offset) if (marks.low..=marks.high).contains(&offset) => (offset, None),
        // Retention took it, or the topic was created again: what is left is unread.
        Some(offset) => (marks.low, Some(offset)),
        // A topic created again since then is shorter.
        None => (end.filter(|end| (marks.low..=marks.high).contains(end)).unwrap_or(marks.low), None),
    }
}

impl Watermarks {
    /// Offsets that the partition holds: its records, but for those that compaction or transactions have taken.
    pub fn records(self) -> u64 {
        u64::try_from(self.high - self.low).unwrap_or(0)
    }

    /// Offsets that one of our groups has still to read here, once it has committed something anywhere on the topic: all of
    /// them where it has committed nothing on this partition, or an offset that the broker no longer has.
    pub fn lag(self, committed: Option<i64>) -> u64 {
        u64::try_from(self.high - resume(committed, self, None).0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_starts_at_its_commit_or_where_the_role_says() {
        let marks = Watermarks { low: 10, high: 20 };
        assert_eq!(resume(Some(15), marks, Some(18)), (15, None));
        assert_eq!(resume(Some(20), marks, None), (20, None));
        assert_eq!(resume(None, marks, None), (10, None));
        assert_eq!(resume(None, marks, Some(18)), (18, None));
    }

    #[test]
    fn an_end_that_the_partition_does_not_have_means_that_it_was_created_again() {
        assert_eq!(resume(None, Watermarks { low: 0, high: 5 }, Some(18)), (0, None));
        assert_eq!(resume(None, Watermarks { low: 30, high: 40 }, Some(18)), (30, None));
    }

    #[test]
    fn a_commit_out_of_range_continues_at_the_oldest_record_and_is_reported() {
        let marks = Watermarks { low: 10, high: 20 };
        assert_eq!(resume(Some(3), marks, Some(20)), (10, Some(3)));
        assert_eq!(resume(Some(21), marks, None), (10, Some(21)));
    }

    #[test]
    fn the_lag_is_what_the_group_would_read() {
        let marks = Watermarks { low: 10, high: 20 };
        assert_eq!([Some(15), Some(20), Some(3), Some(21), None].map(|next| marks.lag(next)), [5, 0, 10, 10, 10]);
        assert_eq!(marks.records(), 10);
    }
}
