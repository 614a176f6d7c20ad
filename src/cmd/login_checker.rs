//! `tallgrass login-checker`: which email each login gets. Instances of one group share the partitions.

use datafusion::arrow::array::RecordBatch;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::group::{GroupRole, RoleView};
use super::lines::{Line, lines_of};
use crate::cli::LoginChecker;
use crate::kafka::GroupStart;
use crate::view::Workspace;

/// The file that says what a login is.
pub const FILE: &str = "login_checker";

/// Runs the command.
pub async fn run(args: LoginChecker, stop: CancellationToken) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let file = workspace.role(FILE)?;
    let view = RoleView::plan(&workspace, &file, &file.bind([])?).await?;
    let role = GroupRole {
        kafka: args.connection.config(),
        group: args.group,
        start: GroupStart::Earliest,
        limits: args.batching.limits(),
    };
    role.print(view, &stop, lines_of(args.format, lines)).await
}

/// What is printed as text for the rows of the view.
pub fn lines(rows: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let lines = Line::all(rows)?.into_iter().map(|mut line| {
        let (name, email) = (line.take("name"), line.take("email"));
        let (name, email) = (name.as_deref().unwrap_or("somebody"), email.as_deref().unwrap_or("no address known"));
        format!("would send an email to {name} <{email}> ({})", line.rest())
    });
    Ok(lines.collect())
}
