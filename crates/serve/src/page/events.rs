//! A tab's events: each has all that changed since its last one, without the pictures in between.
//!
//! ```text
//!  event: picture
//!  id: 42
//!  data: {"seq":42,"age":0.1,"every":0.2,"strip":"…","order":["users_online",…],"tiles":{"by_type":"<article …>"}}
//! ```
//!
//! The first event of a stream has every tile, so a tab that reconnects is correct at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;

use super::Page;
use super::render::{Audience, Rendered, TileHtml, event};
use crate::selection::Selection;
use tallgrass_pipeline::Variant;

/// Concurrent streams: each holds a socket.
const MAX_STREAMS: usize = 2_000;

/// How long a tab waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

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
    tiles: BTreeMap<&'a str, Cow<'a, str>>,
}

/// The event of a picture; `show` returns the tile to show for a file, if it has changed.
pub fn payload<'a>(rendered: &'a Rendered, show: impl Fn(&'a TileHtml) -> Option<Cow<'a, str>>) -> String {
    let mut order = Vec::new();
    let mut tiles = BTreeMap::new();
    for tile in rendered.tiles.iter().filter(|tile| !Variant::is_name(&tile.name)) {
        order.push(&*tile.name);
        tiles.extend(show(tile).map(|html| (&*tile.name, html)));
    }
    let published = rendered.published.as_deref();
    let age = published
        .map_or(0.0, |published| published.status.trouble_since.unwrap_or(published.taken).elapsed().as_secs_f64());
    let every = published.map_or(0.0, |published| published.status.interval.as_secs_f64());
    let payload = Payload { seq: rendered.seq, age, every, strip: &rendered.strip, order, tiles };
    serde_json::to_string(&payload).unwrap_or_default()
}

/// An open stream, counted until it is dropped.
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
        return (StatusCode::SERVICE_UNAVAILABLE, "too many tabs show this dashboard").into_response();
    };
    let selection = match page.selection(&query) {
        Ok(selection) => selection,
        Err(refused) => return refused.into_response(),
    };
    page.audience.asked.notify_one();
    let mut rendered = page.rendered.clone();
    rendered.mark_changed();
    let tab = Tab { page, rendered, query, selection, before: 0, views: Vec::new(), _open: open };
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
    query: Vec<(String, String)>,
    selection: Selection,
    /// The tab's picture.
    before: u64,
    /// The views that were selected then.
    views: Vec<Arc<str>>,
    _open: Open,
}

impl Tab {
    /// The next event; `None` once the server ends.
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
            // Its variants are in use; an edit, or clients that leave, change what is available.
            if let Ok(selection) = self.page.selection(&self.query)
                && selection != self.selection
            {
                (self.selection, self.before) = (selection, 0);
            }
            // A variant that was added or removed changes its tile, however old the tile's own picture is.
            let there = |variant: &Variant| rendered.tile(variant.name()).map(|tile| Arc::clone(&tile.name));
            let views: Vec<Arc<str>> = self.selection.variants.values().filter_map(there).collect();
            let before = if self.views == views { self.before } else { 0 };
            (self.views, self.before) = (views, rendered.seq);
            let selection = &self.selection;
            return Some(if selection.variants.is_empty() && selection.refused.is_empty() {
                event(&rendered, before)
            } else {
                payload(&rendered, |tile| rendered.selected(&self.page.app, tile, selection, before)).into()
            });
        }
    }
}
