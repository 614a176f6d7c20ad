//! What every handler sees.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::{Shot, Variants};
use tallgrass_sink::terminal::ProofNote;

/// Asks whether live and replay agree; none where nobody checks, or nobody has yet.
pub type ProofSource = Arc<dyn Fn() -> Option<ProofNote> + Send + Sync>;

/// A live run, as its servers see it.
#[derive(Clone)]
pub struct App {
    /// What this is, such as `tallgrass demo`.
    pub name: String,
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The folder of SQL.
    pub queries: PathBuf,
    /// The newest refresh; none before the first.
    pub shots: watch::Receiver<Option<Arc<Shot>>>,
    /// Files that somebody wants with other values for their parameters.
    pub variants: Variants,
    /// Whether live and replay agree.
    pub proof: ProofSource,
}

impl App {
    /// The newest refresh.
    pub fn newest(&self) -> Option<Arc<Shot>> {
        self.shots.borrow().clone()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("name", &self.name).field("queries", &self.queries).finish_non_exhaustive()
    }
}
