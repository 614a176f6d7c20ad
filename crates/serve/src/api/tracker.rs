//! The recent versions of one view's result, kept while a client listens to its changes.
//!
//! ```text
//!  newest refresh ─(digest; only if it differs)─▶ versions: … 41, 42, 43
//!                                                     │        └─ new clients: reset with all rows
//!                                                     └─ a client at 41: one difference, 41 ─▶ 43, for all at 41
//! ```
//!
//! # Contract
//! A client is sent one event that leads from its version to the newest. What it misses meanwhile is in the next one;
//! nothing queues. Each event is made once, however many clients are at the same version.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::watch;

use super::events::{self, Events};
use super::moment::Moment;
use super::recent::Recent;
use super::version::{ViewContent, ViewVersion};
use tallgrass_pipeline::Published;

/// Versions of one view from which a client can resume: a minute of 20 refreshes a second.
const MAX_VERSIONS: usize = 1200;

/// How long a client can resume from a version.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Bytes of rows that versions of one view may keep alive.
const MAX_BYTES: usize = 32 << 20;

/// Differences kept: clients that keep up are at one or two versions.
const MAX_DIFFERENCES: usize = 32;

/// The recent versions of one view.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) view: Arc<str>,
    queries: PathBuf,
    versions: Mutex<VecDeque<Arc<ViewVersion>>>,
    /// The moment of the last refresh that was taken in; its lock is held while the next one is.
    looked: tokio::sync::Mutex<Option<i64>>,
    /// The newest version's number.
    newest: watch::Sender<u64>,
    /// Streams that listen.
    pub(super) streams: AtomicUsize,
    /// When the last one left.
    left: Mutex<Instant>,
    differences: Recent<(u64, u64), Events>,
    rows: Recent<u64, Result<Bytes, String>>,
}

impl Tracker {
    pub(super) fn new(view: Arc<str>, queries: &Path) -> Self {
        Self {
            view,
            queries: queries.to_owned(),
            versions: Mutex::default(),
            looked: tokio::sync::Mutex::default(),
            newest: watch::Sender::new(0),
            streams: AtomicUsize::new(0),
            left: Mutex::new(Instant::now()),
            differences: Recent::new(MAX_DIFFERENCES),
            rows: Recent::new(2),
        }
    }

    /// Announces the number of each new version.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// A stream has ended.
    pub(super) fn leave(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there are no listeners, and none that could still resume.
    pub(super) fn is_idle(&self) -> bool {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        self.streams.load(Ordering::Relaxed) == 0 && left.elapsed() > MAX_AGE
    }

    /// Takes in a refresh, unless that was done.
    pub(super) async fn look(&self, published: &Arc<Published>) {
        let mut looked = self.looked.lock().await;
        if *looked == Some(published.snapshot.now_ns) {
            return;
        }
        let (published_seen, view, queries) = (Arc::clone(published), Arc::clone(&self.view), self.queries.clone());
        match tokio::task::spawn_blocking(move || ViewVersion::of(&view, &published_seen, &queries)).await {
            Ok(version) => self.take(version),
            Err(error) => tracing::warn!("{}: {error}", self.view),
        }
        *looked = Some(published.snapshot.now_ns);
    }

    fn take(&self, mut version: ViewVersion) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = versions.back() {
            if newest.is_same_as(&version) {
                newest.lasts_until(version.first);
                return;
            }
            version.number = newest.number + 1;
        }
        let number = version.number;
        versions.push_back(Arc::new(version));
        trim(&mut versions);
        drop(versions);
        self.differences.retain(|(_, to)| *to == number);
        self.newest.send_replace(number);
    }

    /// The newest version; `None` before the first.
    pub(super) fn newest(&self) -> Option<Arc<ViewVersion>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// The version at the moment of an event.
    pub(super) fn at(&self, moment: &Moment) -> Option<Arc<ViewVersion>> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.iter().rev().find(|version| moment.is_within(&version.first, &version.last())).cloned()
    }

    /// The events from one version to another.
    pub(super) async fn change(&self, from: &Arc<ViewVersion>, to: &Arc<ViewVersion>) -> Events {
        let (view, old, new) = (Arc::clone(&self.view), Arc::clone(from), Arc::clone(to));
        let made = self.differences.get((from.number, to.number), move || events::change(&view, &old, &new));
        match made.await {
            Ok(Events::Reset(reason)) => self.reset(to, Some(&reason)).await,
            Ok(events) => events,
            Err(error) => Events::of(events::error(&self.view, to, &error.to_string())),
        }
    }

    /// The events that start a stream, or start it over for a reason.
    pub(super) async fn reset(&self, to: &Arc<ViewVersion>, reason: Option<&str>) -> Events {
        if !matches!(to.content, ViewContent::Rows(_)) {
            return events::without_rows(&self.view, to);
        }
        let (view, version) = (Arc::clone(&self.view), Arc::clone(to));
        let rows = self.rows.get(to.number, move || match &version.content {
            ViewContent::Rows(rows) => rows.json(&view).map(Bytes::from),
            _ => Ok(Bytes::new()),
        });
        match rows.await {
            Ok(Ok(rows)) => events::reset(&self.view, to, rows, reason),
            Ok(Err(error)) => Events::of(events::error(&self.view, to, &error)),
            Err(error) => Events::of(events::error(&self.view, to, &error.to_string())),
        }
    }
}

/// Drops the oldest versions; never the newest.
fn trim(versions: &mut VecDeque<Arc<ViewVersion>>) {
    let mut bytes: usize = versions.iter().map(|version| version.bytes()).sum();
    while versions.len() > 1 {
        let Some(oldest) = versions.front() else { return };
        // Its age is that of its end, which is the start of the next one.
        let ended = versions.get(1).map_or(oldest.taken, |next| next.taken);
        if versions.len() <= MAX_VERSIONS && bytes <= MAX_BYTES && ended.elapsed() <= MAX_AGE {
            return;
        }
        bytes -= oldest.bytes();
        versions.pop_front();
    }
}
