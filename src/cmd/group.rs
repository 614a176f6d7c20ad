//! What `login-checker` and `control-panel` share: a member of a consumer group that hands on a view's rows as they come.
//!
//! ```text
//!  GroupReader ─▶ TopicDecoder ─▶ LiveView (filter, project) ─▶ print, flush ─▶ commit
//! ```
//!
//! # Contract
//! An offset is committed only after the rows of everything below it have been printed and flushed: periodically,
//! synchronously before partitions leave, and at the end. So a member that dies prints some rows again, and none is lost.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use datafusion::arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{CONNECT_TIMEOUT, stdout};
use super::lines::Lines;
use crate::kafka::{AsOf, Cluster, GroupEvent, GroupReader, GroupStart, KafkaConfig, KafkaError, Message};
use crate::pipeline::BatchLimits;
use crate::relation::{BadRecords, KafkaRelation, TopicDecoder, Wanted};
use crate::view::cut::Use;
use crate::view::{Bindings, LiveView, Rows, SqlError, SqlFile, Workspace, live_view};

/// How often offsets are committed while all goes well.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How often trouble that goes on is told.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a read waits when nothing comes: a stop is noticed that soon.
const IDLE: Duration = Duration::from_millis(100);

/// How long the end waits for a rebalance that is under way, so that the last offsets are committed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A role of one view over one topic.
pub struct GroupRole {
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The consumer group.
    pub group: String,
    /// Where partitions start for which the group has committed nothing.
    pub start: GroupStart,
    /// When micro-batches close.
    pub limits: BatchLimits,
}

/// A view that hands on rows, over the one relation that it reads.
pub struct RoleView {
    view: LiveView,
    relation: Arc<KafkaRelation>,
    columns: Vec<usize>,
}

impl RoleView {
    /// Plans the file of a role.
    pub async fn plan(workspace: &Workspace, file: &SqlFile, bindings: &Bindings) -> anyhow::Result<Self> {
        let session = workspace.live_session().await?;
        let refused = |message: String| SqlError::new(file.path(), file.text(), None, message);
        let plan = workspace.plan_role(&session, file, bindings).await?;
        let view = live_view(&session, file, plan, Use::NewRows, 0).await?;
        let mut inputs = view.inputs();
        inputs.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1.append(&mut next.1);
            }
            same
        });
        let [(name, columns)] = inputs.as_slice() else {
            bail!(refused("this role reads one stream, so that its offsets can be committed".to_owned()));
        };
        let relation = workspace.catalog().get(name).and_then(|relation| relation.as_kafka());
        let relation = Arc::clone(relation.context("the relation of a live view is a topic")?);
        let mut columns = columns.clone();
        columns.sort_unstable();
        columns.dedup();
        Ok(Self { view, relation, columns })
    }
}

impl GroupRole {
    /// Prints a line for each row to stdout until `stop`.
    pub async fn print(self, view: RoleView, stop: &CancellationToken, lines: Lines) -> anyhow::Result<Exit> {
        let (runtime, stopped) = (Handle::current(), stop.clone());
        let (mut out, _) = stdout();
        let printing = tokio::task::spawn_blocking(move || {
            self.run(view, &runtime, &stopped, |rows| {
                for line in lines(rows)? {
                    writeln!(out, "{line}").context("stdout")?;
                }
                out.flush().context("stdout")
            })
        });
        printing.await??;
        Ok(if stop.is_cancelled() { Exit::Interrupted } else { Exit::Done })
    }

