//! A query over relations that has been planned and not yet run.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use tallgrass_planner::physical_plan;
use tokio::task::JoinHandle;

use super::shared_read::share_reads;

/// A planned query: its offsets are frozen, nothing has been read yet.
#[derive(Debug)]
pub struct PlannedQuery {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// Its rows, where it runs already, together with others that read the same.
    running: Option<JoinHandle<Result<Vec<RecordBatch>>>>,
}

impl PlannedQuery {
    /// Plans a query; its scans ask the broker for their offsets now.
    pub fn new(context: &SessionContext, plan: LogicalPlan) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let plan = physical_plan(context, plan).await?;
            Ok(Self { plan, context: context.task_ctx(), running: None })
        })
    }

    /// Lets queries that read the same topic read it once. Those start at once, all together.
    pub fn share(queries: Vec<Self>) -> Result<Vec<Self>> {
        let plans = share_reads(queries.iter().map(|query| Arc::clone(&query.plan)).collect())?;
        let queries = queries.into_iter().zip(plans).map(|(query, (plan, shares))| {
            let context = query.context;
            let together = || Self { plan: Arc::clone(&plan), context: Arc::clone(&context), running: None }.collect();
            let running = shares.then(|| tokio::spawn(together()));
            Self { plan, context, running }
        });
        Ok(queries.collect())
    }

    /// The result's columns.
    pub fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    /// Runs it; each batch goes to `write`.
    pub async fn run<E: From<DataFusionError>>(
        self,
        mut write: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(running) = self.running {
            let joined = running.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
            return joined?.iter().try_for_each(write);
        }
        let mut batches = execute_stream(self.plan, self.context)?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                write(&batch)?;
            }
        }
        Ok(())
    }

    /// Runs it and keeps its rows.
    pub fn collect(self) -> BoxFuture<'static, Result<Vec<RecordBatch>>> {
        Box::pin(async move {
            let mut rows = Vec::new();
            self.run(|batch| {
                rows.push(batch.clone());
                Ok::<_, DataFusionError>(())
            })
            .await?;
            Ok(rows)
        })
    }
}
