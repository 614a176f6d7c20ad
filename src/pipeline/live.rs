//! A dashboard's life: read, refresh, rebuild what was edited, start over when the log is no longer the one that was read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, NamedView, Snapshot};
use super::feed::{BatchLimits, Feed, FeedError, FeedEvent, FeedUntil, GoOn};
use super::planning::{Fate, Plan, PlannedFile, Running, plan, plan_folder, static_files};
use super::rebuild::{Beside, Next, Rebuild, Shadow};
use super::status::{FileState, Sources, Status, Swap};
use super::watch::Watch;
use crate::kafka::{AsOf, HistoryGuard, KafkaConfig, KafkaError, Watermarks};
use crate::relation::{BadRecords, RelationError};
use crate::view::{Difference, SqlError, Workspace, WorkspaceError};

/// How long a rebuild that failed waits before it is tried again.
const REBUILD_AGAIN: Duration = Duration::from_secs(5);

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
pub struct Live {
    config: LiveConfig,
    workspace: Workspace,
    files: Vec<FileState>,
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
    /// The running views must not move until the rebuild's round has ended.
    held: bool,
    /// When a rebuild that failed is tried again.
    again: Option<Instant>,
}

impl Live {
    /// Plans every dashboard file and starts to read. A broken file is an error beside the others, which go on.
    pub async fn start(config: LiveConfig) -> Result<Self, LiveError> {
        let Plan { workspace, files } = plan_folder(&config.queries, &Running::new(), config.max_retained_rows).await?;
        let (files, views) = split(files);
        let engine = Engine::new(workspace.catalog(), views)?;
        let bad = BadRecords::default();
        let feed = start_feed(&config, &engine, &bad)?;
        let mut live = Self {
            workspace,
            files,
            sources: None,
            engine,
            feed,
            bad,
            bad_before: 0,
            guard: HistoryGuard::default(),
            status: Status::new(),
            marks: BTreeMap::new(),
            news: true,
            watch: None,
            planning: None,
            planned_too_early: false,
            rebuild: None,
            held: false,
            again: None,
            config,
        };
        live.note_missing();
        live.note_sources();
        if live.config.watch {
            match Watch::start(&live.config.queries) {
                Ok(watch) => live.watch = Some(watch),
                Err(error) => tracing::warn!("edits of SQL files will not be seen: {error}"),
            }
            live.follow_static_files();
        }
        Ok(live)
    }

