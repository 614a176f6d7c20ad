//! A panel with a consumer group of its own, as `control-panel` has one: a thread that ends with its event stream.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::FILE;
use super::panels::{KEPT, PACE, bind};
use super::place::Request;
use super::row::{self, Columns};
use super::shared::{About, Content, Entry};
use super::state::{Phase, State};
use crate::geo::Projection;
use crate::kafka::{AsOf, Cluster, GroupEvent, GroupReader, GroupStart, KafkaConfig, KafkaError};
use crate::relation::{BadRecords, CONNECT_TIMEOUT, KafkaRelation, TopicDecoder, Wanted};
use crate::view::cut::Use;
use crate::view::{LiveView, Rows, Workspace, live_view, plan_with};

/// Groups of their own at once: each is a consumer with threads and buffers.
pub const MAX_GROUPS: usize = 16;

/// What the names of all panels' consumer groups begin with, those of `control-panel` too.
const GROUP_PREFIX: &str = "control-panel-";

/// Messages of one read: what one look at the pace hands on.
const READ_AT_ONCE: usize = 8192;

/// How long a read waits: a stop is noticed, and what waits is shown, that soon.
const IDLE: Duration = Duration::from_millis(100);

/// How often offsets are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end waits for a rebalance that is under way.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a failure is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The running consumer; it leaves its group when this is dropped.
#[derive(Debug)]
pub struct OwnGroup {
    /// The panel.
    pub entry: Arc<Entry>,
    /// How the consumer is doing.
    pub state: watch::Receiver<Arc<State>>,
    /// What it runs.
    pub about: watch::Receiver<Arc<About>>,
    _stop: DropGuard,
}

impl OwnGroup {
    /// Joins a new group.
    pub fn start(
        queries: PathBuf,
        kafka: KafkaConfig,
        request: Request,
        permit: OwnedSemaphorePermit,
    ) -> std::io::Result<Self> {
        let group = format!("{GROUP_PREFIX}{}", new_id());
        let entry = Arc::new(Entry::new(request));
        let (state, states) = watch::channel(Arc::new(State::starting()));
        let (about, abouts) = watch::channel(Arc::new(About::default()));
        let stop = CancellationToken::new();
        let mut member = Member { queries, kafka, group, entry: Arc::clone(&entry), state, about, stop: stop.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        std::thread::Builder::new().name("panel-group".to_owned()).spawn(move || {
            while !member.stop.is_cancelled() {
                if let Err(error) = member.run(&runtime) {
                    member.fail(&error);
                    let until = Instant::now() + RETRY_AFTER;
                    while Instant::now() < until && !member.stop.is_cancelled() {
                        std::thread::sleep(IDLE);
                    }
                }
            }
            drop(permit);
        })?;
        Ok(Self { entry, state: states, about: abouts, _stop: stop.drop_guard() })
    }
}

/// Eight letters and digits: a panel's id has nothing to do with user ids.
fn new_id() -> String {
    use rand::RngExt as _;
    use rand::distr::Alphanumeric;
    let letters = rand::rng().sample_iter(Alphanumeric).take(8);
    letters.map(|letter| char::from(letter).to_ascii_lowercase()).collect()
}

struct Member {
    queries: PathBuf,
    kafka: KafkaConfig,
    group: String,
    entry: Arc<Entry>,
    state: watch::Sender<Arc<State>>,
    about: watch::Sender<Arc<About>>,
    stop: CancellationToken,
}

/// The file, planned with the panel's values.
struct Plan {
    view: LiveView,
    relation: Arc<KafkaRelation>,
    wanted: Vec<usize>,
    columns: Arc<Columns>,
}

impl Member {
    fn fail(&self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        let state = match error.downcast_ref::<crate::view::SqlError>() {
            Some(_) => State { sql_error: Some(text.into()), ..State::broken() },
            None => State::broker_gone(&text),
        };
        self.state.send_replace(Arc::new(state));
    }

    async fn plan(&self) -> anyhow::Result<Plan> {
        let workspace = Workspace::load(&self.queries)?;
        let file = workspace.role(FILE)?;
        let session = workspace.live_session().await?;
        let bindings = bind(&file, &self.entry)?;
        let plan = plan_with(&session, &file, &bindings).await?;
        let view = live_view(&session, &file, plan, Use::NewRows, 0).await?;
        let inputs = view.inputs();
        let name = inputs.first().map(|(name, _)| Arc::clone(name)).context("a panel reads one stream")?;
        anyhow::ensure!(inputs.iter().all(|(other, _)| *other == name), "a panel reads one stream");
        let relation = workspace.catalog().get(&name).and_then(|relation| relation.as_kafka());
        let relation = Arc::clone(relation.context("the relation of a panel is a topic")?);
        let mut wanted: Vec<usize> = inputs.into_iter().flat_map(|(_, columns)| columns).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let columns = Arc::new(Columns::of(view.schema()));
        self.about.send_replace(Arc::new(About {
            title: file.title().to_owned(),
            path: file.path().display().to_string(),
            sql: file.text().to_owned(),
            how: format!(
                "This panel is a consumer group of its own, {}: it reads the topic by itself, from when it was opened.",
                self.group
            ),
        }));
        Ok(Plan { view, relation, wanted, columns })
    }

