//! What every request must pass, and what every answer carries.
//!
//! ```text
//!  connections  as many at once as there are slots; silent, trickling and stalled ones are closed
//!       │
//!  fence        method, size, Host, Origin, Sec-Fetch-Site ─▶ refused with a message
//!       │       time limit, panics caught, headers on every answer
//!  gzip         texts, but never events
//!       │
//!  routes
//! ```
//!
//! # Contract
//! A page of another origin gets nothing from this server: a foreign name that points at this address (DNS rebinding)
//! fails by its Host, a request of a foreign page by its Origin or its Sec-Fetch-Site, and no answer allows others to
//! read it. Requests never change anything, so only GET and HEAD exist.

mod connections;
mod fence;
mod hosts;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::http::{Response, header};
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};
use tower_http::limit::RequestBodyLimitLayer;

pub use self::connections::{Connections, most_at_once};
pub use self::hosts::AllowedHost;

use self::fence::{Fence, MAX_BODY_BYTES};
use self::hosts::Hosts;

/// A compromise of size and speed: SVG shrinks to a sixth in a third of the time that the default takes.
const GZIP_LEVEL: i32 = 4;

/// An answer below this many bytes is one packet either way.
const MIN_GZIP_BYTES: u64 = 860;

/// Puts the guard around all routes of a server that listens at `address`; it accepts these names too.
pub fn protect(routes: Router, address: SocketAddr, names: Vec<AllowedHost>) -> Router {
    let fence = Arc::new(Fence::new(Hosts::new(address, names)));
    routes
        .layer(RequestBodyLimitLayer::new(MAX_BODY_BYTES))
        .layer(CompressionLayer::new().quality(CompressionLevel::Precise(GZIP_LEVEL)).compress_when(Texts))
        .layer(axum::middleware::from_fn_with_state(fence, fence::pass))
}

/// Whole texts are worth compressing. A stream of events must not wait in a compressor, and Arrow has few repeats.
#[derive(Debug, Clone, Copy)]
struct Texts;

impl Predicate for Texts {
    fn should_compress<B: HttpBody>(&self, response: &Response<B>) -> bool {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_text = match kind {
            "text/event-stream" => false,
            "application/json" | "application/openmetrics-text" | "application/javascript" | "image/svg+xml" => true,
            other => other.starts_with("text/"),
        };
        is_text && response.body().size_hint().exact().is_none_or(|bytes| bytes >= MIN_GZIP_BYTES)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn fails() {
        panic!("on purpose")
    }

    async fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let long = "tile ".repeat(1000);
        let typed = |kind: &'static str| {
            let body = long.clone();
            get(move || async move { ([(header::CONTENT_TYPE, kind)], body) })
        };
        let routes = Router::new()
            .route("/html", typed("text/html; charset=utf-8"))
            .route("/svg", typed("image/svg+xml"))
            .route("/events", typed("text/event-stream"))
            .route("/arrow", typed("application/vnd.apache.arrow.file"))
            .route("/panic", get(fails));
        let routes = protect(routes, address, Vec::new());
        tokio::spawn(Connections::new(listener, 10).serve(routes, CancellationToken::new()));
        address
    }

    /// The head of the answer, in lower case, and its body.
    async fn ask(address: SocketAddr, first_line: &str, more: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{first_line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    }

    #[tokio::test]
    async fn every_answer_carries_the_headers_whatever_the_outcome() {
        let address = served().await;
        for (first_line, more, status) in [
            ("GET /html", "", 200),
            ("HEAD /html", "", 200),
            ("GET /nowhere", "", 404),
            ("POST /html", "Content-Length: 0\r\n", 405),
            ("GET /html", "Content-Length: 70000\r\n", 413),
            ("GET /html", "Origin: http://evil.example\r\n", 403),
            ("GET /panic", "", 500),
        ] {
            let (head, _) = ask(address, first_line, more).await;
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{first_line}: {head}");
            for wanted in [
                "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
                "x-content-type-options: nosniff",
                "referrer-policy: same-origin",
                "cross-origin-opener-policy: same-origin",
                "cross-origin-resource-policy: same-origin",
                "permissions-policy: ",
            ] {
                assert!(head.contains(wanted), "{first_line}: {wanted}: {head}");
            }
            assert!(!head.contains("access-control"), "{head}");
            assert_eq!(head.contains("\nallow: get, head"), status == 405, "{head}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_server_continues() {
        let address = served().await;
        let (head, body) = ask(address, "GET /panic", "").await;
        assert!(head.starts_with("http/1.1 500") && !String::from_utf8_lossy(&body).contains("on purpose"));
        assert!(ask(address, "GET /html", "").await.0.starts_with("http/1.1 200"));
    }

    #[tokio::test]
    async fn texts_are_compressed_and_events_never() {
        let address = served().await;
        for (path, compressed) in [("/html", true), ("/svg", true), ("/events", false), ("/arrow", false)] {
            let (head, body) = ask(address, &format!("GET {path}"), "Accept-Encoding: gzip\r\n").await;
            assert_eq!(head.contains("content-encoding: gzip"), compressed, "{path}: {head}");
            assert_eq!(body.len() < 5000, compressed, "{path}: {} bytes", body.len());
            let (head, _) = ask(address, &format!("GET {path}"), "").await;
            assert!(!head.contains("content-encoding"), "{head}");
        }
    }
}
