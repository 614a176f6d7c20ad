//! The decoder as a whole: against arrow-json, against `serde_json`, and against bad records of every kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_records;
mod oracle;
mod validity;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

use super::Decoder;

/// One column of each type that a record may have, nested ones among them.
fn every_type() -> Fields {
    let point = DataType::Struct(Fields::from(vec![
        Field::new("lat", DataType::Float64, true),
        Field::new("lon", DataType::Float64, true),
        Field::new("label", DataType::Utf8View, true),
    ]));
    Fields::from(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("small", DataType::Int8, true),
        Field::new("count", DataType::UInt64, true),
        Field::new("ratio", DataType::Float32, true),
        Field::new("weight", DataType::Float64, true),
        Field::new("price", DataType::Decimal128(12, 2), true),
        Field::new("legendary", DataType::Boolean, true),
        Field::new("name", DataType::Utf8View, true),
        Field::new("nick", DataType::Utf8, true),
        Field::new("seen_on", DataType::Date32, true),
        Field::new("seen_at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("caught_at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("place", point.clone(), true),
        Field::new_list("types", Arc::new(Field::new_list_field(DataType::Utf8View, true)), true),
        Field::new_list("path", Arc::new(Field::new_list_field(point, true)), true),
    ])
}

/// A record with a value in each of them, and with undeclared keys.
const SAMPLE: &str = r#"{"id":25,"small":-7,"count":18446744073709551615,"ratio":0.5,"weight":-6.02e-23,"price":"1234.50",
 "extra":{"list":[1,2.5e3,"x\n",[],{}],"no":null,"yes":true},"legendary":false,"name":"Flab\u00e9bé ♀ of the tall grass",
 "nick":"\ud83c\udf3e🌾","seen_on":"2016-07-06","seen_at":"2016-07-06T12:34:56.789Z","caught_at":1467808496000000,
 "place":{"lat":40.4168,"label":"Puerta del Sol, Madrid","lon":-3.7038}, "types":["Fairy",null,"a type longer than twelve"],
 "path":[{"lat":1,"lon":2,"label":"here"},{"lon":-0.0},null]}"#;

fn all(declared: &Fields) -> Vec<usize> {
    (0..declared.len()).collect()
}

/// The columns of the records, all of which must decode.
fn decode_all<R: AsRef<[u8]>>(declared: &Fields, records: impl IntoIterator<Item = R>) -> Vec<ArrayRef> {
    let mut decoder = Decoder::new(declared, &all(declared)).unwrap();
    for record in records {
        let record = record.as_ref();
        decoder.decode(record).unwrap_or_else(|bad| panic!("{bad}: {}", String::from_utf8_lossy(record)));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(decoder.len()));
    let columns = finish(&mut decoder);
    RecordBatch::try_new_with_options(Arc::new(Schema::new(declared.clone())), columns.clone(), &options).unwrap();
    columns
}

/// The decoder's columns, after Arrow's own full check of their buffers.
fn finish(decoder: &mut Decoder) -> Vec<ArrayRef> {
    let rows = decoder.len();
    let columns = decoder.finish();
    for column in &columns {
        column.to_data().validate_full().unwrap();
        assert_eq!(column.len(), rows);
    }
    assert_eq!(decoder.len(), 0);
    columns
}
