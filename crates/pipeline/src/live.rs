//! A dashboard's life: read, refresh, rebuild what was edited, start over when the log is no longer the one that was read.

mod edits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Snapshot};
use super::error::LiveError;
use super::feed::{BatchLimits, Feed, FeedEvent, FeedUntil};
use super::files::{Definitions, FileState};
use super::history::LogHistory;
use super::named_view::NamedView;
use super::planning::{Fate, FolderPlan, PlannedFile, RunningViews, plan, plan_folder};
use super::status::Status;
use super::variants::Variants;
use edits::Edits;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_kafka::{AsOf, KafkaConfig};
use tallgrass_relation::BadRecords;
use tallgrass_view::Workspace;

/// How long a dashboard that has nothing new to show stays silent: then it shows that it is still current.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// After a refresh that takes long, reading gets this many times its time before the next one.
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
    /// Time between two refreshes, unless something arrives after a pause: that shows at once. A file's `@refresh` that is
    /// longer counts for all, since all tiles show one moment.
    pub refresh: Duration,
    /// Rows that a view without a smaller state may keep.
    pub max_retained_rows: usize,
    /// Stop at the end offsets as of the start.
    pub bounded: bool,
    /// Look for edited files, and show what they mean now.
    pub watch: bool,
    /// Files that are wanted with other values for their parameters.
    pub variants: Variants,
}

/// A live dashboard: files, engine and feed.
#[derive(Debug)]
pub struct Live {
    config: LiveConfig,
    files: Arc<Vec<FileState>>,
    definitions: Arc<Definitions>,
    engine: Engine,
    feed: Feed,
    log: LogHistory,
    status: Status,
    /// Added to the feed's count of bad records: that of a feed which took over begins with what a rebuild has read again.
    bad_before: u64,
    edits: Edits,
    /// The last results, shown once more while nothing changes.
    last: Option<Snapshot>,
    /// Something is to be shown that they do not show.
    unshown: bool,
}

impl Live {
    /// Plans every dashboard file and starts to read. A broken file is an error beside the others, which go on.
    pub async fn start(config: LiveConfig) -> Result<Self, LiveError> {
        let FolderPlan { workspace, files, .. } =
            plan_folder(&config.queries, &RunningViews::new(), config.max_retained_rows, None, &[]).await?;
        let (files, views) = split(files);
        let engine = Engine::new(workspace.catalog(), views)?;
        let status = Status::new();
        let feed = start_feed(&config, &engine, &status.bad)?;
        let mut live = Self {
            definitions: definitions(workspace, &files),
            files: Arc::new(files),
            engine,
            feed,
            log: LogHistory::default(),
            status,
            bad_before: 0,
            edits: Edits::start(&config),
            last: None,
            unshown: true,
            config,
        };
        live.note_missing();
        live.edits.follow(live.definitions.workspace.catalog());
        Ok(live)
    }

    /// The dashboard's files, in their order; the results of those that run have the same one.
    pub fn files(&self) -> &Arc<Vec<FileState>> {
        &self.files
    }

    /// Files that cannot be views as they are.
    pub fn broken_files(&self) -> impl Iterator<Item = &Diagnostic> {
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
    pub fn definitions(&self) -> Option<&Arc<Definitions>> {
        self.edits.are_settled().then_some(&self.definitions)
    }

    /// Runs until `stop`, or to the ends of a bounded feed; every refresh goes to `show`.
    /// Returns whether it ended by itself.
    pub async fn run(
        &mut self,
        stop: &CancellationToken,
        mut show: impl FnMut(&Self, Snapshot),
    ) -> Result<bool, LiveError> {
        let (mut refreshed, mut took): (Option<Instant>, _) = (None, Duration::ZERO);
        let mut repeated = Instant::now();
        let refreshes_at_all = !self.config.bounded;
        loop {
            let pause = self.interval().max(took * WORK_PER_REFRESH);
            let due = refreshed.map_or_else(Instant::now, |refreshed| refreshed + pause);
            let asks = self.unshown || self.edits.rebuild().is_some() || self.engine.follows_the_clock();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(due.into()), if asks && refreshes_at_all => {
                    let started = Instant::now();
                    self.refresh(&mut show).await?;
                    (refreshed, took) = (Some(started), started.elapsed());
                }
                step = self.edits.next() => self.take_step(step).await?,
                () = heartbeat(refreshed.map(|refreshed| refreshed.max(repeated))), if refreshes_at_all => {
                    repeated = Instant::now();
                    if let Some(snapshot) = self.last.clone() {
                        show(self, snapshot);
                    }
                }
                event = self.feed.next(), if !self.edits.hold_running_views() => {
                    let Some(event) = event else { return Ok(true) };
                    if self.take(event).await? {
                        self.refresh(&mut show).await?;
                        return Ok(true);
                    }
                    self.go_on_with_rebuild().await?;
                }
            }
        }
    }

