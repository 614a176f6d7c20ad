//! JSON records → Arrow columns, by a shape that is learned from the records.
//!
//! ```text
//!  {"name":"Mew","total":600,"hp":100}
//!  ╰──┬───╯     ╰───┬───╯   ╰─┬─╯    the glue between the values: one comparison with the record before
//!          ╰─┬─╯       ╰┬╯       ╰┬╯   the values: read into their columns, or only checked where not wanted
//! ```
//!
//! A record is a row if, and only if, it is a JSON object (RFC 8259, UTF-8) which fits **every** declared column. So
//! whether a record counts never depends on the query: `count(*)` and `sum(total)` see the same rows.
//!
//! | column | takes |
//! |---|---|
//! | any | `null`, and a missing key, as null; bad where the column is `NOT NULL` |
//! | integers | numbers that are exactly integral: `3`, `3.0`, `30e-1`; not `3.5`, not `"3"` |
//! | `REAL`, `DOUBLE` | numbers, correctly rounded; what is beyond the type's range is bad, not infinite |
//! | `DECIMAL(p,s)` | numbers, and strings that hold one, as far as they fit without loss |
//! | `BOOLEAN` | `true`, `false`; 1, 0; strings that PostgreSQL reads as one of them |
//! | `VARCHAR` | strings; any other value as its JSON text |
//! | `DATE` | strings like `2016-07-06`; numbers as days since 1970 |
//! | `TIMESTAMP` | strings of ISO 8601, with or without an offset; numbers since 1970, in the column's unit or by [`UNIT_BY_SIZE`] |
//! | `STRUCT` | objects, by the same rules |
//! | lists | lists, by the same rules for their items |
//!
//! Undeclared keys are skipped, though malformed JSON in them is bad. So is a declared key that appears twice.
//!
//! # Contract
//! [`Decoder::decode`] appends exactly one row or nothing; a bad record never touches its neighbours.
//!
//! ```
//! use datafusion::arrow::array::AsArray as _;
//! use datafusion::arrow::datatypes::{DataType, Field, Fields, Int64Type};
//! use tallgrass_decode::Decoder;
//!
//! let declared = Fields::from(vec![
//!     Field::new("name", DataType::Utf8View, true),
//!     Field::new("total", DataType::Int64, true),
//! ]);
//! let mut decoder = Decoder::new(&declared, &[1])?;
//! assert!(decoder.decode(br#"{"name":"Mew","total":600,"hp":100}"#).is_ok());
//! assert!(decoder.decode(br#"{"name":"Mew","total":"many"}"#).is_err());
//! let columns = decoder.finish();
//! assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[600]);
//! # Ok::<(), tallgrass_decode::UnsupportedType>(())
//! ```

mod bad;
mod build;
mod column;
mod number;
mod object;
mod scan;
mod shape;
mod skip;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, Fields};

use bad::Parsed;
pub use bad::{BadReason, BadRecord, UnsupportedType};
use object::Object;
pub use time::standard_timestamp;

/// How deep objects and lists may be nested, the record itself being the first level.
///
/// Recursion follows the declared types only; undeclared values are skipped with one bit for each level, so that the
/// whole stack is a `u128`. `serde_json` and many other parsers stop there too, and it is far beyond what people send.
pub const MAX_DEPTH: usize = 128;

/// Metadata of a declared field: the size of a number says whether it counts seconds, milliseconds, microseconds or
/// nanoseconds since 1970, so that moments from 1973 to 5138 are read right whatever a producer counts in.
pub const UNIT_BY_SIZE: &str = "tallgrass.unit_by_size";

/// Reads the JSON records of one relation into columns.
#[derive(Debug)]
pub struct Decoder {
    // Properties.
    declared: Fields,
    wanted: Vec<usize>,
    // State.
    record: Object,
    rows: usize,
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder for records of the `declared` columns, which builds those whose indices are `wanted`.
    ///
    /// # Panics
    /// If an index is not one of a declared column.
    pub fn new(declared: &Fields, wanted: &[usize]) -> Result<Self, UnsupportedType> {
        assert!(wanted.iter().all(|&index| index < declared.len()), "wanted columns are declared");
        Ok(Self {
            declared: declared.iter().map(|field| without_metadata(field)).collect(),
            wanted: wanted.to_vec(),
            record: Object::new(declared, 1, |index| wanted.contains(&index))?,
            rows: 0,
            scratch: Vec::new(),
        })
    }

    /// Appends the record as one row, or nothing.
    pub fn decode(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        match self.read(record) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(bad) => {
                self.record.truncate(self.rows);
                Err(*bad)
            }
        }
    }

    fn read(&mut self, record: &[u8]) -> Parsed<()> {
        if simdutf8::basic::from_utf8(record).is_err() {
            let (reason, at) = not_utf8(record);
            return Err(reason.at(at));
        }
        let start = if record.first() == Some(&b'{') { 0 } else { object_start(record)? };
        let end = self.record.read(record, start, 0, &mut self.scratch)?;
        if end < record.len() {
            let rest = scan::white_space(record, end);
            if rest < record.len() {
                return Err(BadReason::TrailingData.at(rest));
            }
        }
        Ok(())
    }

    /// Appends a row of nulls, also to columns that are declared `NOT NULL`: the tombstone of a stream.
    pub fn append_null_row(&mut self) {
        self.record.push_null();
        self.rows += 1;
    }

    /// The rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Hands over the wanted columns, in the order in which they were wanted, and starts an empty batch. The learned shape
    /// stays.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.wanted.len());
        for (nth, &index) in self.wanted.iter().enumerate() {
            let earlier = self.wanted[..nth].iter().position(|&other| other == index);
            columns.push(match earlier {
                Some(earlier) => columns[earlier].clone(),
                None => self.record.field_mut(index).finish(self.declared[index].data_type()),
            });
        }
        columns
    }
}

/// The field as its values' arrays have it.
fn without_metadata(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| without_metadata(field)).collect()),
        DataType::List(item) => DataType::List(Arc::new(without_metadata(item))),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}

/// Where the object starts in a record that does not begin with it.
#[cold]
fn object_start(record: &[u8]) -> Parsed {
    if record.starts_with(b"\xEF\xBB\xBF") {
        return Err(BadReason::ByteOrderMark.at(0));
    }
    let start = scan::white_space(record, 0);
    match record.get(start) {
        None => Err(BadReason::Empty.at(start)),
        Some(b'{') => Ok(start),
        Some(_) => Err(BadReason::NotAnObject.at(start)),
    }
}

/// Tells a record that was cut inside a character from one that is not UTF-8.
#[cold]
fn not_utf8(record: &[u8]) -> (BadReason, usize) {
    match std::str::from_utf8(record) {
        Err(error) if error.error_len().is_none() => (BadReason::Truncated, record.len()),
        Err(error) => (BadReason::InvalidUtf8, error.valid_up_to()),
        Ok(_) => (BadReason::InvalidUtf8, 0),
    }
}
