#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use datafusion::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Field, Float64Type, Int64Type, Schema};
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::metadata::RowGroupMetaData;
use datafusion::parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;

const ALL: [(ColumnFormat, Destination); 4] = [
    (ColumnFormat::Parquet, Destination::File),
    (ColumnFormat::Parquet, Destination::Pipe),
    (ColumnFormat::Arrow, Destination::File),
    (ColumnFormat::Arrow, Destination::Pipe),
];

/// Rows as a relation gives them: text as views, moments, numbers with every edge case.
fn hard() -> RecordBatch {
    let city = Arc::new(StringViewArray::from(vec![Some("Madrid"), None, Some("a city of more than twelve bytes")]));
    let place = StructArray::from(vec![(Arc::new(Field::new("city", DataType::Utf8View, true)), city as ArrayRef)]);
    RecordBatch::try_from_iter([
        ("name", Arc::new(StringViewArray::from(vec![Some("Flabébé"), None, Some("\x1b[2J\u{202e}")])) as ArrayRef),
        ("big", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MIN), None]))),
        ("double", Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::INFINITY), None]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(1_767_225_600_123), None, Some(-1)]))),
        ("place", Arc::new(place)),
    ])
    .unwrap()
}

fn numbers(rows: i64) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef),
        ("text", Arc::new(StringViewArray::from_iter_values((0..rows).map(|n| format!("row number {n}"))))),
    ])
    .unwrap()
}

fn written(format: ColumnFormat, destination: Destination, batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ColumnsWriter::new(&mut bytes, format, destination, "view", &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

/// Bytes as a file, which is what Parquet is read from.
fn file_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// The rows that another program reads.
fn read(format: ColumnFormat, destination: Destination, bytes: Vec<u8>) -> RecordBatch {
    let (schema, batches): (SchemaRef, Result<Vec<RecordBatch>, ArrowError>) = match (format, destination) {
        (ColumnFormat::Parquet, _) => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file_of(&bytes)).unwrap();
            (Arc::clone(builder.schema()), builder.build().unwrap().collect())
        }
        (ColumnFormat::Arrow, Destination::File) => {
            let reader = FileReader::try_new(Cursor::new(bytes), None).unwrap();
            (reader.schema(), reader.collect())
        }
        (ColumnFormat::Arrow, Destination::Pipe) => {
            let reader = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
            (reader.schema(), reader.collect())
        }
    };
    concat_batches(&schema, &batches.unwrap()).unwrap()
}

#[test]
fn every_value_comes_back_in_types_that_others_know() {
    for (format, destination) in ALL {
        let back = read(format, destination, written(format, destination, &[hard(), hard().slice(1, 2)]));
        assert!(!format!("{:?}", back.schema()).contains("View"), "{format:?}: {:?}", back.schema());
        assert!(back.schema().fields().iter().all(|field| field.is_nullable()));
        let expected = concat_batches(&hard().schema(), &[hard(), hard().slice(1, 2)]).unwrap();
        let expected = portable::pieces(&expected, &portable::schema(&expected.schema())).unwrap();
        assert_eq!(back.columns(), expected[0].columns(), "{format:?} {destination:?}");
        assert!(back.column(2).as_primitive::<Float64Type>().value(0).is_sign_negative());
    }
}

#[test]
fn no_rows_still_say_their_columns() {
    for (format, destination) in ALL {
        let none = hard().slice(0, 0);
        let back = read(format, destination, written(format, destination, &[none]));
        assert_eq!((back.num_rows(), back.num_columns()), (0, 5), "{format:?} {destination:?}");
    }
}

#[test]
fn columns_of_one_name_get_distinct_names() {
    let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let batch = RecordBatch::try_from_iter([("id", Arc::clone(&column)), ("id", column)]).unwrap();
    for (format, destination) in ALL {
        let back = read(format, destination, written(format, destination, std::slice::from_ref(&batch)));
        let names: Vec<String> = back.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["id", "id_2"], "{format:?} {destination:?}");
    }
}

