//! Random queries over random histories.
//!
//! A seed makes a history, its micro-batches and a folder of a few views; each view is a case. `TALLGRASS_ORACLE_CASES=N`
//! is the least number of cases, `TALLGRASS_ORACLE_SEED=S` runs one seed alone. Seeds that once failed are kept in
//! `seeds.txt` and run first: their queries change with the grammar, so a bug that was found also has a test of its own, in
//! `maintained.rs` or an `.slt` file.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::FutureExt;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallgrass_view::Workspace;

use super::executions::{TestView, ViewOutcome, check};
use super::history::{FeedStep, History};
use super::{data, grammar, shrink};

/// The default number of cases of a run.
const CASES: usize = 2_000;

/// Views in one folder at most.
const VIEWS: usize = 5;

/// Of a hundred queries fewer may be such as DataFusion has no result for.
const MAX_SKIPPED_PERCENT: usize = 5;

/// Failures that are made smaller and shown; the rest only counts.
const SHOWN: usize = 3;

/// Everything of a seed.
#[derive(Debug, Clone)]
pub struct Case {
    pub seed: u64,
    pub views: Vec<TestView>,
    pub history: History,
    pub steps: Vec<FeedStep>,
}

impl Case {
    pub async fn new(workspace: &Workspace, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let history = data::history(workspace, &mut random).await;
        let rows_a_step = [1, 5, 20, 60][random.random_range(0..4)];
        // Few comparisons where there are many micro-batches: each plans all views again.
        let steps = history.steps(&mut random, rows_a_step, 0.005 * rows_a_step as f64);
        let views = grammar::views(seed, random.random_range(2..=VIEWS), &BTreeSet::new());
        Self { seed, views, history, steps }
    }

    /// The outcome of each view; `None` after a panic.
    pub async fn verdicts(&self, workspace: &Workspace) -> Option<Vec<ViewOutcome>> {
        AssertUnwindSafe(check(workspace, &self.views, &self.history, &self.steps)).catch_unwind().await.ok()
    }
}

/// What all threads add to.
#[derive(Default)]
struct CaseTally {
    cases: AtomicUsize,
    skipped: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
    failed: AtomicUsize,
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// `SEED  what it found` a line; `#` begins a comment.
fn kept_seeds() -> Vec<u64> {
    let lines =
        include_str!("seeds.txt").lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().next().and_then(|seed| seed.parse().ok()).expect("a seed")).collect()
}

async fn run(workspace: &Workspace, seed: u64, tally: &CaseTally) {
    let case = Case::new(workspace, seed).await;
    let Some(verdicts) = case.verdicts(workspace).await else {
        tally.failed.fetch_add(1, Ordering::Relaxed);
        let sqls: Vec<_> = case.views.iter().map(|view| format!("    {}: {}", view.name, view.sql)).collect();
        tally.failures.lock().unwrap().push(format!("seed {seed} panics\n{}", sqls.join("\n")));
        return;
    };
    tally.cases.fetch_add(verdicts.len(), Ordering::Relaxed);
    for (view, verdict) in case.views.iter().zip(&verdicts) {
        match verdict {
            ViewOutcome::Agree => {}
            ViewOutcome::Skipped(why) => {
                tally.skipped.lock().unwrap().push(format!("seed {seed}: {why}\n    {}", view.sql));
            }
            ViewOutcome::Differ { .. } => {
                let shown = tally.failed.fetch_add(1, Ordering::Relaxed) < SHOWN;
                let text = if shown {
                    shrink::report(workspace, &case, view).await
                } else {
                    format!("seed {seed}, {}: {}", view.name, view.sql)
                };
                tally.failures.lock().unwrap().push(text);
            }
        }
    }
}

#[test]
fn any_query_over_any_history_is_the_same_live_and_batch() {
    let wanted = number("TALLGRASS_ORACLE_CASES").map_or(CASES, |cases| cases as usize);
    let one = number("TALLGRASS_ORACLE_SEED");
    let seeds: Vec<u64> = one.map_or_else(kept_seeds, |seed| vec![seed]);
    let (tally, next) = (CaseTally::default(), AtomicU64::new(0));
    let work = || {
        let dir = tempfile::tempdir().unwrap();
        let workspace = data::workspace(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let seed = match seeds.get(index as usize) {
                Some(seed) => *seed,
                None if one.is_some() || tally.cases.load(Ordering::Relaxed) >= wanted => break,
                None => index - seeds.len() as u64,
            };
            runtime.block_on(run(&workspace, seed, &tally));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            // Planning is recursive, and a test's threads have small stacks.
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, work).unwrap();
        }
    });
    let (cases, failed) = (tally.cases.into_inner(), tally.failed.into_inner());
    let (skipped, failures) = (tally.skipped.into_inner().unwrap(), tally.failures.into_inner().unwrap());
    println!("{cases} cases, {} skipped, {failed} failed", skipped.len());
    for skipped in &skipped {
        println!("{skipped}");
    }
    assert!(failures.is_empty(), "{failed} of {cases} cases differ\n\n{}", failures.join("\n\n"));
    if one.is_none() {
        assert!(cases >= wanted, "only {cases} cases");
        let few = skipped.len() * 100 < MAX_SKIPPED_PERCENT * cases;
        assert!(few, "{} of {cases} cases skipped, among them\n{}", skipped.len(), skipped[..20].join("\n"));
    }
}
