//! Random schemas and rows, written as JSON in every way that means the same, give arrow-json's arrays.
//!
//! The generator avoids what differs on purpose, and `bad_records` tests what happens there instead: arrow-json reads
//! numbers and booleans from strings, integers through doubles, `3.7` as a timestamp of 3, decimals with digits cut
//! off, `1e400` as infinity; it takes the last of duplicate keys, ignores missing and surplus commas, and refuses
//! `"\ud800"` also where it is not read.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use datafusion::arrow::json::ReaderBuilder;
use proptest::prelude::*;
use proptest::sample::select;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::super::Decoder;
use super::finish;

#[derive(Debug, Clone)]
enum JsonValue {
    /// Verbatim.
    Raw(String),
    Text(String),
    List(Vec<JsonValue>),
    /// `None` where the key is left out.
    Object(Vec<(String, Option<JsonValue>)>),
}

fn leaf_type() -> impl Strategy<Value = DataType> {
    use DataType::{
        Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, UInt8, UInt16,
        UInt32, UInt64, Utf8, Utf8View,
    };
    prop_oneof![
        select(vec![Boolean, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float32, Float64, Date32]),
        select(vec![Utf8View, Utf8View, Utf8, LargeUtf8]),
        (1u8..=38).prop_flat_map(|p| (0..=p as i8).prop_map(move |s| Decimal128(p, s))),
        (
            select(vec![TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]),
            select(vec![None, Some("UTC"), Some("+00:00"), Some("-03:30"), Some("Asia/Tokyo")])
        )
            .prop_map(|(unit, zone)| Timestamp(unit, zone.map(Into::into))),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    leaf_type().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            fields(inner.clone(), 1..4).prop_map(DataType::Struct),
            inner.prop_map(|item| DataType::List(Arc::new(Field::new_list_field(item, true)))),
        ]
    })
}

fn fields(data_type: impl Strategy<Value = DataType>, count: std::ops::Range<usize>) -> impl Strategy<Value = Fields> {
    const NAMES: &[&str] = &[
        "a",
        "b",
        "name",
        "type_1",
        "é",
        "with space",
        "quo\"te",
        "back\\slash",
        "line\nbreak",
        "",
        "sixteen_letters_",
        "a key that is longer than one comparison of sixteen bytes",
        "🌾",
        "null",
        "generation",
    ];
    (prop::collection::vec(data_type, count), Just(NAMES.to_vec()).prop_shuffle()).prop_map(|(types, names)| {
        types.into_iter().zip(names).map(|(data_type, name)| Field::new(name, data_type, true)).collect()
    })
}

#[allow(clippy::needless_pass_by_value)] // it is a mapping function
fn raw(text: impl ToString) -> JsonValue {
    JsonValue::Raw(text.to_string())
}

fn integers<T: Arbitrary + ToString + Copy + 'static>() -> BoxedStrategy<JsonValue> {
    let small = (0u8..=99).prop_map(raw);
    let zero = select(vec!["-0", "0", "0.0", "12.0", "10e-1", "1E1", "1.20e+2"]).prop_map(raw);
    prop_oneof![3 => any::<T>().prop_map(raw), 3 => small, 1 => zero].boxed()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z]{0,20}",
        "\\PC{0,40}",
        any::<String>(),
        prop::collection::vec(any::<char>(), 0..200).prop_map(String::from_iter)
    ]
}

