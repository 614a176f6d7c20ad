//! The threads of the Postgres protocol: one for the protocol, few that run its statements.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{MAX_CLIENTS, Shared};
use super::connection;
use super::login::Login;
use super::session::Sessions;
use super::tables::TableSource;
use crate::App;

/// Connections beyond the clients that are logged in: those that are logging in, and those that cancel.
const MAX_CONNECTIONS: usize = 2 * MAX_CLIENTS;

/// Threads that run statements, on machines of any size.
const MAX_WORKERS: usize = 2;

/// How nice those threads are: a live view's thread gets nine parts of a contended core, these one.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Threads that wait for the broker while statements are planned.
const MAX_WAITING: usize = 8;

/// Stack of the threads that parse and plan: an expression of thousands of terms is as deep as it is long.
const STACK_BYTES: usize = 64 << 20;

/// How long the server's thread may take to end: the program must end, whatever a client runs.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two checks of that.
const JOIN_POLL: Duration = Duration::from_millis(5);

/// How long clients may take to receive the notice that the program ends.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// How long to wait after a connection could not be accepted: the system lacks resources.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The Postgres protocol, served.
#[derive(Debug)]
pub struct PgServer {
    address: SocketAddr,
    stop: CancellationToken,
    thread: JoinHandle<io::Result<()>>,
}

impl PgServer {
    /// Serves `app` on a bound listener until [`stop`](Self::stop).
    pub fn start(listener: TcpListener, app: App, login: Login) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let count = workers();
        let workers = Builder::new_multi_thread()
            .worker_threads(count)
            .max_blocking_threads(MAX_WAITING)
            .thread_name("sql")
            .thread_stack_size(STACK_BYTES)
            .on_thread_start(step_back)
            .enable_all()
            .build()?;
        let sessions = Sessions::new(Arc::new(TableSource::new(app)), count).map_err(io::Error::other)?;
        let shared = Arc::new(Shared::new(sessions, workers.handle().clone(), login));
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || serve(listener, &runtime, workers, &shared, &stopped))?;
        Ok(Self { address, stop, thread })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it, with the running statements.
    pub fn stop(self) {
        self.stop.cancel();
        let deadline = Instant::now() + JOIN_TIMEOUT;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return tracing::warn!(
                    "a client of the Postgres protocol blocks its server: its thread is left running"
                );
            }
            std::thread::sleep(JOIN_POLL);
        }
        if let Ok(Err(error)) = self.thread.join() {
            tracing::warn!("the Postgres protocol's server ended: {error}");
        }
    }
}

/// Fewer than the machine has, so that a statement never takes the cores that the live run needs.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    cores.saturating_sub(1).clamp(1, MAX_WORKERS)
}

/// Lowers the priority of the calling thread, where the system supports it.
fn step_back() {
    // On other systems it would be the priority of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!("a thread of statements keeps its priority: {error}");
    }
}

fn serve(
    listener: TcpListener,
    runtime: &Runtime,
    workers: Runtime,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                _ = connections.join_next(), if connections.len() >= MAX_CONNECTIONS => continue,
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            };
            match accepted {
                Ok((socket, address)) => {
                    let (shared, stop) = (Arc::clone(shared), stop.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection::serve(socket, address, shared, stop).await {
                            tracing::debug!("{address} over the Postgres protocol: {error}");
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
        Ok(())
    });
    workers.shutdown_background();
    served
}
