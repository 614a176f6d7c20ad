//! What a save does to a running dashboard: plan the folder, rebuild what means something else, swap it in.
//!
//! ```text
//!  Planning   Idle ─(saved)─▶ Running ─(saved again: outdated)─▶ Running ─▶ Idle
//!                                │ FolderPlan
//!                                ▼
//!  Building   Idle ─────────▶ Running ─(both at one as-of: swap)─▶ Idle
//!                                └─(failed)─▶ RetryAt ─(planned again)─▶ Running
//! ```
//!
//! The two go on side by side: what is saved while views are rebuilt is planned at once, and if the rebuild is still
//! wanted it goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use tokio::task::JoinHandle;

use super::{Live, LiveConfig, definitions, drop_aside};
use crate::error::LiveError;
use crate::feed::GoOn;
use crate::files::{FileState, Swap};
use crate::named_view::NamedView;
use crate::planning::{Fate, FolderPlan, PlannedFile, RunningViews, plan_folder, static_files};
use crate::rebuild::{Beside, Rebuild, Shadow};
use crate::variants::Variants;
use crate::watch::Watch;
use tallgrass_diagnostics::message_of;
use tallgrass_relation::Catalog;
use tallgrass_view::WorkspaceError;
use tallgrass_view::results::Difference;

/// How long a rebuild that failed waits before it is tried again.
const REBUILD_AGAIN: Duration = Duration::from_secs(5);

/// What saves have set going.
#[derive(Debug)]
pub(super) struct Edits {
    /// None where edits are not looked for.
    watch: Option<Watch>,
    variants: Variants,
    planning: Planning,
    building: Building,
}

/// The look at the folder.
#[derive(Debug, Default)]
enum Planning {
    #[default]
    Idle,
    Running {
        task: JoinHandle<Result<FolderPlan, WorkspaceError>>,
        /// The folder has changed since it began.
        outdated: bool,
    },
}

/// The views that mean something else.
#[derive(Debug, Default)]
enum Building {
    #[default]
    Idle,
    Running {
        rebuild: Rebuild,
        /// More was saved than it builds: that is planned after the swap.
        more_saved: bool,
    },
    /// A rebuild has failed.
    RetryAt(Instant),
}

/// What an edit needs next.
#[derive(Debug)]
pub(super) enum EditStep {
    /// The folder may mean something else.
    Look,
    Planned(Result<FolderPlan, LiveError>),
    RoundEnded(Result<(), LiveError>),
}

impl Edits {
    /// Looks for edits, if that is wanted.
    pub(super) fn start(config: &LiveConfig) -> Self {
        Self {
            watch: config.watch.then(|| Watch::start(&config.queries)),
            variants: config.variants.clone(),
            planning: Planning::Idle,
            building: Building::Idle,
        }
    }

    /// Looks for edits of these static relations' files too.
    pub(super) fn follow(&self, catalog: &Catalog) {
        if let Some(watch) = &self.watch {
            watch.follow(static_files(catalog));
        }
    }

    /// Waits for the next step. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> EditStep {
        let Self { watch, variants, planning, building } = self;
        tokio::select! {
            biased;
            step = building.next() => step,
            planned = planning.next() => EditStep::Planned(planned),
            () = changed(watch.as_ref()) => EditStep::Look,
            () = variants.changed() => EditStep::Look,
        }
    }

    /// The running rebuild.
    pub(super) fn rebuild(&self) -> Option<&Rebuild> {
        match &self.building {
            Building::Running { rebuild, .. } => Some(rebuild),
            Building::Idle | Building::RetryAt(_) => None,
        }
    }

    /// Whether the running views must not move until the rebuild's round has ended.
    pub(super) fn hold_running_views(&self) -> bool {
        self.rebuild().is_some_and(Rebuild::holds_running_views)
    }

    /// Whether all views mean what the folder says, as far as it has been looked at.
    pub(super) fn are_settled(&self) -> bool {
        matches!((&self.planning, &self.building), (Planning::Idle, Building::Idle))
    }

    /// Gives up what is being built.
    pub(super) fn stop_rebuild(&mut self) {
        self.building = Building::Idle;
    }
}

