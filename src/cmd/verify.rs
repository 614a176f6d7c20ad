//! `tallgrass verify`: live results against a replay up to their as-of, row by row.
//!
//! The live results are those of a run of its own up to the present ends, or lines that a dashboard once wrote.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{choose_files, flush, stdout};
use super::changes::read_claims;
use super::proof::{Claim, Prover, Verdict};
use crate::cli::Verify;
use tallgrass_pipeline::{Live, LiveConfig, Snapshot, Variants};
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
    let (files, broken) = choose_files(&workspace, &args.views)?;
    let wanted = |name: &str| args.views.is_empty() || args.views.iter().any(|view| view == name);
    let mut claims = match &args.against {
        Some(path) => read(path)?,
        None => live(&args).await?,
    };
    claims.retain(|claim| wanted(&claim.view));
    if let Some(view) = args.views.iter().find(|view| !claims.iter().any(|claim| *claim.view == **view)) {
        bail!("there is no line about '{view}'");
    }
    // With lines to go by, a broken file matters where a line names it, and then its verdict says so.
    let broken = if args.against.is_some() { Vec::new() } else { broken };
    for error in &broken {
        eprintln!("{error}\n");
    }
    let kafka = args.connection.config();
    let prover = Prover {
        workspace: &workspace,
        files: &files,
        kafka: &kafka,
        views_at_once: Prover::VIEWS_AT_ONCE,
        target_partitions: None,
    };
    // The live run has told of the same records already.
    let bad = if args.against.is_some() { BadRecords::new() } else { BadRecords::quiet() };
    let verdicts = prover.prove(&claims, &bad).await?;
    let (mut out, _) = stdout();
    let fine = report(&mut out, &verdicts, "")?;
    flush(out)?;
    if fine && !verdicts.values().any(|verdict| matches!(verdict, Verdict::Agrees { .. })) && broken.is_empty() {
        bail!("nothing could be compared, so nothing is proved");
    }
    Ok(match (fine, broken.is_empty()) {
        (true, true) => Exit::Done,
        (false, _) => Exit::Failed,
        (true, false) => Exit::SqlError,
    })
}

/// Says for each view what was found, and which rows differ; true if nothing speaks against a live result.
pub fn report(out: &mut dyn io::Write, verdicts: &BTreeMap<Arc<str>, Verdict>, indent: &str) -> io::Result<bool> {
    for (name, verdict) in verdicts {
        writeln!(out, "{indent}{name}: {verdict}")?;
        for row in verdict.rows() {
            writeln!(out, "{indent}  {row}")?;
        }
    }
    Ok(verdicts.values().all(Verdict::is_fine))
}

/// What lines of a file say, or of stdin for `-`.
fn read(path: &Path) -> anyhow::Result<Vec<Claim>> {
    let claims = if path == Path::new("-") {
        read_claims(io::stdin().lock())
    } else {
        File::open(path).map_err(anyhow::Error::from).and_then(|file| read_claims(BufReader::new(file)))
    };
    let claims = claims.with_context(|| format!("cannot read {}", path.display()))?;
    if claims.is_empty() {
        bail!("{} has no lines of `tallgrass dashboard --format ndjson`", path.display());
    }
    Ok(claims)
}

/// What a live run says, up to the ends as of its start.
async fn live(args: &Verify) -> anyhow::Result<Vec<Claim>> {
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
    let since = live.status().since();
    Ok(last.results.iter().map(|result| Claim::of(&last, result, since.clone())).collect())
}
