//! The state that every handler sees.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::{Published, Variants};
use tallgrass_proof::Proofs;
use tallgrass_sink::terminal::ProofNote;

/// A live run, from its servers' view.
#[derive(Clone)]
pub struct App {
    /// Its name, such as `tallgrass demo`.
    pub name: String,
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The folder of SQL.
    pub queries: PathBuf,
    /// The newest refresh; none before the first.
    pub newest: watch::Receiver<Option<Arc<Published>>>,
    /// Files with other values for their parameters, as clients request them.
    pub variants: Variants,
    /// What proofs beside the run find; none where it is not verified.
    pub proofs: Option<Arc<Proofs>>,
}

impl App {
    /// The newest refresh.
    pub fn newest(&self) -> Option<Arc<Published>> {
        self.newest.borrow().clone()
    }

    /// Whether live and replay agree; none where that is not verified, or not yet.
    pub(crate) fn proof(&self) -> Option<ProofNote> {
        self.proofs.as_ref().and_then(|proofs| proofs.note())
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("name", &self.name).field("queries", &self.queries).finish_non_exhaustive()
    }
}
