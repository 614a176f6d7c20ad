//! Connections, a bounded number of them, each of which must get on.
//!
//! | a peer that | is cut after |
//! |---|---|
//! | connects and says nothing, or keeps an idle connection | 75 s |
//! | trickles its request, byte by byte | 20 s from its first byte |
//! | does not take its answer | 60 s without a byte |
//!
//! An event stream is written to every 15 s, so it lives as long as somebody reads.

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

/// When a peer is given up.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Nothing comes and nothing goes.
    idle: Duration,
    /// From a request's first byte to the first byte of its answer.
    request: Duration,
    /// Nothing is taken of what there is.
    stall: Duration,
}

/// An answer may take half of the time for a request.
const PATIENCE: Patience =
    Patience { idle: Duration::from_secs(75), request: Duration::from_secs(20), stall: Duration::from_mins(1) };

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
    patience: Patience,
}

impl Connections {
    /// At most `most` at once.
    pub fn new(listener: TcpListener, most: usize) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(most)), patience: PATIENCE }
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
        (Connection::new(stream, slot, self.patience), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with clocks.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    patience: Patience,
    /// When reading is given up.
    deadline: Pin<Box<Sleep>>,
    /// A request has begun that nothing has been answered to.
    asked: bool,
    /// When writing is given up, while nobody takes anything.
    stalled: Option<Pin<Box<Sleep>>>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(stream: TcpStream, slot: Option<OwnedSemaphorePermit>, patience: Patience) -> Self {
        let deadline = Box::pin(sleep_until(Instant::now() + patience.idle));
        Self { stream, patience, deadline, asked: false, stalled: None, _slot: slot }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            let stall = self.patience.stall;
            let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
            return match stalled.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            };
        }
        self.stalled = None;
        self.asked = false;
        let idle = self.patience.idle;
        self.deadline.as_mut().reset(Instant::now() + idle);
        written
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() && buf.filled().len() > before && !self.asked {
            self.asked = true;
            let request = self.patience.request;
            self.deadline.as_mut().reset(Instant::now() + request);
        }
        // Also when something came: a byte now and then must not keep a request alive.
        match self.deadline.as_mut().poll(cx) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HASTE: Patience = Patience {
        idle: Duration::from_millis(600),
        request: Duration::from_millis(200),
        stall: Duration::from_millis(300),
    };

    async fn served(most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections { patience: HASTE, ..Connections::new(listener, most) };
        let endless =
            || async { Body::from_stream(futures::stream::repeat_with(|| Ok::<_, io::Error>(vec![b'x'; 1 << 16]))) };
        let beats = || async {
            Body::from_stream(futures::stream::unfold((), |()| async {
                tokio::time::sleep(HASTE.idle / 3).await;
                Some((Ok::<_, io::Error>("beat"), ()))
            }))
        };
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/endless", get(endless))
            .route("/beats", get(beats));
        tokio::spawn(async move { axum::serve(connections, routes).await });
        address
    }

    /// How long it took until the peer closed.
    async fn closed_after(stream: &mut TcpStream) -> Duration {
        let (started, mut rest) = (Instant::now(), Vec::new());
        drop(tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap());
        started.elapsed()
    }

    #[tokio::test]
    async fn a_silent_peer_and_one_that_trickles_are_cut() {
        let address = served(10).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        assert!(closed_after(&mut silent).await >= HASTE.idle / 2);
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let trickle = tokio::spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nHost: a-long-name\r\n".iter().cycle() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if write.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        });
        let mut rest = Vec::new();
        drop(tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut rest)).await.unwrap());
        trickle.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut_and_one_that_reads_is_not() {
        let address = served(10).await;
        let mut stalled = TcpStream::connect(address).await.unwrap();
        stalled.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut reader = TcpStream::connect(address).await.unwrap();
        reader.write_all(b"GET /beats HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (mut beats, started, mut buffer) = (0, Instant::now(), [0; 512]);
        while started.elapsed() < HASTE.idle * 3 {
            let read = reader.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the stream goes on");
            beats += 1;
        }
        assert!(beats > 3);
        let mut taken = Vec::new();
        // What lay in the buffers comes, and then the end.
        drop(tokio::time::timeout(Duration::from_secs(20), stalled.read_to_end(&mut taken)).await.unwrap());
    }

    #[tokio::test]
    async fn who_comes_when_all_slots_are_taken_waits() {
        let address = served(1).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let early = tokio::time::timeout(Duration::from_millis(200), second.read_to_string(&mut answer)).await;
        assert!(early.is_err(), "{answer}");
        first.shutdown().await.unwrap();
        drop(first);
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
    }
}
