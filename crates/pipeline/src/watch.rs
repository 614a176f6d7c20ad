//! Notices when a folder of SQL has changed and come to rest: an editor may write a file in several steps, or write another
//! one and rename it.
//!
//! The system's notices are fast, and know folders by what they were when the watch began: not when one is put in the
//! place of another, nor what a symbolic link points at, nor what another machine writes. So the files are also looked at
//! every [`POLL_INTERVAL`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use tallgrass_view::{DASHBOARD, SOURCES};

/// How long nothing must happen.
const QUIET: Duration = Duration::from_millis(40);

/// How long a folder that never rests is waited for.
const RESTLESS: Duration = Duration::from_millis(150);

/// How often the files are looked at, with or without a notice.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches a folder of SQL and the files of its static relations.
#[derive(Debug)]
pub(super) struct Watch {
    watched: Arc<Watched>,
    rested: Arc<Notify>,
    tasks: [JoinHandle<()>; 2],
}

/// What is watched.
#[derive(Debug)]
struct Watched {
    folder: PathBuf,
    /// Of static relations.
    files: Mutex<Vec<PathBuf>>,
    touched: Notify,
}

/// A file as it was seen: its length, its time, and which file it is.
type Stamp = (u64, Option<SystemTime>, u64);

impl Watch {
    /// Starts to watch; needs a runtime.
    pub(super) fn start(folder: &Path) -> Self {
        let watched = Arc::new(Watched { folder: folder.to_owned(), files: Mutex::default(), touched: Notify::new() });
        let rested = Arc::new(Notify::new());
        let (resting, touching) = (Arc::clone(&rested), Arc::clone(&watched));
        // A task of its own: a waiting caller may stop waiting in the midst of a burst.
        let rest = tokio::spawn(async move {
            loop {
                touching.touched.notified().await;
                let first = Instant::now();
                while first.elapsed() < RESTLESS
                    && tokio::time::timeout(QUIET, touching.touched.notified()).await.is_ok()
                {}
                resting.notify_one();
            }
        });
        let looking = Arc::clone(&watched);
        let look = tokio::spawn(async move { looking.look_again_and_again().await });
        Self { watched, rested, tasks: [rest, look] }
    }

    /// Watches these files of static relations, in place of those of before.
    pub(super) fn follow(&self, files: Vec<PathBuf>) {
        *self.watched.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Waits until something has changed and nothing does any more. May be dropped while it waits.
    pub(super) async fn changed(&self) {
        self.rested.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Watched {
    async fn look_again_and_again(self: Arc<Self>) {
        let mut known = self.stamps();
        let mut notices = self.ask_for_notices(&known);
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let now = self.stamps();
            if now != known {
                // Another folder may stand in the place of the one that was asked about.
                notices = self.ask_for_notices(&now);
                known = now;
                self.touched.notify_one();
            }
            _ = &notices;
        }
    }

    /// Asks the system for notices about the folders; where it cannot, the next look finds out.
    fn ask_for_notices(self: &Arc<Self>, stamps: &BTreeMap<PathBuf, Option<Stamp>>) -> Option<RecommendedWatcher> {
        let noticed = Arc::clone(self);
        let handler = move |event: notify::Result<notify::Event>| match event {
            // Our own reading is none, and what others keep in the same folder is not ours.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) || !noticed.concerns(&event.paths) => {}
            // After an error anything may have happened.
            Ok(_) | Err(_) => noticed.touched.notify_one(),
        };
        let mut watcher = RecommendedWatcher::new(handler, Config::default())
            .inspect_err(|error| tracing::debug!("{error}: edits are looked for every second"))
            .ok()?;
        let dashboard = self.folder.join(DASHBOARD);
        let folders: BTreeSet<&Path> = stamps
            .keys()
            .filter_map(|file| file.parent())
            .chain([self.folder.as_path(), dashboard.as_path()])
            .collect();
        for folder in folders {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::debug!("{}: {error}: looked at every second", folder.display());
            }
        }
        Some(watcher)
    }

    /// Whether an event at these paths may change what the dashboard shows.
    fn concerns(&self, paths: &[PathBuf]) -> bool {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let is_sql = |path: &Path| {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            path.extension().is_some_and(|extension| extension == "sql") && !hidden
        };
        paths.is_empty()
            || paths.iter().any(|path| {
                is_sql(path)
                    || path.ends_with(DASHBOARD)
                    || files.iter().any(|file| file.file_name() == path.file_name())
            })
    }

    /// Every file that counts, as it is now; links are followed.
    fn stamps(&self) -> BTreeMap<PathBuf, Option<Stamp>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dashboard = self.folder.join(DASHBOARD);
        files.extend([self.folder.join(SOURCES), dashboard.join(".")]);
        let entries = std::fs::read_dir(&dashboard).into_iter().flatten().filter_map(Result::ok);
        files.extend(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "sql")));
        files.into_iter().map(|file| (file.clone(), stamp(&file))).collect()
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    // A folder's own time changes with whatever is put into it.
    let time = if found.is_dir() { None } else { found.modified().ok() };
    Some((if found.is_dir() { 0 } else { found.len() }, time, identity(&found)))
}

#[cfg(unix)]
fn identity(file: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> u64 {
    0
}