fn digits(len: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = String> {
    prop::collection::vec(0u8..10, len).prop_map(|digits| digits.iter().map(u8::to_string).collect())
}

fn whole_part(digits: &str) -> &str {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() { "0" } else { digits }
}

fn day() -> impl Strategy<Value = String> {
    (0i32..=9999, 1u32..=12, 1u32..=28).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"))
}

fn value(data_type: &DataType) -> BoxedStrategy<JsonValue> {
    let some = match data_type {
        DataType::Boolean => any::<bool>().prop_map(raw).boxed(),
        DataType::Int8 => integers::<i8>(),
        DataType::Int16 => integers::<i16>(),
        DataType::Int32 => integers::<i32>(),
        DataType::Int64 => integers::<i64>(),
        DataType::UInt8 => integers::<u8>(),
        DataType::UInt16 => integers::<u16>(),
        DataType::UInt32 => integers::<u32>(),
        DataType::UInt64 => integers::<u64>(),
        DataType::Float32 => prop_oneof![
            prop::num::f32::NORMAL.prop_map(raw),
            prop::num::f32::ANY
                .prop_filter("JSON has no others", |v| v.is_finite())
                .prop_map(|v| raw(format!("{v:e}"))),
            "-?[1-9][0-9]{0,7}\\.[0-9]{1,12}".prop_map(raw),
        ]
        .boxed(),
        DataType::Float64 => prop_oneof![
            prop::num::f64::NORMAL.prop_map(raw),
            prop::num::f64::ANY
                .prop_filter("JSON has no others", |v| v.is_finite())
                .prop_map(|v| raw(format!("{v:e}"))),
            "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?".prop_map(raw),
        ]
        .boxed(),
        DataType::Decimal128(precision, scale) => {
            let (whole, fraction) = (usize::from(precision - *scale as u8), *scale as usize);
            (digits(0..=whole), digits(0..=fraction), any::<bool>(), any::<bool>())
                .prop_map(|(whole, fraction, negative, quoted)| {
                    let mut text = format!("{}{}", if negative { "-" } else { "" }, whole_part(&whole));
                    if !fraction.is_empty() {
                        text = format!("{text}.{fraction}");
                    }
                    if quoted { JsonValue::Text(text) } else { JsonValue::Raw(text) }
                })
                .boxed()
        }
        DataType::Date32 => prop_oneof![day().prop_map(JsonValue::Text), (-100_000i32..100_000).prop_map(raw)].boxed(),
        DataType::Timestamp(unit, _) => {
            let year = if *unit == TimeUnit::Nanosecond { 1700i32..=2200 } else { 0..=9999 };
            let text = (
                (year, 1u32..=12, 1u32..=28, 4u32..24, 0u32..60, 0u32..60),
                select(vec!["T", " "]),
                "(\\.[0-9]{1,9})?",
                select(vec!["", "Z", "+02:00", "-11:45", "+05", " +01:00"]),
            )
                .prop_map(|((y, m, d, h, min, s), between, fraction, zone)| {
                    JsonValue::Text(format!("{y:04}-{m:02}-{d:02}{between}{h:02}:{min:02}:{s:02}{fraction}{zone}"))
                });
            let day = if *unit == TimeUnit::Nanosecond { "1999-12-31" } else { "0001-01-01" };
            prop_oneof![3 => text, 2 => any::<i64>().prop_map(raw), 1 => Just(JsonValue::Text(day.into()))].boxed()
        }
        DataType::Struct(fields) => object(fields),
        DataType::List(item) => prop::collection::vec(value(item.data_type()), 0..5).prop_map(JsonValue::List).boxed(),
        _ => text().prop_map(JsonValue::Text).boxed(),
    };
    prop_oneof![4 => some, 1 => Just(raw("null"))].boxed()
}

fn object(fields: &Fields) -> BoxedStrategy<JsonValue> {
    let members: Vec<_> = fields
        .iter()
        .map(|field| {
            (Just(field.name().clone()), prop_oneof![6 => value(field.data_type()).prop_map(Some), 1 => Just(None)])
        })
        .collect();
    members.prop_map(JsonValue::Object).boxed()
}

/// Writes JSON in one of the many ways that mean the same.
struct JsonWriter {
    rng: StdRng,
    /// Compact and in one order, as most producers write, or anything goes.
    tidy: bool,
    out: String,
}

impl JsonWriter {
    fn space(&mut self) {
        if !self.tidy {
            for _ in 0..self.rng.random_range(0u32..4).saturating_sub(1) {
                self.out.push([' ', '\t', '\n', '\r'][self.rng.random_range(0..4)]);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            let must = character < ' ' || character == '"' || character == '\\';
            // arrow-json ors where it should add, and so gets half of the pairs beyond U+1FFFF wrong.
            let as_it_is = self.tidy || character > '\u{1FFFF}' || self.rng.random_bool(0.9);
            if !must && as_it_is {
                self.out.push(character);
                continue;
            }
            let short = match character {
                '"' | '\\' | '/' => Some(character),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                _ => None,
            };
            match short {
                Some(short) if self.rng.random_bool(0.5) => self.out.extend(['\\', short]),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        if self.rng.random_bool(0.5) {
                            write!(self.out, "\\u{unit:04x}").unwrap();
                        } else {
                            write!(self.out, "\\u{unit:04X}").unwrap();
                        }
                    }
                }
            }
        }
        self.out.push('"');
    }

    fn unknown(&mut self, depth: usize) {
        match self.rng.random_range(0..if depth < 4 { 8 } else { 6 }) {
            0 => self.out.push_str("null"),
            1 => self.out.push_str("-12.50e+3"),
            2 => self.text("some \"text\" with \\ and \u{1}"),
            3 => self.out.push_str(if self.rng.random_bool(0.5) { "true" } else { "false" }),
            4 => self.out.push_str("1e999"),
            5 => self.out.push_str("\"\\ud83c\\udf3e\""),
            kind => {
                self.out.push(if kind == 6 { '[' } else { '{' });
                self.space();
                for n in 0..self.rng.random_range(0..4) {
                    if n > 0 {
                        self.out.push(',');
                        self.space();
                    }
                    if kind == 7 {
                        self.text("a");
                        self.out.push(':');
                    }
                    self.unknown(depth + 1);
                    self.space();
                }
                self.out.push(if kind == 6 { ']' } else { '}' });
            }
        }
    }

    fn write(&mut self, json: &JsonValue) {
        match json {
            JsonValue::Raw(raw) => self.out.push_str(raw),
            JsonValue::Text(text) => self.text(text),
            JsonValue::List(items) => {
                self.out.push('[');
                self.space();
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        self.out.push(',');
                        self.space();
                    }
                    self.write(item);
                    self.space();
                }
                self.out.push(']');
            }
            JsonValue::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), value.as_ref()?)))
                    .map(|(key, value)| (key, Some(value)))
                    .collect();
                if !self.tidy || self.rng.random_bool(0.2) {
                    let unknown = ["zz", "_unknown \u{e9}", "a long key that no column declares"];
                    members
                        .extend(unknown.iter().take(self.rng.random_range(0..4)).map(|key| ((*key).to_owned(), None)));
                }
                if !self.tidy {
                    members.shuffle(&mut self.rng);
                }
                self.out.push('{');
                self.space();
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        self.out.push(',');
                        self.space();
                    }
                    self.text(key);
                    self.space();
                    self.out.push(':');
                    self.space();
                    match value {
                        Some(value) => self.write(value),
                        None => self.unknown(0),
                    }
                    self.space();
                }
                self.out.push('}');
            }
        }
    }
}

