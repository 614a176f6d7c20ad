//! The open panels of one file, as the hub's thread and the server's handlers share them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::content::Content;
use super::link::Link;
use super::source::PanelSource;
use super::state::ConsumerState;
use tallgrass_view::SqlFile;

/// Panels of a server at once: each keeps two hundred rows, about 60 kB.
pub const MAX_PANELS: usize = 5_000;

/// Event streams at once, of all panels together: each is a connection.
pub const MAX_STREAMS: usize = 5_000;

/// Consumer groups at once: each is a consumer with threads and buffers.
const MAX_GROUPS: usize = 16;

/// How long a panel stays when no tab follows it: over a reload, and from the page's first paint to its stream.
pub const LINGER: Duration = Duration::from_secs(10);

/// Why a panel cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// All panels are taken.
    #[error("{MAX_PANELS} panels are open, and that is the limit: close one, or try again in a minute")]
    Panels,
    /// All streams are taken.
    #[error("{MAX_STREAMS} pages follow panels, and that is the limit: close one, or try again in a minute")]
    Streams,
    /// All groups are taken.
    #[error("{MAX_GROUPS} panels have a consumer group of their own, and that is the limit: leave out own_group=true")]
    Groups,
}

/// What a server's panels share, whichever files they show.
#[derive(Debug)]
pub struct Limits {
    panels: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    groups: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        let [panels, streams, groups] = [MAX_PANELS, MAX_STREAMS, MAX_GROUPS].map(|max| Arc::new(Semaphore::new(max)));
        Self { panels, streams, groups }
    }
}

impl Limits {
    fn panel(&self) -> Result<OwnedSemaphorePermit, LimitReached> {
        Arc::clone(&self.panels).try_acquire_owned().map_err(|_| LimitReached::Panels)
    }

    /// A panel with a consumer group of its own.
    pub fn group(&self, link: Link) -> Result<OpenPanel, LimitReached> {
        let permit = Arc::clone(&self.groups).try_acquire_owned().map_err(|_| LimitReached::Groups)?;
        Ok(OpenPanel::new(link, Some(permit)))
    }

    /// Counts a tab that follows a panel, until the answer is dropped.
    pub fn follow(&self, panel: Arc<OpenPanel>) -> Result<Follower, LimitReached> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| LimitReached::Streams)?;
        panel.followers.fetch_add(1, Ordering::Relaxed);
        Ok(Follower { panel, _permit: permit })
    }
}

/// What is shown of a panel's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// The file's title.
    pub title: String,
    /// Where it lies.
    pub path: String,
    /// Its text.
    pub sql: String,
    /// How its rows are found.
    pub how: String,
}

impl About {
    /// Of a file that runs.
    pub fn of(file: &SqlFile, how: String) -> Self {
        let path = file.path().display().to_string();
        Self { title: file.title().to_owned(), path, sql: file.text().to_owned(), how }
    }
}

/// An open panel.
#[derive(Debug)]
pub struct OpenPanel {
    /// What it shows.
    pub link: Link,
    /// Its newest rows.
    pub content: watch::Sender<Arc<Content>>,
    followers: AtomicUsize,
    left: Mutex<Instant>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl OpenPanel {
    /// A panel that no tab follows yet.
    pub fn new(link: Link, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            link,
            content: watch::Sender::new(Arc::default()),
            followers: AtomicUsize::new(0),
            left: Mutex::new(Instant::now()),
            _permit: permit,
        }
    }

    /// Whether a tab follows it.
    pub fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    fn is_left(&self) -> bool {
        !self.is_followed() && lock(&self.left).elapsed() >= LINGER
    }

    fn touch(&self) {
        *lock(&self.left) = Instant::now();
    }
}

/// A tab that follows a panel.
#[derive(Debug)]
pub struct Follower {
    /// The panel.
    pub panel: Arc<OpenPanel>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.panel.touch();
        self.panel.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open panels of one file.
#[derive(Debug)]
pub struct OpenPanels {
    registry: Mutex<Registry>,
    limits: Arc<Limits>,
    /// Notified of each new panel.
    pub wake: Notify,
    /// How the hub is doing.
    pub state: watch::Sender<Arc<ConsumerState>>,
    /// What it runs.
    pub about: watch::Sender<Arc<About>>,
    /// The file.
    pub source: PanelSource,
}

#[derive(Debug, Default)]
struct Registry {
    panels: HashMap<String, Arc<OpenPanel>>,
    fresh: Vec<Arc<OpenPanel>>,
    running: bool,
}

/// What the hub has to do.
#[derive(Debug, Default)]
pub struct Changes {
    /// Panels to take in.
    pub fresh: Vec<Arc<OpenPanel>>,
    /// Whether panels were closed.
    pub closed: bool,
    /// None is left: the hub has been marked as ended, and ends.
    pub ended: bool,
}

impl OpenPanels {
    /// Without panels.
    pub fn new(source: PanelSource, limits: Arc<Limits>) -> Self {
        Self {
            registry: Mutex::default(),
            limits,
            wake: Notify::new(),
            state: watch::Sender::new(Arc::new(ConsumerState::starting())),
            about: watch::Sender::default(),
            source,
        }
    }

