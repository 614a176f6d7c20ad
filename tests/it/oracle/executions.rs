//! One SQL, two executions: the engine fed in micro-batches, and plain DataFusion over all rows so far.
//!
//! Only this file depends on how the program is put together.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use tallgrass_pipeline::{Engine, NamedView, Snapshot};
use tallgrass_relation::KafkaRelation;
use tallgrass_sql::session;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{Fingerprint, Maintenance, SqlFile, Workspace, live_view};

use super::compare::difference;
use super::history::{FeedProgress, FeedStep, History};

/// No view of these tests keeps more.
const MAX_ROWS: usize = 10_000_000;

/// Of the batch execution; the live one has one. The same plans whatever the machine.
const PARTITIONS: usize = 3;

/// A file of SQL, and whether it determines the order of its rows completely.
#[derive(Debug, Clone)]
pub struct TestView {
    pub name: String,
    pub sql: String,
    pub ordered: bool,
}

/// The outcome of one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewOutcome {
    /// Equal, wherever compared.
    Agree,
    /// DataFusion itself has no result for it.
    Skipped(String),
    /// The live result differs after this step.
    Differ { step: usize, how: String },
}

/// A result of the batch execution.
pub type BatchResult = Result<(SchemaRef, Vec<RecordBatch>), DataFusionError>;

pub fn files(views: &[TestView]) -> Vec<SqlFile> {
    let parse = |view: &TestView| {
        SqlFile::parse(&view.name, Path::new(&format!("{}.sql", view.name)), &*view.sql)
            .unwrap_or_else(|error| panic!("{error}\n{}", view.sql))
    };
    views.iter().map(parse).collect()
}

/// An engine over the views, as a dashboard makes one.
pub async fn engine(workspace: &Workspace, files: &[SqlFile]) -> Engine {
    let context = workspace.live_session().await.unwrap();
    let mut views = Vec::with_capacity(files.len());
    for (file, plan) in files.iter().zip(workspace.plan_dashboard(&context, files).await) {
        let view = match plan {
            Ok(plan) => live_view(&context, file, plan, Use::Result, MAX_ROWS).await,
            Err(error) => Err(error),
        };
        let view = view.map_err(|error| Arc::new(DataFusionError::External(Box::new(error))));
        views.push(NamedView::new(file.name(), Fingerprint::default(), view));
    }
    Engine::new(workspace.catalog(), views).unwrap()
}

/// How each view is maintained, where it is a view at all.
pub fn maintenance(engine: &Engine) -> Vec<Option<Maintenance>> {
    engine.views().iter().map(|named| named.view.as_ref().ok().map(tallgrass_view::LiveView::maintenance)).collect()
}

/// A session of plain DataFusion over the rows so far.
async fn batch_session(
    workspace: &Workspace,
    history: &History,
    fed: &[Vec<usize>],
    partitions: usize,
) -> SessionContext {
    let context = session::batch();
    let rows = |relation: &Arc<KafkaRelation>| -> Arc<dyn TableProvider> {
        let partitions = history.topics.iter().zip(fed).find(|(topic, _)| topic.name == *relation.topic());
        let partitions = partitions.map(|(topic, fed)| topic.current(relation, fed)).unwrap_or_default();
        let conform = |batch: RecordBatch| {
            vec![RecordBatch::try_new(Arc::clone(relation.schema()), batch.columns().to_vec()).unwrap()]
        };
        let partitions: Vec<Vec<RecordBatch>> = partitions.into_iter().map(conform).collect();
        let partitions = if partitions.is_empty() { vec![Vec::new()] } else { partitions };
        Arc::new(MemTable::try_new(Arc::clone(relation.schema()), partitions).unwrap())
    };
    assert!(workspace.catalog().register(&context, rows).await.is_empty());
    context.state_ref().write().config_mut().options_mut().execution.target_partitions = partitions;
    context
}

/// The results over all rows so far.
pub async fn batch(
    workspace: &Workspace,
    files: &[SqlFile],
    history: &History,
    fed: &[Vec<usize>],
) -> Vec<BatchResult> {
    batch_in(workspace, files, history, fed, PARTITIONS).await
}

async fn batch_in(
    workspace: &Workspace,
    files: &[SqlFile],
    history: &History,
    fed: &[Vec<usize>],
    partitions: usize,
) -> Vec<BatchResult> {
    let context = batch_session(workspace, history, fed, partitions).await;
    let mut results = Vec::with_capacity(files.len());
    for plan in workspace.plan_dashboard(&context, files).await {
        results.push(match plan {
            Ok(plan) => run(&context, plan).await,
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        });
    }
    results
}

