//! The reader thread of a feed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::feed::{BatchLimits, FeedError, FeedEvent, FeedTopic, FeedUntil, GoOn, MicroBatch};
use tallgrass_kafka::{BatchReader, Cluster, KafkaConfig, KafkaError, Message, Signal, Start, Watermarks};
use tallgrass_relation::{BadRecords, CONNECT_TIMEOUT, TopicDecoder, Wanted};

/// How often the reader looks for partitions added and topics made anew.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(5);

/// The same while a topic does not exist: somebody is waiting for it.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);

/// How long the reader sleeps at most when nothing comes: it must notice that it shall stop.
const IDLE: Duration = Duration::from_millis(100);

/// Why the thread ends.
pub(super) enum Stop {
    /// Nobody listens any more.
    Done,
    Failed(FeedError),
}

impl<E: Into<FeedError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// How the thread and whoever started it talk.
pub(super) struct Told<'a> {
    pub(super) sender: &'a mpsc::Sender<FeedEvent>,
    pub(super) commands: &'a Receiver<GoOn>,
    pub(super) stop: CancellationToken,
}

/// Topic and partition.
type Partition = (Arc<str>, i32);

pub(super) struct Reading<'a> {
    reader: BatchReader,
    cluster: Cluster,
    topics: Vec<FeedTopic>,
    decoders: Vec<TopicDecoder>,
    limits: BatchLimits,
    /// The ends of the partitions that are still being read, if reading ends anywhere.
    ends: Option<BTreeMap<Partition, i64>>,
    /// Every partition found, and where it stands.
    positions: BTreeMap<Partition, i64>,
    /// Topics that were told to be missing.
    missing: BTreeSet<Arc<str>>,
    looked: Instant,
    troubled: bool,
    told: Told<'a>,
}

