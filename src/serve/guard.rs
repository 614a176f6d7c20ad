//! What every request must pass, and what every answer carries.
//!
//! ```text
//!  connections  as many at once as there are slots; silent, trickling and stalled ones are cut
//!       │
//!  fence        method, size, Host, Origin, Sec-Fetch-Site ─▶ refused with words
//!       │       time limit, panics caught, headers on every answer
//!  gzip         texts, but never events
//!       │
//!  routes
//! ```
//!
//! # Contract
//! A page of another origin gets nothing from this server: a name that somebody points at this address (DNS rebinding)
//! fails by its Host, a request of a foreign page by its Origin or its Sec-Fetch-Site, and no answer says that others may
//! read it. What is asked for here never changes anything, so only GET and HEAD exist.

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
pub use self::hosts::{AllowedHost, BadHost};

use self::fence::{Fence, MAX_BODY_BYTES};
use self::hosts::Hosts;

/// Between the smallest and the fastest: SVG shrinks to a sixth in a third of the time that the default takes.
const GZIP_LEVEL: i32 = 4;

/// Below this many bytes an answer is one packet either way.
const MIN_GZIP_BYTES: u64 = 860;

/// Puts the guard around all routes of a server that listens at `address`; it answers to these names too.
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