#[test]
fn parquet_is_compressed_cut_into_row_groups_and_can_be_skipped_by_its_statistics() {
    let part = numbers(300_000);
    let bytes = written(ColumnFormat::Parquet, Destination::File, &vec![part; 4]);
    assert!(bytes.len() < 12_000_000, "{}", bytes.len());
    let reader = SerializedFileReader::new(file_of(&bytes)).unwrap();
    let groups = reader.metadata().row_groups();
    assert_eq!(groups.iter().map(RowGroupMetaData::num_rows).collect::<Vec<_>>(), [1 << 20, 1_200_000 - (1 << 20)]);
    for column in groups.iter().flat_map(RowGroupMetaData::columns) {
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{:?}", column.compression());
        let statistics = column.statistics().unwrap();
        assert_eq!(statistics.null_count_opt(), Some(0));
        assert!(statistics.min_bytes_opt().is_some() && column.column_index_offset().is_some());
    }
}

#[test]
fn a_row_group_that_grows_is_written_early() {
    // Noise, which zstd cannot shrink by much: 64 batches of 16 KiB.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 58) as u8)
    };
    let limit = 100 << 10;
    let (mut bytes, mut most) = (Vec::new(), 0);
    let schema = Arc::new(Schema::new(vec![Field::new("noise", DataType::Utf8, true)]));
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties(limit))).unwrap();
    for _ in 0..64 {
        let values = (0..16).map(|_| (0..1024).map(|_| noise()).collect::<String>());
        let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![values]).unwrap()).unwrap();
        most = most.max(writer.in_progress_size());
    }
    writer.close().unwrap();
    assert!(most < 2 * limit, "{most}");
    let reader = SerializedFileReader::new(file_of(&bytes)).unwrap();
    assert!(reader.metadata().num_row_groups() >= 4, "{}", reader.metadata().num_row_groups());
    assert_eq!(reader.metadata().file_metadata().num_rows(), 1024);
}

#[test]
fn a_union_is_refused_and_not_a_panic() {
    use datafusion::arrow::array::UnionArray;
    use datafusion::arrow::buffer::ScalarBuffer;
    use datafusion::arrow::datatypes::UnionFields;
    let fields: UnionFields = [(0, Arc::new(Field::new("a", DataType::Int64, true)))].into_iter().collect();
    let child: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let union = UnionArray::try_new(fields, ScalarBuffer::from(vec![0_i8]), None, vec![child]).unwrap();
    let batch = RecordBatch::try_from_iter([("u", Arc::new(union) as ArrayRef)]).unwrap();
    for (format, destination) in ALL {
        let refused = ColumnsWriter::new(Vec::new(), format, destination, "view", &batch.schema());
        let error = refused.err().map(|error| std::error::Error::source(&error).unwrap().to_string()).unwrap();
        assert!(error.contains("'u' is a union"), "{error}");
    }
}

/// A reader that has closed its end.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_broken_pipe_is_recognized_in_both_formats() {
    for (format, destination) in ALL {
        let end = |mut writer: ColumnsWriter<Closed>| {
            writer.write(&numbers(10))?;
            writer.finish()
        };
        let error =
            ColumnsWriter::new(Closed, format, destination, "view", &numbers(1).schema()).and_then(end).unwrap_err();
        let is_it = matches!(&error, SinkError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe);
        assert!(is_it, "{format:?} {destination:?}: {error:?}");
    }
}

#[test]
fn a_file_that_was_not_finished_is_none() {
    let mut bytes = Vec::new();
    let (format, schema) = (ColumnFormat::Parquet, numbers(1).schema());
    let mut writer = ColumnsWriter::new(&mut bytes, format, Destination::File, "view", &schema).unwrap();
    writer.write(&numbers(10)).unwrap();
    drop(writer);
    assert!(ParquetRecordBatchReaderBuilder::try_new(file_of(&bytes)).is_err());
}

#[test]
fn rows_keep_their_order() {
    for (format, destination) in ALL {
        let back = read(format, destination, written(format, destination, &[numbers(9000), numbers(3)]));
        let n = back.column(0).as_primitive::<Int64Type>();
        assert_eq!(n.len(), 9003);
        assert!(n.values().iter().copied().eq((0..9000).chain(0..3)), "{format:?} {destination:?}");
    }
}
