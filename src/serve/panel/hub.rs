//! The hub: one thread with one consumer for all panels, from the first panel to some seconds after the last.
//!
//! ```text
//!  files ─(looked at every second)─▶ Pairs ─▶ Panels ◀─ Feed: recent records backwards, then live
//!                                               │
//!                                               └─▶ each panel's newest content, a place of one
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::FILE as CONTROL_PANEL;
use super::pairs::Pairs;
use super::panels::Panels;
use super::recent::{Piece, RECENT_ROWS, Recent};
use super::shared::{About, Entry, Shared};
use super::state::{Phase, State};
use crate::kafka::{AsOf, Cluster, KafkaConfig, KafkaError, Watermarks};
use crate::pipeline::{BatchLimits, Feed, FeedEvent, FeedInput, FeedTopic, FeedUntil, GoOn, InputId, MicroBatch};
use crate::relation::{BadRecords, CONNECT_TIMEOUT, Wanted};
use crate::view::{SqlFile, Workspace, read_regular};

/// How often what waits to be shown is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often the files are looked at, and panels that nobody looks at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a consumer that failed is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Starts the hub's thread.
pub fn start(shared: Arc<Shared>, kafka: KafkaConfig, stop: CancellationToken) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("panels".to_owned()).spawn(move || {
        let hub = Hub {
            shared,
            kafka,
            stop,
            epoch: 0,
            panels: None,
            orphans: Vec::new(),
            recent: Recent::default(),
            reading: Reading::Paused(Instant::now()),
            texts: Texts::default(),
            sql_error: None,
            caught_up: false,
        };
        runtime.block_on(hub.run());
        runtime.shutdown_background();
    })?;
    Ok(())
}

/// What the files say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Texts {
    sources: Option<Vec<u8>>,
    panel: Option<Vec<u8>>,
}

/// Where the consumer is.
enum Reading {
    /// Not at all until then.
    Paused(Instant),
    /// The broker is asked where to begin.
    Asking(JoinHandle<Result<Option<BTreeMap<i32, Watermarks>>, KafkaError>>),
    /// It reads.
    Feed { feed: Box<Feed>, from: AsOf, ends: BTreeMap<i32, Watermarks>, next_offsets: AsOf },
}

