//! One refresh of a live run, as servers and terminals see it: whole, of one moment, and never waited for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use super::engine::Snapshot;
use super::files::{Definitions, FileState};
use super::live::Live;
use super::named_view::ViewResult;
use super::status::Status;

/// Where a live loop leaves its newest refresh: a place of one, so that a slow reader does not hold up the loop.
pub type Newest = watch::Sender<Option<Arc<Published>>>;

/// All that is known of a live run at one moment.
#[derive(Debug, Clone)]
pub struct Published {
    /// The results.
    pub snapshot: Snapshot,
    /// How the run is doing; its history is what the broker had lost when the run started.
    pub status: Status,
    /// What the results' views were planned from; none while some are on their way to another meaning.
    pub definitions: Option<Arc<Definitions>>,
    /// The dashboard's files, in their order.
    pub files: Arc<Vec<FileState>>,
    /// When it was taken.
    pub at: SystemTime,
    /// The same by a clock that never jumps.
    pub taken: Instant,
}

impl Published {
    /// What a refresh of a live run gave.
    pub fn of(live: &Live, snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            status: live.status().clone(),
            definitions: live.definitions().cloned(),
            files: Arc::clone(live.files()),
            at: SystemTime::now(),
            taken: Instant::now(),
        }
    }

    /// The result of a view.
    pub fn result(&self, view: &str) -> Option<&ViewResult> {
        self.snapshot.results.iter().find(|result| *result.name == *view)
    }

    /// A file of the dashboard.
    pub fn file(&self, view: &str) -> Option<&FileState> {
        self.files.iter().find(|file| *file.name == *view)
    }
}

impl Default for Published {
    /// Of a run that has not begun.
    fn default() -> Self {
        Self {
            snapshot: Snapshot::default(),
            status: Status::new(),
            definitions: None,
            files: Arc::default(),
            at: SystemTime::now(),
            taken: Instant::now(),
        }
    }
}
