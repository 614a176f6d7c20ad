//! `tallgrass explain`: where a file's plan is cut, and what runs when.

use std::borrow::Cow;
use std::io::{BufWriter, Stdout, Write as _};

use anyhow::Context as _;

use super::Exit;
use super::batch::{choose_files, flush, stdout};
use crate::cli::Explain;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_pipeline::AppendingView;
use tallgrass_sink::sanitize::sanitize_lines;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{LiveView, LoadedFile, SqlFile, Workspace, WorkspaceError, live_view};

/// Runs the command.
pub async fn run(args: Explain) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let appending = workspace.appending();
    let is_appending = |name: &String| appending.iter().any(|file| name_of(file) == **name);
    let (of_roles, views): (Vec<String>, Vec<String>) = args.views.iter().cloned().partition(is_appending);
    let mut explained = Explained { out: stdout().0, exit: Exit::Done };
    if !views.is_empty() || args.views.is_empty() {
        let (files, broken) = choose_files(&workspace, &views)?;
        for error in broken {
            explained.error(&error);
        }
        let session = workspace.live_session().await?;
        for (file, plan) in files.iter().zip(workspace.plan_dashboard(&session, &files).await) {
            if !views.is_empty() && !views.iter().any(|view| view == file.name()) {
                continue;
            }
            let view = match plan {
                Ok(plan) => live_view(&session, file, plan, Use::Result, usize::MAX).await,
                Err(error) => Err(error),
            };
            match view {
                Ok(view) => explained.view(file, &view)?,
                Err(error) => explained.error(&error),
            }
        }
    }
    for file in appending {
        if !args.views.is_empty() && !of_roles.iter().any(|name| name_of(&file) == *name) {
            continue;
        }
        let planned = async {
            let file = file?;
            let view = AppendingView::plan(&workspace, &file, &file.bind_any()?).await?;
            Ok((file, view))
        };
        match planned.await {
            Ok((file, view)) => explained.view(&file, view.view())?,
            Err(WorkspaceError::Sql(error)) => explained.error(&error),
            Err(error) => return Err(error.into()),
        }
    }
    flush(explained.out)?;
    Ok(explained.exit)
}

fn name_of(file: &LoadedFile) -> Cow<'_, str> {
    let path = file.as_ref().map_or_else(|error| error.file.as_path(), SqlFile::path);
    path.file_stem().unwrap_or_default().to_string_lossy()
}

/// The printed text.
struct Explained {
    out: BufWriter<Stdout>,
    exit: Exit,
}

impl Explained {
    fn view(&mut self, file: &SqlFile, view: &LiveView) -> anyhow::Result<()> {
        let out = &mut self.out;
        writeln!(out, "{}\n  {}", file.path().display(), view.describe()).context("stdout")?;
        for (when, plan) in view.stages() {
            writeln!(out, "\n  {when}:").context("stdout")?;
            for line in sanitize_lines(&plan).lines() {
                writeln!(out, "    {line}").context("stdout")?;
            }
        }
        writeln!(out).context("stdout")
    }

    fn error(&mut self, error: &Diagnostic) {
        eprintln!("{error}\n");
        self.exit = Exit::SqlError;
    }
}
