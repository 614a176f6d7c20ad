//! `tallgrass replay`: the dashboard's SQL over history, by plain DataFusion.
//!
//! This path has nothing of streaming. All views read up to the same end offsets: those of `--until`, or else the current
//! ones at the start.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Instant;

use datafusion::error::DataFusionError;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{CONNECT_TIMEOUT, choose_files, flush, report_missing_rows, show_progress, stdout, worse};
use super::output::{Output, encoding, write_text};
use crate::cli::{From, Replay};
use tallgrass_diagnostics::{Diagnostic, causes, message_of};
use tallgrass_kafka::KafkaError;
use tallgrass_relation::{BadRecords, PlannedQuery, ReadBounds};
use tallgrass_sink::files::OutputDir;
use tallgrass_sink::text::ViewsWriter;
use tallgrass_sink::{Format, ResultFormat};
use tallgrass_view::Workspace;

/// Runs the command.
pub async fn run(args: Replay, stop: CancellationToken) -> anyhow::Result<Exit> {
    tokio::select! {
        () = stop.cancelled() => Ok(Exit::Interrupted),
        exit = replay(args) => exit,
    }
}

async fn replay(args: Replay) -> anyhow::Result<Exit> {
    let started = Instant::now();
    if args.output.is_none() {
        encoding(Some(args.format), None)?;
    }
    let workspace = Workspace::load(&args.queries.queries)?;
    let from_ms = match args.from {
        From::Earliest => None,
        From::TimestampMs(timestamp) => Some(timestamp),
    };
    let bounds = ReadBounds::new(args.connection.config())
        .from_timestamp_ms(from_ms)
        .until(args.until.unwrap_or_default())
        .connect_timeout(CONNECT_TIMEOUT);
    let bounds = Arc::new(bounds);
    let bad = BadRecords::default();

    let (files, mut broken) = choose_files(&workspace, &args.views)?;
    let session = workspace.batch_session(&bounds, &bad).await?;
    let plans = workspace.plan_dashboard(&session, &files).await;
    let mut views = Vec::new();
    for (file, plan) in files.iter().zip(plans) {
        if !args.views.is_empty() && !args.views.iter().any(|view| view == file.name()) {
            continue;
        }
        match plan {
            Ok(plan) => views.push((file.name().to_owned(), plan)),
            Err(error) => broken.push(error),
        }
    }
    if views.is_empty() && !broken.is_empty() {
        return Ok(report_failures(&broken, &[]));
    }
    let one_view = matches!(args.format, ResultFormat::Text(Format::Ndjson) | ResultFormat::Columns(_));
    if one_view && args.output.is_none() && views.len() != 1 {
        let (format, count) = (args.format, views.len());
        anyhow::bail!("{format} holds the rows of one view, and {count} were requested: name one, or use --output DIR");
    }

    // A view that fails stops no other one.
    let mut failed: Vec<(String, String)> = Vec::new();
    let (mut names, mut planned) = (Vec::with_capacity(views.len()), Vec::with_capacity(views.len()));
    for (name, plan) in views {
        match PlannedQuery::new(&session, plan).await {
            Ok(query) => {
                names.push(name);
                planned.push(query);
            }
            Err(error) if is_of_kafka(&error) => return Err(error.into()),
            Err(error) => failed.push((name, message_of(&error))),
        }
    }
    let progress = show_progress(&bounds);
    let planned: Vec<(String, PlannedQuery)> = names.into_iter().zip(PlannedQuery::share(planned)?).collect();
    match (&args.output, args.format) {
        (Some(dir), encoding) => {
            let dir = OutputDir::create(dir)?;
            for (name, view) in planned {
                let mut file = Output::File(dir.begin(encoding, &name)?);
                match failure(file.write_view(encoding, &name, view).await)? {
                    None => file.finish()?,
                    Some(error) => failed.push((name, error)),
                }
            }
        }
        (None, ResultFormat::Text(format)) => {
            let (mut out, terminal) = stdout();
            let headings = planned.len() != 1;
            let mut writer = ViewsWriter::new(&mut out, format).with_headings(headings).with_terminal(terminal);
            for (name, view) in planned {
                if let Some(error) = failure(write_text(&mut writer, &name, view).await)? {
                    writer.end()?;
                    failed.push((name, error));
                }
            }
            writer.finish()?;
            flush(out)?;
        }
        (None, encoding) => {
            let mut out = Output::open(None)?;
            for (name, view) in planned {
                out.write_view(encoding, &name, view).await?;
            }
            out.finish()?;
        }
    }
    drop(progress);
    let records = bounds.progress().records();
    let as_of = bounds.as_of();
    tracing::debug!("{records} records in {:.1} s, as of {as_of}", started.elapsed().as_secs_f64());
    if io::stderr().is_terminal() && as_of.iter().next().is_some() {
        eprintln!("note: --until '{as_of}' gives the same result again");
    }
    Ok(worse(report_failures(&broken, &failed), report_missing_rows(&bad, args.strict)))
}

/// Names the files that could not be planned, and the views that failed.
fn report_failures(broken: &[Diagnostic], failed: &[(String, String)]) -> Exit {
    for error in broken {
        eprintln!("{error}\n");
    }
    for (view, error) in failed {
        eprintln!("{view}: {error}\n");
    }
    match (broken.is_empty(), failed.is_empty()) {
        (true, true) => Exit::Done,
        (true, false) => Exit::Failed,
        (false, _) => Exit::SqlError,
    }
}

/// What made a view fail. Where the output or the broker is at fault, all of them fail.
fn failure(written: anyhow::Result<()>) -> anyhow::Result<Option<String>> {
    match written {
        Ok(()) => Ok(None),
        Err(error) => match error.downcast::<DataFusionError>() {
            Ok(error) if !is_of_kafka(&error) => Ok(Some(message_of(&error))),
            Ok(error) => Err(error.into()),
            Err(other) => Err(other),
        },
    }
}

/// Whether the broker is at fault.
fn is_of_kafka(error: &DataFusionError) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<KafkaError>)
}
