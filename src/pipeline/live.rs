//! A dashboard's life: read, refresh, start over when the log is no longer the one that was read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, NamedView, Snapshot};
use super::feed::{BatchLimits, Feed, FeedError, FeedEvent};
use crate::kafka::{HistoryGuard, HistoryStart, KafkaConfig, KafkaError, Watermarks};
use crate::relation::{BadRecords, RelationError};
use crate::view::cut::Use;
use crate::view::{LoadedFile, SqlFile, Workspace, WorkspaceError, live_view};

/// What a dashboard is made of.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The folder of SQL.
    pub queries: PathBuf,
    /// When micro-batches close.
    pub limits: BatchLimits,
    /// Time between two refreshes, unless something comes after a pause: that shows at once.
    pub refresh: Duration,
    /// Rows that a view without a smaller state may keep.
    pub max_retained_rows: usize,
    /// Stop at the end offsets as of the start.
    pub bounded: bool,
}

/// Why a dashboard ended.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The SQL cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The topics cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Rows could not be put together.
    #[error(transparent)]
    Relation(#[from] RelationError),
    /// The views could not be wired.
    #[error(transparent)]
    Engine(#[from] DataFusionError),
    /// The reader thread could not be started.
    #[error("cannot start the reader thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How far one topic has been read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// Offsets that were there when reading started, or have been read since.
    pub total: i64,
    /// Offsets that have been read.
    pub done: i64,
}

/// How a dashboard is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// When it started.
    pub started: Instant,
    /// Messages read.
    pub messages: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Records that were no rows.
    pub bad_records: u64,
    /// Reading of each topic; one that does not exist is left out.
    pub topics: BTreeMap<Arc<str>, TopicStatus>,
    /// Topics that do not exist (yet).
    pub missing: Vec<Arc<str>>,
    /// What the broker's trouble is, while it has some.
    pub trouble: Option<String>,
    /// Partitions whose beginning the broker no longer has.
    pub history: Vec<HistoryStart>,
}

impl Status {
    /// Share of what was there at the start that has been read, 0 to 1.
    pub fn progress(&self) -> f64 {
        let (done, total) =
            self.topics.values().fold((0, 0), |(done, total), topic| (done + topic.done, total + topic.total));
        if total == 0 { 1.0 } else { done as f64 / total as f64 }
    }

    /// Whether what was there at the start has been read.
    pub fn caught_up(&self) -> bool {
        self.topics.values().all(|topic| topic.done >= topic.total)
    }
}

/// A live dashboard: files, engine and feed.
#[derive(Debug)]
pub struct Live {
    config: LiveConfig,
    workspace: Workspace,
    files: Vec<LoadedFile>,
    engine: Engine,
    feed: Feed,
    bad: BadRecords,
    guard: HistoryGuard,
    status: Status,
    /// First and last known offset of each partition when reading started.
    marks: BTreeMap<(Arc<str>, i32), Watermarks>,
    new_since_refresh: bool,
}

impl Live {
    /// Plans every dashboard file and starts to read. A broken file becomes a view with an error; the others go on.
    pub async fn start(config: LiveConfig) -> Result<Self, LiveError> {
        let workspace = Workspace::load(&config.queries)?;
        let files = workspace.dashboard();
        let engine = plan(&workspace, &files, config.max_retained_rows).await?;
        let bad = BadRecords::default();
        let feed = start_feed(&config, &engine, &bad)?;
        let status = Status {
            started: Instant::now(),
            messages: 0,
            bytes: 0,
            bad_records: 0,
            topics: BTreeMap::new(),
            missing: engine.topics().iter().map(|topic| Arc::clone(&topic.topic)).collect(),
            trouble: None,
            history: Vec::new(),
        };
        let guard = HistoryGuard::default();
        let marks = BTreeMap::new();
        Ok(Self { config, workspace, files, engine, feed, bad, guard, status, marks, new_since_refresh: true })
    }

    /// The dashboard's files, in the order of the results.
    pub fn files(&self) -> impl Iterator<Item = &SqlFile> {
        self.files.iter().filter_map(|file| file.as_ref().ok())
    }

    /// Files that cannot be parsed, each with its place in the error.
    pub fn broken_files(&self) -> impl Iterator<Item = &crate::view::SqlError> {
        self.files.iter().filter_map(|file| file.as_ref().err())
    }

