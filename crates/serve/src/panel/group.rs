//! A panel with a consumer group of its own, as the command `control-panel` has one: a thread that ends with its event
//! stream.
//!
//! An edit that plans takes effect between two rounds: the member leaves its group and joins it again with the new plan.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::content::{KEPT, RowLog};
use super::hub::LOOK_INTERVAL;
use super::open::{About, OpenPanel};
use super::panels::PACE;
use super::row::RowShape;
use super::source::{PanelSource, SavedTexts};
use super::state::{ConsumerState, Phase};
use tallgrass_kafka::{GroupStart, KafkaConfig};
use tallgrass_pipeline::{AppendingView, BatchLimits, GroupError, GroupMember, HandlerError, MemberEvent, RowHandler};
use tallgrass_relation::BadRecords;
use tallgrass_view::WorkspaceError;

/// What the names of all panels' consumer groups begin with, those of the command too.
pub const GROUP_PREFIX: &str = "control-panel-";

/// How long a failure is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How often a stop is noticed meanwhile.
const NAP: Duration = Duration::from_millis(100);

/// Eight letters and digits that name a new panel.
pub fn new_id() -> String {
    use rand::RngExt as _;
    use rand::distr::Alphanumeric;
    let letters = rand::rng().sample_iter(Alphanumeric).take(8);
    letters.map(|letter| char::from(letter).to_ascii_lowercase()).collect()
}

/// The running consumer; it leaves its group when this is dropped.
#[derive(Debug)]
pub struct OwnGroup {
    /// How the consumer is doing.
    pub state: watch::Receiver<Arc<ConsumerState>>,
    /// What it runs.
    pub about: watch::Receiver<Arc<About>>,
    _stop: DropGuard,
}

impl OwnGroup {
    /// Joins a new group for a panel.
    pub fn start(source: PanelSource, kafka: KafkaConfig, panel: Arc<OpenPanel>) -> std::io::Result<Self> {
        let group = format!("{GROUP_PREFIX}{}", new_id());
        let (state, states) = watch::channel(Arc::new(ConsumerState::starting()));
        let (about, abouts) = watch::channel(Arc::new(About::default()));
        let stop = CancellationToken::new();
        let consumer = Consumer { source, kafka, group, panel, state, about, stop: stop.clone() };
        // A worker of its own drives what a plan spawns while the thread waits for it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
        std::thread::Builder::new().name("panel-group".to_owned()).spawn(move || consumer.run(&runtime))?;
        Ok(Self { state: states, about: abouts, _stop: stop.drop_guard() })
    }
}

struct Consumer {
    source: PanelSource,
    kafka: KafkaConfig,
    group: String,
    panel: Arc<OpenPanel>,
    state: watch::Sender<Arc<ConsumerState>>,
    about: watch::Sender<Arc<About>>,
    stop: CancellationToken,
}

/// The file, planned with the panel's values.
struct Plan {
    texts: SavedTexts,
    view: AppendingView,
    shape: Arc<RowShape>,
    about: About,
}

impl Consumer {
    fn set_state(&self, state: ConsumerState) {
        self.state.send_replace(Arc::new(state));
    }

    /// Reads until it is stopped; after a failure, again after a while.
    fn run(&self, runtime: &Runtime) {
        let mut next = None;
        while !self.stop.is_cancelled() {
            let texts = self.source.texts();
            let ended = match next.take().map_or_else(|| runtime.block_on(self.plan(texts)), Ok) {
                Ok(plan) => {
                    self.about.send_replace(Arc::new(plan.about.clone()));
                    self.read(runtime, plan).map_err(|error| match error {
                        GroupError::Kafka(error) => ConsumerState::unreachable(&error.to_string()),
                        other => broken(&other),
                    })
                }
                Err(error) => Err(broken(&error)),
            };
            match ended {
                Ok(planned) => next = planned,
                Err(state) => {
                    self.set_state(state);
                    let until = Instant::now() + RETRY_AFTER;
                    while Instant::now() < until && !self.stop.is_cancelled() {
                        std::thread::sleep(NAP);
                    }
                }
            }
        }
    }

