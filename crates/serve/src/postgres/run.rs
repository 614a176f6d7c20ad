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

/// Rows that are handed over together.
const CHUNK_ROWS: usize = 512;

/// Bytes of rows after which they are handed over, be they few.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks that wait for a client: one while it reads another. What is beyond waits in the engine, which then stops.
const CHUNKS_AHEAD: usize = 1;

/// One statement while it is planned and run. When it is dropped, whatever still runs of it ends.
#[derive(Debug)]
pub struct Running {
    workers: Handle,
    cancelled: CancellationToken,
    deadline: Instant,
    ended: Ended,
}

/// A statement that is ready to run.
#[derive(Debug)]
pub struct Planned {
    /// What is run.
    pub plan: Arc<dyn ExecutionPlan>,
    /// The session's part in it.
    pub context: Arc<TaskContext>,
    /// How its rows are sent.
    pub encoding: Encoding,
    /// What the client should know besides.
    pub warnings: Vec<String>,
}

impl Running {
    /// A statement that begins now.
    pub fn begin(workers: Handle, cancelled: CancellationToken, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        Self { workers, cancelled, deadline, ended: Arc::new(AtomicBool::new(false)) }
    }

    /// What its operators look at.
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// Does a part of it on the workers' threads. The answer comes in time even if the work does not end.
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
        let begin = State::Planned(self, planned);
        futures::stream::unfold(begin, |state| async move {
            let mut rows = match state {
                State::Planned(running, planned) => Rows::start(running, planned),
                State::Rows(rows) => rows,
                State::Done => return None,
            };
            match rows.next().await {
                Some(Ok(row)) => Some((Ok(row), State::Rows(rows))),
                Some(Err(error)) => Some((Err(error), State::Done)),
                None => None,
            }
        })
    }

    /// Waits for the end of its time, or for somebody who wants no more of it.
    async fn stopped(&self) -> PgWireError {
        tokio::select! {
            () = self.cancelled.cancelled() => error(code::CANCELLED, "canceling statement due to user request"),
            () = tokio::time::sleep_until(self.deadline) => {
                error(code::CANCELLED, "canceling statement due to statement timeout")
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

enum State {
    Planned(Running, Planned),
    Rows(Rows),
    Done,
}

/// Rows on their way.
struct Rows {
    chunk: std::vec::IntoIter<DataRow>,
    chunks: mpsc::Receiver<Vec<DataRow>>,
    task: Task<PgWireResult<()>>,
    running: Running,
}

impl Rows {
    fn start(running: Running, planned: Planned) -> Self {
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
                // The sender is gone: it has ended, and says how.
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

/// A task that ends with whoever waits for it.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken(panic: &tokio::task::JoinError) -> PgWireError {
    let words = panic.to_string();
    tracing::error!("a statement over the Postgres protocol: {words}");
    if words.contains("offset overflow") {
        // Arrow's columns of text hold 2 GB, and building a larger one panics there.
        return error(code::OUT_OF_MEMORY, "out of memory: a column of text would be larger than 2 GB");
    }
    error(code::INTERNAL, "the statement met an error of the program itself; its log says more")
}
