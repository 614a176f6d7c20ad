//! One thread that reads, decodes and hands on micro-batches.
//!
//! A micro-batch closes by rows, bytes or time, whichever comes first. The channel is bounded: a slow engine makes the
//! reader wait, and librdkafka's own queue then stops fetching.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::reading::{self, Reading};
use tallgrass_kafka::{AsOf, KafkaConfig, KafkaError, Watermarks};
use tallgrass_relation::{BadRecords, RelationError, RelationRows, Wanted};

/// Micro-batches on their way to the engine: enough to keep both sides busy, few enough to bound memory.
const CHANNEL_BATCHES: usize = 4;

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

/// Tells the inputs of a pipeline apart: a relation with the columns that are wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId(u64);

impl InputId {
    /// One that no other input of this process has.
    pub fn next() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// What is read of a topic for one input.
#[derive(Debug, Clone)]
pub struct FeedInput {
    /// Whose rows these will be.
    pub id: InputId,
    /// The relation over the topic, with the wanted columns.
    pub wanted: Wanted,
}

/// A topic to read, and what of it.
#[derive(Debug, Clone)]
pub struct FeedTopic {
    /// Its name.
    pub topic: Arc<str>,
    /// Everything that is wanted of it; a record is parsed once for all that share a declaration.
    pub inputs: Vec<FeedInput>,
    /// Not read until [`GoOn::from`] says where from.
    pub later: bool,
}

/// How a feed goes on that has reached its ends.
#[derive(Debug, Clone, Default)]
pub struct GoOn {
    /// Exactly up to these offsets (a partition that is there already, or that is not named, stays where it is), or without
    /// an end.
    pub until: Option<AsOf>,
    /// Where partitions stand that have not been read yet; others are found, and read from the earliest offsets.
    pub from: AsOf,
}

/// Where a feed stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedUntil {
    /// Nowhere.
    Stopped,
    /// At the end offsets as of its start; a topic that does not exist is an error.
    Ends,
    /// The same, and a topic that does not exist has nothing to read yet.
    EndsOfKnownTopics,
}

/// Everything that one round of reading gave.
#[derive(Debug, Default)]
pub struct MicroBatch {
    /// The rows of each input; one that got none may be left out.
    pub rows: Vec<(InputId, RelationRows)>,
    /// Where each partition that is read stands now.
    pub next_offsets: AsOf,
    /// Messages read, bad ones too.
    pub messages: u64,
    /// The same by topic.
    pub messages_of: Vec<(Arc<str>, u64)>,
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
    /// Where a topic's partitions end now, asked every few seconds: what is below and has not come is lag.
    Ends {
        /// The topic.
        topic: Arc<str>,
        /// By partition.
        watermarks: BTreeMap<i32, Watermarks>,
    },
    /// Every end has been reached; [`Feed::go_on`] sets others.
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
    commands: std_mpsc::Sender<GoOn>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts to read all partitions of `topics` from their earliest offsets. A topic that does not exist yet is waited for,
    /// unless the feed has an end.
    pub fn start(
        kafka: &KafkaConfig,
        topics: Vec<FeedTopic>,
        limits: BatchLimits,
        until: FeedUntil,
        bad: &BadRecords,
    ) -> std::io::Result<Self> {
        let (sender, events) = mpsc::channel(CHANNEL_BATCHES);
        let (commands, received) = std_mpsc::channel();
        let stop = CancellationToken::new();
        let (kafka, bad, stopped) = (kafka.clone(), bad.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            let told = reading::Told { sender: &sender, commands: &received, stop: stopped };
            let failure =
                Reading::open(&kafka, topics, limits, until, &bad, told).and_then(|mut reading| reading.run());
            if let Err(reading::Stop::Failed(error)) = failure {
                // The other end may be gone as well: then nobody is left to tell.
                drop(sender.blocking_send(FeedEvent::Failed(error)));
            }
        })?;
        Ok(Self { events, commands, stop, thread: Some(thread) })
    }

    /// The next event; none after the feed has ended.
    pub async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }

    /// After [`FeedEvent::Ended`]: reads on.
    pub fn go_on(&self, how: GoOn) {
        // A thread that is gone has said why.
        self.commands.send(how).ok();
    }
}

impl Drop for Feed {
    /// Waits for the thread, so that no client outlives whoever asked for it: at most one idle wait, or one request.
    fn drop(&mut self) {
        self.stop.cancel();
        self.events.close();
        while self.events.try_recv().is_ok() {}
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the reader thread ended with a panic");
        }
    }
}