    async fn plan(&self, texts: SavedTexts) -> Result<Plan, WorkspaceError> {
        let (workspace, file) = self.source.load()?;
        let view = AppendingView::plan(&workspace, &file, &self.panel.link.bind(&file)?).await?;
        let how = format!(
            "This panel is a consumer group of its own, {}: it reads the topic by itself, from when it was opened.",
            self.group
        );
        let shape = Arc::new(RowShape::of(&file, view.view().schema()));
        Ok(Plan { texts, view, shape, about: About::of(&file, how) })
    }

    /// Reads until it is stopped, or until there is another plan.
    fn read(&self, runtime: &Runtime, plan: Plan) -> Result<Option<Plan>, GroupError> {
        let joining = format!("Joins the consumer group {}.", self.group);
        self.set_state(ConsumerState::new(Phase::Starting, "Joining", joining));
        let member = GroupMember {
            kafka: self.kafka.clone(),
            group: self.group.clone(),
            start: GroupStart::Latest,
            limits: BatchLimits::default(),
            bad: BadRecords::quiet(),
        };
        let before = self.panel.content.borrow().clone();
        let mut showing = Showing {
            consumer: self,
            runtime,
            log: RowLog::new(self.panel.link.area, plan.shape, before.epoch + 1, &before),
            texts: plan.texts,
            next: None,
            round: self.stop.child_token(),
            shown: None,
            looked: Instant::now(),
        };
        showing.log.content.ready = true;
        let round = showing.round.clone();
        member.run(plan.view, runtime.handle(), &round, &mut showing)?;
        Ok(showing.next)
    }
}

/// What becomes of a round's rows.
struct Showing<'a> {
    consumer: &'a Consumer,
    runtime: &'a Runtime,
    log: RowLog,
    texts: SavedTexts,
    next: Option<Plan>,
    round: CancellationToken,
    shown: Option<Instant>,
    looked: Instant,
}

impl RowHandler for Showing<'_> {
    fn rows(&mut self, rows: &[RecordBatch]) -> Result<(), HandlerError> {
        for batch in rows {
            let count = batch.num_rows();
            let newest: Vec<usize> = (count.saturating_sub(KEPT)..count).collect();
            self.log.push(batch, &newest)?;
            self.log.count(count as u32);
        }
        Ok(())
    }

    fn event(&mut self, event: &MemberEvent<'_>) {
        match event {
            MemberEvent::Assigned(_) => self.consumer.set_state(ConsumerState::live()),
            MemberEvent::NoTopic { topic, .. } => {
                self.consumer.set_state(ConsumerState::waiting(topic, &self.consumer.kafka));
            }
            MemberEvent::Trouble(error) => self.consumer.set_state(ConsumerState::unreachable(&error.to_string())),
            MemberEvent::Revoked(_) => {}
            MemberEvent::NotCommitted(error) => tracing::debug!("{}", error.with_cause()),
        }
    }

    fn tick(&mut self, messages: usize) {
        let now = Instant::now();
        if messages > 0 && self.consumer.state.borrow().phase == Phase::Unreachable {
            self.consumer.set_state(ConsumerState::live());
        }
        if self.shown.is_none_or(|shown| now.duration_since(shown) >= PACE) {
            self.log.pass_time(now);
            let (shown, content) = (self.consumer.panel.content.borrow().clone(), &self.log.content);
            if self.shown.is_none() || (shown.total, shown.minute) != (content.total, content.minute) {
                self.consumer.panel.content.send_replace(Arc::new(content.clone()));
                self.shown = Some(now);
            }
        }
        if now.duration_since(self.looked) >= LOOK_INTERVAL {
            self.looked = now;
            self.look_at_files();
        }
    }
}

impl Showing<'_> {
    /// Plans what has been saved; what cannot be planned is shown, and what ran before goes on.
    fn look_at_files(&mut self) {
        let texts = self.consumer.source.texts();
        if texts == self.texts {
            return;
        }
        self.texts = texts.clone();
        match self.runtime.block_on(self.consumer.plan(texts)) {
            Ok(plan) => {
                self.next = Some(plan);
                self.round.cancel();
            }
            Err(error) => {
                let state = self.consumer.state.borrow().as_ref().clone();
                self.consumer.set_state(ConsumerState { sql_error: Some(error.to_string().into()), ..state });
            }
        }
    }
}

fn broken(error: &dyn std::error::Error) -> ConsumerState {
    ConsumerState { sql_error: Some(error.to_string().into()), ..ConsumerState::broken() }
}
