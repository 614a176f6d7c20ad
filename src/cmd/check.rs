//! `tallgrass check`: plans every SQL file and prints how it will be maintained, or what is wrong with it.

use std::io::Write as _;

use anyhow::Context as _;

use super::Exit;
use super::batch::stdout;
use crate::cli::Check;
use tallgrass_pipeline::AppendingView;
use tallgrass_serve::panel;
use tallgrass_view::files::lint;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{PANELS, SqlFile, Workspace, WorkspaceError, live_view};

/// Runs the command.
pub async fn run(args: Check) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let session = workspace.live_session().await?;
    let (mut out, _) = stdout();
    let mut errors = Vec::new();

    let mut files = Vec::new();
    for file in workspace.dashboard() {
        match file {
            Ok(file) => files.push(file),
            Err(error) => errors.push(error),
        }
    }
    let width = files.iter().map(|file| file.path().display().to_string().len()).max().unwrap_or_default();
    for (file, plan) in files.iter().zip(workspace.plan_dashboard(&session, &files).await) {
        let view = match plan {
            Ok(plan) => {
                let mut unsettled = lint::warnings(file, &plan)?;
                unsettled.extend(lint::notes(file, &plan)?);
                live_view(&session, file, plan, Use::Result, usize::MAX).await.map(|view| (view, unsettled))
            }
            Err(error) => Err(error),
        };
        match view {
            Ok((view, unsettled)) => {
                writeln!(out, "{:<width$}  {}", file.path().display(), view.describe()).context("stdout")?;
                let unknown = file.check_columns(view.schema());
                warn(file.warnings().iter().chain(&unknown).chain(&unsettled));
            }
            Err(error) => errors.push(error),
        }
    }
    for file in workspace.appending() {
        let checked = async {
            let file = file?;
            let view = AppendingView::plan(&workspace, &file, &file.bind_any()?).await?;
            let warnings = if is_panel(&file) { panel::check(&workspace, &file).await? } else { Vec::new() };
            Ok((file, view, warnings))
        };
        match Box::pin(checked).await {
            Ok((file, view, warnings)) => {
                writeln!(out, "{:<width$}  {}", file.path().display(), view.view().describe()).context("stdout")?;
                warn(file.warnings().iter().chain(&warnings));
            }
            Err(WorkspaceError::Sql(error)) => errors.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    out.flush().context("stdout")?;
    for error in &errors {
        eprintln!("{error}\n");
    }
    if errors.is_empty() {
        return Ok(Exit::Done);
    }
    eprintln!("{} of the SQL files cannot be used", errors.len());
    Ok(Exit::SqlError)
}

fn is_panel(file: &SqlFile) -> bool {
    file.path().parent().is_some_and(|folder| folder.ends_with(PANELS))
}

fn warn<'a>(warnings: impl IntoIterator<Item = &'a tallgrass_diagnostics::Diagnostic>) {
    for warning in warnings {
        eprintln!("{warning}\n");
    }
}
