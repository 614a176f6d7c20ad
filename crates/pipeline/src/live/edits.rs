//! What a save does to a running dashboard: plan the folder, rebuild what means something else, swap it in.

use std::sync::Arc;
use std::time::Instant;

use datafusion::error::DataFusionError;

use super::{Live, LiveError, REBUILD_AGAIN, drop_aside};
use tallgrass_kafka::AsOf;
use crate::engine::NamedView;
use crate::feed::GoOn;
use crate::planning::{Fate, Plan, PlannedFile, Running, plan_folder, static_files, words_of};
use crate::rebuild::{Beside, Next, Rebuild, Shadow};
use crate::status::{FileState, Swap};
use tallgrass_view::Difference;

impl Live {
    /// Looks at the folder, in the background.
    pub(super) fn look(&mut self) {
        if !self.config.watch {
            return;
        }
        if self.planning.is_some() {
            self.planned_too_early = true;
            return;
        }
        let (dir, running, max_rows) = (self.config.queries.clone(), self.running(), self.config.max_retained_rows);
        let last = Some(self.workspace.clone());
        let variants = self.config.variants.wanted();
        self.planning = Some(tokio::spawn(async move { plan_folder(&dir, &running, max_rows, last, &variants).await }));
    }

    fn running(&self) -> Running {
        self.engine.views().iter().map(|view| (Arc::clone(&view.name), view.fingerprint)).collect()
    }

    /// Does what the folder asks for.
    pub(super) fn take_plan(&mut self, planned: Result<Plan, LiveError>) {
        self.planning = None;
        self.news = true;
        if std::mem::take(&mut self.planned_too_early) {
            // What has been planned is done first: a folder that never rests must not keep an edit from showing.
            self.look();
        }
        let Plan { workspace, sources_error, files, .. } = match planned {
            // A rebuild was swapped in meanwhile: what was to be kept may be gone, what was to be built may be there.
            Ok(plan) if plan.against != self.running() => return self.look(),
            Ok(plan) => plan,
            Err(error) => return self.note_sources_error(Some(words_of(&error))),
        };
        self.note_sources_error(sources_error);
        self.workspace = workspace;
        self.follow_static_files();
        let mut build = Vec::new();
        let mut states = Vec::with_capacity(files.len());
        for PlannedFile { name, file, warnings, fate } in files {
            let mut state =
                FileState { name: Arc::clone(&name), file, running: None, warnings, error: None, swap: None };
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
                    let told = self.files.iter().any(|known| known.error.as_ref() == Some(&error));
                    if !told {
                        tracing::error!("{error}");
                    }
                    state.error = Some(error);
                }
            }
            states.push(state);
        }
        for gone in self.files.iter().filter(|known| !states.iter().any(|state| state.name == known.name)) {
            if self.engine.views().iter().any(|view| view.name == gone.name) {
                tracing::info!("{} is gone", gone.name);
            }
        }
        self.files = Arc::new(states);
        let names: Vec<Arc<str>> = self.files.iter().map(|file| Arc::clone(&file.name)).collect();
        self.engine.arrange(&names);
        self.note_missing();
        self.note_sources();
        self.start_rebuild(build);
    }

    fn note_sources_error(&mut self, error: Option<String>) {
        if let Some(words) = error.as_ref().filter(|words| self.status.sources_error.as_ref() != Some(words)) {
            tracing::error!("{words}\neverything else stays as it was");
        }
        self.status.sources_error = error;
    }

    fn start_rebuild(&mut self, views: Vec<NamedView>) {
        if self.rebuild.as_ref().is_some_and(|rebuild| rebuild.is_wanted(&views)) {
            // Whatever else was saved meanwhile is built after it: else somebody who saves often would never see anything.
            self.look_after_swap = self.rebuild.as_ref().is_some_and(|rebuild| rebuild.names().len() < views.len());
            return;
        }
        self.stop_rebuild();
        if views.is_empty() {
            return;
        }
        let names: Vec<&str> = views.iter().map(|view| &*view.name).collect();
        tracing::info!("{}: rebuilding from the earliest offsets", names.join(", "));
        let mut first_offsets = AsOf::default();
        for ((topic, partition), marks) in &self.marks {
            first_offsets.set(topic, *partition, marks.low);
        }
        let beside = Beside {
            kafka: self.config.kafka.clone(),
            limits: self.config.limits,
            catalog: self.workspace.catalog().clone(),
            running: self.engine.inputs(),
            first_offsets,
        };
        self.status.rebuilds += 1;
        self.rebuild = Some(Rebuild::start(beside, views));
    }

    pub(super) fn stop_rebuild(&mut self) {
        self.rebuild = None;
        self.held = false;
        self.again = None;
    }

    pub(super) fn rebuild_failed(&mut self, error: &LiveError) {
        tracing::warn!("{error}; rebuilding again in {} s", REBUILD_AGAIN.as_secs());
        self.stop_rebuild();
        self.news = true;
        self.again = Some(Instant::now() + REBUILD_AGAIN);
    }

    pub(super) async fn go_on_with_rebuild(&mut self) -> Result<(), LiveError> {
        let Some(rebuild) = &mut self.rebuild else { return Ok(()) };
        match rebuild.next(&self.engine) {
            Next::Wait => {}
            Next::Round(hold) => self.held = hold,
            Next::Swap(shadow) => self.swap(*shadow).await?,
        }
        Ok(())
    }

    /// The new views take the places of the old ones, at the offsets where both stand.
    async fn swap(&mut self, shadow: Shadow) -> Result<(), LiveError> {
        let Shadow { mut engine, feed, found, bad } = shadow;
        let new = engine.refresh().await?;
        let old = self.engine.refresh_some(|name| new.results.iter().any(|result| *result.name == *name)).await?;
        self.engine.adopt(engine);
        let names: Vec<Arc<str>> = self.files.iter().map(|file| Arc::clone(&file.name)).collect();
        self.engine.arrange(&names);
        for new in &new.results {
            let old = old.results.iter().find(|old| old.name == new.name);
            let difference = match (old.map(|old| (&old.schema, &old.rows)), &new.rows) {
                (Some((schema, Ok(old))), Ok(rows)) => {
                    Some(Difference::between((schema, old), (&new.schema, rows)).map_err(DataFusionError::from)?)
                }
                _ => None,
            };
            let what = difference.map_or_else(|| "there".to_owned(), |difference| difference.to_string());
            tracing::info!("{}: {what}, as of {}", new.name, self.engine.as_of());
            if let Some(file) = Arc::make_mut(&mut self.files).iter_mut().find(|file| file.name == new.name) {
                file.running.clone_from(&file.file);
                file.swap = Some(Swap { as_of: self.engine.as_of().clone(), difference });
            }
        }
        for (topic, partitions) in &found {
            self.found(topic, partitions);
        }
        self.count_progress();
        feed.go_on(GoOn { until: None, from: self.engine.as_of().clone() });
        drop_aside(std::mem::replace(&mut self.feed, feed));
        self.bad_before = self.status.bad_records.wrapping_sub(bad.total());
        self.status.bad = bad.clone();
        self.bad = bad;
        // The new feed has just read.
        self.status.trouble = None;
        self.status.trouble_since = None;
        self.stop_rebuild();
        self.note_sources();
        self.news = true;
        if std::mem::take(&mut self.look_after_swap) {
            self.look();
        }
        Ok(())
    }

    pub(super) fn follow_static_files(&mut self) {
        if let Some(watch) = &self.watch {
            watch.follow(static_files(self.workspace.catalog()));
        }
    }
}
