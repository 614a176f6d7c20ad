//! `tallgrass login-checker`: the email that each login gets. Instances of one group share the partitions.

use datafusion::arrow::array::RecordBatch;
use tokio_util::sync::CancellationToken;

use super::lines::{RowValues, lines_of};
use super::{Exit, group};
use crate::cli::LoginChecker;
use tallgrass_kafka::GroupStart;
use tallgrass_pipeline::{AppendingView, GroupMember};
use tallgrass_relation::BadRecords;
use tallgrass_view::Workspace;

/// Runs the command.
pub async fn run(args: LoginChecker, stop: CancellationToken) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let file = workspace.login_checker()?;
    let view = AppendingView::plan(&workspace, &file, &file.bind([])?).await?;
    let member = GroupMember {
        kafka: args.connection.config(),
        group: args.group,
        start: GroupStart::Earliest,
        limits: args.batching.limits(),
        bad: BadRecords::default(),
    };
    group::print(member, view, &stop, lines_of(args.format, lines)).await
}

/// The lines of text for the rows of the view.
pub fn lines(rows: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let lines = RowValues::all(rows)?.into_iter().map(|mut line| {
        let (name, email) = (line.take("name"), line.take("email"));
        let (name, email) =
            (name.as_deref().unwrap_or("a user without a name"), email.as_deref().unwrap_or("address unknown"));
        format!("would send an email to {name} <{email}> ({})", line.rest())
    });
    Ok(lines.collect())
}
