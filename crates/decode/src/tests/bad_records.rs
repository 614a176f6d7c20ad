//! Bad records of each kind, in the middle of a batch.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Float64Type, Int64Type, TimeUnit};

use super::super::{BadReason, BadRecord, Decoder, MAX_DEPTH};
use super::{SAMPLE, all, decode_all, every_type, finish};

/// Decodes the bad record between good ones and proves that it left no trace.
fn bad_between_good(declared: &Fields, good: &str, bad: &[u8]) -> BadRecord {
    let mut decoder = Decoder::new(declared, &all(declared)).unwrap();
    decoder.decode(good.as_bytes()).unwrap();
    let reason = decoder.decode(bad).expect_err(&String::from_utf8_lossy(bad));
    assert_eq!(decoder.len(), 1);
    decoder.append_null_row();
    assert_eq!(decoder.decode(bad).unwrap_err(), reason, "the second time too: {}", String::from_utf8_lossy(bad));
    decoder.decode(good.as_bytes()).unwrap();
    let expected = decode_all(declared, [good, "{}", good]);
    assert_eq!(finish(&mut decoder), expected, "{}", String::from_utf8_lossy(bad));

    // A decoder that wants no column still reports the bad record, and why.
    let mut unwanted = Decoder::new(declared, &[]).unwrap();
    assert_eq!(unwanted.decode(bad), Err(reason.clone()));
    reason
}

fn bad(record: impl AsRef<[u8]>) -> BadRecord {
    bad_between_good(&every_type(), SAMPLE, record.as_ref())
}

fn one(data_type: DataType) -> Fields {
    Fields::from(vec![Field::new("v", data_type, true)])
}

fn read_one(data_type: DataType, json: &str) -> Result<datafusion::arrow::array::ArrayRef, BadReason> {
    let declared = one(data_type);
    let mut decoder = Decoder::new(&declared, &[0]).unwrap();
    decoder.decode(format!("{{\"v\":{json}}}").as_bytes()).map_err(|bad| bad.reason)?;
    Ok(finish(&mut decoder).remove(0))
}

fn kind_of(data_type: &DataType, json: &str) -> &'static str {
    read_one(data_type.clone(), json).map_or_else(|reason| reason.kind(), |_| "row")
}

#[test]
fn a_record_cut_at_any_byte_is_truncated() {
    for cut in 1..SAMPLE.len() {
        let bad = bad(&SAMPLE.as_bytes()[..cut]);
        assert_eq!(
            (bad.reason.kind(), bad.at),
            ("truncated", cut),
            "{bad}: {}",
            String::from_utf8_lossy(&SAMPLE.as_bytes()[..cut])
        );
    }
}

#[test]
fn nothing_at_all_is_empty() {
    assert_eq!(bad("").reason, BadReason::Empty);
    assert_eq!(bad(" \r\n\t").reason, BadReason::Empty);
}

#[test]
fn a_byte_order_mark_is_an_error_of_its_own() {
    assert_eq!(bad(format!("\u{feff}{SAMPLE}")).reason, BadReason::ByteOrderMark);
}

#[test]
fn only_objects_are_rows() {
    for record in ["[]", "[{\"id\":1}]", "null", "true", "12", "\"text\"", "hello", "}", "<xml/>", "\0"] {
        assert_eq!(bad(record).reason, BadReason::NotAnObject, "{record}");
    }
}

#[test]
fn two_documents_are_not_one() {
    let found = bad("{\"id\":1}{\"id\":2}");
    assert_eq!((found.reason, found.at), (BadReason::TrailingData, 8));
    assert_eq!(bad("{\"id\":1} \n {\"id\":2}\n").reason, BadReason::TrailingData);
    assert_eq!(bad("{},").reason, BadReason::TrailingData);
    assert_eq!(bad("{}\0").reason, BadReason::TrailingData);
}

#[test]
fn bytes_that_are_not_utf8_are_bad_wherever_they_stand() {
    for record in [
        &b"{\"name\":\"Flab\xE9b\xE9\"}"[..],
        b"{\"other\":\"\xC0\xAF\"}",
        b"{\"\xFF\":1}",
        b"{\"name\":\"\xED\xA0\x80\"}",
    ] {
        assert_eq!(bad(record).reason, BadReason::InvalidUtf8);
    }
    assert_eq!(bad(b"{\"name\":\"Flab\xE9b\"}").at, 13);
}