    /// The dashboard's files, in their order; the results of those that run have the same one.
    pub fn files(&self) -> &[FileState] {
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
        loop {
            let pause = self.interval().max(took * WORK_PER_REFRESH);
            let due = refreshed.map_or_else(Instant::now, |refreshed| refreshed + pause);
            let asks = self.news || self.rebuild.is_some() || self.engine.follows_the_clock();
            let refreshes = asks && !self.config.bounded;
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
        self.status.rebuild = self.rebuild.as_ref().map(|rebuild| (rebuild.names().to_vec(), rebuild.status()));
        let snapshot = self.engine.refresh().await?;
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
                self.engine.apply(batch).await?;
                self.status.bad_records = self.bad_before.wrapping_add(self.bad.total());
                self.count_progress();
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
        let Plan { workspace, files } = plan(workspace, files, &Running::new(), self.config.max_retained_rows).await?;
        let (files, views) = split(files);
        self.workspace = workspace;
        for file in &mut self.files {
            let planned = files.iter().find(|planned| planned.name == file.name);
            file.running = planned.and_then(|planned| planned.running.clone());
        }
        self.engine = Engine::new(self.workspace.catalog(), views)?;
        self.marks.clear();
        self.guard = HistoryGuard::default();
        self.status.topics.clear();
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

    /// Looks at the folder, in the background.
    fn look(&mut self) {
        if !self.config.watch {
            return;
        }
        if self.planning.is_some() {
            self.planned_too_early = true;
            return;
        }
        let (dir, running, max_rows) = (self.config.queries.clone(), self.running(), self.config.max_retained_rows);
        self.planning = Some(tokio::spawn(async move { plan_folder(&dir, &running, max_rows).await }));
    }

    fn running(&self) -> Running {
        self.engine.views().iter().map(|view| (Arc::clone(&view.name), view.fingerprint)).collect()
    }

    /// Does what the folder asks for.
    fn take_plan(&mut self, planned: Result<Plan, LiveError>) {
        self.planning = None;
        self.news = true;
        if std::mem::take(&mut self.planned_too_early) {
            return self.look();
        }
        let Plan { workspace, files } = match planned {
            Ok(plan) => plan,
            Err(error) => {
                let words = words_of(&error);
                if self.status.sources_error.as_ref() != Some(&words) {
                    tracing::error!("{words}\nthe relations stay as they were");
                }
                self.status.sources_error = Some(words);
                return;
            }
        };
        self.status.sources_error = None;
        self.workspace = workspace;
        self.follow_static_files();
        let mut build = Vec::new();
        let mut states = Vec::with_capacity(files.len());
        for PlannedFile { name, file, fate } in files {
            let mut state = FileState { name: Arc::clone(&name), file, running: None, error: None, swap: None };
            let former = match &fate {
                Fate::Rename(from) => from,
                _ => &name,
            };
            if let Some(known) = self.files.iter().find(|known| known.name == *former) {
                state.swap.clone_from(&known.swap);
                state.running.clone_from(&known.running);
                state.file = state.file.or_else(|| known.file.clone());
            }
            match fate {
                Fate::Keep => state.running.clone_from(&state.file),
                Fate::Rename(from) => {
                    state.running.clone_from(&state.file);
                    tracing::info!("{from} is called {name} now");
                    self.engine.rename(&from, &name);
                }
                Fate::Build(view) => build.push(*view),
                Fate::Broken(error) => {
                    let told = self.files.iter().any(|known| known.error.as_ref() == Some(&error));
                    if !told {
                        tracing::error!("{error}");
                    }
                    state.error = Some(error);
                }
            }
            states.push(state);
        }
        for gone in self.files.iter().filter(|known| !states.iter().any(|state| state.name == known.name)) {
            if self.engine.views().iter().any(|view| view.name == gone.name) {
                tracing::info!("{} is gone", gone.name);
            }
        }
        self.files = states;
        let names: Vec<Arc<str>> = self.files.iter().map(|file| Arc::clone(&file.name)).collect();
        self.engine.arrange(&names);
        self.note_missing();
        self.note_sources();
        self.start_rebuild(build);
    }

    fn start_rebuild(&mut self, views: Vec<NamedView>) {
        if self.rebuild.as_ref().is_some_and(|rebuild| rebuild.builds(&views)) {
            // Something else was saved meanwhile.
            return;
        }
        self.stop_rebuild();
        if views.is_empty() {
            return;
        }
        let names: Vec<&str> = views.iter().map(|view| &*view.name).collect();
        tracing::info!("{}: rebuilding from the earliest offsets", names.join(", "));
        let mut first_offsets = AsOf::default();
        for ((topic, partition), marks) in &self.marks {
            first_offsets.set(topic, *partition, marks.low);
        }
        let beside = Beside {
            kafka: self.config.kafka.clone(),
            limits: self.config.limits,
            catalog: self.workspace.catalog().clone(),
            running: self.engine.inputs(),
            first_offsets,
        };
        self.rebuild = Some(Rebuild::start(beside, views));
    }

    fn stop_rebuild(&mut self) {
        self.rebuild = None;
        self.held = false;
        self.again = None;
    }

    fn rebuild_failed(&mut self, error: &LiveError) {
        tracing::warn!("{error}; rebuilding again in {} s", REBUILD_AGAIN.as_secs());
        self.stop_rebuild();
        self.news = true;
        self.again = Some(Instant::now() + REBUILD_AGAIN);
    }

    async fn go_on_with_rebuild(&mut self) -> Result<(), LiveError> {
        let Some(rebuild) = &mut self.rebuild else { return Ok(()) };
        match rebuild.next(&self.engine) {
            Next::Wait => {}
            Next::Round(hold) => self.held = hold,
            Next::Swap(shadow) => self.swap(*shadow).await?,
        }
        Ok(())
    }

    /// The new views take the places of the old ones, at the offsets where both stand.
    async fn swap(&mut self, shadow: Shadow) -> Result<(), LiveError> {
        let Shadow { mut engine, feed, found, bad } = shadow;
        let new = engine.refresh().await?;
        let old = self.engine.refresh_some(|name| new.results.iter().any(|result| *result.name == *name)).await?;
        self.engine.adopt(engine);
        let names: Vec<Arc<str>> = self.files.iter().map(|file| Arc::clone(&file.name)).collect();
        self.engine.arrange(&names);
        for new in &new.results {
            let old = old.results.iter().find(|old| old.name == new.name);
            let difference = match (old.map(|old| (&old.schema, &old.rows)), &new.rows) {
                (Some((schema, Ok(old))), Ok(rows)) => {
                    Some(Difference::between((schema, old), (&new.schema, rows)).map_err(DataFusionError::from)?)
                }
                _ => None,
            };
            let what = difference.map_or_else(|| "there".to_owned(), |difference| difference.to_string());
            tracing::info!("{}: {what}, as of {}", new.name, self.engine.as_of());
            if let Some(file) = self.files.iter_mut().find(|file| file.name == new.name) {
                file.running.clone_from(&file.file);
                file.swap = Some(Swap { as_of: self.engine.as_of().clone(), difference });
            }
        }
        for (topic, partitions) in &found {
            self.found(topic, partitions);
        }
        self.count_progress();
        feed.go_on(GoOn { until: None, from: self.engine.as_of().clone() });
        drop_aside(std::mem::replace(&mut self.feed, feed));
        self.bad_before = self.status.bad_records.wrapping_sub(bad.total());
        self.bad = bad;
        // The new feed has just read.
        self.status.trouble = None;
        self.stop_rebuild();
        self.note_sources();
        self.news = true;
        Ok(())
    }

    fn follow_static_files(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.follow(static_files(self.workspace.catalog()));
        }
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
    for PlannedFile { name, file, fate } in planned {
        let mut state = FileState { name, file, running: None, error: None, swap: None };
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

/// The error with its causes.
fn words_of(error: &LiveError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !words.ends_with(&error.to_string()) {
            words = format!("{words}: {error}");
        }
        cause = error.source();
    }
    words
}
