//! `tests/slt/*.slt`: queries with the rows that they must give, each run through both executions.
//!
//! A file declares its relations as a `sources.sql` would, fills topics and files with `INSERT INTO relation SELECT …`,
//! and then asks. A column of an insert may be `_key`, `_partition`, `_timestamp` or `_tombstone`; the key of a table's
//! record is its primary key. `INCLUDE path` declares what a file does, and a query `FILE path` is the one in the file.
//!
//! All queries of a file are views of one engine, which is fed in micro-batches and refreshed in between. Each live
//! result must equal the batch one to the bit, and then the rows in the file. With `TALLGRASS_SLT_UPDATE=1` the batch
//! results are written into the files instead.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};
use tallgrass_view::{SqlFile, Workspace};

use super::compare::{difference, texts};
use super::executions::{self, TestView};
use super::history::{FeedProgress, History};
use super::insert::Inserts;

/// Sizes of micro-batches are drawn from this.
const SEED: u64 = 20_160_706;

/// About as many rows come in one micro-batch.
const ROWS_A_STEP: usize = 300;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// One file's relations, rows and answers.
struct Database {
    dir: tempfile::TempDir,
    sources: String,
    inserts: Inserts,
    queries: Vec<TestView>,
    /// Query → its live rows, once all of them have been run.
    answers: Option<HashMap<String, Result<RecordBatch, String>>>,
    update: bool,
}

impl Database {
    fn new(queries: Vec<TestView>, update: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, sources: String::new(), inserts: Inserts::default(), queries, answers: None, update }
    }

    /// Runs all queries both ways.
    async fn answer(&mut self) -> HashMap<String, Result<RecordBatch, String>> {
        self.inserts.write_files(self.dir.path(), &self.sources);
        std::fs::write(self.dir.path().join("sources.sql"), &self.sources).unwrap();
        let workspace = Workspace::load(self.dir.path()).unwrap();
        let history = self.inserts.history(&workspace).await;
        let files = executions::files(&self.queries);
        let live = live(&workspace, &files, &history).await;
        let whole: Vec<Vec<usize>> =
            history.topics.iter().map(|topic| (0..topic.rows().num_rows()).collect()).collect();
        let expected = executions::batch(&workspace, &files, &history, &whole).await;
        let mut answers = HashMap::new();
        for ((view, live), expected) in self.queries.iter().zip(live.results).zip(expected) {
            let answer = match (live.rows, expected) {
                (Ok(rows), Ok((schema, batches))) => {
                    let (schema, shown) = if self.update { (schema, &batches) } else { (live.schema, &rows) };
                    let schema = shown.first().map_or(schema, RecordBatch::schema);
                    let shown = datafusion::arrow::compute::concat_batches(&schema, shown).unwrap();
                    difference(&rows, &batches, false).map_or(Ok(shown), Err)
                }
                (live, batch) => Err(format!(
                    "live: {}; batch: {}",
                    live.map_or_else(|error| error.to_string(), |_| "rows".to_owned()),
                    batch.map_or_else(|error| error.to_string(), |_| "rows".to_owned()),
                )),
            };
            answers.insert(view.sql.clone(), answer);
        }
        answers
    }

    async fn execute(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Wrong> {
        let first_word = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if self.answers.is_some() && matches!(first_word.as_str(), "INCLUDE" | "CREATE" | "INSERT") {
            return Err(Wrong("relations are declared and filled before the first query".to_owned()));
        }
        match first_word.as_str() {
            "INCLUDE" => {
                let declarations = read(sql)?;
                self.inserts.declare(&declarations).await.map_err(Wrong)?;
                self.sources += &declarations;
            }
            "CREATE" => writeln!(self.sources, "{sql};").unwrap(),
            "INSERT" => self.inserts.insert(sql).await.map_err(Wrong)?,
            _ => {
                if self.answers.is_none() {
                    self.answers = Some(self.answer().await);
                }
                let text = query_text(sql)?;
                let answer = self.answers.as_ref().and_then(|answers| answers.get(&text));
                let answer = answer.ok_or_else(|| Wrong("not among the queries of the file".to_owned()))?;
                return answer.as_ref().map(output).map_err(|error| Wrong(error.clone()));
            }
        }
        Ok(DBOutput::StatementComplete(0))
    }
}

