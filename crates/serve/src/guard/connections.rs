//! HTTP over connections, a bounded number of them, each of which must get on.
//!
//! | a peer that | is cut after |
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

/// When a peer is given up.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until a request's headers are there. Longer than proxies keep an idle connection, so that they end it.
    request: Duration,
    /// Until something of an answer is taken.
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

    /// Serves the routes until `stop`; then takes no more requests and ends with the answers that are under way.
    pub async fn serve(mut self, routes: Router, stop: CancellationToken) {
        let service = TowerToHyperService::new(routes);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.patience.request);
        let under_way = GracefulShutdown::new();
        loop {
            // Never closed, so never an error.
            let accepted = async { (Arc::clone(&self.slots).acquire_owned().await, Listener::accept(&mut self.listener).await) };
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
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const HASTE: Patience = Patience { request: Duration::from_millis(600), stall: Duration::from_millis(300) };

    async fn served(most: usize) -> SocketAddr {
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
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/endless", get(endless))
            .route("/beats", get(beats));
        tokio::spawn(connections.serve(routes, CancellationToken::new()));
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
        assert!(closed_after(&mut silent).await >= HASTE.request / 2);
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
        while started.elapsed() < HASTE.request * 3 {
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
