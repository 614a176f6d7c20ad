//! A member of a consumer group: Kafka shares the partitions among the members, and each commits what it has acted on.
//!
//! # Contract
//! At least once: a message is handed over again if its offset was not committed before its partition left. Exactly once
//! across members that join and leave in an orderly way, if the caller commits all that it has acted on at every
//! [`GroupEvent::Revoking`] and with [`GroupReader::leave`]. Such an event comes at the beginning of a `read`, before any
//! message of that call, so that "acted on" is all that earlier calls handed over. (The embedded broker refuses commits
//! during most of a rebalance, where a real Kafka takes them; there it helps to commit after every batch as well.)
//!
//! Rebalancing is cooperative: members continue to read the partitions that they keep. librdkafka leaves it to the
//! application when to release a partition; that happens between two batches instead of in a callback in the middle of
//! one, which also lets a caller commit in its ordinary way.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::cluster::{Cluster, REQUEST_TIMEOUT, Watermarks};
use super::committed::resume;
use super::config::KafkaConfig;
use super::error::{KafkaError, is_transient};
use super::log::ClientLog;
use super::message::{Message, Start};
use super::offsets::AsOf;

/// How long one look at a rebalance takes while leaving.
const LEAVE_POLL: Duration = Duration::from_millis(100);

/// How long a commit waits for its answer.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long leaving waits for a broker that has not answered the last commit.
const LAST_TRY: Duration = Duration::from_secs(1);

/// How long leaving a group may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a partition starts for which the group has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStart {
    /// At the oldest record.
    Earliest,
    /// At the end, as it was when this member joined: a partition that is younger than that starts at its oldest record.
    /// If the group has committed anything before, it continues, and what it has not seen starts at the oldest record too.
    Latest,
}

/// What is not a message.
#[derive(Debug)]
pub enum GroupEvent<'a> {
    /// These partitions are ours now, from these offsets on. Committing such an offset pins it: a member that started at
    /// the end and saw nothing continues there after a restart.
    Assigned(&'a [Start]),
    /// These partitions leave when this event has been handled: commit now. After a `lost` one a commit is refused, for
    /// another member may have them already.
    Revoking {
        /// Topic and partition.
        partitions: &'a [(Arc<str>, i32)],
        /// Whether they are lost already (this member was silent for too long).
        lost: bool,
    },
    /// Trouble that the client works on by itself, or committed offsets out of range (reading continued at the oldest record).
    Error(KafkaError),
}

/// Lives on one thread, may move to another. Dropping it leaves the group at once, without a commit; see
/// [`leave`](Self::leave).
pub struct GroupReader {
    consumer: Arc<BaseConsumer<RebalanceContext>>,
    group: String,
    /// Where partitions start that have no commit: at these offsets, others at the oldest record.
    ends: BTreeMap<(String, i32), i64>,
    names: Vec<Arc<str>>,
    owned: Mutex<Owned>,
    /// Whether the last commit got no answer.
    unanswered: AtomicBool,
    /// How long closing may take.
    close_timeout: Duration,
}

/// The partitions that this member has, with what it knows to be committed.
type Owned = BTreeMap<(Arc<str>, i32), Option<i64>>;