#[test]
fn a_declared_key_stands_once_at_most() {
    let found = bad(r#"{"id":1,"name":"Mew","id":2}"#);
    assert_eq!((found.reason, found.column.as_deref()), (BadReason::DuplicateKey, Some("id")));
    assert_eq!(bad(r#"{"id":1,"\u0069d":1}"#).reason, BadReason::DuplicateKey);
    assert_eq!(bad(r#"{"id":null,"id":null}"#).reason, BadReason::DuplicateKey);
    let nested = bad(r#"{"id":1,"path":[{"lat":1},{"lat":1,"lon":2,"lat":3}]}"#);
    assert_eq!((nested.reason, nested.column.as_deref()), (BadReason::DuplicateKey, Some("path[1].lat")));
    decode_all(&every_type(), [r#"{"other":1,"other":2,"extra":{"id":1,"id":2}}"#]);
}

#[test]
fn wrong_types_name_the_column_and_both_types() {
    for (record, message) in [
        (r#"{"id":"7"}"#, "id: expected BIGINT, found a string (byte 6)"),
        (r#"{"id":3.5}"#, "id: expected BIGINT, found a fraction (byte 6)"),
        (r#"{"id":true}"#, "id: expected BIGINT, found a boolean (byte 6)"),
        (r#"{"weight":"1.5"}"#, "weight: expected DOUBLE, found a string (byte 10)"),
        (r#"{"ratio":[]}"#, "ratio: expected REAL, found a list (byte 9)"),
        (r#"{"legendary":2}"#, "legendary: expected BOOLEAN, found a number (byte 13)"),
        (r#"{"legendary":10}"#, "legendary: expected BOOLEAN, found a number (byte 13)"),
        (r#"{"legendary":"maybe"}"#, "legendary: expected BOOLEAN, found other text (byte 13)"),
        (r#"{"legendary":[true]}"#, "legendary: expected BOOLEAN, found a list (byte 13)"),
        (r#"{"price":"a lot"}"#, "price: expected DECIMAL(12,2), found other text (byte 9)"),
        (r#"{"price":{}}"#, "price: expected DECIMAL(12,2), found an object (byte 9)"),
        (r#"{"seen_on":"yesterday"}"#, "seen_on: expected DATE, found other text (byte 11)"),
        (r#"{"seen_at":"2016-07-06T25:00:00Z"}"#, "seen_at: expected TIMESTAMP, found other text (byte 11)"),
        (r#"{"seen_at":1.5}"#, "seen_at: expected TIMESTAMP, found a fraction (byte 11)"),
        (r#"{"place":[1,2]}"#, "place: expected STRUCT, found a list (byte 9)"),
        (r#"{"types":"Fairy"}"#, "types: expected LIST, found a string (byte 9)"),
        (r#"{"types":["Fairy",}"#, "types[1]: malformed JSON, expected a value (byte 18)"),
        (r#"{"path":[null,{"lat":"x"}]}"#, "path[1].lat: expected DOUBLE, found a string (byte 21)"),
    ] {
        assert_eq!(bad(record).to_string(), message);
    }
}

#[test]
fn booleans_are_read_in_the_forms_of_every_producer() {
    for (json, value) in [
        ("true", true),
        ("\"true\"", true),
        ("1", true),
        ("\"T\"", true),
        ("\"on\"", true),
        ("0", false),
        ("\"False\"", false),
        ("\"0\"", false),
        ("\"off\"", false),
    ] {
        let read = read_one(DataType::Boolean, json).unwrap();
        assert_eq!(read.as_boolean().value(0), value, "{json}");
    }
}

#[test]
fn text_takes_any_value_as_its_json() {
    for json in ["7", "-1.50", "true", "{\"a\": [1, null]}", "[\"x\", {}]"] {
        let read = read_one(DataType::Utf8View, json).unwrap();
        assert_eq!(read.as_string_view().value(0), json);
        let read = read_one(DataType::Utf8, json).unwrap();
        assert_eq!(read.as_string::<i32>().value(0), json);
    }
    assert!(read_one(DataType::Utf8View, "null").unwrap().is_null(0));
    assert!(read_one(DataType::Utf8View, "[1,").is_err());
}

#[test]
fn huge_numbers_are_out_of_range_and_never_wrap() {
    let huge = "9".repeat(5_000);
    for (data_type, json) in [
        (DataType::Int8, "128"),
        (DataType::Int8, "-129"),
        (DataType::Int64, "9223372036854775808"),
        (DataType::Int64, "-9223372036854775809"),
        (DataType::Int64, "1e19"),
        (DataType::Int64, "1e999999999999999999999"),
        (DataType::Int64, huge.as_str()),
        (DataType::UInt64, "18446744073709551616"),
        (DataType::UInt64, "-1"),
        (DataType::UInt32, "-12345678"),
        (DataType::Float64, "1e309"),
        (DataType::Float64, huge.as_str()),
        (DataType::Float32, "-3.5e38"),
        (DataType::Decimal128(5, 2), "1000"),
        (DataType::Decimal128(5, 2), "1.234"),
        (DataType::Decimal128(38, 0), "1e38"),
        (DataType::Decimal128(38, 38), "1"),
        (DataType::Decimal128(38, 0), huge.as_str()),
        (DataType::Decimal128(5, 2), "\"1e-3\""),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), "\"9999-01-01T00:00:00Z\""),
        (DataType::Date32, "2147483648"),
    ] {
        assert_eq!(kind_of(&data_type, json), "out_of_range", "{data_type} {json}");
    }
    let digits = format!("{{\"id\":{huge}}}");
    assert_eq!(bad(digits).to_string(), "id: out of range for BIGINT (byte 6)");
    // Not declared, so no column has to hold it.
    decode_all(&every_type(), [format!("{{\"other\":{huge}}}")]);
}

#[test]
fn integers_are_exact_up_to_their_ends() {
    for (json, value) in [
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("9223372036854775807.000", i64::MAX),
        ("922337203685477580.7e1", i64::MAX),
        ("-922337203685477580800000e-5", -9_223_372_036_854_775_808),
        ("0e999999999999999999", 0),
        ("-0.000", 0),
        ("1e18", 1_000_000_000_000_000_000),
        ("12345678", 12_345_678),
        ("123456789012345678", 123_456_789_012_345_678),
    ] {
        assert_eq!(read_one(DataType::Int64, json).unwrap().as_primitive::<Int64Type>().value(0), value, "{json}");
    }
    for json in ["3.5", "1e-1", "9223372036854775807.1", "0.00000000000000000000000000000000000000000000000000001"] {
        assert_eq!(kind_of(&DataType::Int64, json), "wrong_type", "{json}");
    }
}

#[test]
fn decimals_lose_nothing() {
    for (json, precision, scale, value) in [
        ("0.1", 38, 38, 10_i128.pow(37)),
        ("12345678901234567890123456789012345678", 38, 0, 12_345_678_901_234_567_890_123_456_789_012_345_678),
        ("-99999999999999999999.999999999999999999", 38, 18, 1 - 10_i128.pow(38)),
        ("\"1.10\"", 10, 1, 11),
        ("1.5e3", 10, 2, 150_000),
        ("15e-1", 10, 1, 15),
        ("-0", 10, 2, 0),
        ("1200", 4, -2, 12),
        ("1.2000000000000000000000000000000000000000000000000000", 3, 1, 12),
    ] {
        let array = read_one(DataType::Decimal128(precision, scale), json).unwrap();
        assert_eq!(array.as_primitive::<Decimal128Type>().value(0), value, "{json}");
    }
}

#[test]
fn numbers_follow_the_grammar_in_every_column() {
    let types = [DataType::Int64, DataType::Float64, DataType::Float32, DataType::Decimal128(20, 5), DataType::Date32];
    for json in [
        "01", "-", "-x", "1.", "1.e3", "1e", "1e+", "-01.5", "00", "1.x", "1ex", "+1", ".5", "NaN", "Infinity", "1 2",
        "0x10", "1_000",
    ] {
        let record = format!("{{\"v\":{json}}}");
        for data_type in &types {
            assert_eq!(kind_of(data_type, json), "malformed", "{data_type} {json}");
        }
        let mut undeclared = Decoder::new(&Fields::empty(), &[]).unwrap();
        assert_eq!(undeclared.decode(record.as_bytes()).unwrap_err().reason.kind(), "malformed", "{json}");
    }
    for json in ["1.2.3", "1e5.5", "12-3", "1 000"] {
        assert!(types.iter().all(|data_type| kind_of(data_type, json) != "row"), "{json}");
    }
    let minus_zero = read_one(DataType::Float64, "-0").unwrap();
    assert!(minus_zero.as_primitive::<Float64Type>().value(0).is_sign_negative());
}

#[test]
fn nesting_ends_at_the_limit_and_not_before() {
    let nested = |levels: usize, open: &str, close: &str| {
        format!("{{\"other\":{}1{}}}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{ \"a\" : [", "]}")] {
        let each = open.matches(['[', '{']).count();
        decode_all(&every_type(), [nested((MAX_DEPTH - 1) / each, open, close)]);
        assert_eq!(bad(nested((MAX_DEPTH - 1) / each + 1, open, close)).reason, BadReason::TooDeep);
        assert_eq!(bad(nested(100_000, open, close)).reason, BadReason::TooDeep);
    }
    assert_eq!(bad("[".repeat(100_000)).reason, BadReason::NotAnObject);
    assert_eq!(bad("{\"place\":".repeat(100_000)).reason, BadReason::TooDeep);
    assert_eq!(bad(format!("{{\"types\":{}", "[".repeat(100_000))).reason, BadReason::TooDeep);
}

#[test]
fn declared_nesting_has_the_same_limit() {
    let list_of = |levels| {
        (0..levels).fold(DataType::Int64, |item, _| DataType::List(Arc::new(Field::new_list_field(item, true))))
    };
    let record = |levels: usize| format!("{}7{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read_one(list_of(MAX_DEPTH - 1), &record(MAX_DEPTH - 1)).is_ok());
    assert!(Decoder::new(&one(list_of(MAX_DEPTH)), &[0]).is_err());
    assert!(Decoder::new(&one(list_of(2_000)), &[0]).is_err());
}

#[test]
fn null_and_nothing_are_bad_where_the_column_is_not_null() {
    let declared = Fields::from(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("place", DataType::Struct(vec![Field::new("lat", DataType::Float64, false)].into()), true),
        Field::new_list("types", Field::new_list_field(DataType::Utf8View, false), true),
    ]);
    let mut decoder = Decoder::new(&declared, &[0, 1, 2]).unwrap();
    for (record, column) in [
        ("{\"id\":null}", "id"),
        ("{}", "id"),
        ("{\"id\":1,\"place\":{}}", "place.lat"),
        ("{\"id\":1,\"types\":[\"a\",null]}", "types[1]"),
    ] {
        let bad = decoder.decode(record.as_bytes()).unwrap_err();
        assert_eq!((bad.reason, bad.column.as_deref()), (BadReason::Null, Some(column)), "{record}");
    }
    decoder.decode(b"{\"id\":1,\"place\":null}").unwrap();
    let columns = finish(&mut decoder);
    assert_eq!(columns[1].null_count(), 1);
}

#[test]
fn types_without_a_reading_in_json_are_refused_by_name() {
    let inner = DataType::Struct(vec![Field::new("bytes", DataType::Binary, true)].into());
    let declared = Fields::from(vec![Field::new_list("outer", Field::new_list_field(inner, true), true)]);
    let refused = Decoder::new(&declared, &[]).unwrap_err();
    assert_eq!(refused.to_string(), "column outer.bytes: type Binary cannot be read from JSON");
    assert!(Decoder::new(&one(DataType::Timestamp(TimeUnit::Second, Some("Kanto/Pallet".into()))), &[]).is_err());
}

#[test]
fn white_space_may_come_and_go_from_record_to_record() {
    let declared = every_type();
    let loose = SAMPLE.replace("\":", "\" :\t").replace(",\"", "\n , \"");
    let rows =
        decode_all(&declared, [SAMPLE, loose.as_str(), SAMPLE, "{ \"id\" :  25 }", "{\"id\":25}", loose.as_str()]);
    for column in rows {
        let first = column.slice(0, 1);
        assert!([1, 2, 5].iter().all(|&row| column.slice(row, 1).as_ref() == first.as_ref()), "{column:?}");
    }
}

#[test]
fn wanted_columns_come_in_their_order_even_twice() {
    let declared = every_type();
    let mut decoder = Decoder::new(&declared, &[7, 0, 7]).unwrap();
    decoder.decode(SAMPLE.as_bytes()).unwrap();
    decoder.append_null_row();
    let columns = decoder.finish();
    assert_eq!(columns[1].as_primitive::<Int64Type>().value(0), 25);
    assert_eq!(columns[0].as_string_view().value(0), "Flabébé ♀ of the tall grass");
    assert_eq!(&columns[0], &columns[2]);
    assert!(columns.iter().all(|column| column.len() == 2 && column.is_null(1)));
    assert!(decoder.is_empty() && decoder.finish().iter().all(Array::is_empty));
}
