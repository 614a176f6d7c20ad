//! A JSON document with what a sample must not lose: the order of the keys, repeated keys, and numbers as written.
//!
//! `serde_json::Value` sorts keys, keeps the last of two and rounds `9007199254740993.0`, while the columns of a
//! suggested table should stand in the producer's order and a type is only right for numbers digit by digit. So each
//! level is read as raw values, which keep their text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::from_str;
use serde_json::value::RawValue;

/// Nesting of the deepest record that is looked at; deeper ones count as unreadable.
const MAX_DEPTH: usize = 64;

/// One JSON value, borrowing numbers from the record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Boolean,
    /// As written, a valid JSON number.
    Number(&'a str),
    String(String),
    Array(Vec<Json<'a>>),
    /// In the record's order; a key may come twice.
    Object(Vec<(String, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Exactly one document, with white space around it; `None` for anything else.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        Self::of(from_str(text).ok()?, 0)
    }

    fn of(value: &'a RawValue, depth: usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let text = value.get();
        Some(match text.as_bytes().first()? {
            b'n' => Self::Null,
            b't' | b'f' => Self::Boolean,
            b'"' => Self::String(from_str(text).ok()?),
            b'[' => {
                let elements: Vec<&RawValue> = from_str(text).ok()?;
                Self::Array(elements.into_iter().map(|value| Self::of(value, depth + 1)).collect::<Option<_>>()?)
            }
            b'{' => {
                let fields = from_str::<Fields<'_>>(text).ok()?.0.into_iter();
                let fields = fields.map(|(name, value)| Some((name, Self::of(value, depth + 1)?)));
                Self::Object(fields.collect::<Option<_>>()?)
            }
            _ => Self::Number(text),
        })
    }
}

/// The fields of one object, each with the text of its value.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The value of a JSON number that has no fractional part, however it is written (`30`, `30.0`, `3e1`); `None` if it
/// has one, or lies beyond 38 digits.
pub(super) fn whole_number(text: &str) -> Option<i128> {
    const MAX_DIGITS: usize = 38;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    // An exponent that is no i32 is beyond any column in either direction.
    let exponent: i32 = exponent.parse().ok()?;
    let scale = i64::from(exponent) - fraction.len() as i64 + trailing_zeros as i64;
    let scale = usize::try_from(scale).ok().filter(|scale| significant.len() + scale <= MAX_DIGITS)?;
    let value = significant.parse::<i128>().ok()? * 10_i128.pow(u32::try_from(scale).ok()?);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_serde_json_accepts_and_nothing_else() {
        for text in [
            "{}",
            " [ ] ",
            "null",
            "true",
            "-0",
            "1e5",
            "1.5E-3",
            r#"{"a":[1,{"b":"\u00e9\n\""}],"c":null}"#,
            "\"é\"",
            "{\"a\":1}\n",
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "--1",
            "tru",
            "nul",
            "{} {}",
            "\u{feff}{}",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\n\"",
            "\"a",
            "\"a\\",
            "{\"a\"}",
            "{\"a\":}",
            "[1 2]",
            "NaN",
            "\"\\é\"",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(Json::parse(text).is_some(), expected, "{text:?}");
        }
    }

    #[test]
    fn keeps_order_repeats_and_digits() {
        let Some(Json::Object(fields)) = Json::parse(r#"{"b":9007199254740993.0,"a":1,"b":null}"#) else { panic!() };
        assert_eq!(fields.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!(fields[0].1, Json::Number("9007199254740993.0"));
    }

    #[test]
    fn refuses_a_record_that_is_nested_too_deep() {
        assert!(Json::parse(&("[".repeat(60) + &"]".repeat(60))).is_some());
        assert!(Json::parse(&("[".repeat(100_000) + &"]".repeat(100_000))).is_none());
    }

    #[test]
    fn knows_whole_numbers_digit_by_digit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0.0e9", Some(0)),
            ("3.0", Some(3)),
            ("3e0", Some(3)),
            ("-1.5e1", Some(-15)),
            ("1200e-2", Some(12)),
            ("1205e-2", None),
            ("3.00000000000000000000000000000000000000001", None),
            ("9223372036854775808", Some(9_223_372_036_854_775_808)),
            ("99999999999999999999999999999999999999", Some(99_999_999_999_999_999_999_999_999_999_999_999_999)),
            ("1e38", None),
            ("0e99999999999", Some(0)),
            ("1e99999999999", None),
            ("1e-99999999999", None),
        ] {
            assert_eq!(whole_number(text), expected, "{text}");
        }
    }
}
