//! `GET /api/views/NAME/changes`: a view's changes as server-sent events.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::Api;
use super::events::Events;
use super::tracker::Tracker;
use super::version::ViewVersion;
use crate::App;
use crate::guard::most_at_once;
use crate::problem::Problem;
use crate::selection::Selection;
use tallgrass_pipeline::Variants;

/// Concurrent streams, where there are that many connections; else three quarters of the connections, so that other
/// requests still get an answer.
const MAX_STREAMS: usize = 2000;

/// Time between two heartbeats, so that no proxy on the way takes the stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client waits before it reconnects, ms.
const RETRY_MS: u32 = 1000;

/// The trackers of all views with listeners.
#[derive(Debug)]
pub(super) struct Trackers {
    app: Arc<App>,
    stop: CancellationToken,
    by_view: Arc<Mutex<HashMap<Arc<str>, Arc<Tracker>>>>,
    streams: Arc<Semaphore>,
    most_streams: usize,
}

impl Trackers {
    pub(super) fn new(app: &Arc<App>, stop: &CancellationToken) -> Self {
        let most_streams = MAX_STREAMS.min(most_at_once() * 3 / 4);
        Self {
            app: Arc::clone(app),
            stop: stop.clone(),
            by_view: Arc::default(),
            streams: Arc::new(Semaphore::new(most_streams)),
            most_streams,
        }
    }

    /// Streams that are open.
    pub(super) fn open_streams(&self) -> usize {
        self.most_streams - self.streams.available_permits()
    }

    /// A seat among the view's listeners.
    fn join(&self, view: &str, permit: OwnedSemaphorePermit) -> Seat {
        let mut by_view = self.by_view.lock().unwrap_or_else(PoisonError::into_inner);
        let tracker = by_view.get(view).cloned().unwrap_or_else(|| {
            let view: Arc<str> = view.into();
            let tracker = Arc::new(Tracker::new(Arc::clone(&view), &self.app.queries));
            by_view.insert(view, Arc::clone(&tracker));
            let following = follow(Arc::clone(&tracker), self.app.newest.clone(), Arc::clone(&self.by_view));
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(following).await });
            tracker
        });
        tracker.streams.fetch_add(1, Ordering::Relaxed);
        Seat { tracker, _permit: permit }
    }
}

/// Takes in refreshes while there are listeners, and for a while after the last one.
async fn follow(
    tracker: Arc<Tracker>,
    mut newest: watch::Receiver<Option<Arc<tallgrass_pipeline::Published>>>,
    by_view: Arc<Mutex<HashMap<Arc<str>, Arc<Tracker>>>>,
) {
    while newest.changed().await.is_ok() {
        let published = newest.borrow_and_update().clone();
        if tracker.streams.load(Ordering::Relaxed) > 0 {
            if let Some(published) = published {
                tracker.look(&published).await;
            }
        } else if tracker.is_idle() {
            let mut by_view = by_view.lock().unwrap_or_else(PoisonError::into_inner);
            // Joining takes the same lock, so no listener can have joined meanwhile.
            if tracker.is_idle() {
                by_view.remove(&tracker.view);
                return;
            }
        }
    }
}

/// A stream's seat, released when the stream is dropped.
#[derive(Debug)]
struct Seat {
    tracker: Arc<Tracker>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tracker.leave();
    }
}

/// The handler.
pub(super) async fn changes(
    State(api): State<Arc<Api>>,
    Path(view): Path<String>,
    Query(mut query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // `curl` has no other way to send the id without a header.
    let asked_id = query.extract_if(.., |(key, _)| key == "last_event_id").next().map(|(_, id)| id);
    let (published, selection) = api.asked(&view, &query).await?;
    let view = selection.view_of(&view).to_owned();
    let Ok(permit) = Arc::clone(&api.trackers.streams).try_acquire_owned() else {
        let message = format!("{} streams are open: no more at once", api.trackers.most_streams);
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, message).with_retry(5));
    };
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok().map(str::to_owned)).or(asked_id);
    let seat = api.trackers.join(&view, permit);
    // Before looking at the newest refresh, so that no later version is missed.
    let versions = seat.tracker.subscribe();
    seat.tracker.look(&published).await;
    let (variants, stop) = (api.app.variants.clone(), api.trackers.stop.clone());
    let mut stream = Stream { seat, versions, at: None, waiting: VecDeque::new(), selection, variants, stop };
    stream.begin(last_id.as_deref()).await;
    let body = Body::from_stream(futures::stream::unfold(stream, |mut stream| async {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that buffer answers must not do so here.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// One client's stream.
#[derive(Debug)]
struct Stream {
    seat: Seat,
    versions: watch::Receiver<u64>,
    /// The client's version; `None` before the first.
    at: Option<Arc<ViewVersion>>,
    /// Parts of the event that is being sent.
    waiting: VecDeque<Bytes>,
    /// Keeps the selected variants in use.
    selection: Selection,
    variants: Variants,
    stop: CancellationToken,
}

impl Stream {
    async fn begin(&mut self, last_id: Option<&str>) {
        self.waiting.push_back(format!("retry: {RETRY_MS}\n\n").into());
        self.versions.mark_unchanged();
        let Some(newest) = self.seat.tracker.newest() else { return };
        let known = last_id.map(|id| match id.parse() {
            Ok(moment) => self.seat.tracker.at(&moment).ok_or("the result of that moment is no longer kept"),
            Err(()) => Err("the id is not that of an event of this stream"),
        });
        let events = match known {
            None => Some(self.seat.tracker.reset(&newest, None).await),
            Some(Err(reason)) => Some(self.seat.tracker.reset(&newest, Some(reason)).await),
            Some(Ok(at)) if at.number == newest.number => None,
            Some(Ok(at)) => Some(self.seat.tracker.change(&at, &newest).await),
        };
        self.at = Some(newest);
        self.send(events.unwrap_or_else(|| Events::of(": nothing has changed since\n\n".to_owned())));
    }

    fn send(&mut self, events: Events) {
        if let Events::Bytes(parts) = events {
            self.waiting.extend(parts);
        }
    }

    /// The next bytes, when there are some; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(part) = self.waiting.pop_front() {
                return Some(part);
            }
            // It is in use already, so there is room for it.
            self.selection.keep(&self.variants).ok();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                changed = self.versions.changed() => {
                    changed.ok()?;
                    let newest = self.seat.tracker.newest()?;
                    let events = match &self.at {
                        Some(at) if at.number == newest.number => continue,
                        Some(at) => self.seat.tracker.change(at, &newest).await,
                        None => self.seat.tracker.reset(&newest, None).await,
                    };
                    self.at = Some(newest);
                    self.send(events);
                }
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": \n\n")),
            }
        }
    }
}