/// The live results over everything, after refreshes in between.
async fn live(workspace: &Workspace, files: &[SqlFile], history: &History) -> tallgrass_pipeline::Snapshot {
    let mut engine = executions::engine(workspace, files).await;
    let topics = engine.topics().clone();
    let mut fed = FeedProgress::start(history, &mut engine);
    for step in history.steps(&mut ChaCha8Rng::seed_from_u64(SEED), ROWS_A_STEP, 0.3) {
        engine.apply(fed.take(&step, &topics)).await.unwrap();
        if step.compare {
            engine.refresh().await.unwrap();
        }
    }
    let snapshot = engine.refresh().await.unwrap();
    assert_eq!(snapshot.as_of, fed.as_of);
    snapshot
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Wrong;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Wrong> {
        self.execute(sql).await
    }

    async fn shutdown(&mut self) {}
}

/// The path after INCLUDE or FILE is relative to the project.
fn read(command: &str) -> Result<String, Wrong> {
    let path = command.split_whitespace().nth(1).unwrap_or_default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).map_err(|error| Wrong(format!("{}: {error}", path.display())))
}

fn query_text(sql: &str) -> Result<String, Wrong> {
    if sql.starts_with("FILE ") { read(sql) } else { Ok(sql.to_owned()) }
}

fn output(rows: &RecordBatch) -> DBOutput<DefaultColumnType> {
    let of = |data_type: &DataType| match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => DefaultColumnType::Text,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DefaultColumnType::FloatingPoint,
        other if other.is_integer() => DefaultColumnType::Integer,
        _ => DefaultColumnType::Any,
    };
    let types = rows.schema().fields().iter().map(|field| of(field.data_type())).collect();
    let shown = |value: String| if value.is_empty() { "(empty)".to_owned() } else { value };
    let rows = texts(rows).into_iter().map(|row| row.into_iter().map(shown).collect()).collect();
    DBOutput::Rows { types, rows }
}

fn slt_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "slt")).collect();
    files.sort();
    files
}

/// The queries of a file, and what is wrong in it.
async fn run(path: &Path, update: bool) -> (Vec<String>, Vec<String>) {
    let records = sqllogictest::parse_file::<DefaultColumnType>(path).unwrap();
    let sqls: Vec<String> = records
        .iter()
        .filter_map(|record| match record {
            Record::Query { sql, .. } => Some(sql.clone()),
            _ => None,
        })
        .collect();
    let view = |(index, sql): (usize, &String)| TestView {
        name: format!("q{index}"),
        sql: query_text(sql).unwrap(),
        ordered: false,
    };
    let views: Vec<TestView> = sqls.iter().enumerate().map(view).collect();
    let mut runner = Runner::new(|| {
        let database = Database::new(views.clone(), update);
        async move { Ok(database) }
    });
    let types = sqllogictest::strict_column_validator;
    runner.with_column_validator(types);
    let mut errors = Vec::new();
    if update {
        // An error must not become the expected result.
        let mut database = Database::new(views.clone(), update);
        for record in &records {
            if let Record::Query { sql, .. } | Record::Statement { sql, .. } = record
                && let Err(error) = database.execute(sql).await
            {
                errors.push(format!("{sql}\n{error}\nin {}", path.display()));
            }
        }
        if errors.is_empty() {
            let (validator, normalizer) = (sqllogictest::default_validator, sqllogictest::default_normalizer);
            runner.update_test_file(path, " ", validator, normalizer, types).await.unwrap();
        }
    } else {
        for record in records {
            if let Err(error) = runner.run_async(record).await {
                errors.push(error.display(false).to_string());
            }
        }
    }
    (sqls, errors)
}

#[tokio::test]
async fn every_query_gives_its_rows_in_both_executions() {
    let update = std::env::var_os("TALLGRASS_SLT_UPDATE").is_some_and(|value| value == "1");
    let (mut queries, mut errors) = (Vec::new(), Vec::new());
    for path in slt_files() {
        let (asked, wrong) = run(&path, update).await;
        assert!(!asked.is_empty(), "{} asks nothing", path.display());
        queries.extend(asked);
        errors.extend(wrong);
    }
    println!("{} queries", queries.len());
    assert!(errors.is_empty(), "{} of {} queries are wrong\n{}", errors.len(), queries.len(), errors.join("\n\n"));
    assert!(queries.len() >= 150, "only {} queries", queries.len());
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries/dashboard")).unwrap() {
        let file = format!("FILE queries/dashboard/{}", entry.unwrap().file_name().display());
        assert!(queries.contains(&file), "no .slt file asks for {file}");
    }
}