fn written(json: &JsonValue, seed: u64, tidy: bool) -> String {
    let mut writer = JsonWriter { rng: StdRng::seed_from_u64(seed), tidy, out: String::new() };
    writer.space();
    writer.write(json);
    writer.space();
    writer.out
}

fn rows() -> impl Strategy<Value = (Fields, Vec<String>, Vec<usize>)> {
    fields(data_type(), 1..7).prop_flat_map(|declared| {
        let row = (object(&declared), any::<u64>(), prop::bool::weighted(0.6))
            .prop_map(|(json, seed, tidy)| written(&json, seed, tidy));
        let wanted =
            prop::sample::subsequence((0..declared.len()).collect::<Vec<_>>(), 0..=declared.len()).prop_shuffle();
        (Just(declared), prop::collection::vec(row, 1..12), wanted)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_rows_give_the_arrays_that_arrow_json_gives((declared, records, wanted) in rows()) {
        let mut ours = Decoder::new(&declared, &wanted).unwrap();
        let schema = Arc::new(Schema::new(wanted.iter().map(|&index| Arc::clone(&declared[index])).collect::<Fields>()));
        let mut arrow = ReaderBuilder::new(schema).with_batch_size(records.len()).build_decoder().unwrap();
        // Twice: what was learned from the first batch must not show in the second.
        for _ in 0..2 {
            for record in &records {
                ours.decode(record.as_bytes()).map_err(|bad| TestCaseError::fail(format!("{bad}: {record}")))?;
                prop_assert_eq!(arrow.decode(record.as_bytes()).unwrap(), record.len());
            }
            let expected = arrow.flush().map_err(|error| TestCaseError::fail(error.to_string()))?.unwrap();
            let columns = finish(&mut ours);
            prop_assert_eq!(columns.len(), wanted.len());
            for (column, expected) in columns.iter().zip(expected.columns()) {
                prop_assert_eq!(column, expected, "{:?}", records);
            }
        }
    }
}
