//! What a cluster has: topics, partitions, watermarks, the offsets of a time.
//!
//! Every call blocks on the network; call it from a blocking thread.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use super::config::KafkaConfig;
use super::error::KafkaError;
use super::log::{ASKS_ONLY, ClientLog, short_reason};

/// How long one request may take once a broker has answered before.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic just created has no leaders for some milliseconds; ask again after this long.
pub(super) const SETTLE: Duration = Duration::from_millis(50);

/// How long one wait for the first answer takes, where the wait may be stopped.
const STOP_POLL: Duration = Duration::from_millis(200);

/// Queued events looked at after a request: more than a client without a broker makes in that time.
const DRAIN: usize = 64;

/// What one partition holds: offsets `low..high`, some of which compaction or transactions may have taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The oldest offset that can be read.
    pub low: i64,
    /// The offset of the next record to come (the last stable offset while a transaction is open).
    pub high: i64,
}

/// A connected metadata client.
pub struct Cluster {
    pub(super) config: KafkaConfig,
    pub(super) client: BaseConsumer<ClientLog>,
}

impl Cluster {
    /// Waits until a broker answers, `timeout` at most.
    ///
    /// A refused connection does not end the wait: a broker that is just starting refuses too.
    pub fn connect(config: &KafkaConfig, timeout: Duration) -> Result<Self, KafkaError> {
        let cluster = Self::unconnected(config)?;
        cluster.metadata(None, timeout)?;
        Ok(cluster)
    }

    /// The same, but gives up without an error as soon as `stopped` returns true: a user who waits may press Ctrl-C.
    pub fn connect_unless(
        config: &KafkaConfig,
        timeout: Duration,
        stopped: impl Fn() -> bool,
    ) -> Result<Option<Self>, KafkaError> {
        let cluster = Self::unconnected(config)?;
        let started = Instant::now();
        while !stopped() {
            let left = timeout.saturating_sub(started.elapsed());
            match cluster.metadata(None, left.min(STOP_POLL)) {
                Ok(_) => return Ok(Some(cluster)),
                Err(KafkaError::Unreachable { brokers, reason, .. }) if left <= STOP_POLL => {
                    return Err(KafkaError::Unreachable { brokers, after: started.elapsed(), reason });
                }
                Err(KafkaError::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn unconnected(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let client: BaseConsumer<ClientLog> = config
            .for_metadata()?
            .create_with_context(ClientLog::new(ASKS_ONLY))
            .map_err(|source| KafkaError::client("create a metadata client", source))?;
        Ok(Self { config: config.clone(), client })
    }

    /// The names of all topics but Kafka's own.
    pub fn topics(&self) -> Result<Vec<String>, KafkaError> {
        let metadata = self.metadata(None, REQUEST_TIMEOUT)?;
        let mut names: Vec<String> = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned())
            .filter(|name| !name.starts_with("__"))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The partitions of a topic, ascending.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let metadata = self.metadata(Some(topic), REQUEST_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let code = found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
            match (found, code) {
                (None, _) | (_, Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                    return Err(KafkaError::TopicMissing { topic: topic.to_owned() });
                }
                (_, Some(RDKafkaErrorCode::LeaderNotAvailable)) if Instant::now() < deadline => {}
                (_, Some(code)) => {
                    return Err(KafkaError::Admin {
                        action: "describe",
                        topic: topic.to_owned(),
                        reason: code.to_string(),
                    });
                }
                (Some(found), None) => {
                    let mut partitions: Vec<i32> = found.partitions().iter().map(MetadataPartition::id).collect();
                    partitions.sort_unstable();
                    return Ok(partitions);
                }
            }
            std::thread::sleep(SETTLE);
        }
    }

    /// The watermarks of each partition now.
    pub fn watermarks(&self, topic: &str) -> Result<BTreeMap<i32, Watermarks>, KafkaError> {
        let partitions = self.partitions(topic)?;
        let lows = self.list_offsets(topic, &partitions, Offset::Beginning)?;
        let highs = self.list_offsets(topic, &partitions, Offset::End)?;
        // Retention between the two requests can lift the low mark above an old high mark.
        let marks = lows
            .iter()
            .zip(highs.values())
            .map(|((&partition, &low), &high)| (partition, Watermarks { low, high: high.max(low) }));
        Ok(marks.collect())
    }

    /// The oldest offset of each partition: one request per broker.
    pub fn low_watermarks(&self, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
        self.list_offsets(topic, &self.partitions(topic)?, Offset::Beginning)
    }

    /// For each partition the first offset whose record's time is `timestamp_ms` or later; the end where there is none.
    /// All records before it are earlier; later ones may be earlier too, since producers set the times.
    ///
    /// `None` when the broker's time index cannot be trusted: the embedded broker always answers with the end. That shows
    /// when it does so for time 0 although the partition holds records.
    pub fn offsets_for_time(&self, topic: &str, timestamp_ms: i64) -> Result<Option<BTreeMap<i32, i64>>, KafkaError> {
        // The ends are read first: a record that arrives meanwhile is then read in vain rather than missed.
        let watermarks = self.watermarks(topic)?;
        let partitions: Vec<i32> = watermarks.keys().copied().collect();
        let filled = |partition: i32| watermarks.get(&partition).is_some_and(|marks| marks.low < marks.high);
        let first = self.list_offsets(topic, &partitions, Offset::Offset(0))?;
        if first.iter().any(|(&partition, &offset)| offset < 0 && filled(partition)) {
            return Ok(None);
        }
        let mut offsets = self.list_offsets(topic, &partitions, Offset::Offset(timestamp_ms.max(0)))?;
        for (partition, offset) in &mut offsets {
            if *offset < 0 {
                *offset = watermarks.get(partition).map_or(0, |marks| marks.high);
            }
        }
        Ok(Some(offsets))
    }

    /// Partition → offset (-1 where the broker names none) as Kafka's `ListOffsets` answers for `at`: the beginning, the end, or
    /// a time in milliseconds. librdkafka hands the value through, so its call for times serves for watermarks too, with one
    /// request per broker instead of two per partition.
    fn list_offsets(&self, topic: &str, partitions: &[i32], at: Offset) -> Result<BTreeMap<i32, i64>, KafkaError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let action = || format!("look up offsets of topic '{topic}'");
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            list.add_partition_offset(topic, partition, at).map_err(|source| KafkaError::client(action(), source))?;
        }
        let started = Instant::now();
        let answer = self.client.offsets_for_times(list, REQUEST_TIMEOUT);
        let answer = answer.map_err(|source| self.problem(action(), source, started.elapsed()))?;
        answer
            .elements()
            .iter()
            .map(|element| {
                element.error().map_err(|source| KafkaError::client(action(), source))?;
                let offset = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => -1,
                };
                Ok((element.partition(), offset))
            })
            .collect()
    }

