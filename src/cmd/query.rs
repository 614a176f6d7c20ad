//! `tallgrass query "SELECT …"`: one statement over the declared relations, bounded.

use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{CONNECT_TIMEOUT, report_missing_rows, show_progress};
use super::output::{Output, encoding};
use crate::cli::Query;
use tallgrass_relation::{BadRecords, PlannedQuery, ReadBounds};
use tallgrass_sink::cells::Cells;
use tallgrass_sink::sanitize::sanitize_lines;
use tallgrass_sink::{Format, ResultFormat};
use tallgrass_view::{Workspace, plan_statement};

/// The name of the one result where a format has one.
const NAME: &str = "query";

/// Runs the command.
pub async fn run(args: Query, stop: CancellationToken) -> anyhow::Result<Exit> {
    tokio::select! {
        () = stop.cancelled() => Ok(Exit::Interrupted),
        exit = query(args) => exit,
    }
}

async fn query(args: Query) -> anyhow::Result<Exit> {
    let encoding = encoding(args.format, args.output.as_deref())?;
    let workspace = Workspace::load(&args.queries.queries)?;
    let bounds = Arc::new(ReadBounds::new(args.connection.config()).connect_timeout(CONNECT_TIMEOUT));
    let bad = BadRecords::default();
    let session = workspace.batch_session(&bounds, &bad).await?;
    let plan = plan_statement(&session, &args.sql).await?;
    let planned = PlannedQuery::new(&session, plan).await?;
    let progress = show_progress(&bounds);
    let mut out = Output::open(args.output.as_deref())?;
    if encoding == ResultFormat::Text(Format::Table) && is_explanation(&planned.schema()) {
        planned.run(|batch| write_explanation(&mut out, batch)).await?;
    } else {
        out.write_view(encoding, NAME, planned).await?;
    }
    out.finish()?;
    drop(progress);
    Ok(report_missing_rows(&bad, args.strict))
}

/// EXPLAIN gives a plan of many lines in one cell, which is printed as lines.
fn is_explanation(schema: &Schema) -> bool {
    schema.fields().iter().map(|field| field.name().as_str()).eq(["plan_type", "plan"])
}

fn write_explanation(out: &mut impl Write, batch: &RecordBatch) -> anyhow::Result<()> {
    let (kinds, plans) = (Cells::new(batch.column(0))?, Cells::new(batch.column(1))?);
    for row in 0..batch.num_rows() {
        let (kind, plan) = (kinds.get(row).unwrap_or_default(), plans.raw(row).unwrap_or_default());
        writeln!(out, "{kind}\n{}", sanitize_lines(&plan))?;
    }
    Ok(())
}
