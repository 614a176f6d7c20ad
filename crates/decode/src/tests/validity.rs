//! Random and mutated bytes: never a panic, the same verdict as `serde_json`, and no trace of what was learned before.

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::IgnoredAny;

use super::super::{BadReason, Decoder, MAX_DEPTH};
use super::{SAMPLE, all, decode_all, every_type, finish};

/// Whether the bytes are one JSON object, by `serde_json`'s grammar (it ignores the encoding of what it ignores).
fn is_object(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{'))
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// All that must hold for any bytes.
fn check(records: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let declared = every_type();
    let none = Fields::empty();
    let mut grammar = Decoder::new(&none, &[]).unwrap();
    let mut seasoned = Decoder::new(&declared, &all(&declared)).unwrap();
    let mut few = Decoder::new(&declared, &[7, 14]).unwrap();
    let mut rows = Vec::new();
    for record in records {
        let text = String::from_utf8_lossy(record);
        let by_grammar = grammar.decode(record);
        prop_assert_eq!(by_grammar.is_ok(), is_object(record), "{:?} {}", by_grammar, text);

        let verdict = seasoned.decode(record);
        if verdict.is_ok() {
            prop_assert!(by_grammar.is_ok(), "a row that is not JSON: {}", text);
            rows.push(record);
        }
        prop_assert_eq!(&few.decode(record), &verdict, "the verdict depends on what is wanted: {}", text);
        let mut fresh = Decoder::new(&declared, &[]).unwrap();
        prop_assert_eq!(&fresh.decode(record), &verdict, "the verdict depends on the records before: {}", text);
        if let Err(bad) = verdict {
            prop_assert!(bad.at <= record.len());
        }
    }
    prop_assert_eq!(seasoned.len(), rows.len());
    let expected = decode_all(&declared, rows);
    let columns = finish(&mut seasoned);
    prop_assert_eq!(&columns, &expected);
    let columns = finish(&mut few);
    prop_assert_eq!(&columns[0], &expected[7]);
    prop_assert_eq!(&columns[1], &expected[14]);
    Ok(())
}

#[derive(Debug, Clone)]
enum Edit {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, String),
    Remove(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\"id\":",
        "\"name\":",
        "\"place\":",
        "\"path\":",
        "\"types\":",
        "\"lat\":",
        "\"x\":",
        "\"\\u0069d\":",
        "null",
        "true",
        "false",
        "0",
        "-",
        "1.5",
        "1e5",
        "E",
        "9999999999",
        " ",
        "\n",
        "\t",
        "\u{b}",
        "\"a\"",
        "\"\\ud83c\\udf3e\"",
        "\\ud800",
        "\\u00",
        "\"Flabébé ♀\"",
        "\u{7f}",
        "\0",
        "é",
        "\"2016-07-06\"",
        "\"a text that is longer than a view\"",
        "\u{feff}",
        "/*",
        "'",
    ];
    select(pieces.to_vec()).prop_map(str::to_owned)
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<prop::sample::Index>(), piece()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<prop::sample::Index>(), 1usize..20).prop_map(|(at, len)| Edit::Remove(at, len)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..30)
            .prop_map(|(from, to, len)| Edit::Copy(from, to, len)),
    ]
}

fn mutated(edits: Vec<Edit>) -> Vec<u8> {
    let mut bytes = SAMPLE.as_bytes().to_vec();
    for edit in edits {
        if bytes.is_empty() {
            break;
        }
        match edit {
            Edit::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Edit::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.into_bytes());
            }
            Edit::Remove(at, len) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + len).min(bytes.len()));
            }
            Edit::Copy(from, to, len) => {
                let from = from.index(bytes.len());
                let part = bytes[from..(from + len).min(bytes.len())].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_records_are_judged_as_serde_json_judges_them(
        records in prop::collection::vec(prop::collection::vec(edit(), 0..4).prop_map(mutated), 1..8)
    ) {
        check(&records)?;
    }

    #[test]
    fn pieces_of_json_in_any_order_are_judged_as_serde_json_judges_them(
        records in prop::collection::vec(prop::collection::vec(piece(), 0..30).prop_map(|pieces| format!("{{{}}}", pieces.concat()).into_bytes()), 1..8)
    ) {
        check(&records)?;
    }

    #[test]
    fn random_bytes_are_judged_as_serde_json_judges_them(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..4)
    ) {
        check(&records)?;
    }

    #[test]
    fn any_value_in_any_column_is_judged_alike_whatever_is_wanted(
        values in prop::collection::vec((0usize..15, piece()), 1..20)
    ) {
        let declared = every_type();
        let records: Vec<_> = values
            .iter()
            .map(|(index, piece)| format!("{{\"{}\":{piece}}}", declared[*index].name()).into_bytes())
            .collect();
        check(&records)?;
    }
}

#[test]
fn a_brace_between_two_values_is_malformed_though_it_opened_the_record_before() {
    let mut decoder = Decoder::new(&every_type(), &[]).unwrap();
    decoder.decode(br#"{"id":1,"small":1}"#).unwrap();
    decoder.decode(br#"{"small":1,"id":1}"#).unwrap();
    for record in [r#"{"id":1{"small":1}"#, r#"{"small":1{"id":1}"#, r#","id":1}"#] {
        assert!(decoder.decode(record.as_bytes()).is_err(), "{record}");
    }
}

#[test]
fn keys_that_never_come_again_do_not_fill_the_memory() {
    let declared = Fields::from(vec![Field::new("id", DataType::Int64, true)]);
    let mut decoder = Decoder::new(&declared, &[0]).unwrap();
    for n in 0..10_000 {
        decoder.decode(format!("{{\"new{n}\":[{n}],\"id\":{n},\"also{n}\":{{}}}}").as_bytes()).unwrap();
        assert!(decoder.record.learned() <= 66);
    }
    let wide = format!("{{\"id\"{}:1}}", " ".repeat(10_000));
    let before = decoder.record.learned();
    decoder.decode(wide.as_bytes()).unwrap();
    assert_eq!(decoder.record.learned(), before);
    assert_eq!(decoder.finish()[0].len(), 10_001);
}

#[test]
fn what_is_learned_once_is_not_learned_again() {
    let declared = every_type();
    let mut decoder = Decoder::new(&declared, &[]).unwrap();
    let kinds = [
        r#"{"id":1,"name":"a","legendary":true}"#,
        r#"{"id":1,"legendary":true}"#,
        r#"{"legendary":true,"name":"a","id":1}"#,
        r#"{ "id" : 1, "name" : "a" }"#,
    ];
    for record in kinds {
        decoder.decode(record.as_bytes()).unwrap();
    }
    let learned = decoder.record.learned();
    for _ in 0..100 {
        for record in kinds {
            decoder.decode(record.as_bytes()).unwrap();
        }
    }
    assert_eq!(decoder.record.learned(), learned);
}

#[test]
fn the_depth_limit_is_the_only_thing_that_serde_json_would_not_say() {
    let record = format!("{{\"a\":{}{}}}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(is_object(record.as_bytes()));
    let verdict = Decoder::new(&Fields::empty(), &[]).unwrap().decode(record.as_bytes());
    assert_eq!(verdict.unwrap_err().reason, BadReason::TooDeep);
}
