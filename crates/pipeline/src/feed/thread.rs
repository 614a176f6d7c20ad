//! The thread of a feed: finds partitions, follows the log, closes micro-batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event::{BatchLimits, FeedError, FeedEvent, FeedUntil, GoOn};
use crate::input::{FeedTopic, MicroBatch};
use tallgrass_kafka::{AsOf, Cluster, KafkaConfig, KafkaError, Watermarks};
use tallgrass_relation::{
    BadRecords, CONNECT_TIMEOUT, PartitionRange, RecordReader, TopicDecoder, TopicPartition, Wanted,
};

/// How often the reader looks for added partitions and topics created again.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(5);

/// The same while a topic does not exist: its first records shall show soon.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);

/// How long the reader sleeps at most when nothing arrives: it must notice that it shall stop.
const IDLE: Duration = Duration::from_millis(100);

/// Why the thread ends.
pub(super) enum Stop {
    /// The feed was dropped, or its last event has been sent.
    Done,
    Failed(FeedError),
}

impl<E: Into<FeedError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The thread's ends of what connects it with its feed.
pub(super) struct FeedLink<'a> {
    pub(super) events: &'a mpsc::Sender<FeedEvent>,
    pub(super) commands: &'a Receiver<GoOn>,
    pub(super) stop: CancellationToken,
}

pub(super) struct FeedThread<'a> {
    records: RecordReader,
    cluster: Cluster,
    topics: Vec<FeedTopic>,
    limits: BatchLimits,
    /// Whether reading ends where the partitions' ranges do.
    bounded: bool,
    /// Every partition found, and where it stands.
    positions: BTreeMap<TopicPartition, i64>,
    /// Topics that were logged to be missing.
    missing: BTreeSet<Arc<str>>,
    looked: Instant,
    troubled: bool,
    link: FeedLink<'a>,
}

impl<'a> FeedThread<'a> {
    pub(super) fn open(
        kafka: &KafkaConfig,
        topics: Vec<FeedTopic>,
        limits: BatchLimits,
        from: &AsOf,
        until: FeedUntil,
        bad: &BadRecords,
        link: FeedLink<'a>,
    ) -> Result<Self, Stop> {
        let cluster = Cluster::connect_unless(kafka, CONNECT_TIMEOUT, || link.stop.is_cancelled())?;
        let cluster = cluster.ok_or(Stop::Done)?;
        let decoder = |topic: &FeedTopic| {
            let wanted: Vec<Wanted> = topic.inputs.iter().map(|input| input.wanted.clone()).collect();
            TopicDecoder::new(&topic.topic, &wanted, bad.clone())
        };
        let decoders = topics.iter().map(decoder).collect::<Result<Vec<_>, _>>()?;
        let mut thread = Self {
            records: RecordReader::open(kafka, decoders, &[])?,
            cluster,
            topics,
            limits,
            bounded: until != FeedUntil::Stopped,
            positions: BTreeMap::new(),
            missing: BTreeSet::new(),
            looked: Instant::now(),
            troubled: false,
            link,
        };
        let found = thread.find_partitions(from, until == FeedUntil::Ends)?;
        thread.begin(&found)?;
        Ok(thread)
    }

    fn send(&self, event: FeedEvent) -> Result<(), Stop> {
        self.link.events.blocking_send(event).map_err(|_| Stop::Done)
    }

