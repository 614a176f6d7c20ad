//! Whether a live result is what a replay gives: row by row, up to the same offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use futures::{StreamExt as _, TryStreamExt as _};

use super::batch::Planned;
use crate::kafka::KafkaConfig;
use crate::pipeline::Snapshot;
use crate::relation::{BadRecords, ReadBounds};
use crate::view::{SqlFile, Workspace, words};

/// Views that are replayed at the same time: mostly they wait for the broker.
const VIEWS_AT_ONCE: usize = 4;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same rows, every bit.
    Agrees {
        /// How many.
        rows: usize,
    },
    /// Rows that only one of the two has; a changed row counts on both sides.
    Differs {
        /// Rows of the live result that the replay does not have.
        only_live: usize,
        /// Rows of the replay that the live result does not have.
        only_replay: usize,
    },
    /// The broker no longer has what the live result counted, so no replay can give it.
    HistoryGone {
        /// Where history starts now.
        since: String,
    },
    /// The live view or the replay failed.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Whether nothing speaks against the live result.
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::Agrees { .. } | Self::HistoryGone { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agrees { rows: 1 } => f.write_str("live and replay agree, 1 row"),
            Self::Agrees { rows } => write!(f, "live and replay agree, {rows} rows"),
            Self::Differs { only_live, only_replay } => {
                write!(f, "DIFFERS: {only_live} rows only live, {only_replay} rows only in the replay")
            }
            Self::HistoryGone { since } => write!(f, "cannot be replayed: {since}"),
            Self::Failed { reason } => write!(f, "FAILED: {reason}"),
        }
    }
}

/// Replays every view of a snapshot up to the snapshot's as-of and compares.
pub async fn verify(
    workspace: &Workspace,
    kafka: &KafkaConfig,
    live: &Snapshot,
) -> anyhow::Result<BTreeMap<Arc<str>, Verdict>> {
    let bounds = Arc::new(ReadBounds::new(kafka.clone()).until(live.as_of.clone()));
    let session = workspace.batch_session(&bounds, &BadRecords::default()).await?;
    let files: Vec<SqlFile> = workspace.dashboard().into_iter().filter_map(Result::ok).collect();
    let plans = workspace.plan_dashboard(&session, &files).await;
    let compared = files.iter().zip(plans).filter_map(|(file, plan)| {
        let result = live.results.iter().find(|result| &*result.name == file.name())?;
        let (session, bounds) = (&session, &bounds);
        Some(async move {
            let topics = plan.as_ref().map(|plan| topics(workspace, plan)).unwrap_or_default();
            let replayed = async { Planned::new(session, plan?).await?.collect().await };
            let verdict = match (&result.rows, replayed.await) {
                (Ok(live), Ok(replayed)) => {
                    match bounds.history_starts().iter().find(|start| topics.contains(&start.topic)) {
                        Some(start) => Verdict::HistoryGone { since: start.to_string() },
                        None => compare(live, &replayed)?,
                    }
                }
                (Err(error), _) => Verdict::Failed { reason: words(error) },
                (_, Err(error)) => Verdict::Failed { reason: format!("{error:#}") },
            };
            anyhow::Ok((Arc::clone(&result.name), verdict))
        })
    });
    futures::stream::iter(compared).buffer_unordered(VIEWS_AT_ONCE).try_collect().await
}

/// The topics that a view reads.
fn topics(workspace: &Workspace, plan: &LogicalPlan) -> BTreeSet<Arc<str>> {
    let mut topics = BTreeSet::new();
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(relation) = workspace.catalog().get(scan.table_name.table()).and_then(|found| found.as_kafka())
        {
            topics.insert(Arc::clone(relation.topic()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the walk itself never fails");
    topics
}

/// Compares two results as bags of rows: SQL gives no order but at the root, where ties are free.
pub fn compare(live: &[RecordBatch], replay: &[RecordBatch]) -> anyhow::Result<Verdict> {
    let Some(first) = live.first().or(replay.first()) else { return Ok(Verdict::Agrees { rows: 0 }) };
    let fields = first.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (batches, weight) in [(live, 1), (replay, -1)] {
        for batch in batches {
            for row in &converter.convert_columns(batch.columns())? {
                *counts.entry(row.as_ref().to_vec()).or_default() += weight;
            }
        }
    }
    let only_live = counts.values().filter(|count| **count > 0).sum::<i64>().unsigned_abs() as usize;
    let only_replay = counts.values().filter(|count| **count < 0).sum::<i64>().unsigned_abs() as usize;
    let rows = live.iter().map(RecordBatch::num_rows).sum();
    Ok(if only_live + only_replay == 0 {
        Verdict::Agrees { rows }
    } else {
        Verdict::Differs { only_live, only_replay }
    })
}
