//! The proof that `verify`, `dashboard --verify` and `demo` share: a live result against a replay up to its as-of.
//!
//! ```text
//!  live ─▶ Claim { as-of, now, digest, rows } ─┐
//!                                              ├─▶ the same digest, or else the rows compared ─▶ Verdict
//!  replay up to the as-of, at that moment ─────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::batch::Planned;
use super::compare::{self, Difference, Tolerances};
use super::{carried, explain};
use tallgrass_kafka::{AsOf, HistoryStart, KafkaConfig, KafkaError};
use tallgrass_pipeline::{Snapshot, ViewResult};
use tallgrass_relation::{BadRecords, ReadBounds, Until};
use tallgrass_sink::text::json_rows;
use tallgrass_view::results::digest::Digest;
use tallgrass_view::{SqlFile, Workspace, clock, words};

/// What a live run said about one view.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The view.
    pub view: Arc<str>,
    /// Everything below these offsets is in it, nothing at or above.
    pub as_of: AsOf,
    /// First offsets of the partitions whose beginning was gone already when the live run started.
    pub since: AsOf,
    /// What `now()` said, in nanoseconds since 1970 UTC.
    pub now_ns: i64,
    /// The result, or why there was none.
    pub said: Result<Said, String>,
}

/// A live result.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its digest.
    pub digest: Digest,
    /// Its rows.
    pub rows: LiveRows,
}

/// Rows of a live result, as they were kept.
#[derive(Debug, Clone)]
pub enum LiveRows {
    /// In memory.
    Batches(Vec<RecordBatch>),
    /// As lines of JSON.
    Json(Vec<Value>),
}

impl Claim {
    /// What a snapshot says of one of its views. `since` is where its live run's history starts.
    pub fn of(snapshot: &Snapshot, result: &ViewResult, since: AsOf) -> Self {
        let said = result.rows.as_ref().map_err(|error| words(error)).and_then(|rows| {
            let digest = Digest::of(&result.schema, rows).map_err(|error| error.to_string())?;
            Ok(Said { digest, rows: LiveRows::Batches(rows.clone()) })
        });
        Self { view: Arc::clone(&result.name), as_of: snapshot.as_of.clone(), since, now_ns: snapshot.now_ns, said }
    }
}

/// What a comparison found.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// The same rows.
    Agrees {
        /// How many.
        rows: usize,
        /// Of the live result.
        digest: Digest,
    },
    /// Not the same result.
    Differs(Difference),
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

    /// The first of the rows that differ, a line each.
    pub fn rows(&self) -> Vec<String> {
        let Self::Differs(difference) = self else { return Vec::new() };
        let mut lines = Vec::new();
        for (mark, side) in [("- only live", &difference.only_live), ("+ only replay", &difference.only_replay)] {
            lines.extend(side.first.iter().map(|row| format!("{mark}: {row}")));
            if side.rows > side.first.len() {
                lines.push(format!("{mark}: … and {} more", side.rows - side.first.len()));
            }
        }
        lines
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = |rows: usize| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        match self {
            Self::Agrees { rows: count, digest } => {
                write!(f, "live and replay agree, {}, digest {digest}", rows(*count))
            }
            Self::Differs(difference) if difference.is_empty() => {
                f.write_str("DIFFERS: the rows read the same, but not the digest: a type or a hidden digit is another")
            }
            Self::Differs(Difference { only_live, only_replay, .. }) => {
                write!(f, "DIFFERS: {} only live, {} only in the replay", rows(only_live.rows), rows(only_replay.rows))
            }
            Self::HistoryGone { since } => write!(f, "cannot be replayed: {since}"),
            Self::Failed { reason } => write!(f, "FAILED: {reason}"),
        }
    }
}

/// Replays claims.
#[derive(Debug)]
pub struct Prover<'a> {
    /// The relations.
    pub workspace: &'a Workspace,
    /// The dashboard's files: a view may read another.
    pub files: &'a [SqlFile],
    /// The cluster.
    pub kafka: &'a KafkaConfig,
    /// Views that are replayed at the same time: mostly they wait for the broker.
    pub views_at_once: usize,
    /// `DataFusion`'s partitions, if not as many as there are cores.
    pub target_partitions: Option<usize>,
}

