//! What the hub's thread and the server's handlers have in common: the open panels, and what each of them shows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::place::Request;
use super::row::Columns;
use super::state::State;

/// Panels at once: each keeps two hundred rows, about 60 kB.
pub const MAX_PANELS: usize = 5_000;

/// Event streams at once, of all panels together: each is a connection.
pub const MAX_STREAMS: usize = 5_000;

/// How long a panel stays when nobody looks: over a reload, and from the page's first paint to its stream.
pub const LINGER: Duration = Duration::from_secs(10);

/// Why a panel cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All panels are taken.
    #[error("{MAX_PANELS} panels are open, and that is the limit: close one, or try again in a minute")]
    Panels,
    /// All streams are taken.
    #[error("{MAX_STREAMS} pages follow panels, and that is the limit: close one, or try again in a minute")]
    Streams,
    /// All groups are taken.
    #[error("{0} panels have a consumer group of their own, and that is the limit: leave out own_group=true")]
    Groups(usize),
}

/// What a panel shows.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Another one means: what was shown before is void.
    pub epoch: u64,
    /// Whether it has been filled at all.
    pub ready: bool,
    /// Of what the rows consist.
    pub columns: Arc<Columns>,
    /// The newest rows as JSON, oldest first.
    pub rows: Vec<Arc<str>>,
    /// The number that the next row will get.
    pub next_k: u64,
    /// Rows since the panel was opened, shown or not.
    pub total: u64,
    /// Of these in the last minute.
    pub minute: u64,
    /// Whether rows between these have been counted only.
    pub sampled: bool,
    /// Why there are none.
    pub error: Option<Arc<str>>,
}

/// What is said of a panel's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct About {
    /// The file's title.
    pub title: String,
    /// Where it lies.
    pub path: String,
    /// What it says.
    pub sql: String,
    /// How its rows are found.
    pub how: String,
}

/// An open panel.
#[derive(Debug)]
pub struct Entry {
    /// What it is about.
    pub request: Request,
    /// What it shows.
    pub content: watch::Sender<Arc<Content>>,
    watchers: AtomicUsize,
    left: Mutex<Instant>,
}

impl Entry {
    /// A panel that nobody looks at yet.
    pub fn new(request: Request) -> Self {
        Self {
            request,
            content: watch::Sender::new(Arc::default()),
            watchers: AtomicUsize::new(0),
            left: Mutex::new(Instant::now()),
        }
    }

    /// Whether somebody looks.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    fn is_left(&self) -> bool {
        !self.is_watched() && lock(&self.left).elapsed() >= LINGER
    }

    fn touch(&self) {
        *lock(&self.left) = Instant::now();
    }
}

/// All panels of a server.
#[derive(Debug)]
pub struct Shared {
    registry: Mutex<Registry>,
    streams: AtomicUsize,
    /// Told when a panel is new.
    pub wake: Notify,
    /// How the hub is doing.
    pub state: watch::Sender<Arc<State>>,
    /// Of what file.
    pub about: watch::Sender<Arc<About>>,
    /// The folder of SQL.
    pub queries: PathBuf,
}

#[derive(Debug, Default)]
struct Registry {
    panels: HashMap<String, Arc<Entry>>,
    fresh: Vec<Arc<Entry>>,
    running: bool,
}

/// What the hub has to do.
#[derive(Debug, Default)]
pub struct Changes {
    /// Panels to take in.
    pub fresh: Vec<Arc<Entry>>,
    /// Whether panels have gone.
    pub gone: bool,
    /// Nobody is left: the hub has been marked as ended, and ends.
    pub ended: bool,
}

impl Shared {
    /// Without panels.
    pub fn new(queries: PathBuf) -> Self {
        Self {
            registry: Mutex::default(),
            streams: AtomicUsize::new(0),
            wake: Notify::new(),
            state: watch::Sender::new(Arc::new(State::starting())),
            about: watch::Sender::default(),
            queries,
        }
    }

