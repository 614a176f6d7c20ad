//! Replays claims.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;

use crate::claim::{Claim, LiveResult};
use crate::compare::compare;
use crate::report::{Verdict, ViewProof};
use tallgrass_diagnostics::{causes, message_of};
use tallgrass_kafka::{AsOf, HistoryStart, KafkaConfig, KafkaError};
use tallgrass_relation::{BadRecords, PlannedQuery, ReadBounds, Until};
use tallgrass_view::incremental::clock;
use tallgrass_view::results::{Tolerances, tolerances};
use tallgrass_view::{SqlFile, Workspace, WorkspaceError};

/// Views that are replayed at the same time: mostly they wait for the broker.
const VIEWS_AT_ONCE: usize = 4;

/// Replays claims and compares.
#[derive(Debug)]
pub struct Prover<'a> {
    workspace: &'a Workspace,
    files: &'a [SqlFile],
    kafka: &'a KafkaConfig,
    views_at_once: usize,
    target_partitions: Option<usize>,
}

impl<'a> Prover<'a> {
    /// A prover over the relations of a workspace, on a cluster. `files` are all of a dashboard: a view may read another.
    pub fn new(workspace: &'a Workspace, files: &'a [SqlFile], kafka: &'a KafkaConfig) -> Self {
        Self { workspace, files, kafka, views_at_once: VIEWS_AT_ONCE, target_partitions: None }
    }

    /// The same on one thread, which leaves the others to what runs beside it.
    #[must_use]
    pub fn on_one_thread(mut self) -> Self {
        (self.views_at_once, self.target_partitions) = (1, Some(1));
        self
    }

    /// Replays each claim up to its as-of and compares; the views come in the order of their names.
    pub async fn prove(&self, claims: &[Claim], bad: &BadRecords) -> Result<Vec<ViewProof>, WorkspaceError> {
        let mut proofs = Vec::with_capacity(claims.len());
        let mut rest: Vec<&Claim> = claims.iter().collect();
        // Claims of one as-of share the offsets that are asked of the broker, and the plans.
        while let Some(as_of) = rest.first().map(|claim| &claim.as_of) {
            let (together, others) = rest.iter().partition(|claim| claim.as_of == *as_of);
            self.prove_at(as_of, together, bad, &mut proofs).await?;
            rest = others;
        }
        proofs.sort_by(|a, b| a.view.cmp(&b.view));
        Ok(proofs)
    }

    async fn prove_at(
        &self,
        as_of: &AsOf,
        claims: Vec<&Claim>,
        bad: &BadRecords,
        proofs: &mut Vec<ViewProof>,
    ) -> Result<(), WorkspaceError> {
        let bounds = Arc::new(ReadBounds::new(self.kafka.clone()).until(Until::Result(as_of.clone())));
        let session = self.workspace.batch_session(&bounds, bad).await?;
        if let Some(partitions) = self.target_partitions {
            session.state_ref().write().config_mut().options_mut().execution.target_partitions = partitions;
        }
        let plans = self.workspace.plan_dashboard(&session, self.files).await;
        let plans: BTreeMap<&str, _> = self.files.iter().map(SqlFile::name).zip(plans).collect();
        let (mut replays, mut queries) = (Vec::new(), Vec::new());
        for claim in claims {
            let prepared = match (&claim.result, plans.get(&*claim.view)) {
                (Err(reason), _) => Err(Verdict::Failed { reason: reason.clone() }),
                (_, None) => Err(Verdict::Failed { reason: "there is no file of this name".to_owned() }),
                (_, Some(Err(error))) => Err(Verdict::Failed { reason: error.to_string() }),
                (Ok(live), Some(Ok(plan))) => match self.prepare(claim, plan, &session, &bounds).await {
                    Ok(prepared) => Ok((live, prepared)),
                    Err(verdict) => Err(verdict),
                },
            };
            match prepared {
                Ok((live, (tolerances, query))) => {
                    replays.push(PendingReplay { claim, live, tolerances });
                    queries.push(query);
                }
                Err(verdict) => proofs.push(ViewProof { view: Arc::clone(&claim.view), verdict }),
            }
        }
        let proved = match PlannedQuery::share(queries) {
            Ok(queries) => {
                let replayed = replays.into_iter().zip(queries).map(|(replay, query)| replay.run(query));
                futures::stream::iter(replayed).buffer_unordered(self.views_at_once).collect().await
            }
            Err(error) => replays.iter().map(|replay| replay.proof(failed(&error))).collect::<Vec<_>>(),
        };
        proofs.extend(proved);
        Ok(())
    }

    /// Plans a replay, or gives the reason why there can be none.
    async fn prepare(
        &self,
        claim: &Claim,
        plan: &LogicalPlan,
        session: &SessionContext,
        bounds: &ReadBounds,
    ) -> Result<(Tolerances, PlannedQuery), Verdict> {
        let prepared = async {
            let query = PlannedQuery::new(session, clock::at(plan.clone(), claim.now_ns)?).await?;
            Ok((tolerances(plan)?, query))
        };
        let prepared = prepared.await.map_err(|error: DataFusionError| failed(&error))?;
        // Now the ends of its topics are known, and their beginnings.
        match missing_history(claim, &topics(self.workspace, plan), &bounds.history_starts()) {
            Some(start) => Err(Verdict::NotReplayable { reason: start.to_string() }),
            None => Ok(prepared),
        }
    }
}

/// A claim that can be replayed.
struct PendingReplay<'a> {
    claim: &'a Claim,
    live: &'a LiveResult,
    tolerances: Tolerances,
}

impl PendingReplay<'_> {
    async fn run(self, query: PlannedQuery) -> ViewProof {
        let schema = query.schema();
        let verdict = match query.collect().await {
            Ok(rows) => compare(&self.claim.view, self.live, &schema, &rows, &self.tolerances)
                .unwrap_or_else(|error| Verdict::Failed { reason: message_of(&error) }),
            Err(error) => failed(&error),
        };
        self.proof(verdict)
    }

    fn proof(&self, verdict: Verdict) -> ViewProof {
        ViewProof { view: Arc::clone(&self.claim.view), verdict }
    }
}

/// What the failure of a replay means: history that was deleted while it was read is not a failure.
fn failed(error: &DataFusionError) -> Verdict {
    let deleted = causes(error).find_map(|cause: &(dyn Error + 'static)| match cause.downcast_ref::<KafkaError>()? {
        KafkaError::OffsetOutOfRange { topic, partition, next_offset, low, .. } if next_offset < low => {
            Some(HistoryStart { topic: topic.as_str().into(), partition: *partition, first_offset: *low })
        }
        _ => None,
    });
    match deleted {
        Some(start) => Verdict::NotReplayable { reason: start.to_string() },
        None => Verdict::Failed { reason: message_of(error) },
    }
}

/// Where history starts that a claim counted and the broker has lost since.
fn missing_history<'a>(
    claim: &Claim,
    topics: &BTreeSet<Arc<str>>,
    starts: &'a [HistoryStart],
) -> Option<&'a HistoryStart> {
    starts.iter().find(|start| {
        let began = claim.since.next_offset(&start.topic, start.partition).unwrap_or(0);
        topics.contains(&start.topic) && start.first_offset > began
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