    /// Reads until `stop`; blocking, on a thread of its own. `print` writes and flushes the rows of a micro-batch.
    pub fn run(
        &self,
        view: RoleView,
        runtime: &Handle,
        stop: &CancellationToken,
        print: impl FnMut(&[RecordBatch]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if Cluster::connect_unless(&self.kafka, CONNECT_TIMEOUT, || stop.is_cancelled())?.is_none() {
            return Ok(());
        }
        let topic = Arc::clone(view.relation.topic());
        let wanted = Wanted { relation: Arc::clone(&view.relation), columns: view.columns.clone() };
        let decoder = TopicDecoder::new(&topic, &[wanted], BadRecords::default())?;
        let reader = GroupReader::join(&self.kafka, &self.group, &[Arc::clone(&topic)], self.start)?;
        let member = RefCell::new(Member {
            topic,
            decoder,
            view,
            read: AsOf::default(),
            printed: AsOf::default(),
            messages: 0,
            bytes: 0,
            failure: None,
            told: None,
            print,
        });
        let mut committed = Instant::now();
        while !stop.is_cancelled() {
            self.micro_batch(&reader, runtime, &member)?;
            if committed.elapsed() >= COMMIT_INTERVAL {
                commit(&reader, &member.borrow().printed);
                committed = Instant::now();
            }
        }
        let printed = member.borrow().printed.clone();
        if let Err(error) = reader.leave(&printed, LEAVE_TIMEOUT) {
            tracing::warn!("{}: the next start will repeat some lines", error.with_cause());
        }
        Ok(())
    }

    /// Reads until a limit is reached, then prints.
    fn micro_batch<P: FnMut(&[RecordBatch]) -> anyhow::Result<()>>(
        &self,
        reader: &GroupReader,
        runtime: &Handle,
        member: &RefCell<Member<P>>,
    ) -> anyhow::Result<()> {
        let mut closes: Option<Instant> = None;
        loop {
            let wait = closes.map_or(IDLE, |closes| closes.saturating_duration_since(Instant::now()));
            let max = self.limits.rows - member.borrow().messages.min(self.limits.rows - 1);
            let read = reader.read(
                max,
                wait,
                |message| member.borrow_mut().take(&message),
                |event| match event {
                    GroupEvent::Assigned(starts) => {
                        let mut member = member.borrow_mut();
                        let offsets = starts.iter().map(|start| format!("{}:{}", start.partition, start.next_offset));
                        let offsets = offsets.collect::<Vec<_>>().join(" ");
                        if !starts.is_empty() {
                            tracing::info!("{}: reads {} {offsets}", self.group, member.topic);
                        }
                        for start in starts {
                            member.printed.set(&start.topic, start.partition, start.next_offset);
                            member.read.set(&start.topic, start.partition, start.next_offset);
                        }
                    }
                    GroupEvent::Revoking { partitions, lost } => {
                        // What was read but not printed yet is printed first, so that its offsets can be committed.
                        let mut member = member.borrow_mut();
                        if let Err(error) = member.print(runtime) {
                            member.failure = Some(error);
                        } else if !lost {
                            commit(reader, &member.printed);
                        }
                        let leaving: Vec<String> =
                            partitions.iter().map(|(_, partition)| partition.to_string()).collect();
                        tracing::info!("{}: hands over {} {}", self.group, member.topic, leaving.join(" "));
                    }
                    GroupEvent::Error(error) => member.borrow_mut().tell(&error),
                },
            );
            let mut member = member.borrow_mut();
            match read {
                Ok(_) => {}
                // The topic may come yet, and the group will tell.
                Err(error @ KafkaError::TopicMissing { .. }) => {
                    tracing::warn!("{error}; waiting for it");
                    std::thread::sleep(COMMIT_INTERVAL);
                }
                Err(error) => return Err(error.into()),
            }
            if let Some(failure) = member.failure.take() {
                return Err(failure);
            }
            if member.messages > 0 && closes.is_none() {
                closes = Some(Instant::now() + self.limits.linger);
            }
            let full = member.messages >= self.limits.rows || member.bytes >= self.limits.bytes;
            if full || closes.is_none_or(|closes| Instant::now() >= closes) {
                return member.print(runtime);
            }
        }
    }
}

/// A commit that is refused in a rebalance is none of our failures: it is tried again, or whoever has the partition now
/// prints again.
fn commit(reader: &GroupReader, printed: &AsOf) {
    match reader.commit(printed) {
        Ok(()) => {}
        Err(error) if error.is_transient() => tracing::debug!("{}; trying again", error.with_cause()),
        Err(error) => tracing::warn!("{}", error.with_cause()),
    }
}

struct Member<P> {
    topic: Arc<str>,
    decoder: TopicDecoder,
    view: RoleView,
    /// Next offsets of what has been decoded.
    read: AsOf,
    /// Next offsets of what has been printed.
    printed: AsOf,
    messages: usize,
    bytes: usize,
    failure: Option<anyhow::Error>,
    /// When trouble was told for the last time: it comes anew with each attempt to connect.
    told: Option<Instant>,
    print: P,
}

impl<P: FnMut(&[RecordBatch]) -> anyhow::Result<()>> Member<P> {
    fn take(&mut self, message: &Message<'_>) {
        self.decoder.push(message);
        self.read.set(&self.topic, message.partition, message.offset + 1);
        self.messages += 1;
        self.bytes += message.value.map_or(0, <[u8]>::len) + message.key.map_or(0, <[u8]>::len);
    }

    fn tell(&mut self, error: &KafkaError) {
        if self.told.is_none_or(|told| told.elapsed() >= TROUBLE_INTERVAL) {
            tracing::warn!("{error}; trying again");
            self.told = Some(Instant::now());
        }
    }

    fn print(&mut self, runtime: &Handle) -> anyhow::Result<()> {
        self.messages = 0;
        self.bytes = 0;
        for rows in self.decoder.finish()? {
            if rows.batch.num_rows() == 0 {
                continue;
            }
            let batches = [rows.batch];
            let new = Rows { relation: self.view.relation.name(), columns: &self.view.columns, batches: &batches };
            let rows = runtime.block_on(self.view.view.apply(new))?;
            if !rows.is_empty() {
                (self.print)(&rows)?;
            }
        }
        self.printed = self.read.clone();
        Ok(())
    }
}
