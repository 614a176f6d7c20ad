//! Record keys: as the PRIMARY KEY column of a table, and as the identity of its rows.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringBuilder,
    StringBuilder, StringViewBuilder, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::DataType;

/// Why a record key is not a primary key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    #[error("the record has no key, so it is not a row of a table")]
    Missing,
    #[error("the record key is not of type {expected}: {}", preview(.found))]
    NotAnInteger { expected: DataType, found: Vec<u8> },
    #[error("the record key is not UTF-8: {}", preview(.found))]
    InvalidUtf8 { found: Vec<u8> },
}

impl BadKey {
    /// A short stable name for counters.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "null_key",
            Self::NotAnInteger { .. } | Self::InvalidUtf8 { .. } => "bad_key",
        }
    }
}

/// Keys are shown to people up to here, escaped.
const PREVIEW_BYTES: usize = 40;

fn preview(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(PREVIEW_BYTES)];
    format!("'{}{}'", shown.escape_ascii(), if shown.len() < bytes.len() { "…" } else { "" })
}

/// Builds the PRIMARY KEY column from record keys.
#[derive(Debug)]
pub(super) enum KeyColumn {
    Integer { data_type: DataType, min: i128, max: i128, values: Vec<i128> },
    Utf8(StringBuilder),
    LargeUtf8(LargeStringBuilder),
    Utf8View(StringViewBuilder),
}

impl KeyColumn {
    /// Whether values of this type can be read from a key.
    pub(super) fn supports(data_type: &DataType) -> bool {
        Self::new(data_type).is_some()
    }

    /// An empty column, for the types that keys can be read as.
    pub(super) fn new(data_type: &DataType) -> Option<Self> {
        let (min, max): (i128, i128) = match data_type {
            DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
            DataType::UInt8 => (0, u8::MAX.into()),
            DataType::UInt16 => (0, u16::MAX.into()),
            DataType::UInt32 => (0, u32::MAX.into()),
            DataType::UInt64 => (0, u64::MAX.into()),
            DataType::Utf8 => return Some(Self::Utf8(StringBuilder::new())),
            DataType::LargeUtf8 => return Some(Self::LargeUtf8(LargeStringBuilder::new())),
            DataType::Utf8View => return Some(Self::Utf8View(StringViewBuilder::new())),
            _ => return None,
        };
        Some(Self::Integer { data_type: data_type.clone(), min, max, values: Vec::new() })
    }

    /// Appends the value of a key, or a placeholder and the reason: one row either way, so that columns stay aligned.
    pub(super) fn append(&mut self, key: Option<&[u8]>) -> Result<(), BadKey> {
        let bad = match (&mut *self, key) {
            (_, None) => BadKey::Missing,
            (Self::Integer { data_type, min, max, values }, Some(key)) => {
                match canonical_integer(key).filter(|value| (*min..=*max).contains(value)) {
                    Some(value) => {
                        values.push(value);
                        return Ok(());
                    }
                    None => BadKey::NotAnInteger { expected: data_type.clone(), found: clipped(key) },
                }
            }
            (text, Some(key)) => match simdutf8::basic::from_utf8(key) {
                Ok(value) => {
                    text.append_text(value);
                    return Ok(());
                }
                Err(_) => BadKey::InvalidUtf8 { found: clipped(key) },
            },
        };
        match self {
            Self::Integer { values, .. } => values.push(0),
            text => text.append_text(""),
        }
        Err(bad)
    }

    fn append_text(&mut self, value: &str) {
        match self {
            Self::Utf8(builder) => builder.append_value(value),
            Self::LargeUtf8(builder) => builder.append_value(value),
            Self::Utf8View(builder) => builder.append_value(value),
            Self::Integer { .. } => {}
        }
    }

    /// The column; leaves an empty one.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Utf8(builder) => Arc::new(builder.finish()),
            Self::LargeUtf8(builder) => Arc::new(builder.finish()),
            Self::Utf8View(builder) => Arc::new(builder.finish()),
            Self::Integer { data_type, values, .. } => {
                let values = values.drain(..);
                // Each value was found to be within the type's range when it arrived.
                match data_type {
                    DataType::Int8 => Arc::new(values.map(|value| value as i8).collect::<Int8Array>()),
                    DataType::Int16 => Arc::new(values.map(|value| value as i16).collect::<Int16Array>()),
                    DataType::Int32 => Arc::new(values.map(|value| value as i32).collect::<Int32Array>()),
                    DataType::UInt8 => Arc::new(values.map(|value| value as u8).collect::<UInt8Array>()),
                    DataType::UInt16 => Arc::new(values.map(|value| value as u16).collect::<UInt16Array>()),
                    DataType::UInt32 => Arc::new(values.map(|value| value as u32).collect::<UInt32Array>()),
                    DataType::UInt64 => Arc::new(values.map(|value| value as u64).collect::<UInt64Array>()),
                    _ => Arc::new(values.map(|value| value as i64).collect::<Int64Array>()),
                }
            }
        }
    }
}

fn clipped(key: &[u8]) -> Vec<u8> {
    key[..key.len().min(PREVIEW_BYTES + 1)].to_vec()
}

/// The integer of a decimal text in its one canonical form. `07`, `+7` and `-0` are refused: they are other keys for
/// Kafka than `7` and `0`, and two rows of one primary key would come of them.
fn canonical_integer(text: &[u8]) -> Option<i128> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 20 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Identity of a keyed row within its topic: the partition, big endian in four bytes, then the record key. The newest
/// record of a key wins within its partition only, for Kafka orders nothing across partitions.
#[derive(Debug, Default)]
pub(super) struct RowKeys {
    builder: BinaryBuilder,
    scratch: Vec<u8>,
}

impl RowKeys {
    pub(super) fn append(&mut self, partition: i32, key: &[u8]) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&partition.to_be_bytes());
        self.scratch.extend_from_slice(key);
        self.builder.append_value(&self.scratch);
    }

    pub(super) fn finish(&mut self) -> BinaryArray {
        self.builder.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn only_canonical_decimals_are_integer_keys() {
        for (text, value) in [("0", 0), ("7", 7), ("-12", -12), ("9223372036854775807", i128::from(i64::MAX))] {
            assert_eq!(canonical_integer(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+7",
            "07",
            " 7",
            "7 ",
            "7.0",
            "1e3",
            "0x7",
            "٧",
            "123456789012345678901234567890123456789012",
        ] {
            assert_eq!(canonical_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_bad_key_keeps_the_rows_aligned() {
        let mut column = KeyColumn::new(&DataType::Int64).unwrap();
        assert_eq!(column.append(Some(b"1")), Ok(()));
        assert_eq!(column.append(None), Err(BadKey::Missing));
        assert!(matches!(column.append(Some(b"9223372036854775808")), Err(BadKey::NotAnInteger { .. })));
        assert_eq!(column.append(Some(b"-2")), Ok(()));
        assert_eq!(column.finish().as_primitive::<Int64Type>().values(), &[1, 0, 0, -2]);
        let mut text = KeyColumn::new(&DataType::Utf8View).unwrap();
        assert_eq!(text.append(Some("ñ".as_bytes())), Ok(()));
        let bad = text.append(Some(b"\xff\x1b")).unwrap_err();
        assert_eq!(bad.to_string(), r"the record key is not UTF-8: '\xff\x1b'");
        assert_eq!(text.finish().len(), 2);
    }

    #[test]
    fn types_that_no_key_spells_are_refused() {
        assert!(!KeyColumn::supports(&DataType::Float64));
        assert!(!KeyColumn::supports(&DataType::Boolean));
    }
}
