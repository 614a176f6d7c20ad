//! Why a record is not a row, and why a column cannot be declared.
// Faults are returned boxed, see `Parsed`; unboxing them on the way only to box them again would not be simpler.
#![allow(clippy::unnecessary_box_returns)]

use std::borrow::Cow;
use std::fmt;

use datafusion::arrow::datatypes::DataType;

use super::MAX_DEPTH;

/// What a parsing step returns: by default the position after what it read. The fault is boxed, so that the usual
/// result fits into two registers.
pub(super) type Parsed<T = usize> = Result<T, Box<BadRecord>>;

/// A record that is not a row of its relation, and where the fault was found.
///
/// Its `Display` is a sentence part for people, without the record's bytes (they may be anything):
/// `address.zip: expected INT, found a string (byte 57)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// What is wrong.
    pub reason: BadReason,
    /// The declared column, as a path into structs and lists (`address.zip`, `tags[3]`); `None` where the fault lies
    /// outside of every declared column.
    pub column: Option<String>,
    /// The byte of the record where the fault was found, from 0; the record's length where it ended too early.
    pub at: usize,
}

/// The kinds of bad records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReason {
    /// No bytes, or white space only.
    #[error("the record is empty")]
    Empty,
    /// The three bytes EF BB BF in front, which RFC 8259 forbids to send.
    #[error("a byte order mark precedes the JSON")]
    ByteOrderMark,
    /// Not UTF-8, in a string or anywhere else.
    #[error("not UTF-8")]
    InvalidUtf8,
    /// A list, a string, a number, `null`, or not JSON at all.
    #[error("not a JSON object")]
    NotAnObject,
    /// Good so far, but the bytes end inside the object.
    #[error("the record ends inside the object")]
    Truncated,
    /// More than white space after the object: two documents in one record, for instance.
    #[error("something follows the object")]
    TrailingData,
    /// A declared key appears twice in one object, so its value is ambiguous.
    #[error("the key appears twice")]
    DuplicateKey,
    /// Objects and lists nested deeper than [`MAX_DEPTH`].
    #[error("more than {MAX_DEPTH} nested objects and lists")]
    TooDeep,
    /// JSON of another type than the column's, or text that its type cannot be read from.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The column's type as SQL names it, `BIGINT` for instance.
        expected: Cow<'static, str>,
        /// What is there.
        found: &'static str,
    },
    /// A value of the right type which the column cannot hold as it is.
    #[error("out of range for {expected}")]
    OutOfRange {
        /// The column's type as SQL names it.
        expected: Cow<'static, str>,
    },
    /// `null` or no key in a column that is declared `NOT NULL`.
    #[error("null in a NOT NULL column")]
    Null,
    /// Not JSON by RFC 8259.
    #[error("malformed JSON, expected {expected}")]
    Malformed {
        /// What the grammar requires there.
        expected: &'static str,
    },
}

impl BadReason {
    /// A stable name of the kind, for counters and for limiting logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::ByteOrderMark => "byte_order_mark",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NotAnObject => "not_an_object",
            Self::Truncated => "truncated",
            Self::TrailingData => "trailing_data",
            Self::DuplicateKey => "duplicate_key",
            Self::TooDeep => "too_deep",
            Self::WrongType { .. } => "wrong_type",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Null => "null",
            Self::Malformed { .. } => "malformed",
        }
    }

    /// The fault at a byte. Out of line: the code that parses stays small.
    #[cold]
    #[inline(never)]
    pub(super) fn at(self, at: usize) -> Box<BadRecord> {
        Box::new(BadRecord { reason: self, column: None, at })
    }
}

impl BadRecord {
    /// The same fault, seen from the enclosing struct.
    #[cold]
    #[inline(never)]
    pub(super) fn within(mut self: Box<Self>, field: &str) -> Box<Self> {
        self.column = Some(match self.column.take() {
            None => field.to_owned(),
            Some(inner) if inner.starts_with('[') => format!("{field}{inner}"),
            Some(inner) => format!("{field}.{inner}"),
        });
        self
    }

    /// The same fault, seen from the enclosing list.
    #[cold]
    #[inline(never)]
    pub(super) fn within_item(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.column = Some(match self.column.take() {
            None => format!("[{index}]"),
            Some(inner) if inner.starts_with('[') => format!("[{index}]{inner}"),
            Some(inner) => format!("[{index}].{inner}"),
        });
        self
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = &self.column {
            write!(f, "{column}: ")?;
        }
        write!(f, "{} (byte {})", self.reason, self.at)
    }
}

impl std::error::Error for BadRecord {}

/// The value at `at` does not have the JSON type that the column's type is read from.
#[cold]
#[inline(never)]
pub(super) fn mismatch(bytes: &[u8], at: usize, expected: impl Into<Cow<'static, str>>) -> Box<BadRecord> {
    let found = match bytes.get(at) {
        None => return BadReason::Truncated.at(at),
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(b't' | b'f') => "a boolean",
        Some(_) => return BadReason::Malformed { expected: "a value" }.at(at),
    };
    BadReason::WrongType { expected: expected.into(), found }.at(at)
}

/// The grammar requires something else at `at`, or the record has ended.
#[cold]
#[inline(never)]
pub(super) fn malformed(bytes: &[u8], at: usize, expected: &'static str) -> Box<BadRecord> {
    if at < bytes.len() { BadReason::Malformed { expected }.at(at) } else { BadReason::Truncated.at(bytes.len()) }
}

/// A declared column whose type cannot be read from JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: type {data_type} cannot be read from JSON")]
pub struct UnsupportedType {
    /// Path of the column.
    pub column: String,
    /// The type that it was declared with.
    pub data_type: DataType,
}
