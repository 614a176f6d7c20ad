#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::{Catalog, KafkaRelation};
use tallgrass_decode::Decoder;

fn sample(records: &[(Option<&str>, Option<&str>)]) -> TopicSample {
    let mut sample = TopicSample::new("orders");
    for (key, value) in records {
        sample.add(key.map(str::as_bytes), value.map(str::as_bytes));
    }
    sample
}

fn values(values: &[&str]) -> TopicSample {
    sample(&values.iter().map(|value| (None, Some(*value))).collect::<Vec<_>>())
}

/// What the declarations mean.
fn catalog(sql: &str) -> Vec<Arc<KafkaRelation>> {
    let catalog = Catalog::parse(sql, Path::new("."), "sources.sql").unwrap_or_else(|error| panic!("{error}\n{sql}"));
    catalog.kafka_relations().map(Arc::clone).collect()
}

fn arrow_type(sql_type: &SqlType) -> DataType {
    match sql_type {
        SqlType::Boolean => DataType::Boolean,
        SqlType::BigInt => DataType::Int64,
        SqlType::Decimal => DataType::Decimal128(38, 0),
        SqlType::Double => DataType::Float64,
        SqlType::Varchar => DataType::Utf8View,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(3) => DataType::Timestamp(TimeUnit::Millisecond, None),
        SqlType::Timestamp(6) => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::Timestamp(_) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        SqlType::Struct(columns) => DataType::Struct(arrow_fields(columns)),
        SqlType::Array(element) => DataType::new_list(arrow_type(element), true),
    }
}

fn arrow_fields(columns: &[Column]) -> Fields {
    let field = |column: &Column| -> Option<FieldRef> {
        let ColumnVerdict::Declared(sql_type, _) = &column.verdict else { return None };
        Some(Arc::new(Field::new(&column.name, arrow_type(sql_type), true)))
    };
    columns.iter().filter_map(field).collect()
}

#[test]
fn a_stream_is_declared_with_remarks() {
    let ddl = values(&[
        r#"{"orderId":1,"placed":"2026-01-31T09:00:00Z","customer":{"name":"Ada","email":null},"total":12.5,"tags":[],"user":true,"x":1}"#,
        r#"{"orderId":2,"placed":"2026-01-31T09:00:01Z","customer":{"name":"Bob","email":"b@example.org"},"total":3,"tags":[],"note":null,"x":"1","_key":1}"#,
        "not json",
        "[]",
        "",
        "\0\0\0\0\u{1}avro",
    ])
    .to_ddl(false);
    insta::assert_snapshot!(ddl);
}

