//! One thread that reads, decodes and hands on micro-batches.
//!
//! A micro-batch closes by rows, bytes or time, whichever comes first. The channel is bounded: a slow engine makes the
//! reader wait, and librdkafka's own queue then stops fetching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::kafka::{AsOf, BatchReader, Cluster, KafkaConfig, KafkaError, Message, Signal, Start, Watermarks};
use crate::relation::{BadRecords, RelationError, RelationRows, TopicDecoder, Wanted};

/// Micro-batches on their way to the engine: enough to keep both sides busy, few enough to bound memory.
const CHANNEL_BATCHES: usize = 4;

/// How often the reader looks for partitions added and topics made anew.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(5);

/// The same while a topic does not exist: somebody is waiting for it.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);

/// How long the reader sleeps at most when nothing comes: it must notice that it shall stop.
const IDLE: Duration = Duration::from_millis(100);

/// When a micro-batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages at most.
    pub rows: usize,
    /// Bytes of keys and values at most (one message may exceed it).
    pub bytes: usize,
    /// How long the first message waits for others at most.
    pub linger: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { rows: 8192, bytes: 4 << 20, linger: Duration::from_millis(50) }
    }
}

/// A topic to read, and what of it.
#[derive(Debug, Clone)]
pub struct FeedTopic {
    /// Its name.
    pub topic: Arc<str>,
    /// The relations over it with their wanted columns.
    pub wanted: Vec<Wanted>,
}

/// Everything that one round of reading gave.
#[derive(Debug, Default)]
pub struct MicroBatch {
    /// Per topic (index into the feed's topics): the rows of its relations, in the order of [`FeedTopic::wanted`].
    pub rows: Vec<(usize, Vec<RelationRows>)>,
    /// Where each partition that moved stands now.
    pub next_offsets: AsOf,
    /// Messages read, bad ones too.
    pub messages: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// What a feed tells.
#[derive(Debug)]
pub enum FeedEvent {
    /// Where reading starts; once for each partition, before any of its rows.
    Starts {
        /// What each partition of a topic held when the feed found it.
        watermarks: BTreeMap<Arc<str>, BTreeMap<i32, Watermarks>>,
    },
    /// New rows.
    Batch(MicroBatch),
    /// A bounded feed has reached every end.
    Ended,
    /// The log is no longer the one that was read: a topic was deleted or made anew, or retention overtook the reader.
    HistoryChanged(KafkaError),
    /// Something that passes by itself: a broker that does not answer.
    Trouble(KafkaError),
    /// A broker that answers again.
    Recovered,
    /// Nothing more will come.
    Failed(FeedError),
}

/// Why a feed gave up.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The client could not be made or asked.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The rows could not be put together.
    #[error(transparent)]
    Relation(#[from] RelationError),
}

/// A running reader thread; it stops when this is dropped.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<FeedEvent>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts to read all partitions of `topics` from their earliest offsets; a bounded feed stops at the end offsets as
    /// of its start. A topic that does not exist yet is waited for, or is an error of a bounded feed.
    pub fn start(
        kafka: &KafkaConfig,
        topics: Vec<FeedTopic>,
        limits: BatchLimits,
        bounded: bool,
        bad: &BadRecords,
    ) -> std::io::Result<Self> {
        let (sender, events) = mpsc::channel(CHANNEL_BATCHES);
        let stop = CancellationToken::new();
        let (kafka, bad, stopped) = (kafka.clone(), bad.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            let failure = Reading::open(&kafka, topics, limits, bounded, &bad, &sender, stopped)
                .and_then(|mut reading| reading.run());
            if let Err(Stop::Failed(error)) = failure {
                // The other end may be gone as well: then nobody is left to tell.
                drop(sender.blocking_send(FeedEvent::Failed(error)));
            }
        })?;
        Ok(Self { events, stop, thread: Some(thread) })
    }

    /// The next event; none after the feed has ended.
    pub async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }
}

impl Drop for Feed {
    /// Waits for the thread, so that no client outlives whoever asked for it: at most [`IDLE`], or one request.
    fn drop(&mut self) {
        self.stop.cancel();
        self.events.close();
        while self.events.try_recv().is_ok() {}
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the reader thread ended with a panic");
        }
    }
}

