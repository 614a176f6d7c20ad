//! `tallgrass explain`: where a dashboard file's plan is cut, and what runs when.

use std::io::Write as _;

use anyhow::Context as _;

use super::Exit;
use super::batch::{choose_files, flush, stdout};
use crate::cli::Explain;
use tallgrass_sink::sanitize::sanitize_lines;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{Workspace, live_view};

/// Runs the command.
pub async fn run(args: Explain) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let (files, broken) = choose_files(&workspace, &args.views)?;
    let session = workspace.live_session().await?;
    let (mut out, _) = stdout();
    let mut exit = Exit::Done;
    for error in broken {
        eprintln!("{error}\n");
        exit = Exit::SqlError;
    }
    for (file, plan) in files.iter().zip(workspace.plan_dashboard(&session, &files).await) {
        if !args.views.is_empty() && !args.views.iter().any(|view| view == file.name()) {
            continue;
        }
        let view = match plan {
            Ok(plan) => live_view(&session, file, plan, Use::Result, usize::MAX).await,
            Err(error) => Err(error),
        };
        match view {
            Ok(view) => {
                writeln!(out, "{}\n  {}", file.path().display(), view.describe()).context("stdout")?;
                for (when, plan) in view.stages() {
                    writeln!(out, "\n  {when}:").context("stdout")?;
                    for line in sanitize_lines(&plan).lines() {
                        writeln!(out, "    {line}").context("stdout")?;
                    }
                }
                writeln!(out).context("stdout")?;
            }
            Err(error) => {
                eprintln!("{error}\n");
                exit = Exit::SqlError;
            }
        }
    }
    flush(out)?;
    Ok(exit)
}