    /// The panel of a request, opened if it is not; `start` is called where no hub runs.
    pub fn open(&self, request: &Request, start: impl FnOnce() -> std::io::Result<()>) -> Result<Arc<Entry>, Full> {
        let mut registry = lock(&self.registry);
        let query = request.query();
        let entry = if let Some(entry) = registry.panels.get(&query) {
            Arc::clone(entry)
        } else {
            if registry.panels.len() >= MAX_PANELS {
                return Err(Full::Panels);
            }
            let entry = Arc::new(Entry::new(request.clone()));
            registry.panels.insert(query, Arc::clone(&entry));
            registry.fresh.push(Arc::clone(&entry));
            entry
        };
        entry.touch();
        if !registry.running {
            self.state.send_replace(Arc::new(State::starting()));
            match start() {
                Ok(()) => registry.running = true,
                Err(error) => tracing::error!("panels cannot be served: {error}"),
            }
        }
        drop(registry);
        self.wake.notify_one();
        Ok(entry)
    }

    /// Counts somebody who looks, until the answer is dropped.
    pub fn watch(self: &Arc<Self>, entry: Arc<Entry>) -> Result<Watcher, Full> {
        if self.streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
            self.streams.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Streams);
        }
        entry.watchers.fetch_add(1, Ordering::Relaxed);
        Ok(Watcher { shared: Arc::clone(self), entry })
    }

    /// What is new since the last call; with `sweep` panels go that nobody has looked at for a while.
    pub fn changes(&self, sweep: bool) -> Changes {
        let mut registry = lock(&self.registry);
        let before = registry.panels.len();
        if sweep {
            registry.panels.retain(|_, entry| !entry.is_left());
        }
        let gone = registry.panels.len() < before;
        let ended = sweep && registry.panels.is_empty();
        if ended {
            registry.running = false;
        }
        Changes { fresh: std::mem::take(&mut registry.fresh), gone, ended }
    }

    /// Whether this very panel is still open.
    pub fn is_open(&self, entry: &Arc<Entry>) -> bool {
        lock(&self.registry).panels.get(&entry.request.query()).is_some_and(|open| Arc::ptr_eq(open, entry))
    }

    /// Says how the hub is doing, and keeps since when if it is the same as before.
    pub fn tell(&self, mut state: State) {
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

/// Somebody who looks at a panel.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    /// The panel.
    pub entry: Arc<Entry>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.entry.touch();
        self.entry.watchers.fetch_sub(1, Ordering::Relaxed);
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::place::Asked;
    use super::*;

    fn request(lat: f64) -> Request {
        let pairs = vec![("lat".to_owned(), lat.to_string()), ("lon".to_owned(), "0".to_owned())];
        match Request::parse(pairs, 3.0).unwrap() {
            Asked::Panel(request) | Asked::Elsewhere(request) => request,
        }
    }

    #[test]
    fn one_link_is_one_panel_and_there_is_a_limit() {
        let shared = Shared::new(PathBuf::new());
        let mut starts = 0;
        let mut open = |lat: f64| {
            shared.open(&request(lat), || {
                starts += 1;
                Ok(())
            })
        };
        let first = open(0.0).unwrap();
        assert!(Arc::ptr_eq(&first, &open(0.0).unwrap()));
        for number in 1..MAX_PANELS {
            open(number as f64 / 100.0).unwrap();
        }
        assert_eq!(open(80.0).unwrap_err(), Full::Panels);
        assert!(open(0.01).is_ok(), "one that is open already");
        assert_eq!(starts, 1);
        assert_eq!(shared.changes(true).fresh.len(), MAX_PANELS);
    }

    #[test]
    fn streams_are_counted_until_they_end() {
        let shared = Arc::new(Shared::new(PathBuf::new()));
        let entry = shared.open(&request(1.0), || Ok(())).unwrap();
        let watchers: Vec<_> = (0..MAX_STREAMS).map(|_| shared.watch(Arc::clone(&entry)).unwrap()).collect();
        assert_eq!(shared.watch(Arc::clone(&entry)).unwrap_err(), Full::Streams);
        assert!(entry.is_watched());
        drop(watchers);
        assert!(!entry.is_watched());
        assert!(shared.watch(entry).is_ok());
    }

    #[test]
    fn a_state_that_goes_on_keeps_its_beginning() {
        let shared = Shared::new(PathBuf::new());
        shared.tell(State { since: 5, ..State::broker_gone("refused") });
        shared.tell(State { since: 9, ..State::broker_gone("timed out") });
        assert_eq!(shared.state.borrow().since, 5);
        shared.tell(State { since: 11, ..State::live() });
        assert_eq!(shared.state.borrow().since, 11);
    }
}