#[test]
fn a_keyed_table_takes_the_field_that_repeats_the_key() {
    let ddl = sample(&[
        (Some("1"), Some(r#"{"count":1,"id":1,"name":"Ada"}"#)),
        (Some("2"), Some(r#"{"count":1,"id":2,"name":"Bob"}"#)),
        (Some("1"), None),
    ])
    .to_ddl(true);
    insta::assert_snapshot!(ddl);
    let relations = catalog(&ddl);
    assert_eq!(relations[0].declared, relations[1].declared);
    assert!(relations[0].key.is_none());
    assert_eq!(relations[1].key.as_ref().unwrap().column, 1);
}

#[test]
fn a_keyed_table_without_such_a_field_gets_a_column_for_the_key() {
    let ddl = sample(&[(Some("a"), Some(r#"{"record_key":1}"#)), (Some("b"), None)]).to_ddl(false);
    let relations = catalog(&ddl);
    assert_eq!(relations[1].declared.field(0).name(), "record_key_");
    assert!(ddl.contains("PRIMARY KEY (record_key_)"), "{ddl}");
}

#[test]
fn a_bigint_is_the_key_only_if_every_key_is_its_decimal_text() {
    let ddl = sample(&[(Some("1"), Some(r#"{"id":1}"#)), (Some("none"), None)]).to_ddl(true);
    assert!(ddl.contains("PRIMARY KEY (record_key)"), "{ddl}");
    let ddl = sample(&[(Some("01"), Some(r#"{"id":"01","n":1}"#))]).to_ddl(true);
    assert!(ddl.contains("PRIMARY KEY (id)"), "{ddl}");
}

#[test]
fn without_usable_keys_there_is_no_keyed_table() {
    let mut binary = TopicSample::new("orders");
    binary.add(Some(&[0xff]), Some(b"{\"id\":1}"));
    let ddl = binary.to_ddl(true);
    assert!(ddl.contains("1 key is not UTF-8 text") && !ddl.contains("PRIMARY"), "{ddl}");
    let ddl = sample(&[(None, Some(r#"{"id":1}"#)), (None, None)]).to_ddl(false);
    assert!(ddl.contains("the records have no keys") && !ddl.contains("PRIMARY"), "{ddl}");
}

#[test]
fn a_stream_whose_key_is_a_field_says_so() {
    let ddl = sample(&[(Some("7"), Some(r#"{"id":7,"name":"7x"}"#))]).to_ddl(false);
    assert!(ddl.contains("-- The record key is id: with PRIMARY KEY (id)"), "{ddl}");
    assert_eq!(catalog(&ddl).len(), 1);
}

#[test]
fn a_topic_with_nothing_to_declare_gets_comments_only() {
    for ddl in [
        values(&["1", "x"]).to_ddl(true),
        values(&[]).to_ddl(false),
        values(&["{}", r#"{"a":1}"#, r#"{"a":"1"}"#]).to_ddl(true),
    ] {
        assert!(ddl.contains("Nothing to declare"), "{ddl}");
        assert!(ddl.lines().all(|line| line.starts_with("--")), "{ddl}");
    }
}

#[test]
fn relations_of_several_topics_have_names_of_their_own() {
    let mut samples = Vec::new();
    for topic in ["orders", "ORDERS", "orders_events", "orders_count"] {
        let mut sample = TopicSample::new(topic);
        sample.add(Some(b"a"), Some(b"{\"n\":1}"));
        sample.add(Some(b"a"), None);
        samples.push((sample, false));
    }
    samples.push((TopicSample::new("empty"), false));
    let sources = sources(&samples);
    let tables: Vec<_> = catalog(&sources.sql).iter().map(|relation| relation.name.clone()).collect();
    assert_eq!(
        tables,
        [
            "orders_events_2",
            "orders",
            "orders_2_events",
            "orders_2",
            "orders_events_log",
            "orders_events",
            "orders_count_events",
            "orders_count"
        ]
    );
    let views: Vec<_> = sources.relations.iter().map(|relation| relation.count_view.as_str()).collect();
    assert_eq!(views, ["orders_count_2", "orders_2_count", "orders_events_count", "orders_count_count"]);
    assert_eq!(sources.undeclared, ["empty"]);
}

#[test]
fn nested_types_are_parsed_back_as_meant() {
    let sample = values(&[
        r#"{"a":{"b":{"c":{"d":[[{"e":[1]}]],"f":null}}},"g":[[[1.5]]],"h":{"long_enough_to_need":1,"a_line_for_every_field":[{"x y":"2026-01-31"}]}}"#,
        r#"{"a":{"b":{"c":{"d":[]}}},"h":{"a_line_for_every_field":[{"Type":18446744073709551616},{"i":true}]}}"#,
    ]);
    let ddl = sample.to_ddl(false);
    assert_eq!(catalog(&ddl)[0].declared.fields(), &arrow_fields(&sample.columns()), "{ddl}");
    insta::assert_snapshot!(ddl);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-d]".prop_map(String::from),
        1 => prop::sample::select(datafusion::sql::sqlparser::keywords::ALL_KEYWORDS).prop_map(str::to_ascii_lowercase),
        1 => prop::sample::select(vec!["_key", "_offset", "", "A", "it's", "say \"hi\"", "two words", "-- x", "*/", "né", "a\nb", "1", ">>"])
            .prop_map(str::to_owned),
    ]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i8>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<i128>().prop_map(|number| (number / 1_000_000).to_string()),
        any::<f64>()
            .prop_filter("JSON has finite numbers only", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4}|\\.0{1,3})?([eE][+-]?[0-9]{1,2})?",
    ]
}

fn time() -> impl Strategy<Value = String> {
    "(00|16|19|20|22|99)[0-9]{2}-0[1-9]-[0-2][0-9]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-6][0-9])"
        .prop_map(|text| format!("\"{text}\""))
}

fn string() -> impl Strategy<Value = String> {
    let text = prop_oneof![any::<String>(), "(19|20|99)[0-9]{2}-[01][0-9]-[0-3][0-9]"];
    prop_oneof![2 => text.prop_map(|text| serde_json::to_string(&text).unwrap()), 1 => time()]
}

/// A value of a kind, so that a column's values often agree.
fn value(kind: u8, depth: u8) -> BoxedStrategy<String> {
    match kind % 8 {
        0 => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        1 => any::<i8>().prop_map(|number| format!("{number}.0")).boxed(),
        2 => number().boxed(),
        3 => string().boxed(),
        7 => time().boxed(),
        4 if depth > 0 => object(kind, depth - 1).boxed(),
        5 if depth > 0 => prop::collection::vec(value(kind / 7, depth - 1), 0..3)
            .prop_map(|elements| format!("[{}]", elements.join(", ")))
            .boxed(),
        _ => Just("null".to_owned()).boxed(),
    }
}

/// An object whose fields have the same kinds in most of the objects of one seed.
fn object(seed: u8, depth: u8) -> impl Strategy<Value = String> {
    let field = (name(), any::<u8>()).prop_flat_map(move |(name, stray)| {
        let usual = name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte));
        prop_oneof![12 => value(usual, depth), 2 => Just("null".to_owned()), 1 => value(stray, depth)]
            .prop_map(move |value| format!("{}: {value}", serde_json::to_string(&name).unwrap()))
    });
    prop::collection::vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

fn records() -> impl Strategy<Value = Vec<String>> {
    any::<u8>().prop_flat_map(|seed| prop::collection::vec(object(seed, 3), 1..8))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever was sampled: the text is SQL, and means what was inferred.
    #[test]
    fn every_suggestion_is_parsed_back_as_meant(records in records(), compacted in any::<bool>()) {
        let records: Vec<_> = records.iter().map(|record| (Some("key"), Some(record.as_str()))).collect();
        let sample = sample(&records);
        let ddl = sample.to_ddl(compacted);
        let relations = catalog(&ddl);
        if relations.is_empty() {
            prop_assert!(ddl.contains("Nothing to declare"), "{}", ddl);
            return Ok(());
        }
        prop_assert_eq!(relations.len(), 1 + usize::from(compacted));
        prop_assert_eq!(relations[0].declared.fields(), &arrow_fields(&sample.columns()), "{}", ddl);
    }

    /// The contract: no sampled record is bad under the declaration that was made for it.
    #[test]
    fn every_sampled_object_decodes_under_the_suggestion(records in records(), compacted in any::<bool>()) {
        let keyed: Vec<_> = records.iter().map(|record| (Some("key"), Some(record.as_str()))).collect();
        let ddl = sample(&keyed).to_ddl(compacted);
        for relation in catalog(&ddl) {
            let fields = relation.declared.fields();
            let mut decoder = Decoder::new(fields, &(0..fields.len()).collect::<Vec<_>>()).unwrap();
            for record in &records {
                let decoded = decoder.decode(record.as_bytes());
                prop_assert!(decoded.is_ok(), "{}\n{}\n{}", decoded.unwrap_err(), record, ddl);
            }
            prop_assert_eq!(decoder.len(), records.len());
        }
    }
}