    /// The panel of a link, opened if it is not; `start` is called where no hub runs.
    pub fn open(
        &self,
        link: &Link,
        start: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<Arc<OpenPanel>, LimitReached> {
        let mut registry = lock(&self.registry);
        let query = link.query();
        let panel = if let Some(panel) = registry.panels.get(&query) {
            Arc::clone(panel)
        } else {
            let panel = Arc::new(OpenPanel::new(link.clone(), Some(self.limits.panel()?)));
            registry.panels.insert(query, Arc::clone(&panel));
            registry.fresh.push(Arc::clone(&panel));
            panel
        };
        panel.touch();
        if !registry.running {
            self.state.send_replace(Arc::new(ConsumerState::starting()));
            match start() {
                Ok(()) => registry.running = true,
                Err(error) => tracing::error!("panels cannot be served: {error}"),
            }
        }
        drop(registry);
        self.wake.notify_one();
        Ok(panel)
    }

    /// What is new since the last call; with `sweep`, panels are closed that no tab has followed for a while.
    pub fn changes(&self, sweep: bool) -> Changes {
        let mut registry = lock(&self.registry);
        let before = registry.panels.len();
        if sweep {
            registry.panels.retain(|_, panel| !panel.is_left());
        }
        let closed = registry.panels.len() < before;
        let ended = sweep && registry.panels.is_empty();
        if ended {
            registry.running = false;
        }
        Changes { fresh: std::mem::take(&mut registry.fresh), closed, ended }
    }

    /// Whether this very panel is still open.
    pub fn is_open(&self, panel: &Arc<OpenPanel>) -> bool {
        lock(&self.registry).panels.get(&panel.link.query()).is_some_and(|open| Arc::ptr_eq(open, panel))
    }

    /// Publishes how the hub is doing, and keeps since when if it is the same as before.
    pub fn set_state(&self, mut state: ConsumerState) {
        self.state.send_if_modified(|current| {
            if state.continues(current) {
                state.since = current.since;
            }
            let differs = **current != state;
            if differs {
                *current = Arc::new(state);
            }
            differs
        });
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn link(lat: f64) -> Link {
        let pairs = vec![("lat".to_owned(), lat.to_string()), ("lon".to_owned(), "0".to_owned())];
        Link::parse(pairs, None).unwrap().into_link()
    }

    fn panels(limits: &Arc<Limits>) -> OpenPanels {
        OpenPanels::new(PanelSource { queries: "".into(), name: "a".to_owned() }, Arc::clone(limits))
    }

    #[test]
    fn one_link_is_one_panel_and_there_is_a_limit_over_all_files() {
        let limits = Arc::default();
        let (panels, others) = (panels(&limits), panels(&limits));
        let mut starts = 0;
        let mut open = |lat: f64| {
            panels.open(&link(lat), || {
                starts += 1;
                Ok(())
            })
        };
        let first = open(0.0).unwrap();
        assert!(Arc::ptr_eq(&first, &open(0.0).unwrap()));
        for number in 1..MAX_PANELS {
            open(number as f64 / 100.0).unwrap();
        }
        assert_eq!(open(80.0).unwrap_err(), LimitReached::Panels);
        assert_eq!(others.open(&link(0.0), || Ok(())).unwrap_err(), LimitReached::Panels);
        assert!(open(0.01).is_ok(), "one that is open already");
        assert_eq!(starts, 1);
        assert_eq!(panels.changes(true).fresh.len(), MAX_PANELS);
        drop((first, panels));
        assert!(others.open(&link(0.0), || Ok(())).is_ok(), "closed panels make room");
    }

    #[test]
    fn streams_are_counted_until_they_end() {
        let limits = Arc::default();
        let panel = panels(&limits).open(&link(1.0), || Ok(())).unwrap();
        let followers: Vec<_> = (0..MAX_STREAMS).map(|_| limits.follow(Arc::clone(&panel)).unwrap()).collect();
        assert_eq!(limits.follow(Arc::clone(&panel)).unwrap_err(), LimitReached::Streams);
        assert!(panel.is_followed());
        drop(followers);
        assert!(!panel.is_followed());
        assert!(limits.follow(panel).is_ok());
    }

    #[test]
    fn a_continuing_state_keeps_its_beginning() {
        let panels = panels(&Arc::default());
        panels.set_state(ConsumerState { since: 5, ..ConsumerState::unreachable("refused") });
        panels.set_state(ConsumerState { since: 9, ..ConsumerState::unreachable("timed out") });
        assert_eq!(panels.state.borrow().since, 5);
        panels.set_state(ConsumerState { since: 11, ..ConsumerState::live() });
        assert_eq!(panels.state.borrow().since, 11);
    }
}