impl<'a> Reading<'a> {
    pub(super) fn open(
        kafka: &KafkaConfig,
        topics: Vec<FeedTopic>,
        limits: BatchLimits,
        until: FeedUntil,
        bad: &BadRecords,
        told: Told<'a>,
    ) -> Result<Self, Stop> {
        let cluster = Cluster::connect_unless(kafka, CONNECT_TIMEOUT, || told.stop.is_cancelled())?;
        let cluster = cluster.ok_or(Stop::Done)?;
        let decoders = topics
            .iter()
            .map(|topic| {
                let wanted: Vec<Wanted> = topic.inputs.iter().map(|input| input.wanted.clone()).collect();
                TopicDecoder::new(&topic.topic, &wanted, bad.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut reading = Self {
            reader: BatchReader::open(kafka, &[])?,
            cluster,
            topics,
            decoders,
            limits,
            ends: None,
            positions: BTreeMap::new(),
            missing: BTreeSet::new(),
            looked: Instant::now(),
            troubled: false,
            told,
        };
        let starts = reading.find_partitions(until == FeedUntil::Ends)?;
        reading.ends = (until != FeedUntil::Stopped).then(BTreeMap::new);
        reading.begin(starts)?;
        Ok(reading)
    }

    fn send(&self, event: FeedEvent) -> Result<(), Stop> {
        self.told.sender.blocking_send(event).map_err(|_| Stop::Done)
    }

    /// Every partition that is not read yet: where it starts, and where it ends now.
    fn find_partitions(&mut self, must_exist: bool) -> Result<Vec<(Start, i64)>, Stop> {
        self.looked = Instant::now();
        let mut starts = Vec::new();
        let mut found: BTreeMap<Arc<str>, BTreeMap<i32, Watermarks>> = BTreeMap::new();
        for topic in self.topics.iter().filter(|topic| !topic.later) {
            let partitions = match self.cluster.watermarks(&topic.topic) {
                Ok(partitions) => partitions,
                Err(KafkaError::TopicMissing { .. }) if !must_exist => {
                    if self.missing.insert(Arc::clone(&topic.topic)) {
                        tracing::warn!("topic '{}' does not exist yet: waiting for it", topic.topic);
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for (partition, marks) in partitions {
                let place = (Arc::clone(&topic.topic), partition);
                if self.positions.contains_key(&place) {
                    continue;
                }
                self.positions.insert(place, marks.low);
                found.entry(Arc::clone(&topic.topic)).or_default().insert(partition, marks);
                starts.push((Start { topic: Arc::clone(&topic.topic), partition, next_offset: marks.low }, marks.high));
            }
        }
        if !found.is_empty() {
            self.send(FeedEvent::Starts { watermarks: found })?;
        }
        Ok(starts)
    }

    /// Reads partitions, each up to its end if this feed has one.
    fn begin(&mut self, mut starts: Vec<(Start, i64)>) -> Result<(), Stop> {
        if let Some(ends) = &mut self.ends {
            starts.retain(|(start, end)| start.next_offset < *end);
            ends.extend(starts.iter().map(|(start, end)| ((Arc::clone(&start.topic), start.partition), *end)));
        }
        if !starts.is_empty() {
            self.reader.add(&starts.into_iter().map(|(start, _)| start).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// After all ends: waits for new ones.
    fn go_on(&mut self) -> Result<(), Stop> {
        let GoOn { until, from } = loop {
            match self.told.commands.recv_timeout(IDLE) {
                Ok(command) => break command,
                Err(RecvTimeoutError::Timeout) if !self.told.stop.is_cancelled() => {}
                Err(_) => return Err(Stop::Done),
            }
        };
        for (topic, partition, next_offset) in from.iter() {
            self.positions.entry((Arc::clone(topic), partition)).or_insert(next_offset);
        }
        if until.is_none() {
            for topic in &mut self.topics {
                topic.later = false;
            }
        }
        // Those made since the last look start at their beginning, below any end that somebody has seen.
        self.find_partitions(false)?;
        self.ends = until.is_some().then(BTreeMap::new);
        let starts = match &until {
            None => self.positions.iter().map(|(place, next_offset)| (start(place, *next_offset), i64::MAX)).collect(),
            Some(until) => {
                let end = |(topic, partition): &Partition| until.next_offset(topic, *partition);
                let ends = |(place, next_offset): (&Partition, &i64)| Some((start(place, *next_offset), end(place)?));
                self.positions.iter().filter_map(ends).collect()
            }
        };
        self.begin(starts)
    }

    /// A partition that was read and is gone or shorter than it was: the topic was deleted, or made anew.
    fn check_history(&self) -> Result<(), Stop> {
        for topic in &self.topics {
            let mut read = self.positions.iter().filter(|((name, _), _)| *name == topic.topic).peekable();
            if read.peek().is_none() {
                continue;
            }
            match self.cluster.watermarks(&topic.topic) {
                Ok(now) => {
                    for ((_, partition), next_offset) in read {
                        let marks = now.get(partition).copied().unwrap_or(Watermarks { low: 0, high: 0 });
                        if marks.high < *next_offset {
                            let Watermarks { low, high } = marks;
                            return self.history_changed(KafkaError::OffsetOutOfRange {
                                topic: topic.topic.to_string(),
                                partition: *partition,
                                next_offset: *next_offset,
                                low,
                                high,
                            });
                        }
                    }
                    self.send(FeedEvent::Ends { topic: Arc::clone(&topic.topic), watermarks: now })?;
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
            if self.ends.as_ref().is_some_and(BTreeMap::is_empty) {
                self.send(FeedEvent::Ended)?;
                self.go_on()?;
                continue;
            }
            if self.told.stop.is_cancelled() {
                return Err(Stop::Done);
            }
            self.round()?;
            let found = |topic: &FeedTopic| self.positions.keys().any(|(name, _)| *name == topic.topic);
            let interval = if self.topics.iter().all(found) { TOPOLOGY_INTERVAL } else { MISSING_INTERVAL };
            if self.ends.is_none() && self.looked.elapsed() >= interval {
                self.look_again()?;
            }
        }
    }

    /// Partitions added, topics made anew. A broker that does not answer is asked again later.
    fn look_again(&mut self) -> Result<(), Stop> {
        let looked = self.check_history().and_then(|()| {
            let starts = self.find_partitions(false)?;
            self.begin(starts)
        });
        self.looked = Instant::now();
        match looked {
            Err(Stop::Failed(FeedError::Kafka(error))) => self.trouble(error),
            other => other,
        }
    }

    fn trouble(&mut self, error: KafkaError) -> Result<(), Stop> {
        if self.troubled {
            return Ok(());
        }
        self.troubled = true;
        self.send(FeedEvent::Trouble(error))
    }

    /// Fills one micro-batch and hands it on.
    fn round(&mut self) -> Result<(), Stop> {
        let mut batch = MicroBatch::default();
        let mut signals = Vec::new();
        let mut closes: Option<Instant> = None;
        let lanes = self.lanes();
        batch.messages_of = self.reader.topics().iter().map(|topic| (Arc::clone(topic), 0)).collect();
        loop {
            let wait = closes.map_or(IDLE, |closes| closes.saturating_duration_since(Instant::now()));
            let decoders = &mut self.decoders;
            let mut taken = 0;
            let read = self.reader.read(
                self.limits.rows - (batch.messages as usize).min(self.limits.rows - 1),
                wait,
                |message: Message<'_>| {
                    let lane = &lanes[message.topic];
                    // Past the end of this feed, or of a partition that it does not follow any more.
                    if message.offset >= lane.end(message.partition) {
                        return;
                    }
                    decoders[lane.decoder].push(&message);
                    taken += 1;
                    batch.messages_of[message.topic].1 += 1;
                    batch.bytes += (message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len)) as u64;
                },
                |signal| signals.push(signal),
            );
            batch.messages += taken;
            let ended = !signals.is_empty();
            if taken > 0 && closes.is_none() {
                closes = Some(Instant::now() + self.limits.linger);
            }
            if let Err(error) = read {
                self.hand_on(batch, signals)?;
                return self.read_failed(error);
            }
            let full = batch.messages as usize >= self.limits.rows || batch.bytes as usize >= self.limits.bytes;
            let late = closes.is_none_or(|closes| Instant::now() >= closes);
            if full || late || ended {
                return self.hand_on(batch, signals);
            }
        }
    }

    /// Where the messages of each of the reader's topics go.
    fn lanes(&self) -> Vec<Lane> {
        let lane = |name: &Arc<str>| {
            let decoder = self.topics.iter().position(|topic| topic.topic == *name).unwrap_or_default();
            let mut ends = Vec::new();
            for ((_, partition), end) in self.ends.iter().flatten().filter(|((topic, _), _)| topic == name) {
                let partition = *partition as usize;
                if ends.len() <= partition {
                    ends.resize(partition + 1, i64::MIN);
                }
                ends[partition] = *end;
            }
            Lane { decoder, ends, bounded: self.ends.is_some() }
        };
        self.reader.topics().iter().map(lane).collect()
    }

    fn read_failed(&mut self, error: KafkaError) -> Result<(), Stop> {
        match error {
            KafkaError::OffsetOutOfRange { .. } | KafkaError::TopicMissing { .. } | KafkaError::PartitionMissing { .. }
                if self.ends.is_none() =>
            {
                self.history_changed(error)
            }
            error => Err(error.into()),
        }
    }

    fn hand_on(&mut self, mut batch: MicroBatch, signals: Vec<Signal>) -> Result<(), Stop> {
        let mut trouble = None;
        for signal in signals {
            match signal {
                Signal::End { .. } => self.recovered()?,
                Signal::Error(error) => trouble = Some(error),
            }
        }
        // Where each partition stands is the reader's to say: past transaction markers and what compaction took.
        let (mut finished, mut moved) = (Vec::new(), false);
        for (place, position) in &mut self.positions {
            let (topic, partition) = place;
            let index = self.reader.topics().iter().position(|name| name == topic);
            let Some(next_offset) = index.and_then(|index| self.reader.next_offset(index, *partition)) else {
                continue;
            };
            let end = self.ends.as_ref().and_then(|ends| ends.get(place).copied());
            let next_offset = end.map_or(next_offset, |end| next_offset.min(end));
            moved |= next_offset != *position;
            *position = next_offset;
            batch.next_offsets.set(topic, *partition, next_offset);
            if end.is_some_and(|end| next_offset >= end) {
                finished.push(place.clone());
            }
        }
        for (topic, decoder) in self.topics.iter().zip(&mut self.decoders) {
            if !decoder.is_empty() {
                batch.rows.extend(topic.inputs.iter().map(|input| input.id).zip(decoder.finish()?));
            }
        }
        if batch.messages > 0 {
            self.recovered()?;
        }
        // One that changes nothing is not worth sending.
        if batch.messages > 0 || moved {
            self.send(FeedEvent::Batch(batch))?;
        }
        for place in finished {
            self.reader.remove(&place.0, place.1)?;
            if let Some(ends) = &mut self.ends {
                ends.remove(&place);
            }
        }
        trouble.map_or(Ok(()), |error| self.trouble(error))
    }

    fn recovered(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.troubled) {
            self.send(FeedEvent::Recovered)?;
        }
        Ok(())
    }
}

fn start((topic, partition): &Partition, next_offset: i64) -> Start {
    Start { topic: Arc::clone(topic), partition: *partition, next_offset }
}

/// Where the messages of one topic go.
struct Lane {
    decoder: usize,
    /// By partition the end of reading; nothing of a partition below the lowest offset.
    ends: Vec<i64>,
    bounded: bool,
}

impl Lane {
    fn end(&self, partition: i32) -> i64 {
        let of_rest = if self.bounded { i64::MIN } else { i64::MAX };
        self.ends.get(partition as usize).copied().unwrap_or(of_rest)
    }
}
