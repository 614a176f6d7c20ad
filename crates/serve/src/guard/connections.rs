//! HTTP over a bounded number of connections, each of which must make progress.
//!
//! | a peer that | is disconnected after |
//! |---|---|
//! | has sent no whole request, whether it is silent, idle or trickles byte by byte | 75 s from its last answer |
//! | does not take its answer | 60 s without a byte |
//!
//! An event stream is written to every 15 s, so it lives as long as it is read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;

/// Connections at once, where the process may open that many files.
const MAX_CONNECTIONS: u64 = 4096;

/// When a peer is disconnected.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until a request's headers are there. Longer than proxies keep an idle connection, so that they end it.
    request: Duration,
    /// Until it takes some bytes of an answer.
    stall: Duration,
}

const PATIENCE: Patience = Patience { request: Duration::from_secs(75), stall: Duration::from_mins(1) };

/// How many connections there may be at once: half of the files that the process may open, so that it can still reach
/// its broker and read its SQL when all are taken.
pub fn most_at_once() -> usize {
    getrlimit(Resource::Nofile).current.map_or(MAX_CONNECTIONS, |files| (files / 2).clamp(1, MAX_CONNECTIONS)) as usize
}

/// A listener with slots: when all are taken, further connections wait in the kernel's queue.
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

    /// Serves the routes until `stop`; then accepts no more requests and ends with the answers under way.
    pub async fn serve(mut self, routes: Router, stop: CancellationToken) {
        let service = TowerToHyperService::new(routes);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.patience.request);
        let under_way = GracefulShutdown::new();
        loop {
            // Never closed, so never an error.
            let accepted =
                async { (Arc::clone(&self.slots).acquire_owned().await, Listener::accept(&mut self.listener).await) };
            let Some((slot, (stream, peer))) = stop.run_until_cancelled(accepted).await else { break };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!("{peer}: {error}");
            }
            let mut stream = TimeoutWriter::new(stream);
            stream.set_timeout(Some(self.patience.stall));
            let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service.clone());
            let connection = under_way.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::trace!("{peer}: {error}");
                }
                drop(slot);
            });
        }
        drop(self.listener);
        under_way.shutdown().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    const HASTE: Patience = Patience { request: Duration::from_millis(600), stall: Duration::from_millis(300) };

    async fn served(most: usize) -> SocketAddr {
        served_until(most, CancellationToken::new()).await.0
    }

    async fn served_until(most: usize, stop: CancellationToken) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections { patience: HASTE, ..Connections::new(listener, most) };
        let endless =
            || async { Body::from_stream(futures::stream::repeat_with(|| Ok::<_, io::Error>(vec![b'x'; 1 << 16]))) };
        let beats = || async {
            Body::from_stream(futures::stream::unfold((), |()| async {
                tokio::time::sleep(HASTE.request / 3).await;
                Some((Ok::<_, io::Error>("beat"), ()))
            }))
        };
        let slow = || async {
            tokio::time::sleep(HASTE.request / 2).await;
            "done"
        };
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/slow", get(slow))
            .route("/endless", get(endless))
            .route("/beats", get(beats));
        (address, tokio::spawn(connections.serve(routes, stop)))
    }

    /// The bytes received until the peer closed, and how long that took.
    async fn closed_after(mut stream: impl AsyncRead + Unpin) -> (String, Duration) {
        let (started, mut rest) = (Instant::now(), Vec::new());
        drop(tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.unwrap());
        (String::from_utf8(rest).unwrap(), started.elapsed())
    }

    #[tokio::test]
    async fn a_silent_peer_an_idle_one_and_one_that_trickles_are_cut() {
        let address = served(10).await;
        let silent = TcpStream::connect(address).await.unwrap();
        assert!(closed_after(silent).await.1 >= HASTE.request / 2);
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (answer, time) = closed_after(idle).await;
        assert!(answer.ends_with("hello") && time >= HASTE.request / 2, "{answer} {time:?}");
        for trickled in ["GET / HTTP/1.1\r\nHost: a-long-name\r\n", "GET / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"] {
            let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
            let trickle = tokio::spawn(async move {
                for byte in trickled.bytes().chain(std::iter::repeat(b'a')) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if write.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            });
            closed_after(read).await;
            trickle.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_under_way_is_given_before_the_end_and_nothing_is_begun() {
        let stop = CancellationToken::new();
        let (address, server) = served_until(10, stop.clone()).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let idle = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(HASTE.request / 4).await;
        stop.cancel();
        let (answer, _) = closed_after(slow).await;
        assert!(answer.ends_with("done"), "{answer}");
        closed_after(idle).await;
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut_and_one_that_reads_is_not() {
        let address = served(10).await;
        let mut stalled = TcpStream::connect(address).await.unwrap();
        stalled.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut reader = TcpStream::connect(address).await.unwrap();
        reader.write_all(b"GET /beats HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (mut beats, started, mut buffer) = (0, Instant::now(), [0; 512]);
        while started.elapsed() < HASTE.request * 3 {
            let read = reader.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the stream continues");
            beats += 1;
        }
        assert!(beats > 3);
        let mut taken = Vec::new();
        // The buffered bytes arrive, then the end.
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