struct Hub {
    shared: Arc<Shared>,
    kafka: KafkaConfig,
    stop: CancellationToken,
    epoch: u64,
    panels: Option<Panels>,
    /// Panels that came before there was a plan.
    orphans: Vec<Arc<Entry>>,
    recent: Recent,
    reading: Reading,
    texts: Texts,
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
            let changes = self.shared.changes(false);
            if !changes.fresh.is_empty() {
                unseeded = true;
                self.take_in(changes.fresh);
            }
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
                looked = Some(Instant::now());
                let changes = self.shared.changes(true);
                if changes.ended {
                    return;
                }
                self.take_in(changes.fresh);
                if let Some(panels) = self.panels.as_mut().filter(|_| changes.gone) {
                    panels.sweep(&self.shared);
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
                    self.shared.wake.notify_one();
                }
            }
            let woken = tokio::select! {
                biased;
                () = self.stop.cancelled() => Woken::Stopped,
                _ = tick.tick() => Woken::Ticked,
                woken = read(&mut self.reading) => woken,
                () = self.shared.wake.notified() => Woken::Opened,
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

    fn take_in(&mut self, fresh: Vec<Arc<Entry>>) {
        match &mut self.panels {
            Some(panels) => fresh.into_iter().for_each(|entry| panels.add(entry)),
            None => self.orphans.extend(fresh),
        }
    }

    async fn publish(&mut self) {
        if self.caught_up
            && let Some(panels) = &mut self.panels
        {
            panels.publish().await;
        }
    }

    /// Plans anew what has been saved; what cannot be planned is told, and what ran before goes on.
    async fn look_at_files(&mut self) {
        let read = |name: &str| read_regular(&self.shared.queries.join(name)).ok();
        let texts =
            Texts { sources: read(crate::view::workspace::SOURCES), panel: read(&format!("{CONTROL_PANEL}.sql")) };
        if texts == self.texts && (self.panels.is_some() || self.sql_error.is_some()) {
            return;
        }
        let planned = plan(&self.shared.queries).await;
        let sources_changed = texts.sources != self.texts.sources;
        self.texts = texts;
        match planned {
            Ok(pairs) => {
                let same = |old: &Panels| !sources_changed && old.pairs().file().meaning() == pairs.file().meaning();
                let unchanged = self.panels.as_ref().is_some_and(same);
                self.sql_error = None;
                let file = pairs.file().clone();
                if !unchanged {
                    self.replace(pairs);
                }
                let how = self.panels.as_ref().map(Panels::how).unwrap_or_default();
                self.shared.about.send_replace(Arc::new(about(&file, how)));
            }
            Err(error) => {
                tracing::warn!("{error}");
                self.sql_error = Some(error.into());
            }
        }
        let current = self.shared.state.borrow().as_ref().clone();
        match (&self.panels, &self.sql_error) {
            (None, Some(_)) => self.tell(State::broken()),
            _ => self.tell(current),
        }
    }

    fn replace(&mut self, pairs: Pairs) {
        self.epoch += 1;
        let mut entries = std::mem::take(&mut self.orphans);
        entries.extend(self.panels.take().into_iter().flat_map(Panels::into_entries));
        let mut panels = Panels::new(pairs, self.epoch);
        entries.into_iter().filter(|entry| self.shared.is_open(entry)).for_each(|entry| panels.add(entry));
        self.panels = Some(panels);
        self.restart(Duration::ZERO);
    }

    /// Reads the recent records again, after a while.
    fn restart(&mut self, after: Duration) {
        self.recent = Recent::default();
        self.caught_up = false;
        self.reading = Reading::Paused(Instant::now() + after);
    }

    fn tell(&self, state: State) {
        self.shared.tell(State { sql_error: self.sql_error.clone(), ..state });
    }

    fn begin_reading(&mut self) {
        let (Reading::Paused(until), Some(panels)) = (&self.reading, &self.panels) else { return };
        if Instant::now() < *until {
            return;
        }
        if self.shared.state.borrow().phase == Phase::Broken {
            self.tell(State::starting());
        }
        let (kafka, stop, topic) =
            (self.kafka.clone(), self.stop.clone(), Arc::clone(panels.pairs().relation().topic()));
        self.reading = Reading::Asking(tokio::task::spawn_blocking(move || {
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
                self.tell(State::waiting(relation.topic(), self.kafka.brokers()));
                BTreeMap::new()
            }
            Err(error) => {
                self.tell(State::broker_gone(&error.to_string()));
                self.reading = Reading::Paused(Instant::now() + RETRY_AFTER);
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
            later: true,
        };
        // Nothing is read until the feed has ended, and is told where to go on.
        let until = FeedUntil::EndsOfKnownTopics;
        match Feed::start(&self.kafka, vec![topic], BatchLimits::default(), until, &BadRecords::quiet()) {
            Ok(feed) => {
                self.reading = Reading::Feed { feed: Box::new(feed), next_offsets: from.clone(), from, ends };
            }
            Err(error) => {
                self.tell(State::broker_gone(&error.to_string()));
                self.reading = Reading::Paused(Instant::now() + RETRY_AFTER);
            }
        }
    }

    async fn fed(&mut self, event: Option<FeedEvent>) {
        let Reading::Feed { feed, from, next_offsets, .. } = &mut self.reading else { return };
        match event {
            Some(FeedEvent::Ended) => {
                feed.go_on(GoOn { until: None, from: from.clone() });
                self.progress();
            }
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
                    self.tell(State::live());
                } else {
                    self.progress();
                }
            }
            Some(FeedEvent::Trouble(error)) => self.tell(State::broker_gone(&error.to_string())),
            Some(FeedEvent::HistoryChanged(error)) => {
                tracing::info!("{error}: panels read anew");
                self.restart(Duration::ZERO);
            }
            Some(FeedEvent::Failed(error)) => {
                self.tell(State::broker_gone(&error.to_string()));
                self.restart(RETRY_AFTER);
            }
            Some(FeedEvent::Ends { .. }) => {}
            None => self.restart(RETRY_AFTER),
        }
    }

    async fn take_batch(&mut self, batch: MicroBatch) {
        let Some(panels) = &mut self.panels else { return };
        for (_, rows) in batch.rows {
            if rows.batch.num_rows() == 0 {
                continue;
            }
            match Piece::new(rows.batch, panels.place()) {
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
        let (Reading::Feed { from, ends, next_offsets, .. }, Some(panels)) = (&self.reading, &mut self.panels) else {
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
            self.tell(State::new(Phase::CatchingUp, "Catching up", format!("{percent}% of the recent records read")));
            return;
        }
        if let (Some(time), place) = (panels.time(), panels.place())
            && let Err(error) = self.recent.sort_by_time(time, place)
        {
            tracing::warn!("recent rows stay in the order of their partitions: {error}");
        }
        self.caught_up = true;
        self.epoch += 1;
        panels.reseed(self.epoch);
        if !ends.is_empty() {
            self.tell(State::live());
        }
    }
}

async fn read(reading: &mut Reading) -> Woken {
    match reading {
        Reading::Paused(_) => std::future::pending().await,
        Reading::Asking(task) => Woken::Answered(task.await.unwrap_or(Ok(None))),
        Reading::Feed { feed, .. } => Woken::Fed(feed.next().await),
    }
}

/// Plans the file of a folder; the error is for people.
async fn plan(queries: &Path) -> Result<Pairs, String> {
    let workspace = Workspace::load(queries).map_err(|error| error.to_string())?;
    let file = workspace.role(CONTROL_PANEL).map_err(|error| error.to_string())?;
    Pairs::plan(&workspace, file).await.map_err(|error| error.to_string())
}

fn about(file: &SqlFile, how: String) -> About {
    About { title: file.title().to_owned(), path: file.path().display().to_string(), sql: file.text().to_owned(), how }
}
