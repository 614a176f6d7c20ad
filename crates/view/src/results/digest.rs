//! One number for a result: equal results have equal digests, whatever the order of their rows.
//!
//! A result is a bag of rows under named, typed columns. The hashes of its [rows](super::row) are added: a sum knows no
//! order and no batches, and counts a row as often as it is there. The number of rows and the columns' names and types go
//! into the digest too.
//!
//! # Contract
//! Two results have the same digest exactly if their [`Difference`](super::Difference) is empty, but for chance (2⁻¹²⁸). It
//! tells accidents apart, not forgeries: a choice of rows can make two sums equal.

use std::fmt;
use std::str::FromStr;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;

use super::row::{columns, half, row_hashes};

/// The digest of a result; shows as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of the rows of all batches. Fails for a type that Arrow's row format does not know.
    pub fn of(schema: &Schema, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let hashes = row_hashes(batches)?;
        let sum = hashes.iter().fold(0_u128, |sum, hash| sum.wrapping_add(*hash));
        let mut whole = blake3::Hasher::new();
        for (name, type_name) in columns(schema) {
            for text in [name, &type_name] {
                whole.update(&(text.len() as u64).to_le_bytes());
                whole.update(text.as_bytes());
            }
        }
        whole.update(&(hashes.len() as u64).to_le_bytes());
        whole.update(&sum.to_le_bytes());
        Ok(Self(half(whole.finalize())))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text of a [`Digest`] is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a digest: it must be 32 hexadecimal digits", .0.escape_debug())]
pub struct BadDigest(String);

/// Reads what [`Display`](fmt::Display) writes.
impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits => Ok(Self(number.to_be_bytes())),
            _ => Err(BadDigest(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, Float64Array, Int64Array, LargeStringArray, StringArray, StringViewArray, StructArray,
        TimestampSecondArray,
    };
    use proptest::prelude::*;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn digest(batches: &[RecordBatch]) -> Digest {
        Digest::of(&batches[0].schema(), batches).unwrap()
    }

    fn longs(values: &[i64]) -> RecordBatch {
        batch(vec![("n", Arc::new(Int64Array::from(values.to_vec())))])
    }

    fn doubles(values: &[f64]) -> RecordBatch {
        batch(vec![("x", Arc::new(Float64Array::from(values.to_vec())))])
    }

    proptest! {
        #[test]
        fn neither_the_order_of_rows_nor_their_cutting_into_batches_counts(
            rows in prop::collection::vec(-3_i64..3, 1..40),
            other in prop::collection::vec(-3_i64..3, 1..40),
            cut in 0_usize..40,
        ) {
            let whole = digest(&[longs(&rows)]);
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            let (head, tail) = sorted.split_at(cut.min(sorted.len()));
            prop_assert_eq!(whole, digest(&[longs(tail), longs(&[]), longs(head)]));
            let mut other_sorted = other.clone();
            other_sorted.sort_unstable();
            prop_assert_eq!(whole == digest(&[longs(&other)]), sorted == other_sorted);
        }
    }

    #[test]
    fn a_row_counts_as_often_as_it_is_there() {
        assert_ne!(digest(&[longs(&[1, 1, 2])]), digest(&[longs(&[1, 2, 2])]));
        assert_ne!(digest(&[longs(&[1])]), digest(&[longs(&[1, 1])]));
        assert_ne!(digest(&[longs(&[])]), digest(&[longs(&[0])]));
    }

    #[test]
    fn an_empty_result_still_has_columns() {
        let schema = longs(&[]).schema();
        let of = |schema: &Schema, batches: &[RecordBatch]| Digest::of(schema, batches).unwrap();
        assert_eq!(of(&schema, &[]), of(&schema, &[longs(&[]), longs(&[])]));
        assert_ne!(of(&schema, &[]), of(&doubles(&[]).schema(), &[]));
        assert_ne!(of(&schema, &[]), of(&Schema::empty(), &[]));
    }

    #[test]
    fn names_and_types_of_columns_count_and_the_storage_of_text_does_not() {
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert_ne!(digest(&[batch(vec![("n", Arc::clone(&n))])]), digest(&[batch(vec![("m", n)])]));
        // The row format writes an integer and a moment alike.
        let moment: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1]));
        assert_ne!(digest(&[longs(&[1])]), digest(&[batch(vec![("n", moment)])]));
        let texts: [ArrayRef; 3] = [
            Arc::new(StringArray::from(vec![Some("a"), None])),
            Arc::new(LargeStringArray::from(vec![Some("a"), None])),
            Arc::new(StringViewArray::from(vec![Some("a"), None])),
        ];
        let [a, b, c] = texts.map(|text| digest(&[batch(vec![("t", text)])]));
        assert_eq!([a, b], [b, c]);
        let null_and_empty: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("")]));
        assert_ne!(a, digest(&[batch(vec![("t", null_and_empty)])]));
    }

    #[test]
    fn doubles_that_read_alike_are_alike() {
        let odd_nan = f64::from_bits(f64::NAN.to_bits() | 7);
        assert_eq!(digest(&[doubles(&[f64::NAN, 1.0])]), digest(&[doubles(&[1.0, -odd_nan])]));
        assert_ne!(digest(&[doubles(&[0.0])]), digest(&[doubles(&[-0.0])]));
        assert_ne!(digest(&[doubles(&[0.1 + 0.2])]), digest(&[doubles(&[0.3])]));
        let inside = |x: f64| {
            let x: ArrayRef = Arc::new(Float64Array::from(vec![x]));
            let structs = StructArray::try_from(vec![("x", x)]).unwrap();
            digest(&[batch(vec![("s", Arc::new(structs))])])
        };
        assert_eq!(inside(f64::NAN), inside(odd_nan));
        assert_ne!(inside(0.0), inside(-0.0));
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let rows = |count| {
            let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
            digest(&[RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()])
        };
        assert_ne!(rows(2), rows(3));
    }

    #[test]
    fn what_is_shown_reads_back_and_nothing_else_does() {
        let one = digest(&[longs(&[1])]);
        assert_eq!(one.to_string().len(), 32);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(one.to_string().to_uppercase().parse(), Ok(one));
        for text in ["", "12", "+0000000000000000000000000000001", "0x00000000000000000000000000000g", &"a".repeat(33)]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_of_today_is_the_digest_of_tomorrow() {
        insta::assert_snapshot!(digest(&[longs(&[1, 2, 3])]), @"0174bda7a240183778679274c8c3c50d");
    }
}
