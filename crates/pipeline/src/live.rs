//! A dashboard's life: read, refresh, rebuild what was edited, start over when the log is no longer the one that was read.

mod edits;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, NamedView, Snapshot};
use super::feed::{BatchLimits, Feed, FeedError, FeedEvent, FeedUntil};
use super::planning::{Fate, Plan, PlannedFile, Running, plan, plan_folder};
use super::rebuild::Rebuild;
use super::status::{FileState, Sources, Status};
use super::variants::Variants;
use super::watch::Watch;
use tallgrass_kafka::{AsOf, HistoryGuard, KafkaConfig, KafkaError, Watermarks};
use tallgrass_relation::{BadRecords, RelationError};
use tallgrass_view::{SqlError, Workspace, WorkspaceError};

/// How long a rebuild that failed waits before it is tried again.
const REBUILD_AGAIN: Duration = Duration::from_secs(5);

/// How long a dashboard that has nothing new to say stays silent: then it says that it is still current.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A refresh that takes long comes seldom: reading gets this many times its time before the next one.
const WORK_PER_REFRESH: u32 = 4;

/// What a dashboard is made of.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The folder of SQL.
    pub queries: PathBuf,
    /// When micro-batches close.
    pub limits: BatchLimits,
    /// Time between two refreshes, unless something comes after a pause: that shows at once. A file's `@refresh` that is
    /// longer counts for all, since all tiles show one moment.
    pub refresh: Duration,
    /// Rows that a view without a smaller state may keep.
    pub max_retained_rows: usize,
    /// Stop at the end offsets as of the start.
    pub bounded: bool,
    /// Look for edited files, and show what they mean now.
    pub watch: bool,
    /// Files that somebody wants with other values for their parameters.
    pub variants: Variants,
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
    /// A rebuild died.
    #[error("a rebuild ended: {0}")]
    Rebuild(String),
}

/// A live dashboard: files, engine and feed.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what is to be done next: each by itself, in any combination")]
pub struct Live {
    config: LiveConfig,
    workspace: Workspace,
    files: Arc<Vec<FileState>>,
    sources: Option<Arc<Sources>>,
    engine: Engine,
    feed: Feed,
    bad: BadRecords,
    /// Added to what `bad` counts: that of a feed which took over begins with what a rebuild has read again.
    bad_before: u64,
    guard: HistoryGuard,
    status: Status,
    /// First and last known offset of each partition when reading started.
    marks: BTreeMap<(Arc<str>, i32), Watermarks>,
    /// Something is to be shown that the last refresh did not show.
    news: bool,
    watch: Option<Watch>,
    /// The folder is being looked at.
    planning: Option<JoinHandle<Result<Plan, WorkspaceError>>>,
    /// The folder has changed since.
    planned_too_early: bool,
    rebuild: Option<Rebuild>,
    /// More was saved than the rebuild builds.
    look_after_swap: bool,
    /// The running views must not move until the rebuild's round has ended.
    held: bool,
    /// When a rebuild that failed is tried again.
    again: Option<Instant>,
    /// The last results, said once more while nothing changes.
    last: Option<Snapshot>,
}

impl Live {
    /// Plans every dashboard file and starts to read. A broken file is an error beside the others, which go on.
    pub async fn start(config: LiveConfig) -> Result<Self, LiveError> {
        let Plan { workspace, files, .. } =
            plan_folder(&config.queries, &Running::new(), config.max_retained_rows, None, &[]).await?;
        let (files, views) = split(files);
        let engine = Engine::new(workspace.catalog(), views)?;
        let bad = BadRecords::default();
        let feed = start_feed(&config, &engine, &bad)?;
        let mut live = Self {
            workspace,
            files: Arc::new(files),
            sources: None,
            engine,
            feed,
            bad_before: 0,
            guard: HistoryGuard::default(),
            status: Status { bad: bad.clone(), ..Status::new() },
            bad,
            marks: BTreeMap::new(),
            news: true,
            watch: None,
            planning: None,
            planned_too_early: false,
            rebuild: None,
            look_after_swap: false,
            held: false,
            again: None,
            last: None,
            config,
        };
        live.note_missing();
        live.note_sources();
        if live.config.watch {
            live.watch = Some(Watch::start(&live.config.queries));
            live.follow_static_files();
        }
        Ok(live)
    }

    /// The dashboard's files, in their order; the results of those that run have the same one.
    pub fn files(&self) -> &Arc<Vec<FileState>> {
        &self.files
    }

    /// Files that cannot be views as they are.
    pub fn broken_files(&self) -> impl Iterator<Item = &SqlError> {
        self.files.iter().filter_map(|file| file.error.as_ref())
    }

