//! `tallgrass check`: plans every SQL file and says how it will be maintained, or what is wrong with it.

use std::io::Write as _;

use anyhow::Context as _;
use datafusion::common::ScalarValue;

use super::Exit;
use super::batch::stdout;
use crate::cli::Check;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{Workspace, lint, live_view};

/// The files of roles: they hand on rows as they come.
const ROLES: [&str; 2] = ["login_checker", "control_panel"];

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
                let unsettled = lint::warnings(file, &plan)?;
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
    for role in ROLES {
        if !workspace.dir().join(role).with_extension("sql").exists() {
            continue;
        }
        let checked = async {
            let file = workspace.role(role)?;
            // Any values will do: they change neither the types nor where the plan is cut.
            let required = file.params().iter().filter(|param| param.default.is_none());
            let values = required
                .filter_map(|param| Some((param.name.as_str(), ScalarValue::new_default(&param.data_type).ok()?)));
            let plan = workspace.plan_role(&session, &file, &file.bind(values)?).await?;
            let view = live_view(&session, &file, plan, Use::NewRows, 0).await?;
            Ok((file, view))
        };
        match checked.await {
            Ok((file, view)) => {
                writeln!(out, "{:<width$}  {}", file.path().display(), view.describe()).context("stdout")?;
                warn(file.warnings());
            }
            Err(error) => errors.push(error),
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

fn warn<'a>(warnings: impl IntoIterator<Item = &'a tallgrass_view::SqlWarning>) {
    for warning in warnings {
        eprintln!("{warning}\n");
    }
}
