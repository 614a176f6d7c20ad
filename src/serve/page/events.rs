//! What a tab is told: an event with all that changed since its last one, and nothing in between.
//!
//! ```text
//!  event: picture
//!  id: 42
//!  data: {"seq":42,"age":0.1,"every":0.2,"strip":"…","order":["users_online",…],"tiles":{"by_type":"<article …>"}}
//! ```
//!
//! The first event of a stream has every tile, so a tab that was away is right again at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;

use super::Page;
use super::render::{Audience, Rendered, event};
use crate::pipeline::Variant;
use crate::serve::wish::Wish;

/// Streams at one time: each holds a socket.
const MAX_STREAMS: usize = 2_000;

/// How long a tab waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

/// How often a stream says again that its variants are looked at.
const KEEP_INTERVAL: Duration = Duration::from_secs(10);

/// One event.
#[derive(Debug, Serialize)]
struct Payload<'a> {
    seq: u64,
    /// Seconds since the results were known to be current.
    age: f64,
    /// Seconds between two results, at least.
    every: f64,
    strip: &'a str,
    order: Vec<&'a str>,
    tiles: BTreeMap<&'a str, &'a str>,
}

/// The event for a tab that has seen picture `before`; `view_of` says which view stands for a file.
pub fn payload<'a>(rendered: &'a Rendered, before: u64, view_of: impl Fn(&'a str) -> &'a str) -> String {
    let mut order = Vec::new();
    let mut tiles = BTreeMap::new();
    for tile in rendered.tiles.iter().filter(|tile| !Variant::is_name(&tile.name)) {
        // A variant that is not there yet is stood for by the file itself.
        let wished = rendered.tile(view_of(&tile.name)).unwrap_or(tile);
        order.push(&*tile.name);
        if wished.since > before || before == 0 {
            tiles.insert(&*tile.name, &*wished.html);
        }
    }
    let shot = rendered.shot.as_deref();
    let age = shot.map_or(0.0, |shot| shot.status.trouble_since.unwrap_or(shot.taken).elapsed().as_secs_f64());
    let every = shot.map_or(0.0, |shot| shot.status.interval.as_secs_f64());
    let payload = Payload { seq: rendered.seq, age, every, strip: &rendered.strip, order, tiles };
    serde_json::to_string(&payload).unwrap_or_default()
}

/// An open stream; its end is noticed.
struct Open(Arc<Audience>);

impl Open {
    fn new(audience: &Arc<Audience>) -> Option<Self> {
        let before = audience.streams.fetch_add(1, Ordering::Relaxed);
        let open = Self(Arc::clone(audience));
        (before < MAX_STREAMS).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /events`
pub async fn stream(State(page): State<Arc<Page>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let Some(open) = Open::new(&page.audience) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many tabs look at this dashboard").into_response();
    };
    let wish = match page.wish(&query) {
        Ok(wish) => wish,
        Err(refused) => return refused.into_response(),
    };
    page.audience.asked.notify_one();
    let mut rendered = page.rendered.clone();
    rendered.mark_changed();
    let tab = Tab { page, rendered, wish, before: 0, views: Vec::new(), kept: Instant::now(), _open: open };
    let events = stream::unfold(tab, |mut tab| async {
        let data = tab.next().await?;
        let event = Event::default().event("picture").id(tab.before.to_string()).retry(RETRY).data(&*data);
        Some((Ok::<_, Infallible>(event), tab))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// One stream.
struct Tab {
    page: Arc<Page>,
    rendered: tokio::sync::watch::Receiver<Arc<Rendered>>,
    wish: Wish,
    /// The picture that it has.
    before: u64,
    /// The views that stood for its wishes then.
    views: Vec<Arc<str>>,
    kept: Instant,
    _open: Open,
}

impl Tab {
    /// The next event; none once the server ends.
    async fn next(&mut self) -> Option<Arc<str>> {
        loop {
            tokio::select! {
                () = self.page.stop.cancelled() => return None,
                changed = self.rendered.changed() => changed.ok()?,
            }
            let rendered = self.rendered.borrow_and_update().clone();
            if rendered.seq == 0 {
                continue;
            }
            if self.kept.elapsed() >= KEEP_INTERVAL {
                // They are wanted already, so there is room for them.
                self.wish.keep(&self.page.app.variants).ok();
                self.kept = Instant::now();
            }
            // A variant that has come or gone changes its tile, however old the tile's own look is.
            let there = |variant: &Variant| rendered.tile(variant.name()).map(|tile| Arc::clone(&tile.name));
            let views: Vec<Arc<str>> = self.wish.variants.values().filter_map(there).collect();
            let before = if self.views == views { self.before } else { 0 };
            (self.views, self.before) = (views, rendered.seq);
            return Some(if self.wish.variants.is_empty() {
                event(&rendered, before)
            } else {
                payload(&rendered, before, |file| self.wish.view_of(file)).into()
            });
        }
    }
}
