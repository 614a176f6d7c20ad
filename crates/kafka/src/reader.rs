//! Reads assigned partitions from explicit offsets: no group, no commits, many messages a call.
//!
//! # Contract
//! Per partition the messages come in the order of their offsets, each offset at most once, whatever librdkafka fetches
//! again. Offsets may be missing (compaction, transaction markers), so a caller never waits for one: [`Signal::End`] says
//! where a partition ended. Nothing is skipped silently: a partition that cannot be read on is an error of `read`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::topic_partition_list::Offset;

use super::cluster::REQUEST_TIMEOUT;
use super::config::KafkaConfig;
use super::error::KafkaError;
use super::message::{Message, Start};
use super::native::{CallbackError, NativeConsumer, RawKind, RawRecord, ReaderContext};

/// What is not a message.
#[derive(Debug)]
pub enum Signal {
    /// Everything that the partition held has been handed over. Sent again whenever more has been read to the end.
    End {
        /// Index into the reader's topics.
        topic: usize,
        /// The partition.
        partition: i32,
        /// Where the next record will be, or later.
        next_offset: i64,
    },
    /// Trouble that the client works on by itself, such as a lost broker. Logged already, and repeated for as long as it
    /// lasts.
    Error(KafkaError),
}

/// Lives on one thread, may move to another.
pub struct BatchReader {
    native: NativeConsumer,
    names: Vec<Arc<str>>,
    /// By topic and partition the next offset; `None` for what is not (or no longer) read.
    next_offsets: Vec<Vec<Option<i64>>>,
    /// librdkafka's handle of a topic → index. Few, so a scan is faster than a hash.
    handles: Vec<(usize, usize)>,
    /// Errors of partitions that have not been returned yet.
    failures: VecDeque<KafkaError>,
    /// A callback panicked, so that the rest of a batch was lost.
    interrupted: bool,
}

impl BatchReader {
    /// Connects in the background and returns at once: an unreachable broker shows as [`Signal::Error`].
    pub fn open(config: &KafkaConfig, starts: &[Start]) -> Result<Self, KafkaError> {
        let native = NativeConsumer::create(&config.for_reader()?, ReaderContext::new("reader"))?;
        let mut reader = Self {
            native,
            names: Vec::new(),
            next_offsets: Vec::new(),
            handles: Vec::new(),
            failures: VecDeque::new(),
            interrupted: false,
        };
        reader.assign(starts)?;
        Ok(reader)
    }

    /// Reads more partitions; those already read continue undisturbed. Blocks for one metadata request, because librdkafka
    /// takes a partition that is younger than its last look at the topic for one that does not exist.
    pub fn add(&mut self, starts: &[Start]) -> Result<(), KafkaError> {
        let mut asked: Vec<&str> = Vec::new();
        for Start { topic, .. } in starts {
            if !asked.contains(&&**topic) {
                asked.push(topic);
                let answer = self.native.client().fetch_metadata(Some(topic), REQUEST_TIMEOUT);
                answer.map_err(|source| KafkaError::client(format!("ask for the partitions of '{topic}'"), source))?;
            }
        }
        self.assign(starts)
    }

    fn assign(&mut self, starts: &[Start]) -> Result<(), KafkaError> {
        if starts.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for start in starts {
            if start.partition < 0 || start.next_offset < 0 {
                let Start { topic, partition, next_offset } = start;
                return Err(KafkaError::Read {
                    topic: topic.to_string(),
                    partition: *partition,
                    next_offset: *next_offset,
                    reason: "no such partition or offset".to_owned(),
                });
            }
            list.add_partition_offset(&start.topic, start.partition, Offset::Offset(start.next_offset))
                .map_err(|source| KafkaError::client(format!("read {}[{}]", start.topic, start.partition), source))?;
        }
        self.native.assign(&list)?;
        self.handles.clear();
        for start in starts {
            *self.slot(&start.topic, start.partition) = Some(start.next_offset);
        }
        Ok(())
    }