    async fn refresh(&mut self, show: &mut impl FnMut(&Self, Snapshot)) -> Result<(), LiveError> {
        self.unshown = false;
        self.status.interval = self.interval();
        self.status.rebuild = self.edits.rebuild().map(|rebuild| (rebuild.names().to_vec(), rebuild.status()));
        let snapshot = self.engine.refresh().await?;
        self.last = Some(snapshot.clone());
        show(self, snapshot);
        Ok(())
    }

    /// Time between two refreshes: the longest that any file asks for.
    fn interval(&self) -> Duration {
        let files = self.files.iter().filter_map(|file| file.file.as_ref()?.front_matter().refresh);
        files.fold(self.config.refresh, Duration::max)
    }

    /// Takes in one event; true at the end of a bounded feed.
    async fn take(&mut self, event: FeedEvent) -> Result<bool, LiveError> {
        match event {
            FeedEvent::Starts { watermarks, next_offsets } => {
                self.unshown = true;
                self.engine.start_at(&next_offsets);
                for (topic, partitions) in &watermarks {
                    self.log.found(topic, partitions);
                }
                self.note_log();
            }
            FeedEvent::Batch(batch) => {
                self.unshown |= batch.messages > 0;
                self.status.count(&batch);
                self.engine.apply(batch).await?;
                self.status.bad_records = self.bad_before.wrapping_add(self.status.bad.total());
                self.status.topics = self.log.progress(self.engine.as_of());
            }
            FeedEvent::Ends { topic, watermarks } => {
                for (partition, marks) in watermarks {
                    self.status.ends.set(&topic, partition, marks.high);
                }
                self.unshown |= self.status.lag(&topic, self.engine.as_of()) > 0;
            }
            FeedEvent::Ended => return Ok(true),
            FeedEvent::HistoryChanged(error) => {
                tracing::warn!("{error}; starting over from the earliest offsets");
                self.start_over().await?;
            }
            FeedEvent::Trouble(error) => {
                tracing::warn!("{error}; trying again");
                self.status.trouble = Some(error.to_string());
                self.status.trouble_since.get_or_insert_with(Instant::now);
                self.unshown = true;
            }
            FeedEvent::Recovered => {
                tracing::info!("the broker answers again");
                self.status.trouble = None;
                self.status.trouble_since = None;
                self.unshown = true;
            }
            FeedEvent::Failed(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Shows what has been found out about the log.
    fn note_log(&mut self) {
        self.status.topics = self.log.progress(self.engine.as_of());
        self.status.history = self.log.starts();
        self.note_missing();
    }

    fn note_missing(&mut self) {
        let topics = self.engine.topics().into_iter().map(|topic| topic.topic);
        self.status.missing = topics.filter(|topic| !self.log.has(topic)).collect();
    }

    /// Empty state, earliest offsets: what a fresh start would do.
    async fn start_over(&mut self) -> Result<(), LiveError> {
        self.edits.stop_rebuild();
        let workspace = Workspace::load(&self.config.queries).unwrap_or_else(|_| self.definitions.workspace.clone());
        let files = self.files.iter().filter_map(|file| file.running.clone().map(Ok)).collect();
        let FolderPlan { workspace, files, .. } =
            plan(workspace, files, &RunningViews::new(), self.config.max_retained_rows).await?;
        let (files, views) = split(files);
        for file in Arc::make_mut(&mut self.files) {
            let planned = files.iter().find(|planned| planned.name == file.name);
            file.running = planned.and_then(|planned| planned.running.clone());
        }
        self.engine = Engine::new(workspace.catalog(), views)?;
        self.definitions = definitions(workspace, &self.files);
        self.log = LogHistory::default();
        self.status.ends = AsOf::default();
        self.note_log();
        self.unshown = true;
        let feed = start_feed(&self.config, &self.engine, &self.status.bad)?;
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
    Ok(Feed::start(&config.kafka, engine.topics(), config.limits, AsOf::default(), until, bad)?)
}

fn definitions(workspace: Workspace, files: &[FileState]) -> Arc<Definitions> {
    let files = files.iter().filter_map(|file| file.running.clone()).collect();
    Arc::new(Definitions { workspace, files })
}

/// Files and the views of those that can be some.
fn split(planned: Vec<PlannedFile>) -> (Vec<FileState>, Vec<NamedView>) {
    let (mut files, mut views) = (Vec::with_capacity(planned.len()), Vec::new());
    for PlannedFile { name, file, warnings, fate } in planned {
        let mut state = FileState { file, warnings, ..FileState::new(name) };
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

async fn heartbeat(shown: Option<Instant>) {
    match shown {
        Some(shown) => tokio::time::sleep_until((shown + HEARTBEAT).into()).await,
        None => std::future::pending().await,
    }
}