    /// How it is doing.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The views and what they read.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs until `stop`, or to the ends of a bounded feed; every refresh goes to `show`.
    /// Returns whether it came to its end by itself.
    pub async fn run(
        &mut self,
        stop: &CancellationToken,
        mut show: impl FnMut(&Self, Snapshot),
    ) -> Result<bool, LiveError> {
        let mut refreshed: Option<Instant> = None;
        loop {
            let interval = self.config.refresh;
            let due = refreshed.map_or_else(Instant::now, |refreshed| refreshed + interval);
            let asks = self.new_since_refresh || self.engine.follows_the_clock();
            let refreshes = asks && !self.config.bounded;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(due.into()), if refreshes => {
                    refreshed = Some(Instant::now());
                    self.new_since_refresh = false;
                    let snapshot = self.engine.refresh().await?;
                    show(self, snapshot);
                }
                event = self.feed.next() => {
                    let Some(event) = event else { return Ok(true) };
                    if self.take(event).await? {
                        let snapshot = self.engine.refresh().await?;
                        show(self, snapshot);
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Takes in one event; true at the end of a bounded feed.
    async fn take(&mut self, event: FeedEvent) -> Result<bool, LiveError> {
        match event {
            FeedEvent::Starts { watermarks } => {
                self.new_since_refresh = true;
                for (topic, partitions) in watermarks {
                    self.status.missing.retain(|missing| *missing != topic);
                    for (partition, marks) in &partitions {
                        self.engine.start_at(&topic, *partition, marks.low);
                        self.marks.insert((Arc::clone(&topic), *partition), *marks);
                    }
                    for start in self.guard.observe_watermarks(&topic, &partitions) {
                        tracing::warn!("{start}");
                    }
                }
                self.status.history = self.guard.starts().collect();
                self.count_progress(&crate::kafka::AsOf::default());
            }
            FeedEvent::Batch(batch) => {
                self.new_since_refresh |= batch.messages > 0;
                self.status.messages += batch.messages;
                self.status.bytes += batch.bytes;
                self.status.bad_records = self.bad.total();
                let next_offsets = batch.next_offsets.clone();
                self.engine.apply(batch).await?;
                self.count_progress(&next_offsets);
            }
            FeedEvent::Ended => return Ok(true),
            FeedEvent::HistoryChanged(error) => {
                tracing::warn!("{error}; counting anew from the earliest offsets");
                self.start_over().await?;
            }
            FeedEvent::Trouble(error) => {
                tracing::warn!("{error}; trying again");
                self.status.trouble = Some(error.to_string());
            }
            FeedEvent::Recovered => {
                tracing::info!("the broker answers again");
                self.status.trouble = None;
            }
            FeedEvent::Failed(error) => return Err(error.into()),
        }
        Ok(false)
    }

    fn count_progress(&mut self, next_offsets: &crate::kafka::AsOf) {
        let mut topics: BTreeMap<Arc<str>, TopicStatus> = BTreeMap::new();
        for ((topic, partition), marks) in &mut self.marks {
            let next_offset = next_offsets.next_offset(topic, *partition).unwrap_or(marks.low);
            marks.high = marks.high.max(next_offset);
            let status = topics.entry(Arc::clone(topic)).or_default();
            status.total += marks.high - marks.low;
            status.done += next_offset - marks.low;
        }
        self.status.topics = topics;
    }

    /// Empty state, earliest offsets: what a fresh start would do.
    async fn start_over(&mut self) -> Result<(), LiveError> {
        self.engine = plan(&self.workspace, &self.files, self.config.max_retained_rows).await?;
        self.marks.clear();
        self.guard = HistoryGuard::default();
        self.status.topics.clear();
        self.status.history.clear();
        self.status.missing = self.engine.topics().iter().map(|topic| Arc::clone(&topic.topic)).collect();
        self.new_since_refresh = true;
        self.feed = start_feed(&self.config, &self.engine, &self.bad)?;
        Ok(())
    }
}

fn start_feed(config: &LiveConfig, engine: &Engine, bad: &BadRecords) -> Result<Feed, LiveError> {
    let topics = engine.topics().to_vec();
    Ok(Feed::start(&config.kafka, topics, config.limits, config.bounded, bad)?)
}

async fn plan(workspace: &Workspace, files: &[LoadedFile], max_rows: usize) -> Result<Engine, LiveError> {
    let context = workspace.live_session().await?;
    let parsed: Vec<SqlFile> = files.iter().filter_map(|file| file.as_ref().ok()).cloned().collect();
    let plans = workspace.plan_dashboard(&context, &parsed).await;
    let mut views = Vec::with_capacity(parsed.len());
    for (file, planned) in parsed.iter().zip(plans) {
        let view = match planned {
            Ok(plan) => live_view(&context, file, plan, Use::Result, max_rows).await,
            Err(error) => Err(error),
        };
        let view = view.map_err(|error| Arc::new(DataFusionError::External(Box::new(error))));
        views.push(NamedView { name: file.name().into(), view });
    }
    Ok(Engine::new(workspace.catalog(), views)?)
}

impl From<KafkaError> for LiveError {
    fn from(error: KafkaError) -> Self {
        Self::Feed(error.into())
    }
}
