//! `tallgrass replay`: the dashboard's SQL over history, by plain DataFusion.
//!
//! This path does not know that streaming exists. All views read up to the same end offsets, taken at the start.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{CONNECT_TIMEOUT, Planned, flush, show_progress, stdout};
use crate::cli::{From, Replay};
use crate::relation::{BadRecords, ReadBounds};
use crate::sink::Format;
use crate::sink::files::OutputDir;
use crate::sink::text::ViewsWriter;
use crate::view::{SqlFile, Workspace};

/// Runs the command.
pub async fn run(args: Replay, stop: CancellationToken) -> anyhow::Result<Exit> {
    tokio::select! {
        () = stop.cancelled() => Ok(Exit::Interrupted),
        exit = replay(args) => exit,
    }
}

async fn replay(args: Replay) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let workspace = Workspace::load(&args.queries.queries)?;
    let from_ms = match args.from {
        From::Earliest => None,
        From::TimestampMs(timestamp) => Some(timestamp),
    };
    let bounds = ReadBounds::new(args.connection.config()).from_timestamp_ms(from_ms).connect_timeout(CONNECT_TIMEOUT);
    let bounds = Arc::new(bounds);
    let bad = BadRecords::default();

    let (files, mut broken) = parse(&workspace, &args.views)?;
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
    if !broken.is_empty() {
        for error in broken {
            eprintln!("{error}\n");
        }
        return Ok(Exit::SqlError);
    }
    if args.format == Format::Ndjson && args.output.is_none() && views.len() != 1 {
        bail!("ndjson holds the rows of one view, and {} were asked for: name one", views.len());
    }

    let mut planned = Vec::with_capacity(views.len());
    for (name, plan) in views {
        planned.push((name, Planned::new(&session, plan).await?));
    }
    let progress = show_progress(&bounds);
    if let Some(dir) = &args.output {
        let dir = OutputDir::create(dir)?;
        for (name, view) in planned {
            let mut file = dir.begin(args.format, &name)?;
            let mut writer = ViewsWriter::new(&mut file, args.format);
            write_view(&mut writer, &name, view).await?;
            writer.finish()?;
            file.commit()?;
        }
    } else {
        let (mut out, terminal) = stdout();
        let mut writer =
            ViewsWriter::new(&mut out, args.format).with_headings(planned.len() != 1).with_terminal(terminal);
        for (name, view) in planned {
            write_view(&mut writer, &name, view).await?;
        }
        writer.finish()?;
        flush(out)?;
    }
    drop(progress);
    let records = bounds.progress().records();
    tracing::debug!("{records} records in {:.1} s, as of {}", started.elapsed().as_secs_f64(), bounds.as_of());
    Ok(Exit::Done)
}

/// The dashboard's files, and the errors of those that matter: all of them, or the ones asked for.
fn parse(workspace: &Workspace, wanted: &[String]) -> anyhow::Result<(Vec<SqlFile>, Vec<crate::view::SqlError>)> {
    let (mut files, mut broken) = (Vec::new(), Vec::new());
    for file in workspace.dashboard() {
        match file {
            Ok(file) => files.push(file),
            Err(error) => broken.push(error),
        }
    }
    let names: Vec<&str> = files.iter().map(SqlFile::name).collect();
    for name in wanted {
        if names.contains(&name.as_str()) {
            continue;
        }
        let file = format!("{name}.sql");
        if let Some(error) = broken.iter().find(|error| error.file.file_name().is_some_and(|name| *name == *file)) {
            return Ok((Vec::new(), vec![error.clone()]));
        }
        let near = names.iter().map(|other| (strsim::damerau_levenshtein(other, name), *other)).min();
        let hint = near.filter(|(distance, _)| *distance <= 3).map(|(_, near)| format!(": did you mean '{near}'?"));
        bail!(
            "no dashboard file is called '{name}'{}",
            hint.unwrap_or_else(|| format!("; there are {}", names.join(", ")))
        );
    }
    if !wanted.is_empty() {
        broken.clear();
    }
    Ok((files, broken))
}

async fn write_view(writer: &mut ViewsWriter<'_>, name: &str, view: Planned) -> anyhow::Result<()> {
    writer.begin(name, &view.schema())?;
    view.run(|batch| Ok(writer.write(batch)?)).await?;
    Ok(writer.end()?)
}
