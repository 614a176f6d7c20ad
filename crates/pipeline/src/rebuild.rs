//! Views built in the shadow of those that run: from the earliest offsets up to where the running ones stand.
//!
//! ```text
//!  running   ────────────────────────────────▶ L        goes on, and shows the old results
//!  shadow      earliest ─▶ E ─▶ L′ ─▶ L                  E: the ends as of its start; L′, L: where the running ones are
//!                                     │
//!                                     both stand at L: the new views join, the shadow's feed reads on for all
//! ```
//!
//! Each round reads up to where the running views stood when it began, so that the rest gets shorter. Only for the last
//! one, over a few thousand records, do they wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::engine::Engine;
use super::error::LiveError;
use super::feed::{BatchLimits, Feed, FeedError, FeedEvent, FeedUntil, GoOn};
use super::input::{FeedInput, topics};
use super::named_view::NamedView;
use super::status::RebuildStatus;
use tallgrass_kafka::{AsOf, Cluster, KafkaConfig, KafkaError, Watermarks};
use tallgrass_relation::{BadRecords, CONNECT_TIMEOUT, Catalog};
use tallgrass_view::Fingerprint;

/// Records that the running views may wait for: some milliseconds.
const LAST_STRETCH: i64 = 20_000;

/// Rounds after which they wait however far it is: the log grows as fast as it is read.
const MAX_ROUNDS: u32 = 5;

/// How far a rebuild is, written by its task.
#[derive(Debug)]
struct RebuildCounters {
    started: Instant,
    total: AtomicI64,
    done: AtomicI64,
    records: AtomicU64,
}

/// Everything that a rebuild works on, owned by its task while a round runs.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) engine: Engine,
    pub(super) feed: Feed,
    /// What each partition held when it was found.
    pub(super) found: BTreeMap<Arc<str>, BTreeMap<i32, Watermarks>>,
    pub(super) bad: BadRecords,
}

/// A running rebuild.
#[derive(Debug)]
pub(super) struct Rebuild {
    names: Vec<Arc<str>>,
    fingerprints: Vec<Fingerprint>,
    task: JoinHandle<Result<Box<Shadow>, LiveError>>,
    /// A shadow that has reached its ends, while the running views have not.
    waiting: Option<Box<Shadow>>,
    rounds: u32,
    /// The running views must not move until the round has ended.
    is_last_round: bool,
    counters: Arc<RebuildCounters>,
}

/// What a rebuild starts from.
pub(super) struct Beside {
    pub(super) kafka: KafkaConfig,
    pub(super) limits: BatchLimits,
    pub(super) catalog: Catalog,
    /// The running engine's inputs.
    pub(super) running: Vec<FeedInput>,
    /// Where the running views began to read.
    pub(super) first_offsets: AsOf,
}

impl Rebuild {
    /// Starts to build views.
    pub(super) fn start(beside: Beside, views: Vec<NamedView>) -> Self {
        let names = views.iter().map(|view| Arc::clone(&view.name)).collect();
        let fingerprints = views.iter().map(|view| view.fingerprint).collect();
        let counters = Arc::new(RebuildCounters {
            started: Instant::now(),
            total: AtomicI64::new(0),
            done: AtomicI64::new(0),
            records: AtomicU64::new(0),
        });
        let counting = Arc::clone(&counters);
        let task = tokio::spawn(async move {
            let mut shadow = Box::new(Shadow::open(beside, views).await?);
            shadow.read_to_end(&counting).await?;
            Ok(shadow)
        });
        Self { names, fingerprints, task, waiting: None, rounds: 0, is_last_round: false, counters }
    }

    /// Whether everything that it builds is among these views.
    pub(super) fn is_wanted(&self, views: &[NamedView]) -> bool {
        let mut built = self.names.iter().zip(&self.fingerprints);
        built.all(|(name, print)| views.iter().any(|view| view.name == *name && view.fingerprint == *print))
    }

    /// The views that are built.
    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// How far it is.
    pub(super) fn status(&self) -> RebuildStatus {
        let total = self.counters.total.load(Ordering::Relaxed);
        let done = self.counters.done.load(Ordering::Relaxed);
        let elapsed = self.counters.started.elapsed().as_secs_f64();
        let records_per_s = self.counters.records.load(Ordering::Relaxed) as f64 / elapsed.max(1e-3);
        let progress = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        let left = (progress > 0.0).then(|| Duration::from_secs_f64(elapsed * (1.0 - progress) / progress));
        RebuildStatus { progress, records_per_s, left }
    }

    /// Waits for the end of a round. May be dropped while it waits; never ends while a shadow waits for the running views.
    pub(super) async fn round_ended(&mut self) -> Result<(), LiveError> {
        if self.waiting.is_some() {
            std::future::pending::<()>().await;
        }
        self.waiting = Some((&mut self.task).await.map_err(|error| LiveError::Rebuild(error.to_string()))??);
        Ok(())
    }

    /// Whether the running views must not move: the round is the last one, and ends where they stand.
    pub(super) fn holds_running_views(&self) -> bool {
        self.is_last_round
    }

