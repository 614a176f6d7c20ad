//! Reads partitions of some topics and decodes what they hold: what a live feed and a bounded scan have in common.
//!
//! ```text
//!  BatchReader ─┬─ message ─▶ TopicDecoder of its topic ─(finish)─▶ rows and counts, by topic
//!               └─ signal ──▶ Arrived { records, bytes, ended, trouble }
//! ```
//!
//! A record is decoded while it lies where the network put it: it is not copied, and nothing is allocated for it alone.
//! When a batch is full, what silence means and where rows go is the caller's to decide; there is no thread here, no
//! channel and no clock.
//!
//! # Contract
//! Of each partition exactly the records of its range are decoded, in the order of their offsets. Its next offset passes
//! what compaction and transaction markers took, and never passes the end of the range.

use std::sync::Arc;
use std::time::Duration;

use super::error::RelationError;
use super::read_bounds::PartitionRange;
use super::topic_decoder::{RelationRows, TopicDecoder};
use tallgrass_kafka::{BatchReader, KafkaConfig, KafkaError, Signal, Start};

/// Reads and decodes.
pub struct RecordReader {
    kafka: BatchReader,
    /// In the order in which they were given.
    topics: Vec<TopicRead>,
    /// Index of a topic in `kafka` → index in `topics`.
    places: Vec<usize>,
}

struct TopicRead {
    decoder: TopicDecoder,
    /// Since the last [`RecordReader::finish`].
    records: u64,
    /// By partition what is left to read; `None` for one that is not read.
    unread: Vec<Option<Unread>>,
}

#[derive(Clone, Copy)]
struct Unread {
    end: i64,
    /// Records are skipped until the first of this time or later.
    skip_before_ms: Option<i64>,
}

/// A partition of one of a reader's topics.
pub type TopicPartition = (usize, i32);

/// What one [`RecordReader::read`] brought.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Records of the ranges, bad and skipped ones too.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// A partition has been read to where it ends now.
    pub ended: bool,
    /// What keeps the client from reading; it goes on trying.
    pub trouble: Option<KafkaError>,
}

/// What was decoded of one topic.
#[derive(Debug)]
pub struct TopicRows {
    /// Records, bad and skipped ones too.
    pub records: u64,
    /// The rows of each relation, in the order in which the decoder was given them; none where there are no rows.
    pub rows: Vec<RelationRows>,
}

impl RecordReader {
    /// Prepares to read the decoders' topics, which are known by their index from here on, and begins with these ranges.
    /// An unreachable broker shows as [`Arrived::trouble`].
    pub fn open(
        config: &KafkaConfig,
        decoders: Vec<TopicDecoder>,
        ranges: &[(usize, PartitionRange)],
    ) -> Result<Self, KafkaError> {
        let topic = |decoder| TopicRead { decoder, records: 0, unread: Vec::new() };
        let topics: Vec<TopicRead> = decoders.into_iter().map(topic).collect();
        let kafka = BatchReader::open(config, &starts(&topics, ranges))?;
        let mut reader = Self { kafka, topics, places: Vec::new() };
        reader.note(ranges);
        Ok(reader)
    }

    /// Reads more partitions, by the index of their topic. Blocks for a request.
    pub fn add(&mut self, ranges: &[(usize, PartitionRange)]) -> Result<(), KafkaError> {
        self.kafka.add(&starts(&self.topics, ranges))?;
        self.note(ranges);
        Ok(())
    }

    fn note(&mut self, ranges: &[(usize, PartitionRange)]) {
        for (topic, range) in ranges {
            let unread = &mut self.topics[*topic].unread;
            let partition = range.partition as usize;
            if unread.len() <= partition {
                unread.resize(partition + 1, None);
            }
            unread[partition] = Some(Unread { end: range.end, skip_before_ms: range.skip_before_ms });
        }
        let place = |name: &Arc<str>| self.topics.iter().position(|topic| topic.decoder.topic() == name);
        self.places = self.kafka.topics().iter().filter_map(place).collect();
    }

    /// Decodes what is there, at most `max` records, and waits up to `wait` for the first one.
    ///
    /// # Errors
    /// Those of [`BatchReader::read`]; everything before the error has been decoded by earlier calls.
    pub fn read(&mut self, max: usize, wait: Duration) -> Result<Arrived, KafkaError> {
        let Self { kafka, topics, places } = self;
        let (mut records, mut bytes, mut ended, mut trouble) = (0, 0, false, None);
        kafka.read(
            max,
            wait,
            |message| {
                let topic = &mut topics[places[message.topic]];
                let Some(Some(unread)) = topic.unread.get_mut(message.partition as usize) else { return };
                if message.offset >= unread.end {
                    return;
                }
                records += 1;
                bytes += message.size() as u64;
                topic.records += 1;
                if let Some(from_ms) = unread.skip_before_ms {
                    if message.timestamp_ms.is_none_or(|time_ms| time_ms < from_ms) {
                        return;
                    }
                    unread.skip_before_ms = None;
                }
                topic.decoder.push(&message);
            },
            |signal| match signal {
                Signal::End { .. } => ended = true,
                Signal::Error(error) => trouble = Some(error),
            },
        )?;
        Ok(Arrived { records, bytes, ended, trouble })
    }

    /// Rows since the last [`Self::finish`], of the relation that has most.
    pub fn rows(&self) -> usize {
        self.topics.iter().map(|topic| topic.decoder.len()).max().unwrap_or(0)
    }

    /// What has been decoded since the last call, by topic.
    pub fn finish(&mut self) -> Result<Vec<TopicRows>, RelationError> {
        let finish = |topic: &mut TopicRead| {
            let rows = if topic.decoder.is_empty() { Vec::new() } else { topic.decoder.finish()? };
            Ok(TopicRows { records: std::mem::take(&mut topic.records), rows })
        };
        self.topics.iter_mut().map(finish).collect()
    }

    /// The partitions that are read, and the next offset of each.
    pub fn next_offsets(&self) -> impl Iterator<Item = (TopicPartition, i64)> {
        self.partitions().map(|(place, next_offset, _)| (place, next_offset))
    }

    /// Whether every range has been read and [let go](Self::release_finished).
    pub fn is_finished(&self) -> bool {
        self.partitions().next().is_none()
    }

    /// No longer reads partitions that stand at the ends of their ranges.
    pub fn release_finished(&mut self) -> Result<(), KafkaError> {
        let finished = |(place, next_offset, end)| (next_offset >= end).then_some(place);
        let finished: Vec<TopicPartition> = self.partitions().filter_map(finished).collect();
        for (topic, partition) in finished {
            let TopicRead { decoder, unread, .. } = &mut self.topics[topic];
            self.kafka.remove(decoder.topic(), partition)?;
            unread[partition as usize] = None;
        }
        Ok(())
    }

    /// What is read: the partition, its next offset, and the end of its range.
    fn partitions(&self) -> impl Iterator<Item = (TopicPartition, i64, i64)> {
        self.places.iter().enumerate().flat_map(move |(index, place)| {
            self.topics[*place].unread.iter().zip(0..).filter_map(move |(unread, partition)| {
                let (end, next_offset) = (unread.as_ref()?.end, self.kafka.next_offset(index, partition)?);
                Some(((*place, partition), next_offset.min(end), end))
            })
        })
    }
}

fn starts(topics: &[TopicRead], ranges: &[(usize, PartitionRange)]) -> Vec<Start> {
    let start = |(topic, range): &(usize, PartitionRange)| Start {
        topic: Arc::clone(topics[*topic].decoder.topic()),
        partition: range.partition,
        next_offset: range.start,
    };
    ranges.iter().map(start).collect()
}