    /// Whether this is the in-process broker of some tallgrass, not necessarily our own.
    pub(super) fn is_embedded(&self) -> bool {
        let id = self.client.client().fetch_cluster_id(REQUEST_TIMEOUT);
        id.is_some_and(|id| id.starts_with("mockCluster"))
    }

    fn metadata(&self, topic: Option<&str>, timeout: Duration) -> Result<Metadata, KafkaError> {
        let started = Instant::now();
        let answer = self.client.fetch_metadata(topic, timeout);
        self.drain();
        answer.map_err(|source| self.problem("ask for metadata".to_owned(), source, started.elapsed()))
    }

    /// Looks at the log lines and errors that wait in the client's queue. A poll says `None` for a log line as for an empty
    /// queue, so this is a number of polls.
    fn drain(&self) {
        for _ in 0..DRAIN {
            self.client.poll(Duration::ZERO);
        }
    }

    /// What a failed request means to the user.
    pub(super) fn problem(&self, action: String, source: ClientError, after: Duration) -> KafkaError {
        use RDKafkaErrorCode as Code;
        self.drain();
        match source.rdkafka_error_code() {
            Some(
                code @ (Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::Authentication
                | Code::SSL),
            ) => KafkaError::Unreachable {
                brokers: self.config.brokers().to_owned(),
                after,
                reason: self.client.context().last_error().map_or_else(|| code.to_string(), |line| short_reason(&line)),
            },
            _ => KafkaError::client(action, source),
        }
    }
}
