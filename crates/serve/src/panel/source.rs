//! Which file a panel shows, and whether what is saved has changed.

use std::path::PathBuf;

use tallgrass_view::{PANELS, SOURCES, SqlFile, Workspace, WorkspaceError, read_regular};

/// A panel's file by its name, which it may have or not at a moment.
#[derive(Debug, Clone)]
pub struct PanelSource {
    /// The folder of SQL.
    pub queries: PathBuf,
    /// The file's name in `panels/`, without `.sql`.
    pub name: String,
}

/// What is saved at a moment: the relations, and the panel.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SavedTexts {
    /// The content of `sources.sql`.
    pub sources: Option<Vec<u8>>,
    /// The content of the panel's file.
    pub panel: Option<Vec<u8>>,
}

impl PanelSource {
    /// Reads the files' texts.
    pub fn texts(&self) -> SavedTexts {
        let panel = self.queries.join(PANELS).join(&self.name).with_extension("sql");
        SavedTexts { sources: read_regular(&self.queries.join(SOURCES)).ok(), panel: read_regular(&panel).ok() }
    }

    /// Reads the relations, and the file.
    pub fn load(&self) -> Result<(Workspace, SqlFile), WorkspaceError> {
        let workspace = Workspace::load(&self.queries)?;
        let file = workspace.panel(Some(&self.name))?;
        Ok((workspace, file))
    }
}