async fn run(context: &SessionContext, plan: datafusion::logical_expr::LogicalPlan) -> BatchResult {
    let frame = tallgrass_planner::dataframe(context, plan).await?;
    let planned = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await?;
    // The optimizer may change a text type after the schema was determined.
    Ok((batches.first().map_or(planned, RecordBatch::schema), batches))
}

/// Fills in which records delete the rows of keyed relations: DataFusion evaluates the condition as a plain projection.
pub async fn decide_deletes(workspace: &Workspace, history: &mut History) {
    for relation in workspace.catalog().kafka_relations() {
        let Some(key) = relation.key() else { continue };
        let condition = key.deleted_when.as_ref().map_or("false", |condition| condition.sql());
        for topic in history.topics.iter_mut().filter(|topic| topic.name == *relation.topic()) {
            let context = SessionContext::new();
            context.register_batch("records", topic.rows().clone()).unwrap();
            // The order of the rows is that of the one batch.
            context.state_ref().write().config_mut().options_mut().execution.target_partitions = 1;
            let batches = tallgrass_planner::sql(&context, &format!("SELECT ({condition}) AS d FROM records"))
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
            let schema = batches[0].schema();
            let whole = datafusion::arrow::compute::concat_batches(&schema, &batches).unwrap();
            topic.delete(relation.name(), whole.column(0).as_boolean());
        }
    }
}

/// Feeds the steps and compares every view after each step that requires it, and at the end. A snapshot has one as-of: that
/// of the rows that the other execution gets.
pub async fn check(
    workspace: &Workspace,
    views: &[TestView],
    history: &History,
    steps: &[FeedStep],
) -> Vec<ViewOutcome> {
    let files = files(views);
    let mut engine = engine(workspace, &files).await;
    let topics = engine.topics().clone();
    let mut fed = FeedProgress::start(history, &mut engine);
    let mut verdicts = vec![ViewOutcome::Agree; views.len()];
    for (index, step) in steps.iter().enumerate() {
        let micro_batch = fed.take(step, &topics);
        engine.apply(micro_batch).await.unwrap();
        if !step.compare && index + 1 < steps.len() {
            continue;
        }
        let snapshot = engine.refresh().await.unwrap();
        assert_eq!(snapshot.as_of, fed.as_of, "the as-of after step {index}");
        let expected = batch(workspace, &files, history, &fed.rows).await;
        for (place, verdict) in judge(views, &snapshot, &expected).into_iter().enumerate() {
            let verdict = match verdict {
                ViewOutcome::Differ { how, .. } => {
                    if agrees_with_itself(&files, (place, views[place].ordered), workspace, &fed).await {
                        ViewOutcome::Differ { step: index, how }
                    } else {
                        ViewOutcome::Skipped(format!("DataFusion does not agree with itself: {how}"))
                    }
                }
                other => other,
            };
            if verdicts[place] == ViewOutcome::Agree {
                verdicts[place] = verdict;
            }
        }
        if !verdicts.contains(&ViewOutcome::Agree) {
            break;
        }
    }
    verdicts
}

/// Whether plain DataFusion gives the same rows in one partition as in several. Where it does not, as where it takes a
/// constant that grouping sets or unions vary for an order, neither execution is the right one.
async fn agrees_with_itself(
    files: &[SqlFile],
    (place, ordered): (usize, bool),
    workspace: &Workspace,
    fed: &FeedProgress<'_>,
) -> bool {
    let history = fed.history;
    let several = batch(workspace, files, history, &fed.rows).await.swap_remove(place);
    let one = batch_in(workspace, files, history, &fed.rows, 1).await.swap_remove(place);
    match (several, one) {
        (Ok((_, several)), Ok((_, one))) => difference(&one, &several, ordered).is_none(),
        _ => false,
    }
}

/// Compares all results of one moment.
fn judge(views: &[TestView], snapshot: &Snapshot, expected: &[BatchResult]) -> Vec<ViewOutcome> {
    assert_eq!(snapshot.results.len(), views.len());
    let verdict = |((view, live), batch): ((&TestView, &tallgrass_pipeline::ViewResult), &BatchResult)| {
        assert_eq!(*live.name, *view.name);
        let batches = match batch {
            Ok((_, batches)) => batches,
            Err(error) => return ViewOutcome::Skipped(tallgrass_diagnostics::message_of(error)),
        };
        let how = match &live.rows {
            Ok(rows) => difference(rows, batches, view.ordered),
            Err(error) => Some(format!("the live view fails: {}", tallgrass_diagnostics::message_of(error))),
        };
        how.map_or(ViewOutcome::Agree, |how| ViewOutcome::Differ { step: 0, how })
    };
    views.iter().zip(&snapshot.results).zip(expected).map(verdict).collect()
}
