//! Running statements: on threads of their own, within a time limit, a batch ahead of the client at most.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use futures::{Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::encode::Encoding;
use super::errors::{code, error, failed};
use super::interrupt::Ended;

/// Rows of one chunk.
const CHUNK_ROWS: usize = 512;

/// Bytes of rows after which a chunk is complete, however few they are.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks that wait for a client: one while it reads another. Beyond that the engine stops.
const CHUNKS_AHEAD: usize = 1;

/// One statement while it is planned and run. Dropping it ends all of its work.
#[derive(Debug)]
pub struct RunningStatement {
    workers: Handle,
    cancelled: CancellationToken,
    deadline: Instant,
    ended: Ended,
}

/// A statement that is ready to run.
#[derive(Debug)]
pub struct Planned {
    /// The physical plan.
    pub plan: Arc<dyn ExecutionPlan>,
    /// The session's context.
    pub context: Arc<TaskContext>,
    /// How its rows are sent.
    pub encoding: Encoding,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

impl RunningStatement {
    /// A statement that begins now.
    pub fn begin(workers: Handle, cancelled: CancellationToken, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        Self { workers, cancelled, deadline, ended: Arc::new(AtomicBool::new(false)) }
    }

    /// The flag that its operators check.
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// Does a part of it on the workers' threads. Returns in time even if the work does not end.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl Future<Output = PgWireResult<T>> + Send + 'static,
    ) -> PgWireResult<T> {
        let mut task = Task(self.workers.spawn(work));
        tokio::select! {
            biased;
            stopped = self.stopped() => Err(stopped),
            done = &mut task.0 => done.unwrap_or_else(|panic| Err(broken(&panic))),
        }
    }

    /// The rows, as they are made.
    pub fn rows(self, planned: Planned) -> impl Stream<Item = PgWireResult<DataRow>> + Send + 'static {
        let begin = RowStream::Planned(self, planned);
        futures::stream::unfold(begin, |state| async move {
            let mut rows = match state {
                RowStream::Planned(running, planned) => RowChunks::start(running, planned),
                RowStream::Rows(rows) => rows,
                RowStream::Done => return None,
            };
            match rows.next().await {
                Some(Ok(row)) => Some((Ok(row), RowStream::Rows(rows))),
                Some(Err(error)) => Some((Err(error), RowStream::Done)),
                None => None,
            }
        })
    }

    /// Waits for the time limit, or for a cancellation.
    async fn stopped(&self) -> PgWireError {
        tokio::select! {
            () = self.cancelled.cancelled() => error(code::CANCELLED, "canceling statement due to user request"),
            () = tokio::time::sleep_until(self.deadline) => {
                error(code::CANCELLED, "canceling statement due to statement timeout")
            }
        }
    }
}

impl Drop for RunningStatement {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

enum RowStream {
    Planned(RunningStatement, Planned),
    Rows(RowChunks),
    Done,
}

/// Rows on their way.
struct RowChunks {
    chunk: std::vec::IntoIter<DataRow>,
    chunks: mpsc::Receiver<Vec<DataRow>>,
    task: Task<PgWireResult<()>>,
    running: RunningStatement,
}

impl RowChunks {
    fn start(running: RunningStatement, planned: Planned) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let task = Task(running.workers.spawn(send_rows(planned, sender)));
        Self { chunk: Vec::new().into_iter(), chunks, task, running }
    }

    async fn next(&mut self) -> Option<PgWireResult<DataRow>> {
        loop {
            if let Some(row) = self.chunk.next() {
                return Some(Ok(row));
            }
            let chunk = tokio::select! {
                biased;
                stopped = self.running.stopped() => return Some(Err(stopped)),
                chunk = self.chunks.recv() => chunk,
            };
            match chunk {
                Some(chunk) => self.chunk = chunk.into_iter(),
                // The sender was dropped: the task has ended, and has the outcome.
                None => {
                    return match (&mut self.task.0).await {
                        Ok(Ok(())) => None,
                        Ok(Err(error)) => Some(Err(error)),
                        Err(panic) => Some(Err(broken(&panic))),
                    };
                }
            }
        }
    }
}

async fn send_rows(planned: Planned, sender: mpsc::Sender<Vec<DataRow>>) -> PgWireResult<()> {
    let Planned { plan, context, encoding, .. } = planned;
    let mut batches = execute_stream(plan, context).map_err(|error| failed(&error))?;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| failed(&error))?;
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for row in encoding.rows(&batch)? {
            let row = row?;
            bytes += row.data.len();
            chunk.push(row);
            if chunk.len() >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
                bytes = 0;
                if sender.send(std::mem::take(&mut chunk)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !chunk.is_empty() && sender.send(chunk).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A task that is aborted when its handle is dropped.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken(panic: &tokio::task::JoinError) -> PgWireError {
    let message = panic.to_string();
    tracing::error!("a statement over the Postgres protocol: {message}");
    if message.contains("offset overflow") {
        // Arrow's columns of text hold 2 GB, and building a larger one panics there.
        return error(code::OUT_OF_MEMORY, "out of memory: a column of text would be larger than 2 GB");
    }
    error(code::INTERNAL, "internal error in the statement; the program's log has details")
}