    /// Finds every partition that has no position yet, and where it ends now. It starts where `from` says, else at its
    /// beginning.
    fn find_partitions(&mut self, from: &AsOf, must_exist: bool) -> Result<Vec<(TopicPartition, i64)>, Stop> {
        self.looked = Instant::now();
        let mut ends = Vec::new();
        let mut found: BTreeMap<Arc<str>, BTreeMap<i32, Watermarks>> = BTreeMap::new();
        let mut next_offsets = AsOf::default();
        for (index, FeedTopic { topic, .. }) in self.topics.iter().enumerate().filter(|(_, topic)| !topic.later) {
            let partitions = match self.cluster.watermarks(topic) {
                Ok(partitions) => partitions,
                Err(KafkaError::TopicMissing { .. }) if !must_exist => {
                    if self.missing.insert(Arc::clone(topic)) {
                        tracing::warn!("topic '{topic}' does not exist yet: waiting for it");
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for (partition, marks) in partitions {
                let place = (index, partition);
                if self.positions.contains_key(&place) {
                    continue;
                }
                let next_offset = from.next_offset(topic, partition).unwrap_or(marks.low);
                if next_offset < marks.low || next_offset > marks.high {
                    return Err(out_of_range(topic, partition, next_offset, marks).into());
                }
                self.positions.insert(place, next_offset);
                next_offsets.set(topic, partition, next_offset);
                found.entry(Arc::clone(topic)).or_default().insert(partition, marks);
                ends.push((place, marks.high));
            }
        }
        self.check_names(from)?;
        if !found.is_empty() {
            self.send(FeedEvent::Starts { watermarks: found, next_offsets })?;
        }
        Ok(ends)
    }

    /// Everything that `from` names of the topics that are read must have been found, before any of it is handed on.
    fn check_names(&self, from: &AsOf) -> Result<(), Stop> {
        for (name, partition, _) in from.iter() {
            let Some(index) = self.topics.iter().position(|topic| topic.topic == *name && !topic.later) else {
                continue;
            };
            let topic = name.to_string();
            if !self.is_found(index) {
                return Err(KafkaError::TopicMissing { topic }.into());
            }
            if !self.positions.contains_key(&(index, partition)) {
                return Err(KafkaError::PartitionMissing { topic, partition }.into());
            }
        }
        Ok(())
    }

    /// Where the partitions of a topic stand.
    fn positions_of(&self, topic: usize) -> impl Iterator<Item = (i32, i64)> {
        let positions = self.positions.range((topic, i32::MIN)..=(topic, i32::MAX));
        positions.map(|((_, partition), next_offset)| (*partition, *next_offset))
    }

    fn is_found(&self, topic: usize) -> bool {
        self.positions_of(topic).next().is_some()
    }

    /// Reads partitions from where they stand, each up to its end if this feed has one.
    fn begin(&mut self, ends: &[(TopicPartition, i64)]) -> Result<(), Stop> {
        let mut ranges = Vec::with_capacity(ends.len());
        for (place @ (topic, partition), end) in ends {
            let Some(start) = self.positions.get(place).copied() else { continue };
            let end = if self.bounded { *end } else { i64::MAX };
            if start < end {
                ranges.push((*topic, PartitionRange { partition: *partition, start, end, skip_before_ms: None }));
            }
        }
        if !ranges.is_empty() {
            self.records.add(&ranges)?;
        }
        Ok(())
    }

    /// After all ends: waits for new ones.
    fn go_on(&mut self) -> Result<(), Stop> {
        let command = loop {
            match self.link.commands.recv_timeout(IDLE) {
                Ok(command) => break command,
                Err(RecvTimeoutError::Timeout) if !self.link.stop.is_cancelled() => {}
                Err(_) => return Err(Stop::Done),
            }
        };
        if let GoOn::Follow(from) = &command {
            for (index, topic) in self.topics.iter_mut().enumerate() {
                topic.later = false;
                for (partition, next_offset) in from.topic(&topic.topic).into_iter().flatten() {
                    self.positions.entry((index, *partition)).or_insert(*next_offset);
                }
            }
        }
        // Those made since the last look start at their beginning, below any end that can have been seen.
        self.find_partitions(&AsOf::default(), false)?;
        self.bounded = matches!(command, GoOn::UpTo(_));
        let end = |(topic, partition): TopicPartition| match &command {
            GoOn::UpTo(until) => until.next_offset(&self.topics[topic].topic, partition),
            GoOn::Follow(_) => Some(i64::MAX),
        };
        let ends: Vec<_> = self.positions.keys().filter_map(|place| Some((*place, end(*place)?))).collect();
        self.begin(&ends)
    }

    /// A partition that was read and no longer exists, or is shorter than it was: the topic was deleted, or created again.
    fn check_history(&self) -> Result<(), Stop> {
        for (index, FeedTopic { topic, .. }) in self.topics.iter().enumerate() {
            if !self.is_found(index) {
                continue;
            }
            match self.cluster.watermarks(topic) {
                Ok(now) => {
                    for (partition, next_offset) in self.positions_of(index) {
                        let marks = now.get(&partition).copied().unwrap_or(Watermarks { low: 0, high: 0 });
                        if marks.high < next_offset {
                            return self.history_changed(out_of_range(topic, partition, next_offset, marks));
                        }
                    }
                    self.send(FeedEvent::Ends { topic: Arc::clone(topic), watermarks: now })?;
                }
                Err(error @ KafkaError::TopicMissing { .. }) => return self.history_changed(error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn history_changed(&self, error: KafkaError) -> Result<(), Stop> {
        self.send(FeedEvent::HistoryChanged(error))?;
        Err(Stop::Done)
    }

    pub(super) fn run(&mut self) -> Result<(), Stop> {
        loop {
            if self.bounded && self.records.is_finished() {
                self.send(FeedEvent::Ended)?;
                self.go_on()?;
                continue;
            }
            if self.link.stop.is_cancelled() {
                return Err(Stop::Done);
            }
            self.round()?;
            let all_found = (0..self.topics.len()).all(|topic| self.is_found(topic));
            let interval = if all_found { TOPOLOGY_INTERVAL } else { MISSING_INTERVAL };
            if !self.bounded && self.looked.elapsed() >= interval {
                self.look_again()?;
            }
        }
    }

    /// Added partitions, topics created again. A broker that does not answer is asked again later.
    fn look_again(&mut self) -> Result<(), Stop> {
        let looked = self.check_history().and_then(|()| {
            let found = self.find_partitions(&AsOf::default(), false)?;
            self.begin(&found)
        });
        self.looked = Instant::now();
        match looked {
            Err(Stop::Failed(FeedError::Kafka(error))) => self.trouble(error),
            other => other,
        }
    }

    /// Fills one micro-batch and hands it on.
    fn round(&mut self) -> Result<(), Stop> {
        let mut batch = MicroBatch::default();
        let mut closes: Option<Instant> = None;
        loop {
            let wait = closes.map_or(IDLE, |closes| closes.saturating_duration_since(Instant::now()));
            let room = self.limits.rows - (batch.messages as usize).min(self.limits.rows - 1);
            let arrived = match self.records.read(room, wait) {
                Ok(arrived) => arrived,
                Err(error) => {
                    self.hand_on(batch)?;
                    return self.read_failed(error);
                }
            };
            batch.messages += arrived.records;
            batch.bytes += arrived.bytes;
            if arrived.records > 0 && closes.is_none() {
                closes = Some(Instant::now() + self.limits.linger);
            }
            let full = batch.messages as usize >= self.limits.rows || batch.bytes as usize >= self.limits.bytes;
            let late = closes.is_none_or(|closes| Instant::now() >= closes);
            if full || late || arrived.ended || arrived.trouble.is_some() {
                if arrived.ended {
                    self.recovered()?;
                }
                self.hand_on(batch)?;
                return arrived.trouble.map_or(Ok(()), |error| self.trouble(error));
            }
        }
    }

    fn read_failed(&mut self, error: KafkaError) -> Result<(), Stop> {
        match error {
            KafkaError::OffsetOutOfRange { .. }
            | KafkaError::TopicMissing { .. }
            | KafkaError::PartitionMissing { .. }
                if !self.bounded =>
            {
                self.history_changed(error)
            }
            error => Err(error.into()),
        }
    }

    fn hand_on(&mut self, mut batch: MicroBatch) -> Result<(), Stop> {
        let mut moved = false;
        for (place @ (topic, partition), next_offset) in self.records.next_offsets() {
            moved |= self.positions.insert(place, next_offset) != Some(next_offset);
            batch.next_offsets.set(&self.topics[topic].topic, partition, next_offset);
        }
        for (topic, decoded) in self.topics.iter().zip(self.records.finish()?) {
            if decoded.records > 0 {
                batch.messages_of.push((Arc::clone(&topic.topic), decoded.records));
            }
            batch.rows.extend(topic.inputs.iter().map(|input| input.id).zip(decoded.rows));
        }
        if batch.messages > 0 {
            self.recovered()?;
        }
        // One that changes nothing is not worth sending.
        if batch.messages > 0 || moved {
            self.send(FeedEvent::Batch(batch))?;
        }
        Ok(self.records.release_finished()?)
    }

    fn trouble(&mut self, error: KafkaError) -> Result<(), Stop> {
        if self.troubled {
            return Ok(());
        }
        self.troubled = true;
        self.send(FeedEvent::Trouble(error))
    }

    fn recovered(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.troubled) {
            self.send(FeedEvent::Recovered)?;
        }
        Ok(())
    }
}

fn out_of_range(topic: &str, partition: i32, next_offset: i64, marks: Watermarks) -> KafkaError {
    let Watermarks { low, high } = marks;
    KafkaError::OffsetOutOfRange { topic: topic.to_owned(), partition, next_offset, low, high }
}
