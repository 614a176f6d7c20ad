//! A member of a consumer group that hands on a view's rows as they are read.
//!
//! ```text
//!  GroupReader ─▶ TopicDecoder ─▶ LiveView (filter, project) ─▶ RowHandler::rows ─▶ commit
//! ```
//!
//! # Contract
//! An offset is committed only after [`RowHandler::rows`] has returned for the rows of everything below it: every second,
//! synchronously before partitions leave, and at the end. A member that dies hands on some rows again, and loses none.

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::feed::BatchLimits;
use tallgrass_kafka::{AsOf, Cluster, GroupEvent, GroupReader, GroupStart, KafkaConfig, KafkaError, Message};
use tallgrass_relation::{BadRecords, CONNECT_TIMEOUT, KafkaRelation, RelationError, TopicDecoder, Wanted};
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{Bindings, InputRows, LiveView, SqlFile, Workspace, WorkspaceError, live_view, plan_with};

/// How often offsets are committed while all goes well.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a read waits when nothing comes in: a stop is noticed that soon, and [`RowHandler::tick`] is called that often.
const IDLE: Duration = Duration::from_millis(100);

/// How long the end waits for a rebalance that is under way, so that the last offsets are committed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A view whose rows are handed on, and the one stream that it reads.
#[derive(Debug)]
pub struct AppendingView {
    view: LiveView,
    relation: Arc<KafkaRelation>,
    /// Columns of the relation that it needs, ascending.
    columns: Vec<usize>,
}

impl AppendingView {
    /// Plans a file with values for its parameters. What keeps state, or reads more than one stream, is refused.
    pub async fn plan(workspace: &Workspace, file: &SqlFile, bindings: &Bindings) -> Result<Self, WorkspaceError> {
        let session = workspace.live_session().await?;
        let plan = plan_with(&session, file, bindings).await?;
        let view = live_view(&session, file, plan, Use::NewRows, 0).await?;
        let (relation, columns) = workspace
            .only_stream(&view)
            .ok_or_else(|| file.refused("it must read one stream, so that its offsets can be committed"))?;
        Ok(Self { view, relation, columns })
    }

    /// The view.
    pub fn view(&self) -> &LiveView {
        &self.view
    }

    /// The stream.
    pub fn relation(&self) -> &KafkaRelation {
        &self.relation
    }
}

/// What is done with what a member reads.
pub trait RowHandler {
    /// Takes new rows of the result, never none. Their offsets are committed once this has returned; an error ends the
    /// member.
    fn rows(&mut self, rows: &[RecordBatch]) -> Result<(), HandlerError>;

