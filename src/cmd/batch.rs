//! What `replay`, `query` and `verify` share: the files that were asked for, and a bounded run with progress, written as
//! it comes.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use tokio::task::JoinHandle;

use crate::relation::{ReadBounds, share_reads};
use crate::sink::progress::{Progress, progress};
use crate::view::{SqlError, SqlFile, Workspace};

/// A planned query: its offsets are frozen, nothing has been read yet.
pub struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// Its rows, where it runs already, together with others that read the same.
    running: Option<JoinHandle<anyhow::Result<Vec<RecordBatch>>>>,
}

impl Planned {
    /// Plans a query; its scans ask the broker for their offsets now.
    pub async fn new(context: &SessionContext, plan: LogicalPlan) -> anyhow::Result<Self> {
        let frame = context.execute_logical_plan(plan).await?;
        let context = Arc::new(frame.task_ctx());
        Ok(Self { plan: frame.create_physical_plan().await?, context, running: None })
    }

    /// Lets queries that read the same topic read it once. Those start at once, all together.
    pub fn share(queries: Vec<Self>) -> anyhow::Result<Vec<Self>> {
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
    pub async fn run(self, mut write: impl FnMut(&RecordBatch) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if let Some(running) = self.running {
            return running.await??.iter().try_for_each(write);
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
    pub async fn collect(self) -> anyhow::Result<Vec<RecordBatch>> {
        let mut rows = Vec::new();
        self.run(|batch| {
            rows.push(batch.clone());
            Ok(())
        })
        .await?;
        Ok(rows)
    }
}

/// The dashboard's files, and the errors of those that matter: of all files, or of the ones asked for.
pub fn choose_files(workspace: &Workspace, wanted: &[String]) -> anyhow::Result<(Vec<SqlFile>, Vec<SqlError>)> {
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

/// Shows on stderr how much of the planned reads is done, and first what their history lacks.
pub fn show_progress(bounds: &ReadBounds) -> Progress {
    for start in bounds.history_starts() {
        eprintln!("note: {start}");
    }
    let read = Arc::clone(bounds.progress());
    progress(read.offsets_total(), move || read.offsets_done())
}

/// stdout, whole blocks at a time, and whether it is a terminal.
pub fn stdout() -> (io::BufWriter<io::Stdout>, bool) {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    (io::BufWriter::with_capacity(1 << 16, stdout), terminal)
}

/// Flushes what was written to stdout.
pub fn flush(mut out: impl Write) -> anyhow::Result<()> {
    out.flush().context("cannot write the result")
}

/// How long a first answer of the broker may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