/// Why the thread ends.
enum Stop {
    /// Nobody listens any more, or all has been read.
    Done,
    Failed(FeedError),
}

impl<E: Into<FeedError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Reading<'a> {
    reader: BatchReader,
    cluster: Cluster,
    topics: Vec<FeedTopic>,
    decoders: Vec<TopicDecoder>,
    limits: BatchLimits,
    /// Of a bounded feed: the ends of the partitions that are still being read.
    ends: Option<BTreeMap<(Arc<str>, i32), i64>>,
    /// Partitions that are read.
    known: BTreeSet<(Arc<str>, i32)>,
    /// Topics that were told to be missing.
    missing: BTreeSet<Arc<str>>,
    /// Where the partitions stood in the last micro-batch: one that changes nothing is not worth sending.
    handed_on: AsOf,
    looked: Instant,
    troubled: bool,
    sender: &'a mpsc::Sender<FeedEvent>,
    stop: CancellationToken,
}

impl<'a> Reading<'a> {
    fn open(
        kafka: &KafkaConfig,
        topics: Vec<FeedTopic>,
        limits: BatchLimits,
        bounded: bool,
        bad: &BadRecords,
        sender: &'a mpsc::Sender<FeedEvent>,
        stop: CancellationToken,
    ) -> Result<Self, Stop> {
        let cluster = Cluster::connect_unless(kafka, crate::relation::CONNECT_TIMEOUT, || stop.is_cancelled())?;
        let cluster = cluster.ok_or(Stop::Done)?;
        let decoders = topics
            .iter()
            .map(|topic| TopicDecoder::new(&topic.topic, &topic.wanted, bad.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut reading = Self {
            reader: BatchReader::open(kafka, &[])?,
            cluster,
            topics,
            decoders,
            limits,
            ends: bounded.then(BTreeMap::new),
            known: BTreeSet::new(),
            missing: BTreeSet::new(),
            handed_on: AsOf::default(),
            looked: Instant::now(),
            troubled: false,
            sender,
            stop,
        };
        reading.find_partitions(bounded)?;
        Ok(reading)
    }

    fn send(&self, event: FeedEvent) -> Result<(), Stop> {
        self.sender.blocking_send(event).map_err(|_| Stop::Done)
    }

    /// Starts to read every partition that is not read yet.
    fn find_partitions(&mut self, must_exist: bool) -> Result<(), Stop> {
        self.looked = Instant::now();
        let mut starts = Vec::new();
        let mut found: BTreeMap<Arc<str>, BTreeMap<i32, Watermarks>> = BTreeMap::new();
        for topic in &self.topics {
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
            for (partition, watermarks) in partitions {
                if self.known.contains(&(Arc::clone(&topic.topic), partition)) {
                    continue;
                }
                found.entry(Arc::clone(&topic.topic)).or_default().insert(partition, watermarks);
                starts.push(Start { topic: Arc::clone(&topic.topic), partition, next_offset: watermarks.low });
            }
        }
        if starts.is_empty() {
            return Ok(());
        }
        if let Some(ends) = &mut self.ends {
            starts.retain(|start| {
                let watermarks = found.get(&start.topic).and_then(|partitions| partitions.get(&start.partition));
                let Some(watermarks) = watermarks.filter(|watermarks| watermarks.low < watermarks.high) else {
                    return false;
                };
                ends.insert((Arc::clone(&start.topic), start.partition), watermarks.high);
                true
            });
        }
        for (topic, partitions) in &found {
            self.known.extend(partitions.keys().map(|partition| (Arc::clone(topic), *partition)));
        }
        self.send(FeedEvent::Starts { watermarks: found })?;
        self.reader.add(&starts)?;
        Ok(())
    }

    /// A partition that was read and is gone or shorter than it was: the topic was deleted, or made anew.
    fn check_history(&self) -> Result<(), Stop> {
        for topic in &self.topics {
            let read: Vec<i32> =
                self.known.iter().filter(|(name, _)| *name == topic.topic).map(|(_, partition)| *partition).collect();
            if read.is_empty() {
                continue;
            }
            match self.cluster.watermarks(&topic.topic) {
                Ok(now) => {
                    let index = self.reader.topics().iter().position(|name| *name == topic.topic);
                    for partition in read {
                        let next_offset = index.and_then(|index| self.reader.next_offset(index, partition));
                        let Some(next_offset) = next_offset else { continue };
                        let marks = now.get(&partition).copied().unwrap_or(Watermarks { low: 0, high: 0 });
                        if marks.high < next_offset {
                            let (topic, Watermarks { low, high }) = (topic.topic.to_string(), marks);
                            let gone = KafkaError::HistoryGone { topic, partition, next_offset, low, high };
                            return self.history_changed(gone);
                        }
                    }
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

    fn run(&mut self) -> Result<(), Stop> {
        loop {
            if self.ends.as_ref().is_some_and(BTreeMap::is_empty) {
                return self.send(FeedEvent::Ended);
            }
            if self.stop.is_cancelled() {
                return Err(Stop::Done);
            }
            self.round()?;
            let missing = self.topics.iter().any(|topic| !self.known.iter().any(|(known, _)| *known == topic.topic));
            let interval = if missing { MISSING_INTERVAL } else { TOPOLOGY_INTERVAL };
            if self.ends.is_none() && self.looked.elapsed() >= interval {
                self.look_again()?;
            }
        }
    }

    /// Partitions added, topics made anew. A broker that does not answer is asked again later.
    fn look_again(&mut self) -> Result<(), Stop> {
        let looked = self.check_history().and_then(|()| self.find_partitions(false));
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
        let topics: Vec<usize> = self.decoder_of_each_topic();
        loop {
            let wait = closes.map_or(IDLE, |closes| closes.saturating_duration_since(Instant::now()));
            let names: Vec<Arc<str>> = self.reader.topics().to_vec();
            let (decoders, ends) = (&mut self.decoders, &self.ends);
            let mut taken = 0;
            let read = self.reader.read(
                self.limits.rows - (batch.messages as usize).min(self.limits.rows - 1),
                wait,
                |message: Message<'_>| {
                    let name = &names[message.topic];
                    // Past the end of a bounded feed, or of a partition that it does not follow any more.
                    if let Some(ends) = ends
                        && ends.get(&(Arc::clone(name), message.partition)).is_none_or(|end| message.offset >= *end)
                    {
                        return;
                    }
                    decoders[topics[message.topic]].push(&message);
                    taken += 1;
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

    fn decoder_of_each_topic(&self) -> Vec<usize> {
        let index = |name: &Arc<str>| self.topics.iter().position(|topic| topic.topic == *name);
        self.reader.topics().iter().map(|name| index(name).unwrap_or_default()).collect()
    }

    fn read_failed(&mut self, error: KafkaError) -> Result<(), Stop> {
        match error {
            KafkaError::HistoryGone { .. } | KafkaError::TopicMissing { .. } | KafkaError::PartitionMissing { .. }
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
        let mut finished = Vec::new();
        for (topic, partition) in &self.known {
            let index = self.reader.topics().iter().position(|name| name == topic);
            let Some(next_offset) = index.and_then(|index| self.reader.next_offset(index, *partition)) else {
                continue;
            };
            let end = self.ends.as_ref().and_then(|ends| ends.get(&(Arc::clone(topic), *partition)).copied());
            batch.next_offsets.set(topic, *partition, end.map_or(next_offset, |end| next_offset.min(end)));
            if end.is_some_and(|end| next_offset >= end) {
                finished.push((Arc::clone(topic), *partition));
            }
        }
        for (index, decoder) in self.decoders.iter_mut().enumerate() {
            if !decoder.is_empty() {
                batch.rows.push((index, decoder.finish()?));
            }
        }
        if batch.messages > 0 {
            self.recovered()?;
        }
        if batch.messages > 0 || batch.next_offsets != self.handed_on {
            self.handed_on = batch.next_offsets.clone();
            self.send(FeedEvent::Batch(batch))?;
        }
        for (topic, partition) in finished {
            if let Some(ends) = &mut self.ends {
                ends.remove(&(Arc::clone(&topic), partition));
            }
            self.reader.remove(&topic, partition)?;
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