    /// No longer reads this partition; what was fetched of it is dropped.
    pub fn remove(&mut self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        let Some(index) = self.names.iter().position(|name| &**name == topic) else { return Ok(()) };
        if self.next_offsets[index].get(partition as usize).copied().flatten().is_none() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(topic, partition);
        self.native.unassign(&list)?;
        self.next_offsets[index][partition as usize] = None;
        // A handle may be reused once the last partition of its topic is removed.
        self.handles.clear();
        Ok(())
    }

    /// The topics by index, in the order in which they were first named. Never shrinks.
    pub fn topics(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The next offset of a partition: the first that has not been handed over. `None` if it is not read.
    pub fn next_offset(&self, topic: usize, partition: i32) -> Option<i64> {
        self.next_offsets.get(topic)?.get(usize::try_from(partition).ok()?).copied().flatten()
    }

    /// Hands over what is there, at most `max` messages, and returns how many.
    ///
    /// Waits up to `timeout` for the first message, end or error, and not for a full batch: a message is handed over as soon
    /// as it has been fetched. A caller that wants fuller batches calls again. `max` counts signals too, and is capped
    /// at 65,536.
    ///
    /// # Errors
    /// [`KafkaError::OffsetOutOfRange`], [`KafkaError::TopicMissing`], [`KafkaError::PartitionMissing`] or
    /// [`KafkaError::Read`] when a partition cannot be read on: it is then no longer read, the others are, and everything
    /// before the error has been handed over. The reader itself stays usable. [`KafkaError::Broker`] when the whole client
    /// has given up.
    pub fn read(
        &mut self,
        max: usize,
        timeout: Duration,
        mut on_message: impl FnMut(Message<'_>),
        mut on_signal: impl FnMut(Signal),
    ) -> Result<usize, KafkaError> {
        if let Some(failure) = self.failures.pop_front() {
            return Err(failure);
        }
        if self.interrupted {
            self.restart()?;
        }
        self.interrupted = true;
        let Self { native, names, next_offsets, handles, .. } = self;
        let mut messages = 0;
        let mut failed: Vec<Failed> = Vec::new();
        native.take(max, timeout, |record| {
            let slot = find_topic(handles, names, &record)
                .and_then(|topic| Some((topic, next_offsets.get_mut(topic)?.get_mut(record.partition() as usize)?)));
            match (record.kind(), slot) {
                (RawKind::Message, Some((topic, Some(next_offset)))) if record.offset() >= *next_offset => {
                    *next_offset = record.offset() + 1;
                    messages += 1;
                    on_message(Message {
                        topic,
                        partition: record.partition(),
                        offset: record.offset(),
                        timestamp_ms: record.timestamp_ms(),
                        key: record.key(),
                        value: record.value(),
                    });
                }
                (RawKind::End, Some((topic, Some(next_offset)))) => {
                    // Compaction and transaction markers may have taken the last offsets before the end.
                    *next_offset = record.offset().max(*next_offset);
                    on_signal(Signal::End { topic, partition: record.partition(), next_offset: *next_offset });
                }
                // Fetched before the partition was removed, or fetched again.
                (RawKind::Message | RawKind::End, _) => {}
                (RawKind::Transient, _) => {
                    on_signal(Signal::Error(KafkaError::Broker { reason: record.reason(), fatal: false }));
                }
                (kind, Some((topic, Some(_)))) => failed.push(Failed::new(kind, &names[topic], &record)),
                // Of a partition that has been removed.
                (_, Some((_, None))) => {}
                (kind, None) => failed.push(Failed::new(kind, record.topic_name(), &record)),
            }
        });
        for problem in native.client().context().take_problems() {
            match problem {
                CallbackError::Client(error @ KafkaError::Broker { fatal: true, .. }) => self.failures.push_back(error),
                CallbackError::Client(error) => on_signal(Signal::Error(error)),
                CallbackError::Partition { topic, partition, kind, reason } => {
                    failed.push(Failed { kind, topic, partition, offset: -1, reason });
                }
            }
        }
        self.interrupted = false;
        for failed in failed {
            // Reported once per partition, however often librdkafka does.
            if failed.topic.is_empty() || self.is_read(&failed.topic, failed.partition) {
                let failure = self.explain(failed);
                self.failures.push_back(failure);
            }
        }
        // Errors wait for the next call when there are messages, so that none of them is lost on a `?`.
        match self.failures.pop_front() {
            Some(failure) if messages == 0 => Err(failure),
            Some(failure) => {
                self.failures.push_front(failure);
                Ok(messages)
            }
            None => Ok(messages),
        }
    }

    /// Fetches everything again that has not been handed over: after a panic of a callback that a caller caught.
    fn restart(&mut self) -> Result<(), KafkaError> {
        let mut starts = Vec::new();
        for (topic, partitions) in self.names.iter().zip(&self.next_offsets) {
            for (partition, next_offset) in partitions.iter().enumerate() {
                let start = |next_offset| Start { topic: Arc::clone(topic), partition: partition as i32, next_offset };
                starts.extend(next_offset.map(start));
            }
        }
        for start in &starts {
            self.remove(&start.topic, start.partition)?;
        }
        self.assign(&starts)
    }

    fn is_read(&self, topic: &str, partition: i32) -> bool {
        let index = self.names.iter().position(|name| &**name == topic);
        index.is_some_and(|index| self.next_offset(index, partition).is_some())
    }

    /// Removes the partition and gives the reason as an error.
    fn explain(&mut self, failed: Failed) -> KafkaError {
        let Failed { kind, topic, partition, offset, reason } = failed;
        if let Err(error) = self.remove(&topic, partition) {
            tracing::debug!(%topic, partition, %error, "a failed partition was not removed");
        }
        match kind {
            RawKind::Missing => KafkaError::TopicMissing { topic },
            RawKind::PartitionMissing => KafkaError::PartitionMissing { topic, partition },
            RawKind::OffsetOutOfRange => {
                match self.native.client().fetch_watermarks(&topic, partition, REQUEST_TIMEOUT) {
                    Ok((low, high)) => {
                        KafkaError::OffsetOutOfRange { topic, partition, next_offset: offset, low, high }
                    }
                    Err(error) => KafkaError::Read {
                        topic,
                        partition,
                        next_offset: offset,
                        reason: format!("{reason} ({error})"),
                    },
                }
            }
            _ if topic.is_empty() => KafkaError::Broker { reason, fatal: true },
            _ => KafkaError::Read { topic, partition, next_offset: offset, reason },
        }
    }

    fn slot(&mut self, topic: &Arc<str>, partition: i32) -> &mut Option<i64> {
        let index = self.names.iter().position(|name| name == topic).unwrap_or_else(|| {
            self.names.push(Arc::clone(topic));
            self.next_offsets.push(Vec::new());
            self.names.len() - 1
        });
        let partitions = &mut self.next_offsets[index];
        let partition = partition as usize;
        if partitions.len() <= partition {
            partitions.resize(partition + 1, None);
        }
        &mut partitions[partition]
    }
}

/// A partition's error as it was found in the batch; explaining it takes a request, which must wait for the batch's end.
struct Failed {
    kind: RawKind,
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
}

impl Failed {
    fn new(kind: RawKind, topic: &str, record: &RawRecord<'_>) -> Self {
        Self {
            kind,
            topic: topic.to_owned(),
            partition: record.partition(),
            offset: record.offset(),
            reason: record.reason(),
        }
    }
}

fn find_topic(handles: &mut Vec<(usize, usize)>, names: &[Arc<str>], record: &RawRecord<'_>) -> Option<usize> {
    let handle = record.topic_handle();
    if let Some((_, index)) = handles.iter().find(|(known, _)| *known == handle) {
        return Some(*index);
    }
    let name = record.topic_name();
    let index = names.iter().position(|known| &**known == name)?;
    // An error may carry a handle of its own, valid only as long as the error.
    if matches!(record.kind(), RawKind::Message | RawKind::End) {
        handles.push((handle, index));
    }
    Some(index)
}
