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
use super::version::Version;
use tallgrass_pipeline::Variants;
use crate::App;
use crate::guard::most_at_once;
use crate::problem::Problem;
use crate::wish::Wish;

/// Streams at once, where there are that many connections: above them, three quarters of the connections, so that
/// questions still get an answer.
const MAX_STREAMS: usize = 2000;

/// Time between two signs of life, so that nobody between here and the client takes the stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client waits before it connects anew, ms.
const RETRY_MS: u32 = 1000;

/// All views that somebody listens to.
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

    /// A place in the view's audience.
    fn join(&self, view: &str, permit: OwnedSemaphorePermit) -> Seat {
        let mut by_view = self.by_view.lock().unwrap_or_else(PoisonError::into_inner);
        let tracker = by_view.get(view).cloned().unwrap_or_else(|| {
            let view: Arc<str> = view.into();
            let tracker = Arc::new(Tracker::new(Arc::clone(&view), &self.app.queries));
            by_view.insert(view, Arc::clone(&tracker));
            let following = follow(Arc::clone(&tracker), self.app.shots.clone(), Arc::clone(&self.by_view));
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(following).await });
            tracker
        });
        tracker.streams.fetch_add(1, Ordering::Relaxed);
        Seat { tracker, _permit: permit }
    }
}

/// Takes in shots while somebody listens, until nobody has for a while.
async fn follow(
    tracker: Arc<Tracker>,
    mut shots: watch::Receiver<Option<Arc<tallgrass_pipeline::Shot>>>,
    by_view: Arc<Mutex<HashMap<Arc<str>, Arc<Tracker>>>>,
) {
    while shots.changed().await.is_ok() {
        let shot = shots.borrow_and_update().clone();
        if tracker.streams.load(Ordering::Relaxed) > 0 {
            if let Some(shot) = shot {
                tracker.look(&shot).await;
            }
        } else if tracker.is_idle() {
            let mut by_view = by_view.lock().unwrap_or_else(PoisonError::into_inner);
            // Joining takes the same lock, so nobody has come meanwhile.
            if tracker.is_idle() {
                by_view.remove(&tracker.view);
                return;
            }
        }
    }
}

/// A stream's place, given back when the stream is dropped.
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
    let (shot, wish) = api.asked(&view, &query).await?;
    let view = wish.view_of(&view).to_owned();
    let Ok(permit) = Arc::clone(&api.trackers.streams).try_acquire_owned() else {
        let words = format!("{} streams are open: no more at once", api.trackers.most_streams);
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, words).with_retry(5));
    };
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok().map(str::to_owned)).or(asked_id);
    let seat = api.trackers.join(&view, permit);
    // Before the look, so that no version after it is missed.
    let versions = seat.tracker.subscribe();
    seat.tracker.look(&shot).await;
    let (variants, stop) = (api.app.variants.clone(), api.trackers.stop.clone());
    let mut stream = Stream { seat, versions, at: None, waiting: VecDeque::new(), wish, variants, stop };
    stream.begin(last_id.as_deref()).await;
    let body = Body::from_stream(futures::stream::unfold(stream, |mut stream| async {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers before they hand them on must not do so here.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// One client's stream.
#[derive(Debug)]
struct Stream {
    seat: Seat,
    versions: watch::Receiver<u64>,
    /// Where the client stands; none before the first look.
    at: Option<Arc<Version>>,
    /// Parts of what it is being sent.
    waiting: VecDeque<Bytes>,
    /// What is wanted for as long as this lasts.
    wish: Wish,
    variants: Variants,
    stop: CancellationToken,
}

impl Stream {
    async fn begin(&mut self, last_id: Option<&str>) {
        self.waiting.push_back(format!("retry: {RETRY_MS}\n\n").into());
        self.versions.mark_unchanged();
        let Some(newest) = self.seat.tracker.newest() else { return };
        let known = last_id.map(|id| match id.parse() {
            Ok(moment) => self.seat.tracker.at(&moment).ok_or("what was said at that moment is not kept any more"),
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
            // It is wanted already, so there is room for it.
            self.wish.keep(&self.variants).ok();
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
