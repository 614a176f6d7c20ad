//! A file's hub: one thread with one consumer for all its panels, from the first panel to some seconds after the last.
//!
//! ```text
//!  files ─(looked at every second)─▶ Pairs ─▶ Panels ◀─ Feed: recent records backwards, then live
//!                                               │
//!                                               └─▶ each panel's newest content, a place of one
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::open::{About, OpenPanel, OpenPanels};
use super::pairs::Pairs;
use super::panels::Panels;
use super::recent::{LocatedBatch, RECENT_ROWS, RecentRows};
use super::source::SavedTexts;
use super::state::{ConsumerState, Phase};
use tallgrass_kafka::{AsOf, Cluster, KafkaConfig, KafkaError, Watermarks};
use tallgrass_pipeline::{BatchLimits, Feed, FeedEvent, FeedInput, FeedTopic, FeedUntil, InputId, MicroBatch};
use tallgrass_relation::{BadRecords, CONNECT_TIMEOUT, Wanted};
use tallgrass_view::WorkspaceError;

/// How often what waits to be shown is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often the files are looked at, and panels that no tab follows.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a consumer that failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Starts the hub's thread.
pub fn start(open: Arc<OpenPanels>, kafka: KafkaConfig, stop: CancellationToken) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("panels".to_owned()).spawn(move || {
        let hub = Hub {
            open,
            kafka,
            stop,
            epoch: 0,
            panels: None,
            unplanned: Vec::new(),
            recent: RecentRows::default(),
            reading: HubReading::Paused(Instant::now()),
            texts: SavedTexts::default(),
            sql_error: None,
            caught_up: false,
        };
        runtime.block_on(hub.run());
        runtime.shutdown_background();
    })?;
    Ok(())
}

/// Where the consumer is.
enum HubReading {
    /// Not at all until then.
    Paused(Instant),
    /// The broker is asked where to begin.
    Asking(JoinHandle<Result<Option<BTreeMap<i32, Watermarks>>, KafkaError>>),
    /// It reads.
    Feed { feed: Box<Feed>, from: AsOf, ends: BTreeMap<i32, Watermarks>, next_offsets: AsOf },
}

struct Hub {
    open: Arc<OpenPanels>,
    kafka: KafkaConfig,
    stop: CancellationToken,
    epoch: u64,
    panels: Option<Panels>,
    /// Panels that were opened before there was a plan.
    unplanned: Vec<Arc<OpenPanel>>,
    recent: RecentRows,
    reading: HubReading,
    texts: SavedTexts,
    sql_error: Option<Arc<str>>,
    caught_up: bool,
}

/// What the loop woke up for.
enum Woken {
    Fed(Option<FeedEvent>),
    Answered(Result<Option<BTreeMap<i32, Watermarks>>, KafkaError>),
    Opened,
    Ticked,
    Stopped,
}

