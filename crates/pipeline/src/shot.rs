//! One refresh of a live run, as others see it: whole, of one moment, and never waited for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use super::engine::{Snapshot, ViewResult};
use super::live::Live;
use super::status::{FileState, Sources, Status};

/// Where a live loop leaves its newest refresh, for whoever wants to look: a place of one, so that nobody who is slow
/// holds up the loop.
pub type Newest = watch::Sender<Option<Arc<Shot>>>;

/// All that a live run says at one moment.
#[derive(Debug, Clone)]
pub struct Shot {
    /// The results.
    pub snapshot: Snapshot,
    /// How the run is doing; its history is what the broker had lost when the run started.
    pub status: Status,
    /// What the results' views were planned from; none while some are on their way to another meaning.
    pub sources: Option<Arc<Sources>>,
    /// The dashboard's files, in their order.
    pub files: Arc<Vec<FileState>>,
    /// When it was taken.
    pub at: SystemTime,
    /// The same by a clock that never jumps.
    pub taken: Instant,
}

impl Shot {
    /// What a refresh of a live run says.
    pub fn of(live: &Live, snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            status: live.status().clone(),
            sources: live.sources().cloned(),
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

impl Default for Shot {
    /// Of a run that has not begun.
    fn default() -> Self {
        Self {
            snapshot: Snapshot::default(),
            status: Status::new(),
            sources: None,
            files: Arc::default(),
            at: SystemTime::now(),
            taken: Instant::now(),
        }
    }
}