    /// How it is doing.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The views and what they read.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the running views were planned from; none while some are on their way to another meaning.
    pub fn sources(&self) -> Option<&Arc<Sources>> {
        let settled = self.planning.is_none() && self.rebuild.is_none() && self.again.is_none();
        self.sources.as_ref().filter(|_| settled)
    }

    fn note_sources(&mut self) {
        let files = self.files.iter().filter_map(|file| file.running.clone()).collect();
        self.sources = Some(Arc::new(Sources { workspace: self.workspace.clone(), files }));
    }

    /// Runs until `stop`, or to the ends of a bounded feed; every refresh goes to `show`.
    /// Returns whether it came to its end by itself.
    pub async fn run(
        &mut self,
        stop: &CancellationToken,
        mut show: impl FnMut(&Self, Snapshot),
    ) -> Result<bool, LiveError> {
        let (mut refreshed, mut took): (Option<Instant>, _) = (None, Duration::ZERO);
        let mut said = Instant::now();
        let refreshes_at_all = !self.config.bounded;
        loop {
            let pause = self.interval().max(took * WORK_PER_REFRESH);
            let due = refreshed.map_or_else(Instant::now, |refreshed| refreshed + pause);
            let asks = self.news || self.rebuild.is_some() || self.engine.follows_the_clock();
            let refreshes = asks && refreshes_at_all;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(due.into()), if refreshes => {
                    let started = Instant::now();
                    self.refresh(&mut show).await?;
                    (refreshed, took) = (Some(started), started.elapsed());
                }
                ended = round_ended(&mut self.rebuild) => {
                    match ended {
                        Ok(()) => self.go_on_with_rebuild().await?,
                        Err(error) => self.rebuild_failed(&error),
                    }
                }
                planned = planned(&mut self.planning) => self.take_plan(planned),
                () = changed(self.watch.as_ref()) => self.look(),
                () = self.config.variants.changed() => self.look(),
                () = sleep_until(refreshed.map(|refreshed| refreshed.max(said) + HEARTBEAT)), if refreshes_at_all => {
                    said = Instant::now();
                    if let Some(snapshot) = self.last.clone() {
                        show(self, snapshot);
                    }
                }
                () = sleep_until(self.again), if self.again.is_some() => {
                    self.again = None;
                    self.look();
                }
                event = self.feed.next(), if !self.held => {
                    let Some(event) = event else { return Ok(true) };
                    if self.take(event).await? {
                        self.refresh(&mut show).await?;
                        return Ok(true);
                    }
                    if self.rebuild.is_some() {
                        self.go_on_with_rebuild().await?;
                    }
                }
            }
        }
    }

    async fn refresh(&mut self, show: &mut impl FnMut(&Self, Snapshot)) -> Result<(), LiveError> {
        self.news = false;
        self.status.interval = self.interval();
        self.status.rebuild = self.rebuild.as_ref().map(|rebuild| (rebuild.names().to_vec(), rebuild.status()));
        let snapshot = self.engine.refresh().await?;
        self.last = Some(snapshot.clone());
        show(self, snapshot);
        Ok(())
    }

    /// Time between two refreshes: the longest that anybody asks for.
    fn interval(&self) -> Duration {
        let files = self.files.iter().filter_map(|file| file.file.as_ref()?.front_matter().refresh);
        files.fold(self.config.refresh, Duration::max)
    }

    /// Takes in one event; true at the end of a bounded feed.
    async fn take(&mut self, event: FeedEvent) -> Result<bool, LiveError> {
        match event {
            FeedEvent::Starts { watermarks } => {
                self.news = true;
                for (topic, partitions) in watermarks {
                    for (partition, marks) in &partitions {
                        self.engine.start_at(&topic, *partition, marks.low);
                    }
                    self.found(&topic, &partitions);
                }
                self.count_progress();
            }
            FeedEvent::Batch(batch) => {
                self.news |= batch.messages > 0;
                self.status.messages += batch.messages;
                self.status.bytes += batch.bytes;
                self.status.count_rows(&batch);
                self.engine.apply(batch).await?;
                self.status.bad_records = self.bad_before.wrapping_add(self.bad.total());
                self.count_progress();
            }
            FeedEvent::Ends { topic, watermarks } => {
                for (partition, marks) in watermarks {
                    self.status.ends.set(&topic, partition, marks.high);
                }
                self.news |= self.status.lag(&topic, self.engine.as_of()) > 0;
            }
            FeedEvent::Ended => return Ok(true),
            FeedEvent::HistoryChanged(error) => {
                tracing::warn!("{error}; counting anew from the earliest offsets");
                self.start_over().await?;
            }
            FeedEvent::Trouble(error) => {
                tracing::warn!("{error}; trying again");
                self.status.trouble = Some(error.to_string());
                self.status.trouble_since.get_or_insert_with(Instant::now);
                self.news = true;
            }
            FeedEvent::Recovered => {
                tracing::info!("the broker answers again");
                self.status.trouble = None;
                self.status.trouble_since = None;
                self.news = true;
            }
            FeedEvent::Failed(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Partitions that are read from now on.
    fn found(&mut self, topic: &Arc<str>, partitions: &BTreeMap<i32, Watermarks>) {
        for (partition, marks) in partitions {
            self.marks.entry((Arc::clone(topic), *partition)).or_insert(*marks);
        }
        for start in self.guard.observe_watermarks(topic, partitions) {
            tracing::warn!("{start}");
        }
        self.status.history = self.guard.starts().collect();
        self.note_missing();
    }

    fn note_missing(&mut self) {
        let topics = self.engine.topics().into_iter().map(|topic| topic.topic);
        let exists = |topic: &Arc<str>| self.marks.keys().any(|(known, _)| known == topic);
        self.status.missing = topics.filter(|topic| !exists(topic)).collect();
    }

    fn count_progress(&mut self) {
        self.status.count_progress(&mut self.marks, self.engine.as_of());
    }

    /// Empty state, earliest offsets: what a fresh start would do.
    async fn start_over(&mut self) -> Result<(), LiveError> {
        self.stop_rebuild();
        let workspace = Workspace::load(&self.config.queries).unwrap_or_else(|_| self.workspace.clone());
        let files = self.files.iter().filter_map(|file| file.running.clone().map(Ok)).collect();
        let Plan { workspace, files, .. } =
            plan(workspace, files, &Running::new(), self.config.max_retained_rows).await?;
        let (files, views) = split(files);
        self.workspace = workspace;
        for file in Arc::make_mut(&mut self.files) {
            let planned = files.iter().find(|planned| planned.name == file.name);
            file.running = planned.and_then(|planned| planned.running.clone());
        }
        self.engine = Engine::new(self.workspace.catalog(), views)?;
        self.marks.clear();
        self.guard = HistoryGuard::default();
        self.status.topics.clear();
        self.status.ends = AsOf::default();
        self.status.history.clear();
        self.note_missing();
        self.note_sources();
        self.news = true;
        let feed = start_feed(&self.config, &self.engine, &self.bad)?;
        drop_aside(std::mem::replace(&mut self.feed, feed));
        // The files on disk may be others by now.
        self.look();
        Ok(())
    }
}

/// Joining the reader thread takes up to a tenth of a second.
fn drop_aside(feed: Feed) {
    tokio::task::spawn_blocking(move || drop(feed));
}

fn start_feed(config: &LiveConfig, engine: &Engine, bad: &BadRecords) -> Result<Feed, LiveError> {
    let until = if config.bounded { FeedUntil::Ends } else { FeedUntil::Stopped };
    Ok(Feed::start(&config.kafka, engine.topics(), config.limits, until, bad)?)
}

/// Files and the views of those that can be some.
fn split(planned: Vec<PlannedFile>) -> (Vec<FileState>, Vec<NamedView>) {
    let (mut files, mut views) = (Vec::with_capacity(planned.len()), Vec::new());
    for PlannedFile { name, file, warnings, fate } in planned {
        let mut state = FileState { name, file, running: None, warnings, error: None, swap: None };
        match fate {
            Fate::Build(view) => {
                views.push(*view);
                state.running.clone_from(&state.file);
            }
            Fate::Broken(error) => state.error = Some(error),
            Fate::Keep | Fate::Rename(_) => {}
        }
        files.push(state);
    }
    (files, views)
}

async fn round_ended(rebuild: &mut Option<Rebuild>) -> Result<(), LiveError> {
    match rebuild {
        Some(rebuild) => rebuild.round_ended().await,
        None => std::future::pending().await,
    }
}

async fn planned(planning: &mut Option<JoinHandle<Result<Plan, WorkspaceError>>>) -> Result<Plan, LiveError> {
    match planning {
        Some(planning) => match planning.await {
            Ok(plan) => plan.map_err(LiveError::from),
            Err(error) => Err(LiveError::Rebuild(error.to_string())),
        },
        None => std::future::pending().await,
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

impl From<KafkaError> for LiveError {
    fn from(error: KafkaError) -> Self {
        Self::Feed(error.into())
    }
}
