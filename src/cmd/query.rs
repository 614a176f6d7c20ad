//! `tallgrass query "SELECT …"`: one statement over the declared relations, bounded.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{CONNECT_TIMEOUT, Planned, flush, show_progress, stdout};
use crate::cli::Query;
use crate::relation::{BadRecords, ReadBounds};
use crate::sink::text::ViewsWriter;
use crate::view::{Workspace, plan_statement};

/// What the one result is called where a format names it.
const NAME: &str = "query";

/// Runs the command.
pub async fn run(args: Query, stop: CancellationToken) -> anyhow::Result<Exit> {
    tokio::select! {
        () = stop.cancelled() => Ok(Exit::Interrupted),
        exit = query(args) => exit,
    }
}

async fn query(args: Query) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let bounds = Arc::new(ReadBounds::new(args.connection.config()).connect_timeout(CONNECT_TIMEOUT));
    let session = workspace.batch_session(&bounds, &BadRecords::default()).await?;
    let plan = plan_statement(&session, &args.sql).await?;
    let planned = Planned::new(&session, plan).await?;
    let progress = show_progress(&bounds);
    let (mut out, terminal) = stdout();
    let mut writer = ViewsWriter::new(&mut out, args.format).with_terminal(terminal);
    writer.begin(NAME, &planned.schema())?;
    planned.run(|batch| Ok(writer.write(batch)?)).await?;
    writer.finish()?;
    flush(out)?;
    drop(progress);
    Ok(Exit::Done)
}