impl Planning {
    async fn next(&mut self) -> Result<FolderPlan, LiveError> {
        match self {
            Self::Idle => std::future::pending().await,
            Self::Running { task, .. } => match task.await {
                Ok(plan) => plan.map_err(LiveError::from),
                Err(error) => Err(LiveError::Rebuild(error.to_string())),
            },
        }
    }
}

impl Building {
    async fn next(&mut self) -> EditStep {
        match self {
            Self::Idle => std::future::pending().await,
            Self::Running { rebuild, .. } => EditStep::RoundEnded(rebuild.round_ended().await),
            Self::RetryAt(at) => {
                tokio::time::sleep_until((*at).into()).await;
                *self = Self::Idle;
                EditStep::Look
            }
        }
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

impl Live {
    pub(super) async fn take_step(&mut self, step: EditStep) -> Result<(), LiveError> {
        match step {
            EditStep::Look => self.look(),
            EditStep::Planned(planned) => self.take_plan(planned),
            EditStep::RoundEnded(Ok(())) => self.go_on_with_rebuild().await?,
            EditStep::RoundEnded(Err(error)) => {
                tracing::warn!("{error}; rebuilding again in {} s", REBUILD_AGAIN.as_secs());
                self.edits.building = Building::RetryAt(Instant::now() + REBUILD_AGAIN);
                self.unshown = true;
            }
        }
        Ok(())
    }

    /// Plans the folder, in the background.
    pub(super) fn look(&mut self) {
        if self.edits.watch.is_none() {
            return;
        }
        if let Planning::Running { outdated, .. } = &mut self.edits.planning {
            *outdated = true;
            return;
        }
        let (dir, running, max_rows) = (self.config.queries.clone(), self.running(), self.config.max_retained_rows);
        let last = Some(self.definitions.workspace.clone());
        let variants = self.config.variants.wanted();
        let task = tokio::spawn(async move { plan_folder(&dir, &running, max_rows, last, &variants).await });
        self.edits.planning = Planning::Running { task, outdated: false };
    }

    fn running(&self) -> RunningViews {
        self.engine.views().iter().map(|view| (Arc::clone(&view.name), view.fingerprint)).collect()
    }

    /// Does what the folder asks for.
    fn take_plan(&mut self, planned: Result<FolderPlan, LiveError>) {
        let planning = std::mem::take(&mut self.edits.planning);
        self.unshown = true;
        if matches!(planning, Planning::Running { outdated: true, .. }) {
            // What has been planned is done first: a folder that never rests must not keep an edit from showing.
            self.look();
        }
        let FolderPlan { workspace, sources_error, files, .. } = match planned {
            // A rebuild was swapped in meanwhile: what was to be kept may have been replaced, what was to be built may run.
            Ok(plan) if plan.against != self.running() => return self.look(),
            Ok(plan) => plan,
            Err(error) => return self.note_sources_error(Some(message_of(&error))),
        };
        self.note_sources_error(sources_error);
        self.edits.follow(workspace.catalog());
        let mut build = Vec::new();
        let mut states = Vec::with_capacity(files.len());
        for PlannedFile { name, file, warnings, fate } in files {
            let mut state = FileState { file, warnings, ..FileState::new(Arc::clone(&name)) };
            let former = match &fate {
                Fate::Rename(from) => from,
                _ => &name,
            };
            if let Some(known) = self.files.iter().find(|known| known.name == *former) {
                state.swap.clone_from(&known.swap);
                state.running.clone_from(&known.running);
                state.file = state.file.or_else(|| known.file.clone());
            }
            match fate {
                Fate::Keep => state.running.clone_from(&state.file),
                Fate::Rename(from) => {
                    state.running.clone_from(&state.file);
                    tracing::info!("{from} is called {name} now");
                    self.engine.rename(&from, &name);
                }
                Fate::Build(view) => build.push(*view),
                Fate::Broken(error) => {
                    let logged = self.files.iter().any(|known| known.error.as_ref() == Some(&error));
                    if !logged {
                        tracing::error!("{error}");
                    }
                    state.error = Some(error);
                }
            }
            states.push(state);
        }
        for removed in self.files.iter().filter(|known| !states.iter().any(|state| state.name == known.name)) {
            if self.engine.views().iter().any(|view| view.name == removed.name) {
                tracing::info!("{} is removed", removed.name);
            }
        }
        self.files = Arc::new(states);
        self.arrange();
        self.note_missing();
        self.definitions = definitions(workspace, &self.files);
        self.start_rebuild(build);
    }

    /// The engine's views are those of the files, in their order.
    fn arrange(&mut self) {
        let names: Vec<Arc<str>> = self.files.iter().map(|file| Arc::clone(&file.name)).collect();
        self.engine.arrange(&names);
    }

    fn note_sources_error(&mut self, error: Option<String>) {
        if let Some(message) = error.as_ref().filter(|message| self.status.sources_error.as_ref() != Some(message)) {
            tracing::error!("{message}\neverything else stays as it was");
        }
        self.status.sources_error = error;
    }

    fn start_rebuild(&mut self, views: Vec<NamedView>) {
        if let Building::Running { rebuild, more_saved } = &mut self.edits.building
            && rebuild.is_wanted(&views)
        {
            // Whatever else was saved meanwhile is built after it: else who saves often would never see anything.
            *more_saved = rebuild.names().len() < views.len();
            return;
        }
        self.edits.stop_rebuild();
        if views.is_empty() {
            return;
        }
        let names: Vec<&str> = views.iter().map(|view| &*view.name).collect();
        tracing::info!("{}: rebuilding from the earliest offsets", names.join(", "));
        let beside = Beside {
            kafka: self.config.kafka.clone(),
            limits: self.config.limits,
            catalog: self.definitions.workspace.catalog().clone(),
            running: self.engine.inputs(),
            first_offsets: self.log.first_offsets(),
        };
        self.status.rebuilds += 1;
        self.edits.building = Building::Running { rebuild: Rebuild::start(beside, views), more_saved: false };
    }

    /// Another round, or the swap.
    pub(super) async fn go_on_with_rebuild(&mut self) -> Result<(), LiveError> {
        let Building::Running { rebuild, .. } = &mut self.edits.building else { return Ok(()) };
        match rebuild.go_on(&self.engine) {
            Some(shadow) => self.swap(*shadow).await,
            None => Ok(()),
        }
    }

    /// The new views take the places of the old ones, at the offsets where both stand.
    async fn swap(&mut self, shadow: Shadow) -> Result<(), LiveError> {
        let Shadow { mut engine, feed, found, bad } = shadow;
        let new = engine.refresh().await?;
        let old = self.engine.refresh_some(|name| new.results.iter().any(|result| *result.name == *name)).await?;
        self.engine.adopt(engine);
        self.arrange();
        for new in &new.results {
            let old = old.results.iter().find(|old| old.name == new.name);
            let changes = match (old.map(|old| (&old.schema, &old.rows)), &new.rows) {
                (Some((schema, Ok(old))), Ok(rows)) => {
                    let difference = Difference::between((schema, old), (&new.schema, rows));
                    Some(difference.and_then(|difference| difference.counts()).map_err(DataFusionError::from)?)
                }
                _ => None,
            };
            let what = changes.map_or_else(|| "there".to_owned(), |changes| changes.to_string());
            tracing::info!("{}: {what}, as of {}", new.name, self.engine.as_of());
            if let Some(file) = Arc::make_mut(&mut self.files).iter_mut().find(|file| file.name == new.name) {
                file.running.clone_from(&file.file);
                file.swap = Some(Swap { as_of: self.engine.as_of().clone(), changes });
            }
        }
        for (topic, partitions) in &found {
            self.log.found(topic, partitions);
        }
        self.note_log();
        feed.go_on(GoOn::Follow(self.engine.as_of().clone()));
        drop_aside(std::mem::replace(&mut self.feed, feed));
        self.bad_before = self.status.bad_records.wrapping_sub(bad.total());
        self.status.bad = bad;
        // The new feed has just read.
        self.status.trouble = None;
        self.status.trouble_since = None;
        let building = std::mem::take(&mut self.edits.building);
        self.definitions = definitions(self.definitions.workspace.clone(), &self.files);
        self.unshown = true;
        if matches!(building, Building::Running { more_saved: true, .. }) {
            self.look();
        }
        Ok(())
    }
}
