//! `INSERT INTO relation SELECT …` of an `.slt` file: rows for topics and for the files of static relations.

use std::path::Path;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use datafusion::arrow::compute::{cast, concat_batches, nullif};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema, TimeUnit};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use tallgrass_relation::KafkaRelation;
use tallgrass_view::Workspace;

use super::compare::texts;
use super::executions::decide_deletes;
use super::history::{History, RecordOrigin, TopicRecords};

/// By default records are one second apart, starting here.
const FIRST_TIMESTAMP_MS: i64 = 1_468_000_000_000;

/// By default records are spread over this many partitions.
const PARTITIONS: i64 = 3;

/// One offset of so many is left out.
const GAP: i64 = 17;

/// Declared columns, and where each row lies.
type Records = (RecordBatch, Vec<RecordOrigin>);

/// All rows that a file has inserted.
#[derive(Default)]
pub struct Inserts {
    context: SessionContext,
    rows: Vec<(String, RecordBatch)>,
}

impl Inserts {
    /// Lets inserts select from the static relations that have their files already.
    pub async fn declare(&mut self, sources: &str) -> Result<(), String> {
        for statement in DFParser::parse_sql(sources).map_err(|error| error.to_string())? {
            if matches!(&statement, Statement::CreateExternalTable(table) if table.file_type != "KAFKA") {
                let plan = tallgrass_planner::logical_plan(&self.context.state(), statement)
                    .await
                    .map_err(|error| error.to_string())?;
                tallgrass_planner::dataframe(&self.context, plan).await.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Runs the SELECT. Later inserts may read what this one gave.
    pub async fn insert(&mut self, sql: &str) -> Result<(), String> {
        let (into, select) = sql.trim().split_at_checked("INSERT INTO ".len()).ok_or("no INSERT INTO")?;
        let (relation, select) = select.split_once(char::is_whitespace).ok_or("no SELECT")?;
        if !into.eq_ignore_ascii_case("INSERT INTO ") {
            return Err("no INSERT INTO".to_owned());
        }
        let frame = tallgrass_planner::sql(&self.context, select).await.map_err(|error| error.to_string())?;
        let schema = frame.schema().inner().clone();
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        let rows = concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
        self.rows.push((relation.to_owned(), rows));
        Ok(())
    }

    /// Writes the rows of static relations, where their declarations look for `NAME.csv`.
    pub fn write_files(&self, dir: &Path, sources: &str) {
        for (relation, rows) in &self.rows {
            let file = format!("{relation}.csv");
            if !sources.contains(&format!("'{file}'")) {
                continue;
            }
            let mut writer = csv::Writer::from_path(dir.join(file)).unwrap();
            writer.write_record(rows.schema().fields().iter().map(|field| field.name())).unwrap();
            for row in texts(rows) {
                writer.write_record(row.iter().map(|value| if value == "NULL" { "" } else { value })).unwrap();
            }
            writer.flush().unwrap();
        }
    }

    /// The topics with all their records.
    pub async fn history(&self, workspace: &Workspace) -> History {
        let mut topics: Vec<(&KafkaRelation, Vec<Records>)> = Vec::new();
        for (name, rows) in &self.rows {
            let relation = workspace.catalog().get(name).unwrap_or_else(|| panic!("{name} is not declared"));
            let Some(relation) = relation.as_kafka() else { continue };
            let records = records(relation, rows);
            match topics.iter_mut().find(|(other, _)| other.topic() == relation.topic()) {
                Some((_, all)) => all.push(records),
                None => topics.push((relation, vec![records])),
            }
        }
        let topic = |(relation, records): (&KafkaRelation, Vec<Records>)| {
            let (batches, origins): (Vec<_>, Vec<_>) = records.into_iter().unzip();
            let declared = concat_batches(&batches[0].schema(), &batches).unwrap();
            TopicRecords::new(relation.topic(), &declared, origins.concat(), GAP)
        };
        let mut history = History { topics: topics.into_iter().map(topic).collect() };
        decide_deletes(workspace, &mut history).await;
        history
    }
}

/// Rows of an insert as records: columns by name, absent ones null.
fn records(relation: &KafkaRelation, rows: &RecordBatch) -> Records {
    let given =
        |name: &str, data_type: &DataType| rows.column_by_name(name).map(|column| cast(column, data_type).unwrap());
    let primary_key = relation.key().map(|key| relation.declared().field(key.column).name().as_str());
    let known = |name: &String| {
        ["_key", "_partition", "_timestamp", "_tombstone"].contains(&name.as_str())
            || relation.declared().field_with_name(name).is_ok()
    };
    for field in rows.schema().fields() {
        assert!(known(field.name()), "{} has no column {}", relation.name(), field.name());
    }
    let tombstones = given("_tombstone", &DataType::Boolean);
    let tombstones =
        tombstones.unwrap_or_else(|| std::sync::Arc::new(BooleanArray::from(vec![false; rows.num_rows()])));
    let keys = given("_key", &DataType::Utf8).or_else(|| given(primary_key?, &DataType::Utf8));
    let partitions = given("_partition", &DataType::Int64);
    let timestamps = given("_timestamp", &DataType::Timestamp(TimeUnit::Millisecond, None));
    let timestamps = timestamps.map(|timestamps| cast(&timestamps, &DataType::Int64).unwrap());
    let origin = |row: usize| {
        let number =
            |column: &Option<ArrayRef>| column.as_ref().map(|column| column.as_primitive::<Int64Type>().value(row));
        let key = keys.as_ref().map(AsArray::as_string::<i32>).filter(|keys| keys.is_valid(row));
        let key = key.map(|keys| keys.value(row).to_owned());
        let spread = key.as_ref().map_or(row as i64, |key| key.bytes().map(i64::from).sum());
        RecordOrigin {
            partition: number(&partitions).unwrap_or(spread % PARTITIONS) as i32,
            timestamp_ms: number(&timestamps).unwrap_or(FIRST_TIMESTAMP_MS + row as i64 * 1_000),
            tombstone: tombstones.as_boolean().value(row),
            key,
        }
    };
    let columns = relation.declared().fields().iter().map(|field| {
        let column = given(field.name(), field.data_type());
        let column = column.unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()));
        nullif(&column, tombstones.as_boolean()).unwrap()
    });
    let schema = std::sync::Arc::new(Schema::new(relation.declared().fields().clone()));
    let declared = RecordBatch::try_new(schema, columns.collect()).unwrap();
    (declared, (0..rows.num_rows()).map(origin).collect())
}
