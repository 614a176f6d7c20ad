//! Parquet and Arrow files of the program, as other programs read them.

use std::fs::{self, File};
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::program::{Run, bytes_of, on, queries, tallgrass};
use crate::support::{Broker, broker};

/// A broker with some of everything, and the shipped queries over it.
fn world() -> (Broker, tempfile::TempDir) {
    let broker = broker();
    let (pokemons, users) = (broker.topic("pokemons", 3), broker.topic("users", 2));
    on(&broker, &["pokemon-gen", "--topic", &pokemons, "--rate", "max", "--count", "2000", "--seed", "1"]).good();
    on(&broker, &["user-gen", "--topic", &users, "--rate", "max", "--count", "400", "--seed", "1"]).good();
    let queries = queries(&pokemons, &users);
    (broker, queries)
}

/// The rows as the lines of `--format ndjson`, in no order.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut writer = datafusion::arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, datafusion::arrow::json::writer::LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    sorted(&String::from_utf8(writer.into_inner()).unwrap())
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn parquet(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

fn arrow(path: &Path) -> Vec<RecordBatch> {
    FileReader::try_new(File::open(path).unwrap(), None).unwrap().map(Result::unwrap).collect()
}

const EVERYTHING: &str = "SELECT * FROM pokemons";

#[test]
fn a_file_has_every_row_and_its_name_says_the_format() {
    let (broker, queries) = world();
    let folder = queries.path().to_str().unwrap();
    let query = |more: &[&str]| on(&broker, &[&["query", EVERYTHING, "--queries", folder], more].concat()).good();
    let rows = sorted(&query(&["--format", "ndjson"]).stdout);
    assert_eq!(rows.len(), 2000);
    let file = |name: &str| queries.path().join(name);
    for name in ["out.parquet", "out.arrow", "out.ndjson"] {
        fs::write(file(name), "old").unwrap();
        let run = query(&["-o", file(name).to_str().unwrap()]);
        assert_eq!(run.stdout, "", "{name}");
    }
    let parquet = parquet(&file("out.parquet"));
    assert_eq!(lines(&parquet), rows);
    assert_eq!(lines(&arrow(&file("out.arrow"))), rows);
    assert_eq!(sorted(&fs::read_to_string(file("out.ndjson")).unwrap()), rows);
    // Text types that any reader supports, not the views that the engine uses.
    let schema = parquet[0].schema();
    assert_eq!(schema.field_with_name("name").unwrap().data_type(), &DataType::Utf8);
    assert!(schema.fields().iter().all(|field| field.data_type() != &DataType::Utf8View), "{schema:?}");

    // And as a relation of the program itself.
    let sources = format!("CREATE EXTERNAL TABLE again STORED AS PARQUET LOCATION '{}'", file("out.parquet").display());
    let again = tempfile::TempDir::new().unwrap();
    fs::write(again.path().join("sources.sql"), sources).unwrap();
    let again = ["--queries", again.path().to_str().unwrap(), "--format", "ndjson"];
    let run = tallgrass(&[&["query", "SELECT * FROM again"], &again[..]].concat()).good();
    assert_eq!(sorted(&run.stdout), rows);
}

#[test]
fn a_pipe_carries_a_stream_that_ends() {
    let (broker, queries) = world();
    let args = ["query", EVERYTHING, "--queries", queries.path().to_str().unwrap(), "-b", broker.brokers()];
    let rows = sorted(&tallgrass(&[&args[..], &["--format", "ndjson"]].concat()).good().stdout);
    let bytes = bytes_of(&[&args[..], &["--format", "arrow"]].concat());
    let batches: Vec<RecordBatch> = StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
    assert_eq!(lines(&batches), rows);
    let file = queries.path().join("piped.parquet");
    fs::write(&file, bytes_of(&[&args[..], &["--format", "parquet"]].concat())).unwrap();
    assert_eq!(lines(&parquet(&file)), rows);
}

#[test]
fn a_replay_writes_a_file_for_each_view() {
    let (broker, queries) = world();
    let out = queries.path().join("report");
    let folder = queries.path().to_str().unwrap();
    let replay = |args: &[&str]| -> Run { on(&broker, &[&["replay", "--queries", folder], args].concat()).good() };
    let json = replay(&["--format", "json"]).json();
    for format in ["parquet", "arrow"] {
        replay(&["--format", format, "--output", out.to_str().unwrap()]);
        for (view, rows) in json.as_object().unwrap() {
            let path = out.join(format!("{view}.{format}"));
            let batches = if format == "parquet" { parquet(&path) } else { arrow(&path) };
            let mut expected: Vec<String> = rows.as_array().unwrap().iter().map(ToString::to_string).collect();
            expected.sort();
            // Through the same JSON, so that numbers are written alike.
            let read: Vec<serde_json::Value> =
                lines(&batches).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut read: Vec<String> = read.iter().map(ToString::to_string).collect();
            read.sort();
            assert_eq!(read, expected, "{view}");
        }
    }
    let files = fs::read_dir(&out).unwrap().count();
    assert_eq!(files, 2 * json.as_object().unwrap().len(), "nothing is left half-written");
}

#[test]
fn stdout_by_name_is_stdout() {
    let sql = ["query", "SELECT name FROM pokedex WHERE number = 7", "--format", "csv"];
    for name in ["-", "/dev/stdout"] {
        assert_eq!(tallgrass(&[&sql[..], &["-o", name]].concat()).good().stdout, "name\nSquirtle\n", "{name}");
    }
}

#[test]
fn a_failed_query_leaves_the_old_file() {
    let (broker, queries) = world();
    let file = queries.path().join("out.parquet");
    fs::write(&file, "old").unwrap();
    let sql = "SELECT 1 / (total - total) AS n FROM pokemons";
    let args = ["query", sql, "--queries", queries.path().to_str().unwrap(), "-o", file.to_str().unwrap()];
    let run = on(&broker, &args);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    let left = fs::read_dir(queries.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(left.count(), 0);
}