    /// Reads until it is stopped.
    fn run(&mut self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
        let Plan { mut view, relation, wanted, columns } = runtime.block_on(self.plan())?;
        let topic = Arc::clone(relation.topic());
        if Cluster::connect_unless(&self.kafka, CONNECT_TIMEOUT, || self.stop.is_cancelled())?.is_none() {
            return Ok(());
        }
        let joining = State::new(Phase::Starting, "Joining", format!("joins the consumer group {}", self.group));
        self.state.send_replace(Arc::new(joining));
        let want = Wanted { relation: Arc::clone(&relation), columns: wanted.clone() };
        let decoder = RefCell::new(TopicDecoder::new(&topic, &[want], BadRecords::quiet())?);
        let reader = GroupReader::join(&self.kafka, &self.group, &[Arc::clone(&topic)], GroupStart::Latest)?;
        let place = self.entry.request.place;
        let plane = Projection::new(place.lat, place.lon);
        let read = RefCell::new(AsOf::default());
        let mut content = Content { ready: true, columns: Arc::clone(&columns), ..Content::default() };
        content.epoch = self.entry.content.borrow().epoch + 1;
        let mut minutes = Minutes::default();
        let (mut committed, mut shown, mut told) = (Instant::now(), Instant::now(), false);
        while !self.stop.is_cancelled() {
            let taken = reader.read(
                READ_AT_ONCE,
                IDLE,
                |message| {
                    decoder.borrow_mut().push(&message);
                    read.borrow_mut().set(&topic, message.partition, message.offset + 1);
                },
                |event| match event {
                    GroupEvent::Assigned(starts) => {
                        for start in starts {
                            read.borrow_mut().set(&start.topic, start.partition, start.next_offset);
                        }
                        self.state.send_replace(Arc::new(State::live()));
                    }
                    GroupEvent::Revoking { .. } => {}
                    GroupEvent::Error(error) => {
                        self.state.send_replace(Arc::new(State::broker_gone(&error.to_string())));
                    }
                },
            );
            match taken {
                Ok(0) => {}
                Ok(_) if self.state.borrow().phase == Phase::Live => {}
                Ok(_) => _ = self.state.send_replace(Arc::new(State::live())),
                Err(KafkaError::TopicMissing { topic }) => {
                    self.state.send_replace(Arc::new(State::waiting(&topic, self.kafka.brokers())));
                    std::thread::sleep(COMMIT_INTERVAL);
                }
                Err(error) => return Err(error.into()),
            }
            for rows in decoder.borrow_mut().finish()? {
                if rows.batch.num_rows() == 0 {
                    continue;
                }
                let batches = [rows.batch];
                let new = Rows { relation: relation.name(), columns: &wanted, batches: &batches };
                for batch in runtime.block_on(view.apply(new))? {
                    let count = batch.num_rows();
                    let newest: Vec<usize> = (count.saturating_sub(KEPT)..count).collect();
                    let made = row::rows(&columns, &plane, &batch, &newest, content.next_k)?;
                    content.next_k += made.len() as u64;
                    content.rows.extend(made);
                    content.rows.drain(..content.rows.len().saturating_sub(KEPT));
                    content.total += count as u64;
                    minutes.add(count as u64);
                }
            }
            if shown.elapsed() >= PACE {
                let minute = minutes.last();
                let changed = !told || content.minute != minute || content.total != self.entry.content.borrow().total;
                if changed {
                    content.minute = minute;
                    self.entry.content.send_replace(Arc::new(content.clone()));
                    (told, shown) = (true, Instant::now());
                }
            }
            if committed.elapsed() >= COMMIT_INTERVAL {
                commit(&reader, &read.borrow());
                committed = Instant::now();
            }
        }
        if let Err(error) = reader.leave(&read.borrow(), LEAVE_TIMEOUT) {
            tracing::debug!("{}", error.with_cause());
        }
        Ok(())
    }
}

/// A commit that is refused is tried again a second later.
fn commit(reader: &GroupReader, read: &AsOf) {
    if let Err(error) = reader.commit(read) {
        tracing::debug!("{}; trying again", error.with_cause());
    }
}

/// Rows of the last minute.
#[derive(Debug, Default)]
struct Minutes(std::collections::VecDeque<(Instant, u64)>);

impl Minutes {
    fn add(&mut self, rows: u64) {
        match self.0.back_mut() {
            // One entry a second, so sixty at most.
            Some((since, count)) if since.elapsed() < Duration::from_secs(1) => *count += rows,
            _ => self.0.push_back((Instant::now(), rows)),
        }
    }

    fn last(&mut self) -> u64 {
        while self.0.front().is_some_and(|(since, _)| since.elapsed() > Duration::from_mins(1)) {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, count)| count).sum()
    }
}
