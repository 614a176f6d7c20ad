//! What `login-checker`, `control-panel` and `demo` share: a member of a consumer group whose rows become lines.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use datafusion::arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::stdout;
use super::lines::RowFormatter;
use tallgrass_kafka::KafkaError;
use tallgrass_pipeline::{AppendingView, GroupError, GroupMember, HandlerError, MemberEvent, RowHandler};

/// How often lasting trouble is logged: it is repeated with each attempt to connect.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(10);

/// Prints a line for each row to stdout until `stop`.
pub async fn print(
    member: GroupMember,
    view: AppendingView,
    stop: &CancellationToken,
    lines: RowFormatter,
) -> anyhow::Result<Exit> {
    let (mut out, _) = stdout();
    let print = move |rows: &[RecordBatch]| {
        for line in lines(rows)? {
            writeln!(out, "{line}").context("stdout")?;
        }
        out.flush().context("stdout")
    };
    let (runtime, stopped) = (Handle::current(), stop.clone());
    tokio::task::spawn_blocking(move || run(&member, view, &runtime, &stopped, print)).await??;
    Ok(if stop.is_cancelled() { Exit::Interrupted } else { Exit::Done })
}

/// Passes each micro-batch's rows to `write` until `stop`; blocking. Rows for which it has returned are committed.
pub fn run(
    member: &GroupMember,
    view: AppendingView,
    runtime: &Handle,
    stop: &CancellationToken,
    write: impl FnMut(&[RecordBatch]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let topic = view.relation().topic().to_string();
    let mut logged = Logged { group: &member.group, topic, trouble: None, write };
    // The causes themselves, for the exit code depends on them.
    member.run(view, runtime, stop, &mut logged).map_err(|error| match error {
        GroupError::Kafka(error) => error.into(),
        GroupError::Relation(error) => error.into(),
        GroupError::View(error) => error.into(),
        GroupError::Handler(error) => anyhow::Error::from_boxed(error),
        other => other.into(),
    })
}

/// Writes rows, and logs the member's state.
struct Logged<'a, W> {
    group: &'a str,
    topic: String,
    /// When trouble was logged last.
    trouble: Option<Instant>,
    write: W,
}

impl<W: FnMut(&[RecordBatch]) -> anyhow::Result<()>> RowHandler for Logged<'_, W> {
    fn rows(&mut self, rows: &[RecordBatch]) -> Result<(), HandlerError> {
        (self.write)(rows).map_err(HandlerError::from)
    }

    fn event(&mut self, event: &MemberEvent<'_>) {
        let Self { group, topic, .. } = self;
        match event {
            MemberEvent::Assigned(next_offsets) => {
                let offsets: Vec<String> =
                    next_offsets.iter().map(|(_, partition, next)| format!("{partition}:{next}")).collect();
                if !offsets.is_empty() {
                    tracing::info!("{group}: reads {topic} {}", offsets.join(" "));
                }
            }
            MemberEvent::Revoked(partitions) => {
                let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
                tracing::info!("{group}: hands over {topic} {}", partitions.join(" "));
            }
            MemberEvent::NoTopic { error, .. } => tracing::warn!("{error}; waiting for it"),
            MemberEvent::Trouble(error) => self.log_trouble(error),
            MemberEvent::NotCommitted(error) => {
                tracing::warn!("{}: some lines may be repeated", error.with_cause());
            }
        }
    }
}

impl<W> Logged<'_, W> {
    fn log_trouble(&mut self, error: &KafkaError) {
        if self.trouble.is_none_or(|logged| logged.elapsed() >= TROUBLE_INTERVAL) {
            tracing::warn!("{error}; trying again");
            self.trouble = Some(Instant::now());
        }
    }
}
