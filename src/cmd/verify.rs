//! `tallgrass verify`: live results against a replay up to their as-of, row by row.
//!
//! The live results are those of a run of its own up to the current ends, or lines that a dashboard wrote before.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{choose_files, flush, stdout};
use crate::cli::Verify;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_pipeline::{Live, LiveConfig, Snapshot, Variants};
use tallgrass_proof::{Claim, Outcome, Prover, ViewProof, read_claims};
use tallgrass_relation::BadRecords;
use tallgrass_view::Workspace;

/// Runs the command.
pub async fn run(args: Verify, stop: CancellationToken) -> anyhow::Result<Exit> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(Exit::Interrupted),
        exit = verify(args) => exit,
    }
}

async fn verify(args: Verify) -> anyhow::Result<Exit> {
    let workspace = Workspace::load(&args.queries.queries)?;
    let (files, mut broken) = choose_files(&workspace, &args.views)?;
    let wanted = |name: &str| args.views.is_empty() || args.views.iter().any(|view| view == name);
    let mut claims = if let Some(path) = &args.against {
        read(path)?
    } else {
        let (claims, unplanned) = live(&args).await?;
        broken.extend(unplanned.into_iter().filter(|error| !broken.contains(error)).collect::<Vec<_>>());
        claims
    };
    claims.retain(|claim| wanted(&claim.view));
    if let Some(view) = args.views.iter().find(|view| !claims.iter().any(|claim| *claim.view == **view)) {
        bail!("there is no line about '{view}'");
    }
    // With lines, a broken file matters only where a line names it, and its verdict reports it.
    let broken = if args.against.is_some() { Vec::new() } else { broken };
    for error in &broken {
        eprintln!("{error}\n");
    }
    let kafka = args.connection.config();
    // The live run has reported the same records already.
    let bad = if args.against.is_some() { BadRecords::new() } else { BadRecords::quiet() };
    let views = Prover::new(&workspace, &files, &kafka).prove(&claims, &bad).await?;
    let (mut out, _) = stdout();
    let outcome = report(&mut out, &views, "")?;
    flush(out)?;
    if outcome == Outcome::NotReplayable && broken.is_empty() {
        bail!("nothing could be compared, so nothing is proved");
    }
    Ok(match (outcome.is_good(), broken.is_empty()) {
        (true, true) => Exit::Done,
        (false, _) => Exit::Failed,
        (true, false) => Exit::SqlError,
    })
}

/// Prints the verdict of each view, and the rows that differ.
pub fn report(out: &mut dyn io::Write, views: &[ViewProof], indent: &str) -> io::Result<Outcome> {
    for ViewProof { view, verdict } in views {
        writeln!(out, "{indent}{view}: {verdict}")?;
        for row in verdict.rows() {
            writeln!(out, "{indent}  {row}")?;
        }
    }
    Ok(Outcome::of(views))
}

/// The claims in the lines of a file, or of stdin for `-`.
fn read(path: &Path) -> anyhow::Result<Vec<Claim>> {
    let cannot_read = || format!("cannot read {}", path.display());
    let claims = if path == Path::new("-") {
        read_claims(io::stdin().lock())
    } else {
        read_claims(BufReader::new(File::open(path).with_context(cannot_read)?))
    };
    let claims = claims.with_context(cannot_read)?;
    if claims.is_empty() {
        bail!("{} has no lines of `tallgrass dashboard --format ndjson`", path.display());
    }
    Ok(claims)
}

/// The claims of a live run up to the ends at its start, and the errors of the files that it could not plan.
async fn live(args: &Verify) -> anyhow::Result<(Vec<Claim>, Vec<Diagnostic>)> {
    let mut live = Live::start(LiveConfig {
        kafka: args.connection.config(),
        queries: args.queries.queries.clone(),
        limits: args.batching.limits(),
        // A bounded run refreshes once, at its end.
        refresh: std::time::Duration::ZERO,
        max_retained_rows: args.max_retained_rows,
        bounded: true,
        watch: false,
        variants: Variants::default(),
    })
    .await?;
    let mut last = Snapshot::default();
    live.run(&CancellationToken::new(), |_, snapshot| last = snapshot).await?;
    let wanted = |error: &&Diagnostic| {
        let name = error.file.file_stem().and_then(|name| name.to_str());
        args.views.is_empty() || name.is_some_and(|name| args.views.iter().any(|view| view == name))
    };
    let unplanned = live.broken_files().filter(wanted).cloned().collect();
    Ok((Claim::all(&last, &live.status().since()), unplanned))
}
