//! Connections, a bounded number of them, each of which must get on.
//!
//! | a peer that | is cut after |
//! |---|---|
//! | connects and says nothing, or keeps an idle connection | [`IDLE_TIMEOUT`] |
//! | trickles its request, byte by byte | [`REQUEST_TIMEOUT`] from its first byte |
//! | does not take its answer | [`STALL_TIMEOUT`] without a byte |
//!
//! An event stream is written to more often than [`IDLE_TIMEOUT`], so it lives as long as somebody reads.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections at once, where the process may open that many files.
const MAX_CONNECTIONS: usize = 4096;

/// The soft limit of open files where it cannot be asked.
const USUAL_OPEN_FILES: usize = 1024;

/// Nothing comes and nothing goes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// From a request's first byte to the first byte of its answer: as long again as an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Nothing is taken of what there is.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How many connections there may be at once: half of the files that the process may open, so that it can still reach
/// its broker and read its SQL when all are taken.
pub fn most_at_once() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    MAX_CONNECTIONS.min(open_files.unwrap_or(USUAL_OPEN_FILES) / 2).max(1)
}

/// A listener with slots: when all are taken, who comes waits in the kernel's queue.
#[derive(Debug)]
pub struct Connections {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Connections {
    /// At most `most` at once.
    pub fn new(listener: TcpListener, most: usize) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(most)) }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Never closed, so never an error.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("{peer}: {error}");
        }
        (Connection::new(stream, slot), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with clocks.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// When reading is given up.
    patience: Pin<Box<Sleep>>,
    /// A request has begun that nothing has been answered to.
    asked: bool,
    /// When writing is given up, while nobody takes anything.
    stalled: Option<Pin<Box<Sleep>>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(stream: TcpStream, slot: Option<OwnedSemaphorePermit>) -> Self {
        let patience = Box::pin(sleep_until(Instant::now() + IDLE_TIMEOUT));
        Self { stream, patience, asked: false, stalled: None, _slot: slot }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALL_TIMEOUT)));
            return match stalled.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            };
        }
        self.stalled = None;
        self.asked = false;
        self.patience.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
        written
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() && buf.filled().len() > before && !self.asked {
            self.asked = true;
            self.patience.as_mut().reset(Instant::now() + REQUEST_TIMEOUT);
        }
        // Also when something came: a byte now and then must not keep a request alive.
        match self.patience.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => read,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