impl Hub {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked: Option<Instant> = None;
        let mut unseeded = true;
        loop {
            let changes = self.open.changes(false);
            if !changes.fresh.is_empty() {
                unseeded = true;
                self.take_in(changes.fresh);
            }
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
                looked = Some(Instant::now());
                let changes = self.open.changes(true);
                if changes.ended {
                    return;
                }
                self.take_in(changes.fresh);
                if let Some(panels) = self.panels.as_mut().filter(|_| changes.closed) {
                    panels.sweep(&self.open);
                }
                self.look_at_files().await;
                unseeded = true;
            }
            self.begin_reading();
            if unseeded
                && self.caught_up
                && let Some(panels) = &mut self.panels
            {
                unseeded = !panels.seed(&self.recent).await;
                panels.publish().await;
                if unseeded {
                    self.open.wake.notify_one();
                }
            }
            let woken = tokio::select! {
                biased;
                () = self.stop.cancelled() => Woken::Stopped,
                _ = tick.tick() => Woken::Ticked,
                woken = read(&mut self.reading) => woken,
                () = self.open.wake.notified() => Woken::Opened,
            };
            match woken {
                Woken::Stopped => return,
                Woken::Opened => {}
                Woken::Ticked => self.publish().await,
                Woken::Answered(answer) => self.answered(answer),
                Woken::Fed(event) => {
                    self.fed(event).await;
                    unseeded = true;
                }
            }
        }
    }

    fn take_in(&mut self, fresh: Vec<Arc<OpenPanel>>) {
        match &mut self.panels {
            Some(panels) => fresh.into_iter().for_each(|panel| panels.add(panel)),
            None => self.unplanned.extend(fresh),
        }
    }

    async fn publish(&mut self) {
        if self.caught_up
            && let Some(panels) = &mut self.panels
        {
            panels.publish().await;
        }
    }

    /// Plans saved files again; what cannot be planned is shown, and what ran before continues.
    async fn look_at_files(&mut self) {
        let texts = self.open.source.texts();
        if texts == self.texts && (self.panels.is_some() || self.sql_error.is_some()) {
            return;
        }
        let sources_changed = texts.sources != self.texts.sources;
        self.texts = texts;
        match self.plan().await {
            Ok(pairs) => {
                let same = |old: &Panels| !sources_changed && old.pairs().file().meaning() == pairs.file().meaning();
                let unchanged = self.panels.as_ref().is_some_and(same);
                self.sql_error = None;
                let file = pairs.file().clone();
                if !unchanged {
                    self.replace(pairs);
                }
                let how = self.panels.as_ref().map(Panels::how).unwrap_or_default();
                self.open.about.send_replace(Arc::new(About::of(&file, how)));
            }
            Err(error) => {
                tracing::warn!("{error}");
                self.sql_error = Some(error.to_string().into());
            }
        }
        let current = self.open.state.borrow().as_ref().clone();
        match (&self.panels, &self.sql_error) {
            (None, Some(_)) => self.set_state(ConsumerState::broken()),
            _ => self.set_state(current),
        }
    }

    async fn plan(&self) -> Result<Pairs, WorkspaceError> {
        let (workspace, file) = self.open.source.load()?;
        Pairs::plan(&workspace, file).await
    }

    fn replace(&mut self, pairs: Pairs) {
        self.epoch += 1;
        let mut open = std::mem::take(&mut self.unplanned);
        open.extend(self.panels.take().into_iter().flat_map(Panels::into_open));
        let mut panels = Panels::new(pairs, self.epoch);
        open.into_iter().filter(|panel| self.open.is_open(panel)).for_each(|panel| panels.add(panel));
        self.panels = Some(panels);
        self.restart(Duration::ZERO);
    }

    /// Reads the recent records again, after a while.
    fn restart(&mut self, after: Duration) {
        self.recent = RecentRows::default();
        self.caught_up = false;
        self.reading = HubReading::Paused(Instant::now() + after);
    }

    fn set_state(&self, state: ConsumerState) {
        self.open.set_state(ConsumerState { sql_error: self.sql_error.clone(), ..state });
    }

    fn begin_reading(&mut self) {
        let (HubReading::Paused(until), Some(panels)) = (&self.reading, &self.panels) else { return };
        if Instant::now() < *until {
            return;
        }
        if self.open.state.borrow().phase == Phase::Broken {
            self.set_state(ConsumerState::starting());
        }
        let (kafka, stop, topic) =
            (self.kafka.clone(), self.stop.clone(), Arc::clone(panels.pairs().relation().topic()));
        self.reading = HubReading::Asking(tokio::task::spawn_blocking(move || {
            let Some(cluster) = Cluster::connect_unless(&kafka, CONNECT_TIMEOUT, || stop.is_cancelled())? else {
                return Ok(None);
            };
            match cluster.watermarks(&topic) {
                Ok(marks) => Ok(Some(marks)),
                Err(KafkaError::TopicMissing { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        }));
    }

    fn answered(&mut self, answer: Result<Option<BTreeMap<i32, Watermarks>>, KafkaError>) {
        let Some(panels) = &self.panels else { return };
        let relation = panels.pairs().relation();
        let ends = match answer {
            Ok(Some(ends)) => ends,
            Ok(None) => {
                self.set_state(ConsumerState::waiting(relation.topic(), &self.kafka));
                BTreeMap::new()
            }
            Err(error) => {
                self.set_state(ConsumerState::unreachable(&error.to_string()));
                self.reading = HubReading::Paused(Instant::now() + RETRY_AFTER);
                return;
            }
        };
        let mut from = AsOf::default();
        // Of each partition as many: a busy one does not push the others out.
        let share = (RECENT_ROWS / ends.len().max(1)) as i64;
        for (partition, marks) in &ends {
            from.set(relation.topic(), *partition, marks.low.max(marks.high - share));
        }
        let wanted = Wanted { relation: Arc::clone(relation), columns: panels.wanted().to_vec() };
        let topic = FeedTopic {
            topic: Arc::clone(relation.topic()),
            inputs: vec![FeedInput { id: InputId::next(), wanted }],
            later: false,
        };
        let (limits, until, bad) = (BatchLimits::default(), FeedUntil::Stopped, BadRecords::quiet());
        match Feed::start(&self.kafka, vec![topic], limits, from.clone(), until, &bad) {
            Ok(feed) => {
                self.reading = HubReading::Feed { feed: Box::new(feed), next_offsets: from.clone(), from, ends };
                self.progress();
            }
            Err(error) => {
                self.set_state(ConsumerState::unreachable(&error.to_string()));
                self.reading = HubReading::Paused(Instant::now() + RETRY_AFTER);
            }
        }
    }

    async fn fed(&mut self, event: Option<FeedEvent>) {
        let HubReading::Feed { next_offsets, .. } = &mut self.reading else { return };
        match event {
            Some(FeedEvent::Batch(batch)) => {
                for (topic, partition, next_offset) in batch.next_offsets.iter() {
                    next_offsets.set(topic, partition, next_offset);
                }
                self.take_batch(batch).await;
                self.progress();
            }
            // A topic that was waited for, or a new partition.
            Some(FeedEvent::Starts { .. } | FeedEvent::Recovered) => {
                if self.caught_up {
                    self.set_state(ConsumerState::live());
                } else {
                    self.progress();
                }
            }
            Some(FeedEvent::Trouble(error)) => self.set_state(ConsumerState::unreachable(&error.to_string())),
            Some(FeedEvent::HistoryChanged(error)) => {
                tracing::info!("{error}: panels start over");
                self.restart(Duration::ZERO);
            }
            Some(FeedEvent::Failed(error)) => {
                self.set_state(ConsumerState::unreachable(&error.to_string()));
                self.restart(RETRY_AFTER);
            }
            Some(FeedEvent::Ends { .. } | FeedEvent::Ended) => {}
            None => self.restart(RETRY_AFTER),
        }
    }

    async fn take_batch(&mut self, batch: MicroBatch) {
        let Some(panels) = &mut self.panels else { return };
        for (_, rows) in batch.rows {
            if rows.batch.num_rows() == 0 {
                continue;
            }
            match LocatedBatch::new(rows.batch, panels.location()) {
                Ok(piece) => {
                    if self.caught_up {
                        panels.apply(&piece).await;
                        panels.publish().await;
                    }
                    self.recent.push(piece);
                }
                Err(error) => tracing::error!("rows for panels: {error}"),
            }
        }
    }

    /// How far the recent records have been read; once they have, panels are filled.
    fn progress(&mut self) {
        let (HubReading::Feed { from, ends, next_offsets, .. }, Some(panels)) = (&self.reading, &mut self.panels)
        else {
            return;
        };
        if self.caught_up {
            return;
        }
        let topic = Arc::clone(panels.pairs().relation().topic());
        let (mut done, mut total) = (0, 0);
        for (partition, marks) in ends {
            let from = from.next_offset(&topic, *partition).unwrap_or(marks.low);
            let at = next_offsets.next_offset(&topic, *partition).unwrap_or(from);
            total += marks.high - from;
            done += at.min(marks.high) - from;
        }
        if done < total {
            let percent = done * 100 / total;
            self.set_state(ConsumerState::new(
                Phase::CatchingUp,
                "Catching up",
                format!("{percent}% of the recent records read"),
            ));
            return;
        }
        if let (Some(time), location) = (panels.time(), panels.location())
            && let Err(error) = self.recent.sort_by_time(time, location)
        {
            tracing::warn!("recent rows stay in the order of their partitions: {error}");
        }
        self.caught_up = true;
        self.epoch += 1;
        panels.reseed(self.epoch);
        if !ends.is_empty() {
            self.set_state(ConsumerState::live());
        }
    }
}

async fn read(reading: &mut HubReading) -> Woken {
    match reading {
        HubReading::Paused(_) => std::future::pending().await,
        HubReading::Asking(task) => Woken::Answered(task.await.unwrap_or(Ok(None))),
        HubReading::Feed { feed, .. } => Woken::Fed(feed.next().await),
    }
}