    /// Learns how the member is doing.
    fn event(&mut self, event: &MemberEvent<'_>);

    /// Is called between two reads, with the number of messages of the last one.
    fn tick(&mut self, _messages: usize) {}
}

/// Why rows could not be acted on.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// How a member is doing.
#[derive(Debug)]
pub enum MemberEvent<'a> {
    /// The topic does not exist yet. Repeated while that is so.
    NoTopic {
        /// Its name.
        topic: &'a str,
        /// The same in a sentence.
        error: &'a KafkaError,
    },
    /// These partitions are its own now, from these next offsets on.
    Assigned(&'a AsOf),
    /// These partitions leave; what was read of them has been acted on.
    Revoked(&'a [i32]),
    /// Trouble that the client works on by itself. Repeated with each attempt.
    Trouble(&'a KafkaError),
    /// A commit, or the last one, was refused: what was handed on since the one before may be handed on again.
    NotCommitted(&'a KafkaError),
}

/// Why a member ended that was not stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The broker, or the group.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Rows could not be made of the records.
    #[error(transparent)]
    Relation(#[from] RelationError),
    /// The view could not be evaluated.
    #[error(transparent)]
    View(#[from] DataFusionError),
    /// The rows could not be acted on.
    #[error(transparent)]
    Handler(HandlerError),
}

/// A member to be.
#[derive(Debug, Clone)]
pub struct GroupMember {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The consumer group.
    pub group: String,
    /// Where partitions start for which the group has committed nothing.
    pub start: GroupStart,
    /// When micro-batches close.
    pub limits: BatchLimits,
    /// Where bad records are counted.
    pub bad: BadRecords,
}

impl GroupMember {
    /// Reads until `stop`, and leaves the group; blocking, on a thread of its own. `runtime` evaluates the view.
    pub fn run(
        &self,
        view: AppendingView,
        runtime: &Handle,
        stop: &CancellationToken,
        handler: &mut impl RowHandler,
    ) -> Result<(), GroupError> {
        if Cluster::connect_unless(&self.kafka, CONNECT_TIMEOUT, || stop.is_cancelled())?.is_none() {
            return Ok(());
        }
        let topic = Arc::clone(view.relation.topic());
        let wanted = Wanted { relation: Arc::clone(&view.relation), columns: view.columns.clone() };
        let decoder = TopicDecoder::new(&topic, &[wanted], self.bad.clone())?;
        let reader = GroupReader::join(&self.kafka, &self.group, &[Arc::clone(&topic)], self.start)?;
        let (read, acted) = (AsOf::default(), AsOf::default());
        let batch = OpenBatch { topic, decoder, view, read, acted, messages: 0, bytes: 0, failure: None, handler };
        let batch = RefCell::new(batch);
        let mut committed = Instant::now();
        while !stop.is_cancelled() {
            self.micro_batch(&reader, runtime, &batch)?;
            if committed.elapsed() >= COMMIT_INTERVAL {
                batch.borrow_mut().commit(&reader);
                committed = Instant::now();
            }
        }
        let OpenBatch { acted, handler, .. } = batch.into_inner();
        if let Err(error) = reader.leave(&acted, LEAVE_TIMEOUT) {
            handler.event(&MemberEvent::NotCommitted(&error));
        }
        Ok(())
    }

    /// Reads until a limit is reached, then acts.
    fn micro_batch<H: RowHandler>(
        &self,
        reader: &GroupReader,
        runtime: &Handle,
        open: &RefCell<OpenBatch<'_, H>>,
    ) -> Result<(), GroupError> {
        let mut closes: Option<Instant> = None;
        loop {
            let wait = closes.map_or(IDLE, |closes| closes.saturating_duration_since(Instant::now()));
            let max = self.limits.rows - open.borrow().messages.min(self.limits.rows - 1);
            let read = reader.read(
                max,
                wait,
                |message| open.borrow_mut().push(&message),
                |event| open.borrow_mut().handle(event, reader, runtime),
            );
            let mut batch = open.borrow_mut();
            let messages = match read {
                Ok(messages) => messages,
                // The topic may be made yet, and the group will notice.
                Err(error @ KafkaError::TopicMissing { .. }) => {
                    let topic = Arc::clone(&batch.topic);
                    batch.handler.event(&MemberEvent::NoTopic { topic: &topic, error: &error });
                    std::thread::sleep(COMMIT_INTERVAL);
                    0
                }
                Err(error) => return Err(error.into()),
            };
            batch.handler.tick(messages);
            if let Some(failure) = batch.failure.take() {
                return Err(failure);
            }
            if batch.messages > 0 && closes.is_none() {
                closes = Some(Instant::now() + self.limits.linger);
            }
            let full = batch.messages >= self.limits.rows || batch.bytes >= self.limits.bytes;
            if full || closes.is_none_or(|closes| Instant::now() >= closes) {
                return batch.close(runtime);
            }
        }
    }
}

/// What has been read and not acted on yet.
struct OpenBatch<'a, H> {
    topic: Arc<str>,
    decoder: TopicDecoder,
    view: AppendingView,
    /// Next offsets of what has been decoded.
    read: AsOf,
    /// Next offsets of what has been acted on.
    acted: AsOf,
    messages: usize,
    bytes: usize,
    failure: Option<GroupError>,
    handler: &'a mut H,
}

impl<H: RowHandler> OpenBatch<'_, H> {
    fn push(&mut self, message: &Message<'_>) {
        self.decoder.push(message);
        self.read.set(&self.topic, message.partition, message.offset + 1);
        self.messages += 1;
        self.bytes += message.value.map_or(0, <[u8]>::len) + message.key.map_or(0, <[u8]>::len);
    }

    fn handle(&mut self, event: GroupEvent<'_>, reader: &GroupReader, runtime: &Handle) {
        match event {
            GroupEvent::Assigned(starts) => {
                let mut assigned = AsOf::default();
                for start in starts {
                    for next_offsets in [&mut self.read, &mut self.acted, &mut assigned] {
                        next_offsets.set(&start.topic, start.partition, start.next_offset);
                    }
                }
                self.handler.event(&MemberEvent::Assigned(&assigned));
            }
            GroupEvent::Revoking { partitions, lost } => {
                // What was read is acted on first, so that its offsets can be committed.
                match self.close(runtime) {
                    Ok(()) if !lost => self.commit(reader),
                    Ok(()) => {}
                    Err(error) => self.failure = Some(error),
                }
                let leaving: Vec<i32> = partitions.iter().map(|(_, partition)| *partition).collect();
                self.handler.event(&MemberEvent::Revoked(&leaving));
            }
            GroupEvent::Error(error) => self.handler.event(&MemberEvent::Trouble(&error)),
        }
    }

    /// Acts on what was read.
    fn close(&mut self, runtime: &Handle) -> Result<(), GroupError> {
        (self.messages, self.bytes) = (0, 0);
        for rows in self.decoder.finish()? {
            if rows.batch.num_rows() == 0 {
                continue;
            }
            let AppendingView { view, relation, columns } = &mut self.view;
            let new = InputRows { relation: relation.name(), columns, batches: &[rows.batch] };
            let rows = runtime.block_on(view.apply(new))?;
            if !rows.is_empty() {
                self.handler.rows(&rows).map_err(GroupError::Handler)?;
            }
        }
        self.acted = self.read.clone();
        Ok(())
    }

    /// A commit that is refused in a rebalance is tried again, or the next owner of the partition acts again.
    fn commit(&mut self, reader: &GroupReader) {
        match reader.commit(&self.acted) {
            Ok(()) => {}
            Err(error) if error.is_transient() => tracing::debug!("{}; trying again", error.with_cause()),
            Err(error) => self.handler.event(&MemberEvent::NotCommitted(&error)),
        }
    }
}
