//! From a folder of SQL to what must become of the running views.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::named_view::NamedView;
use super::variants::Variant;
use tallgrass_diagnostics::{Diagnostic, message_of};
use tallgrass_relation::{Catalog, Relation};
use tallgrass_view::files::lint;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{DASHBOARD, Fingerprint, LoadedFile, SqlFile, Workspace, WorkspaceError, fingerprints, live_view};

/// How long a file may be missing or empty before it counts as deleted or broken: some editors write in two steps.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// A folder, planned.
#[derive(Debug)]
pub(super) struct FolderPlan {
    pub(super) workspace: Workspace,
    /// The views that ran when it was made: it says what becomes of those.
    pub(super) against: RunningViews,
    /// Why the declarations or the folder are not those on disk.
    pub(super) sources_error: Option<String>,
    /// In the order of the dashboard.
    pub(super) files: Vec<PlannedFile>,
}

/// A dashboard file, and what becomes of its view.
#[derive(Debug)]
pub(super) struct PlannedFile {
    pub(super) name: Arc<str>,
    /// The file; none that cannot be parsed.
    pub(super) file: Option<SqlFile>,
    /// What has no effect in it, or leaves its result open.
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) fate: Fate,
}

#[derive(Debug)]
pub(super) enum Fate {
    /// It means what it meant.
    Keep,
    /// It means what a deleted file meant.
    Rename(Arc<str>),
    /// It is new, or means something else.
    Build(Box<NamedView>),
    /// It cannot be a view.
    Broken(Diagnostic),
}

/// The running views: what each file meant.
pub(super) type RunningViews = BTreeMap<Arc<str>, Fingerprint>;

/// Plans a folder as it is on disk. A file that misses or is empty gets a second look. With `last`, the workspace of
/// before, declarations that cannot be used leave those of before in force, and a folder that is missing changes nothing.
pub(super) async fn plan_folder(
    dir: &Path,
    running: &RunningViews,
    max_rows: usize,
    last: Option<Workspace>,
    variants: &[Variant],
) -> Result<FolderPlan, WorkspaceError> {
    let mut workspace = Workspace::load(dir);
    let looks_torn = match &workspace {
        Ok(workspace) => workspace.catalog().misses_files() || is_torn(&workspace.dashboard(), running),
        Err(_) => true,
    };
    if looks_torn && last.is_some() {
        tokio::time::sleep(SECOND_LOOK).await;
        workspace = Workspace::load(dir);
    }
    let (workspace, sources_error) = match (workspace, last) {
        (Ok(workspace), _) => (workspace, None),
        (Err(error), Some(last)) => (last, Some(message_of(&error))),
        (Err(error), None) => return Err(error),
    };
    if !running.is_empty() {
        // Missing for a moment, as when a whole folder is checked out again, is not the same as empty.
        let path = dir.join(DASHBOARD);
        std::fs::read_dir(&path).map_err(|source| WorkspaceError::Folder { path, source })?;
    }
    let mut files = workspace.dashboard();
    let varied: Vec<LoadedFile> = variants.iter().filter_map(|variant| variant.of(&files)).map(Ok).collect();
    files.extend(varied);
    Ok(FolderPlan { sources_error, ..plan(workspace, files, running, max_rows).await? })
}

/// Whether a file looks as if it were just being written.
fn is_torn(files: &[LoadedFile], running: &RunningViews) -> bool {
    let parsed: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.as_ref().ok()?.name())).collect();
    running.keys().any(|name| !Variant::is_name(name) && !parsed.contains(&**name))
}

/// Plans files of a workspace.
pub(super) async fn plan(
    workspace: Workspace,
    files: Vec<LoadedFile>,
    running: &RunningViews,
    max_rows: usize,
) -> Result<FolderPlan, WorkspaceError> {
    let session = workspace.live_session().await?;
    let parsed: Vec<SqlFile> = files.iter().filter_map(|file| file.as_ref().ok()).cloned().collect();
    let prints = fingerprints(&parsed, workspace.catalog());
    let mut plans = parsed.iter().zip(workspace.plan_dashboard(&session, &parsed).await);
    let deleted: Vec<&Arc<str>> =
        running.keys().filter(|name| !files.iter().any(|file| *name_of(file) == ***name)).collect();
    let mut renamed: BTreeSet<&Arc<str>> = BTreeSet::new();
    let mut planned = Vec::with_capacity(files.len());
    for file in &files {
        let name: Arc<str> = name_of(file).into();
        let mut warnings = Vec::new();
        let fate = match file {
            Err(error) => Fate::Broken(error.clone()),
            Ok(file) => {
                let fingerprint = prints.get(file.name()).copied().unwrap_or_default();
                let plan = plans.next().map(|(_, plan)| plan);
                if let Some(Ok(plan)) = &plan {
                    warnings.extend_from_slice(file.warnings());
                    warnings.extend(file.check_columns(plan.schema().as_arrow()));
                    // A plan that it cannot judge has its own error.
                    warnings.extend(lint::warnings(file, plan).unwrap_or_default());
                }
                let former = deleted.iter().find(|name| running[**name] == fingerprint && !renamed.contains(**name));
                match (plan, former) {
                    (Some(Err(error)), _) => Fate::Broken(error),
                    _ if running.get(&name) == Some(&fingerprint) => Fate::Keep,
                    (_, Some(former)) => {
                        renamed.insert(*former);
                        Fate::Rename(Arc::clone(former))
                    }
                    (Some(Ok(plan)), None) => match live_view(&session, file, plan, Use::Result, max_rows).await {
                        Ok(view) => Fate::Build(Box::new(NamedView::new(Arc::clone(&name), fingerprint, Ok(view)))),
                        Err(error) => Fate::Broken(error),
                    },
                    (None, None) => continue,
                }
            }
        };
        planned.push(PlannedFile { name, file: file.as_ref().ok().cloned(), warnings, fate });
    }
    drop(plans);
    Ok(FolderPlan { workspace, against: running.clone(), sources_error: None, files: planned })
}

fn name_of(file: &LoadedFile) -> &str {
    match file {
        Ok(file) => file.name(),
        Err(error) => error.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(),
    }
}

/// The files of static relations, those that are missing too.
pub(super) fn static_files(catalog: &Catalog) -> Vec<PathBuf> {
    let files = |relation: &Relation| match relation {
        Relation::Static(relation) => relation.watched(),
        Relation::Kafka(_) => Vec::new(),
    };
    catalog.relations().flat_map(files).collect()
}