    /// Once a round has ended: waits for the running views where they are behind, begins another round where they are
    /// ahead, and gives up the shadow when both stand at the same offsets.
    pub(super) fn go_on(&mut self, running: &Engine) -> Option<Box<Shadow>> {
        let mut shadow = self.waiting.take()?;
        self.is_last_round = false;
        let shared = |topic: &Arc<str>| running.reads(topic);
        let behind = |(topic, partition, next_offset): (&Arc<str>, i32, i64)| {
            shared(topic) && running.as_of().next_offset(topic, partition).is_none_or(|at| at < next_offset)
        };
        if shadow.engine.as_of().iter().any(behind) {
            self.waiting = Some(shadow);
            return None;
        }
        let mut until = AsOf::default();
        let mut left = 0;
        for (topic, partition, at) in running.as_of().iter().filter(|(topic, ..)| shadow.engine.reads(topic)) {
            left += at - shadow.engine.as_of().next_offset(topic, partition).unwrap_or(0);
            until.set(topic, partition, at);
        }
        // A partition that only the running views know holds nothing, or is among what is left.
        let knows = |(topic, partition, _): (&Arc<str>, i32, i64)| {
            shadow.engine.as_of().next_offset(topic, partition).is_some()
        };
        if left == 0 && until.iter().all(knows) {
            return Some(shadow);
        }
        self.rounds += 1;
        let counting = Arc::clone(&self.counters);
        self.task = tokio::spawn(async move {
            shadow.feed.go_on(GoOn::UpTo(until));
            shadow.read_to_end(&counting).await?;
            Ok(shadow)
        });
        self.is_last_round = left <= LAST_STRETCH || self.rounds >= MAX_ROUNDS;
        None
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shadow {
    async fn open(beside: Beside, views: Vec<NamedView>) -> Result<Self, LiveError> {
        let Beside { kafka, limits, catalog, mut running, first_offsets } = beside;
        let (config, inputs) = (kafka.clone(), running.clone());
        let moved = tokio::task::spawn_blocking(move || moved_topics(&config, &inputs, &first_offsets));
        let moved = moved.await.map_err(|error| LiveError::Rebuild(error.to_string()))?.map_err(FeedError::from)?;
        // A table that begins elsewhere now may hold other rows: the new views get their own.
        let same_rows = |input: &FeedInput| !moved.contains(input.wanted.relation.topic());
        let sharable: Vec<FeedInput> =
            running.iter().filter(|input| !input.wanted.relation.is_keyed() || same_rows(input)).cloned().collect();
        let engine = Engine::beside(&sharable, &catalog, views)?;
        let inputs = engine.inputs();
        running.retain(|input| !inputs.iter().any(|new| new.id == input.id));
        running.extend(inputs);
        let bad = BadRecords::default();
        let mut topics = topics(running);
        // What only the running views read is read again from where they stand.
        for topic in &mut topics {
            topic.later = !engine.reads(&topic.topic);
        }
        let feed = Feed::start(&kafka, topics, limits, AsOf::default(), FeedUntil::EndsOfKnownTopics, &bad)?;
        Ok(Self { engine, feed, found: BTreeMap::new(), bad })
    }

    /// Takes in what the feed gives until its ends.
    async fn read_to_end(&mut self, counters: &RebuildCounters) -> Result<(), LiveError> {
        loop {
            match self.feed.next().await {
                Some(FeedEvent::Starts { watermarks, next_offsets }) => {
                    self.engine.start_at(&next_offsets);
                    for (topic, partitions) in watermarks {
                        for marks in partitions.values() {
                            counters.total.fetch_add(marks.high - marks.low, Ordering::Relaxed);
                        }
                        self.found.entry(topic).or_default().extend(partitions);
                    }
                }
                Some(FeedEvent::Batch(batch)) => {
                    counters.records.fetch_add(batch.messages, Ordering::Relaxed);
                    self.engine.apply(batch).await?;
                    let done = self.engine.as_of().iter().map(|(topic, partition, next_offset)| {
                        let marks = self.found.get(topic).and_then(|partitions| partitions.get(&partition));
                        marks.map_or(0, |marks| next_offset.min(marks.high) - marks.low)
                    });
                    counters.done.fetch_max(done.sum(), Ordering::Relaxed);
                }
                Some(FeedEvent::Ended) => return Ok(()),
                Some(FeedEvent::Trouble(error)) => tracing::debug!("{error}; the rebuild goes on trying"),
                Some(FeedEvent::Recovered | FeedEvent::Ends { .. }) => {}
                Some(FeedEvent::HistoryChanged(error)) => return Err(FeedError::from(error).into()),
                Some(FeedEvent::Failed(error)) => return Err(error.into()),
                None => return Err(LiveError::Rebuild("the reader thread has ended".to_owned())),
            }
        }
    }
}

/// Topics whose history no longer begins where the running views began to read.
fn moved_topics(kafka: &KafkaConfig, inputs: &[FeedInput], first_offsets: &AsOf) -> Result<Vec<Arc<str>>, KafkaError> {
    let cluster = Cluster::connect(kafka, CONNECT_TIMEOUT)?;
    let mut moved = Vec::new();
    for topic in topics(inputs.to_vec()).into_iter().map(|topic| topic.topic) {
        let began = |(partition, low): (&i32, &i64)| {
            first_offsets.next_offset(&topic, *partition).is_none_or(|first| first == *low)
        };
        match cluster.low_watermarks(&topic) {
            Ok(now) if now.iter().all(began) => {}
            Ok(_) | Err(KafkaError::TopicMissing { .. }) => moved.push(topic),
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}
