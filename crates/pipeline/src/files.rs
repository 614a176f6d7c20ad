//! The dashboard's files: what runs of them, and what is wrong with them.

use std::sync::Arc;

use super::variants::Variant;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_kafka::AsOf;
use tallgrass_view::results::ChangeCounts;
use tallgrass_view::{SqlFile, Workspace};

/// A dashboard file: what is shown of it, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct FileState {
    /// The view's name.
    pub name: Arc<str>,
    /// The file as it is on disk, or as it last could be parsed; none that never could.
    pub file: Option<SqlFile>,
    /// The file whose view runs: an older one while the new one is broken or being built, none before the first.
    pub running: Option<SqlFile>,
    /// What has no effect in it, or leaves its result open.
    pub warnings: Vec<Diagnostic>,
    /// Why it cannot be a view as it is. What it was before goes on.
    pub error: Option<Diagnostic>,
    /// Its last change of meaning.
    pub swap: Option<Swap>,
}

impl FileState {
    /// A file of which nothing is known yet.
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, file: None, running: None, warnings: Vec::new(), error: None, swap: None }
    }

    /// The view of the same file with its own values, where this one is a [variant](super::Variant).
    pub fn variant_of(&self) -> Option<&str> {
        Variant::base(&self.name)
    }
}

/// What the running views were planned from: a replay of these gives their rows.
#[derive(Debug, Clone)]
pub struct Definitions {
    /// The relations.
    pub workspace: Workspace,
    /// The files, in their order.
    pub files: Vec<SqlFile>,
}

/// A view's new meaning took the place of the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// When: both results were of these offsets.
    pub as_of: AsOf,
    /// How the rows differ from the old result's; none where there was no old one.
    pub changes: Option<ChangeCounts>,
}
