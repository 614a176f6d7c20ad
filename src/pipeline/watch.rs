//! Tells when a folder of SQL has changed and come to rest: an editor may write a file in several steps, or write another
//! one and rename it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long nothing must happen.
const QUIET: Duration = Duration::from_millis(40);

/// How long a folder that never rests is waited for.
const RESTLESS: Duration = Duration::from_millis(150);

/// How often a file system is looked at that tells nothing by itself.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Watches the folder, everything in it, and the files of static relations.
pub(super) struct Watch {
    watcher: Box<dyn Watcher + Send>,
    followed: Vec<PathBuf>,
    rested: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to watch; needs a runtime.
    pub(super) fn start(folder: &Path) -> notify::Result<Self> {
        let (touched, rested) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let told = Arc::clone(&touched);
        let handler = move |event: notify::Result<notify::Event>| match event {
            // Our own reading is none.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            // After an error anything may have happened.
            Ok(_) | Err(_) => told.notify_one(),
        };
        let mut watcher: Box<dyn Watcher + Send> = match RecommendedWatcher::new(handler.clone(), Config::default()) {
            Ok(watcher) => Box::new(watcher),
            Err(error) => {
                tracing::info!("{error}: looking for edited files every second");
                Box::new(PollWatcher::new(handler, Config::default().with_poll_interval(POLL_INTERVAL))?)
            }
        };
        watcher.watch(folder, RecursiveMode::Recursive)?;
        let resting = Arc::clone(&rested);
        // A task of its own: whoever waits for it may stop waiting in the midst of a burst.
        let task = tokio::spawn(async move {
            loop {
                touched.notified().await;
                let first = Instant::now();
                while first.elapsed() < RESTLESS && tokio::time::timeout(QUIET, touched.notified()).await.is_ok() {}
                resting.notify_one();
            }
        });
        Ok(Self { watcher, followed: Vec::new(), rested, task })
    }

    /// Watches the folders of these files too. One that cannot be watched is told, and its edits are not seen.
    pub(super) fn follow(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        for file in files {
            let folder = if file.is_dir() { Some(file.as_path()) } else { file.parent() };
            let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            if self.followed.contains(&folder) {
                continue;
            }
            if let Err(error) = self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!("edits of {} will not be seen: {error}", folder.display());
            }
            self.followed.push(folder);
        }
    }

    /// Waits until something has changed and nothing does any more. May be dropped while it waits.
    pub(super) async fn changed(&self) {
        self.rested.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("followed", &self.followed).finish_non_exhaustive()
    }
}