impl GroupReader {
    /// Joins in the background: the partitions come as [`GroupEvent::Assigned`] from `read`. With [`GroupStart::Latest`] it
    /// asks for the topics' ends first, and for what the group has committed.
    pub fn join(config: &KafkaConfig, group: &str, topics: &[Arc<str>], start: GroupStart) -> Result<Self, KafkaError> {
        let reset = match start {
            GroupStart::Earliest => "earliest",
            GroupStart::Latest => "latest",
        };
        let consumer: BaseConsumer<RebalanceContext> = config
            .for_group(group, reset)?
            .create_with_context(RebalanceContext::default())
            .map_err(|source| KafkaError::client("create a consumer", source))?;
        let ends = match start {
            GroupStart::Earliest => BTreeMap::new(),
            GroupStart::Latest => ends(config, &consumer, topics)?,
        };
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&names).map_err(|source| KafkaError::client(format!("join group '{group}'"), source))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            group: group.to_owned(),
            ends,
            names: topics.to_vec(),
            owned: Mutex::default(),
            unanswered: AtomicBool::new(false),
            close_timeout: CLOSE_TIMEOUT,
        })
    }

    /// The topics by index, as given to `join`.
    pub fn topics(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The partitions that this member has now.
    pub fn partitions(&self) -> Vec<(Arc<str>, i32)> {
        self.owned().keys().cloned().collect()
    }

    /// Hands over what is there, at most `max` messages, and returns how many; waits up to `timeout` for the first one.
    /// Takes `&self` so that `on_event` may call [`commit`](Self::commit).
    ///
    /// Call it at least every five minutes (`max.poll.interval.ms`), or the group takes the member for dead.
    pub fn read(
        &self,
        max: usize,
        timeout: Duration,
        mut on_message: impl FnMut(Message<'_>),
        mut on_event: impl FnMut(GroupEvent<'_>),
    ) -> Result<usize, KafkaError> {
        let deadline = Instant::now() + timeout;
        let mut messages = 0;
        while messages < max.max(1) {
            if self.consumer.context().is_rebalancing() {
                // What this call has handed over has not been acted on yet.
                if messages > 0 {
                    break;
                }
                self.rebalance(&mut on_event);
            }
            let wait = if messages > 0 { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            match self.consumer.poll(wait) {
                // `None` comes early too, on an internal event.
                None if messages > 0 && !self.consumer.context().is_rebalancing() => break,
                None if Instant::now() >= deadline && !self.consumer.context().is_rebalancing() => break,
                None => {}
                Some(Ok(message)) => {
                    let Some(topic) = self.names.iter().position(|name| &**name == message.topic()) else { continue };
                    messages += 1;
                    on_message(Message {
                        topic,
                        partition: message.partition(),
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis().filter(|timestamp| *timestamp >= 0),
                        key: message.key(),
                        value: message.payload(),
                    });
                }
                Some(Err(source)) => {
                    let error = match (source.rdkafka_error_code(), self.names.first()) {
                        (
                            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition),
                            Some(topic),
                        ) => KafkaError::TopicMissing { topic: topic.to_string() },
                        _ => broker_error(&source),
                    };
                    if error.is_transient() {
                        on_event(GroupEvent::Error(error));
                    } else {
                        return Err(error);
                    }
                }
            }
        }
        Ok(messages)
    }

    /// Commits next offsets and waits for the answer. Partitions that this member does not have, and offsets that are
    /// committed already, are left out, so that a caller can always pass all that it knows.
    ///
    /// While the group rebalances the broker may refuse: a transient error, to be tried again after the next `read`, without
    /// which no rebalance ends.
    pub fn commit(&self, next_offsets: &AsOf) -> Result<(), KafkaError> {
        self.commit_before(next_offsets, COMMIT_TIMEOUT)
    }

    fn commit_before(&self, next_offsets: &AsOf, limit: Duration) -> Result<(), KafkaError> {
        let failed = |source| KafkaError::Commit { group: self.group.clone(), source };
        let mut list = TopicPartitionList::new();
        let mut committed = Vec::new();
        for (topic, partition, next_offset) in next_offsets.iter() {
            let key = (Arc::clone(topic), partition);
            if self.owned().get(&key).is_some_and(|last| last.is_none_or(|last| last < next_offset)) {
                list.add_partition_offset(topic, partition, Offset::Offset(next_offset)).map_err(failed)?;
                committed.push((key, next_offset));
            }
        }
        if committed.is_empty() {
            return Ok(());
        }
        let answer = self.commit_within(list, limit);
        let timed_out = answer.as_ref().err().and_then(ClientError::rdkafka_error_code);
        self.unanswered.store(timed_out == Some(RDKafkaErrorCode::OperationTimedOut), Ordering::Relaxed);
        answer.map_err(failed)?;
        let mut owned = self.owned();
        for (key, next_offset) in committed {
            owned.insert(key, Some(next_offset));
        }
        Ok(())
    }

    /// The client waits for the answer without a limit, and an unreachable broker never gives one: so another thread waits,
    /// and this one for `limit` at most.
    fn commit_within(&self, list: TopicPartitionList, limit: Duration) -> Result<(), ClientError> {
        let timed_out = || ClientError::ConsumerCommit(RDKafkaErrorCode::OperationTimedOut);
        let (consumer, (answer, answered)) = (Arc::clone(&self.consumer), std::sync::mpsc::channel());
        let waiting = std::thread::Builder::new().name("commit".to_owned()).spawn(move || {
            // The receiver is dropped once the time is over.
            answer.send(consumer.commit(&list, CommitMode::Sync)).ok();
        });
        waiting.map_err(|_| timed_out())?;
        answered.recv_timeout(limit).unwrap_or_else(|_| Err(timed_out()))
    }

    /// Commits for the last time and leaves the group, so that the others take over at once. Completes a rebalance that is
    /// under way, for `timeout` at most; messages that arrive meanwhile are for the next owner. Where the broker does not
    /// answer until then, it leaves without notice.
    pub fn leave(mut self, next_offsets: &AsOf, timeout: Duration) -> Result<(), KafkaError> {
        let timeout = if self.unanswered.load(Ordering::Relaxed) { timeout.min(LAST_TRY) } else { timeout };
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.commit_before(next_offsets, left.min(COMMIT_TIMEOUT)) {
                Err(error) if error.is_transient() && Instant::now() < deadline => {
                    let on_event = |event: GroupEvent<'_>| {
                        if let GroupEvent::Revoking { lost: false, .. } = event
                            && let Err(error) = self.commit(next_offsets)
                        {
                            tracing::warn!(group = %self.group, %error, "the next owner will repeat some messages");
                        }
                    };
                    self.read(1, LEAVE_POLL, |_| {}, on_event)?;
                }
                Err(error) => {
                    if error.is_transient() {
                        self.close_timeout = LEAVE_POLL;
                    }
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Does what the group asked for since the last call.
    fn rebalance(&self, on_event: &mut impl FnMut(GroupEvent<'_>)) {
        while let Some(PendingRebalance { assign, partitions }) = self.consumer.context().next_rebalance() {
            if assign {
                let starts = self.starts(&partitions, on_event);
                self.owned().extend(
                    starts.iter().map(|(start, committed)| ((Arc::clone(&start.topic), start.partition), *committed)),
                );
                let starts: Vec<Start> = starts.into_iter().map(|(start, _)| start).collect();
                self.apply(true, &partitions, &starts);
                on_event(GroupEvent::Assigned(&starts));
            } else {
                let leaving: Vec<(Arc<str>, i32)> =
                    partitions.iter().map(|(topic, partition)| (self.name(topic), *partition)).collect();
                if !leaving.is_empty() {
                    on_event(GroupEvent::Revoking { partitions: &leaving, lost: self.consumer.assignment_lost() });
                }
                let leaving: HashSet<_> = leaving.into_iter().collect();
                self.owned().retain(|key, _| !leaving.contains(key));
                self.apply(false, &partitions, &[]);
            }
        }
    }

    /// Where each new partition starts, with its committed offset: at that offset, or where [`GroupStart`] says.
    ///
    /// librdkafka could look it up itself, but would not report where it starts, and would take an offset out of range for
    /// none. A partition whose offsets cannot be fetched right now is left out: librdkafka then does look them up.
    fn starts(
        &self,
        partitions: &[(String, i32)],
        on_event: &mut impl FnMut(GroupEvent<'_>),
    ) -> Vec<(Start, Option<i64>)> {
        if partitions.is_empty() {
            return Vec::new();
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let committed = match self.consumer.committed_offsets(list, REQUEST_TIMEOUT) {
            Ok(committed) => committed,
            Err(source) => {
                on_event(GroupEvent::Error(KafkaError::client("look up committed offsets", source)));
                return Vec::new();
            }
        };
        let mut starts = Vec::new();
        for (topic, partition) in partitions {
            let element = committed.find_partition(topic, *partition);
            let committed = element.and_then(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            });
            match self.consumer.fetch_watermarks(topic, *partition, REQUEST_TIMEOUT) {
                Ok((low, high)) => {
                    let (next_offset, out_of_range) = resume(
                        committed,
                        Watermarks { low, high },
                        self.ends.get(&(topic.clone(), *partition)).copied(),
                    );
                    if let Some(next_offset) = out_of_range {
                        let topic = topic.clone();
                        let error =
                            KafkaError::OffsetOutOfRange { topic, partition: *partition, next_offset, low, high };
                        on_event(GroupEvent::Error(error));
                    }
                    let start = Start { topic: self.name(topic), partition: *partition, next_offset };
                    starts.push((start, committed.filter(|offset| *offset == next_offset)));
                }
                Err(source) => {
                    on_event(GroupEvent::Error(KafkaError::client(format!("look up the ends of '{topic}'"), source)));
                }
            }
        }
        starts
    }

    /// Assigns or revokes partitions in librdkafka.
    fn apply(&self, assign: bool, partitions: &[(String, i32)], starts: &[Start]) {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let start = starts.iter().find(|start| *start.topic == **topic && start.partition == *partition);
            let offset = start.map_or(Offset::Stored, |start| Offset::Offset(start.next_offset));
            if let Err(error) = list.add_partition_offset(topic, *partition, offset) {
                tracing::warn!(group = %self.group, topic, partition, %error, "an assigned partition is left out");
            }
        }
        if let Err(error) = apply(&self.consumer, assign, &list) {
            tracing::warn!(group = %self.group, %error, "a rebalance failed");
        }
    }

    fn name(&self, topic: &str) -> Arc<str> {
        self.names.iter().find(|name| &***name == topic).cloned().unwrap_or_else(|| Arc::from(topic))
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        let context = self.consumer.context();
        context.closing.store(true, Ordering::Relaxed);
        // The group waits for an answer to what it asked; closing would wait for that forever.
        while let Some(PendingRebalance { assign, .. }) = context.next_rebalance() {
            self.apply(assign, &[], &[]);
        }
        // Closing revokes what is left (see `RebalanceContext::rebalance`) and leaves the group.
        let deadline = Instant::now() + self.close_timeout;
        let mut closing = self.consumer.close_queue().is_ok();
        while closing && !self.consumer.closed() {
            if Instant::now() >= deadline {
                // The client's own drop has no limit. It is leaked, and in time the group takes this member for dead.
                tracing::debug!(group = %self.group, "leaving the group timed out: left without notice");
                std::mem::forget(Arc::clone(&self.consumer));
                closing = false;
            } else {
                self.consumer.poll(LEAVE_POLL);
            }
        }
    }
}

/// The ends of the topics, where the group is new; nothing where it has committed before, and of topics that do not exist.
fn ends(
    config: &KafkaConfig,
    consumer: &BaseConsumer<RebalanceContext>,
    topics: &[Arc<str>],
) -> Result<BTreeMap<(String, i32), i64>, KafkaError> {
    let cluster = Cluster::connect(config, REQUEST_TIMEOUT)?;
    let mut ends = BTreeMap::new();
    for topic in topics {
        match cluster.watermarks(topic) {
            Ok(partitions) => {
                ends.extend(partitions.iter().map(|(partition, marks)| ((topic.to_string(), *partition), marks.high)));
            }
            Err(KafkaError::TopicMissing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut list = TopicPartitionList::with_capacity(ends.len());
    for (topic, partition) in ends.keys() {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, REQUEST_TIMEOUT);
    let committed = committed.map_err(|source| KafkaError::client("look up committed offsets", source))?;
    let continues = committed.elements().iter().any(|element| matches!(element.offset(), Offset::Offset(_)));
    Ok(if continues { BTreeMap::new() } else { ends })
}

fn broker_error(source: &ClientError) -> KafkaError {
    let transient = !matches!(source, ClientError::MessageConsumptionFatal(_))
        && source.rdkafka_error_code().is_some_and(is_transient);
    let reason = source.rdkafka_error_code().map_or_else(|| source.to_string(), |code| code.to_string());
    KafkaError::Broker { reason, fatal: !transient }
}

fn apply(
    consumer: &BaseConsumer<RebalanceContext>,
    assign: bool,
    list: &TopicPartitionList,
) -> Result<(), ClientError> {
    match (consumer.rebalance_protocol(), assign) {
        (RebalanceProtocol::Cooperative, true) => consumer.incremental_assign(list),
        (RebalanceProtocol::Cooperative, false) => consumer.incremental_unassign(list),
        (_, true) => consumer.assign(list),
        (_, false) => consumer.unassign(),
    }
}

/// What the group asked for and has not received yet.
struct PendingRebalance {
    assign: bool,
    partitions: Vec<(String, i32)>,
}

/// Notes rebalances instead of doing them.
struct RebalanceContext {
    log: ClientLog,
    pending: Mutex<Vec<PendingRebalance>>,
    closing: AtomicBool,
}

impl Default for RebalanceContext {
    fn default() -> Self {
        Self { log: ClientLog::new("group"), pending: Mutex::default(), closing: AtomicBool::new(false) }
    }
}

impl RebalanceContext {
    fn is_rebalancing(&self) -> bool {
        !self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn next_rebalance(&self) -> Option<PendingRebalance> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() { None } else { Some(pending.remove(0)) }
    }
}

impl ClientContext for RebalanceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.line(level, facility, line);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.log.problem(&error, reason);
    }
}

impl ConsumerContext for RebalanceContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let nothing = TopicPartitionList::new();
            if let Err(error) = apply(consumer, assign, if assign { &nothing } else { list }) {
                tracing::debug!(%error, "a rebalance failed while leaving the group");
            }
            return;
        }
        let elements = list.elements();
        let partitions = elements.iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(PendingRebalance { assign, partitions });
    }
}
