#![allow(clippy::unwrap_used)]

use std::io;

use datafusion::arrow::array::{
    BinaryArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit};
use insta::assert_snapshot;

use super::*;

/// One column of each kind, with every edge case.
fn hard() -> RecordBatch {
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let place = StructArray::from(vec![(
        Arc::new(Field::new("city", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("Ma\"drid"), None, Some("|")])) as ArrayRef,
    )]);
    RecordBatch::try_from_iter([
        ("name", Arc::new(StringArray::from(vec![Some("Flabébé"), None, Some("NULL")])) as ArrayRef),
        ("text", Arc::new(StringArray::from(vec![Some("a,\"b\"\n|c"), Some(""), Some("\x1b[2J\u{9b}\u{202e}x")]))),
        ("big", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(-5), None]))),
        ("double", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 0.1]))),
        ("exact", Arc::new(Decimal128Array::from(vec![1_234_500, -1, 0]).with_precision_and_scale(20, 4).unwrap())),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(1_767_225_600_123), None, Some(0)]))),
        ("tags", Arc::new(tags)),
        ("place", Arc::new(place)),
        ("bytes", Arc::new(BinaryArray::from(vec![b"\xff\0".as_slice(), b"", b"a"]))),
    ])
    .unwrap()
}

fn small(rows: i64) -> RecordBatch {
    let names: Vec<String> = (0..rows).map(|row| format!("カイ{row}")).collect();
    RecordBatch::try_from_iter([
        ("name", Arc::new(StringArray::from(names)) as ArrayRef),
        ("seen", Arc::new(Int64Array::from_iter_values(0..rows))),
    ])
    .unwrap()
}

fn written(format: Format, batch: &RecordBatch) -> String {
    let mut out = Vec::new();
    write_view(&mut out, format, "view", &batch.schema(), std::slice::from_ref(batch)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_is_aligned_and_safe() {
    assert_snapshot!(written(Format::Table, &hard()));
}

#[test]
fn json_keeps_every_value_and_every_null() {
    let text = written(Format::Json, &hard());
    assert_snapshot!(text);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["view"][2]["text"], "\x1b[2J\u{9b}\u{202e}x");
    assert_eq!(document["view"][0]["big"], i64::MAX);
    assert!(document["view"][1].as_object().unwrap().contains_key("name"));
}

#[test]
fn ndjson_is_one_object_a_line() {
    let text = written(Format::Ndjson, &hard());
    assert_eq!(text.lines().count(), 3);
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
    }
}

#[test]
fn csv_quotes_and_carries_data_unchanged() {
    let text = written(Format::Csv, &hard());
    assert_snapshot!(text.escape_debug().to_string().replace("\\n", "\n"));
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let records: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(&records[0][1], "a,\"b\"\n|c");
    assert_eq!(&records[2][1], "\x1b[2J\u{9b}\u{202e}x");
    assert_eq!(&records[2][7], r#"{"city":"|"}"#);
}

#[test]
fn csv_on_a_terminal_has_no_controls() {
    let (batch, mut out) = (hard(), Vec::new());
    let mut writer = ViewsWriter::new(&mut out, Format::Csv).with_terminal(true);
    writer.view("view", &batch.schema(), &[batch]).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains(|c| c != '\n' && crate::sanitize::is_unsafe(c)));
    assert!(text.contains("\\x1b[2J\\x9b\\u{202e}x"));
}

#[test]
fn markdown_cells_are_escaped() {
    assert_snapshot!(written(Format::Markdown, &hard()));
}

#[test]
fn no_rows_are_fine_in_every_format() {
    let shown: Vec<String> = [Format::Table, Format::Json, Format::Ndjson, Format::Csv, Format::Markdown]
        .map(|format| format!("{format}:\n{}", written(format, &small(0))))
        .into();
    assert_snapshot!(shown.join("\n"));
}

#[test]
fn several_views_have_headings_and_json_is_one_object() {
    let mut all = Vec::new();
    for format in [Format::Table, Format::Json, Format::Csv, Format::Markdown] {
        let mut out = Vec::new();
        let mut writer = ViewsWriter::new(&mut out, format).with_headings(true);
        writer.view("first", &small(0).schema(), &[small(2), small(0), small(1)]).unwrap();
        writer.view("second\"\x1b", &small(0).schema(), &[]).unwrap();
        writer.finish().unwrap();
        all.push(format!("{format}:\n{}\n", String::from_utf8(out).unwrap()));
    }
    assert_snapshot!(all.concat());
    let mut none = Vec::new();
    ViewsWriter::new(&mut none, Format::Json).finish().unwrap();
    assert_eq!(none, b"{}\n");
}

#[test]
fn rows_beyond_one_chunk_stay_in_order() {
    let rows = i64::try_from(CHUNK_ROWS).unwrap() * 2 + 1;
    let document: serde_json::Value = serde_json::from_str(&written(Format::Json, &small(rows))).unwrap();
    let seen = document["view"].as_array().unwrap().iter().map(|row| row["seen"].as_i64().unwrap());
    assert!(seen.eq(0..rows));
}

#[test]
fn columns_of_one_name_both_reach_json() {
    let schema = Schema::new(["id", "id", "id_2", "id"].map(|name| Field::new(name, DataType::Int64, true)).to_vec());
    let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let batch = RecordBatch::try_new(Arc::new(schema), [1, 2, 3, 4].map(column).to_vec()).unwrap();
    let row: serde_json::Value = serde_json::from_str(&written(Format::Ndjson, &batch)).unwrap();
    assert_eq!(row.as_object().unwrap().len(), 4, "{row}");
    assert_eq!(row["id_2"], 3);
}

#[test]
fn a_zone_is_written_where_there_is_one() {
    let at = TimestampMillisecondArray::from(vec![0]).with_timezone("+00:00");
    assert_eq!(at.data_type(), &DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())));
    let batch = RecordBatch::try_from_iter([("at", Arc::new(at) as ArrayRef)]).unwrap();
    assert_eq!(written(Format::Ndjson, &batch), "{\"at\":\"1970-01-01T00:00:00Z\"}\n");
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_pipe_is_recognized_in_every_format() {
    for format in [Format::Table, Format::Json, Format::Ndjson, Format::Csv, Format::Markdown] {
        let error = write_view(&mut Closed, format, "view", &small(1).schema(), &[small(1)]).unwrap_err();
        let is_it = matches!(&error, SinkError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe);
        assert!(is_it, "{format}: {error:?}");
    }
}