impl Prover<'_> {
    /// Views that a command replays at the same time.
    pub const VIEWS_AT_ONCE: usize = 4;

    /// Replays each claim up to its as-of and compares.
    pub async fn prove(&self, claims: &[Claim], bad: &BadRecords) -> anyhow::Result<BTreeMap<Arc<str>, Verdict>> {
        let mut verdicts = BTreeMap::new();
        let mut rest: Vec<&Claim> = claims.iter().collect();
        // Claims of one as-of share the offsets that are asked of the broker, and the plans.
        while let Some(as_of) = rest.first().map(|claim| &claim.as_of) {
            let (together, others) = rest.iter().partition(|claim| claim.as_of == *as_of);
            verdicts.append(&mut self.prove_at(as_of, together, bad).await?);
            rest = others;
        }
        Ok(verdicts)
    }

    async fn prove_at(
        &self,
        as_of: &AsOf,
        claims: Vec<&Claim>,
        bad: &BadRecords,
    ) -> anyhow::Result<BTreeMap<Arc<str>, Verdict>> {
        let bounds = Arc::new(ReadBounds::new(self.kafka.clone()).until(Until::Result(as_of.clone())));
        let session = self.workspace.batch_session(&bounds, bad).await?;
        if let Some(partitions) = self.target_partitions {
            session.state_ref().write().config_mut().options_mut().execution.target_partitions = partitions;
        }
        let plans = self.workspace.plan_dashboard(&session, self.files).await;
        let plans: BTreeMap<&str, _> = self.files.iter().map(SqlFile::name).zip(plans).collect();
        let mut verdicts = BTreeMap::new();
        let (mut said, mut planned) = (Vec::new(), Vec::new());
        for claim in claims {
            let prepared = match (&claim.said, plans.get(&*claim.view)) {
                (Err(reason), _) => Err(Verdict::Failed { reason: reason.clone() }),
                (_, None) => Err(Verdict::Failed { reason: "there is no file of this name".to_owned() }),
                (_, Some(Err(error))) => Err(Verdict::Failed { reason: error.to_string() }),
                (Ok(rows), Some(Ok(plan))) => match self.prepare(claim, plan, &session, &bounds).await {
                    Ok(planned) => Tolerances::of(plan)
                        .map(|tolerances| (rows, tolerances, planned))
                        .map_err(|error| failed(error.into())),
                    Err(verdict) => Err(verdict),
                },
            };
            match prepared {
                Ok((rows, tolerances, plan)) => {
                    said.push((claim, rows, tolerances));
                    planned.push(plan);
                }
                Err(verdict) => _ = verdicts.insert(Arc::clone(&claim.view), verdict),
            }
        }
        let replays =
            said.into_iter().zip(Planned::share(planned)?).map(|((claim, said, tolerances), planned)| async move {
                let schema = planned.schema();
                let replayed = planned.collect().await;
                let verdict = replayed.and_then(|rows| compare(claim, said, &schema, &rows, &tolerances));
                anyhow::Ok((Arc::clone(&claim.view), verdict.unwrap_or_else(failed)))
            });
        let replayed: Vec<_> =
            futures::stream::iter(replays).buffer_unordered(self.views_at_once).try_collect().await?;
        verdicts.extend(replayed);
        Ok(verdicts)
    }

    /// Plans a replay, or says why there can be none.
    async fn prepare(
        &self,
        claim: &Claim,
        plan: &LogicalPlan,
        session: &SessionContext,
        bounds: &ReadBounds,
    ) -> Result<Planned, Verdict> {
        let topics = topics(self.workspace, plan);
        let planned = async { Planned::new(session, clock::at(plan.clone(), claim.now_ns)?).await };
        let planned = planned.await.map_err(failed)?;
        // Now the ends of its topics are known, and their beginnings.
        match gone(claim, &topics, &bounds.history_starts()) {
            Some(since) => Err(Verdict::HistoryGone { since }),
            None => Ok(planned),
        }
    }
}

/// What the failure of a replay means.
#[allow(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn failed(error: anyhow::Error) -> Verdict {
    match taken(&error) {
        Some(since) => Verdict::HistoryGone { since },
        None => Verdict::Failed { reason: explain(&error) },
    }
}

/// Compares a claim with the rows of its replay: the digests, and the rows if those differ. Rows in a line of text are
/// compared anyway, since nothing but the replay can say whether they are still those that the line's digest was of.
fn compare(
    claim: &Claim,
    said: &Said,
    schema: &SchemaRef,
    replay: &[RecordBatch],
    tolerance: &Tolerances,
) -> anyhow::Result<Verdict> {
    let digest = Digest::of(schema, replay)?;
    let rows = replay.iter().map(RecordBatch::num_rows).sum();
    let difference = match &said.rows {
        LiveRows::Batches(_) if digest == said.digest => Difference::default(),
        LiveRows::Batches(live) => compare::batches(live, replay, tolerance)?,
        LiveRows::Json(live) => {
            let replay = json_rows(&claim.view, schema, replay)?;
            let replay: Vec<Value> = replay.iter().map(|row| serde_json::from_str(row)).collect::<Result<_, _>>()?;
            compare::json(live, &replay, tolerance)?
        }
    };
    // Rows within the tolerance explain another digest; without any, something differs that no row shows.
    let explained = digest == said.digest || difference.close > 0;
    Ok(if difference.is_empty() && explained {
        Verdict::Agrees { rows, digest: said.digest }
    } else {
        Verdict::Differs(difference)
    })
}

/// Why a claim cannot be replayed, if the broker has lost more than the live run already lacked.
fn gone(claim: &Claim, topics: &BTreeSet<Arc<str>>, starts: &[HistoryStart]) -> Option<String> {
    let lost = |start: &&HistoryStart| {
        let began = claim.since.next_offset(&start.topic, start.partition).unwrap_or(0);
        topics.contains(&start.topic) && start.first_offset > began
    };
    starts.iter().find(lost).map(ToString::to_string)
}

/// The same for history that went while it was read.
fn taken(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let inner = cause.downcast_ref::<DataFusionError>().and_then(carried);
        match inner.unwrap_or(cause).downcast_ref::<KafkaError>()? {
            KafkaError::OffsetOutOfRange { topic, partition, next_offset, low, .. } if next_offset < low => {
                let (topic, partition, first_offset) = (topic.as_str().into(), *partition, *low);
                Some(HistoryStart { topic, partition, first_offset }.to_string())
            }
            _ => None,
        }
    })
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
