//! Makes a failing case smaller: fewer views, a simpler query, fewer micro-batches, fewer rows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tallgrass_view::Workspace;

use super::compare::texts;
use super::executions::{TestView, ViewOutcome};
use super::grammar::{self, Feature};
use super::random::Case;

/// Runs of a case that are tried at most.
const TRIES: usize = 150;

struct Shrinker<'a> {
    workspace: &'a Workspace,
    tries: usize,
}

impl Shrinker<'_> {
    /// The failure of the last view, if it still fails.
    async fn failure(&mut self, case: &Case) -> Option<(usize, String)> {
        self.tries += 1;
        match case.verdicts(self.workspace).await?.pop() {
            Some(ViewOutcome::Differ { step, how }) if self.tries <= TRIES => Some((step, how)),
            _ => None,
        }
    }

    /// Only what the view reads, and the view last.
    async fn fewer_views(&mut self, mut case: Case, name: &str) -> Case {
        let last = case.views.iter().position(|view| view.name == name).unwrap_or_default();
        case.views.truncate(last + 1);
        for index in (0..last).rev() {
            let mut smaller = case.clone();
            smaller.views.remove(index);
            if self.failure(&smaller).await.is_some() {
                case = smaller;
            }
        }
        case
    }

    /// The same choices with as much turned off as can be.
    async fn simpler_query(&mut self, case: &Case, name: &str) -> Option<Case> {
        let index: usize = name.trim_start_matches('q').parse().ok()?;
        let mut off = BTreeSet::new();
        let mut simplest = None;
        for feature in Feature::ALL {
            let mut tried = off.clone();
            tried.insert(feature);
            let views = grammar::views(case.seed, index + 1, &tried);
            let smaller = self.fewer_views(Case { views, ..case.clone() }, name).await;
            if self.failure(&smaller).await.is_some() {
                off = tried;
                simplest = Some(smaller);
            }
        }
        simplest
    }

    /// Ends at the step that shows the failure, merges and drops what it can, then drops rows by halves.
    async fn smaller_history(&mut self, mut case: Case) -> Case {
        if let Some((step, _)) = self.failure(&case).await {
            case.steps.truncate(step + 1);
        }
        let mut size = case.steps.len() / 2;
        while size > 0 {
            let mut start = 0;
            while start < case.steps.len() {
                let mut smaller = case.clone();
                smaller.steps.drain(start..(start + size).min(smaller.steps.len()));
                if !smaller.steps.is_empty() && self.failure(&smaller).await.is_some() {
                    case = smaller;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
        let mut size = rows(&case) / 2;
        while size > 0 {
            let mut start = 0;
            while start < rows(&case) {
                let mut smaller = case.clone();
                drop_rows(&mut smaller, start..start + size);
                if self.failure(&smaller).await.is_some() {
                    case = smaller;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
        case
    }
}

fn rows(case: &Case) -> usize {
    case.steps.iter().flat_map(|step| &step.rows).map(|(_, rows)| rows.len()).sum()
}

fn drop_rows(case: &mut Case, range: std::ops::Range<usize>) {
    let mut place = 0;
    for (_, rows) in case.steps.iter_mut().flat_map(|step| &mut step.rows) {
        rows.retain(|_| {
            place += 1;
            !range.contains(&(place - 1))
        });
    }
}

/// A failure with its seed, its SQL and the least rows that show it.
pub async fn report(workspace: &Workspace, case: &Case, view: &TestView) -> String {
    let mut shrinker = Shrinker { workspace, tries: 0 };
    let mut smallest = shrinker.fewer_views(case.clone(), &view.name).await;
    if let Some(simpler) = shrinker.simpler_query(case, &view.name).await {
        smallest = simpler;
    }
    // What a query is simplified with is not taken from what rows are dropped with.
    shrinker.tries = 0;
    let smallest = shrinker.smaller_history(smallest).await;
    shrinker.tries = 0;
    let how = shrinker.failure(&smallest).await.map_or_else(|| "fails no more".to_owned(), |(_, how)| how);
    let mut text = format!("TALLGRASS_ORACLE_SEED={}, view {}:\n{}\n", case.seed, view.name, view.sql);
    text += "made smaller:\n";
    for view in &smallest.views {
        writeln!(text, "  {}: {}", view.name, view.sql).unwrap();
    }
    for (index, step) in smallest.steps.iter().enumerate() {
        writeln!(text, "  micro-batch {index}{}", if step.compare { ", compared" } else { "" }).unwrap();
        for (topic, rows) in &step.rows {
            let topic = &smallest.history.topics[*topic];
            let shown = texts(topic.rows());
            for row in rows {
                writeln!(text, "    {} {}", topic.name, shown[*row].join(" | ")).unwrap();
            }
        }
    }
    text + &how
}
