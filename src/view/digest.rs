//! One number for a result: equal results have equal digests, whatever order their rows came in.
//!
//! A result is a bag of rows under named, typed columns. Each row becomes bytes (Arrow's row format), the bytes a 128-bit
//! hash, and the hashes are added: a sum knows no order and no batches, and counts a row as often as it is there. The
//! number of rows and the columns' names and types go into the digest too.
//!
//! # Contract
//! Two results have the same digest if a user sees the same: equal column names and types, and the same rows, each the same
//! number of times. Otherwise the digests differ, but for chance (2⁻¹²⁸). It tells accidents apart, not forgeries: whoever
//! chooses the rows can make two sums equal.
//!
//! What is shown alike counts as alike. All NaNs are one value, for every bit pattern reads `NaN`; `-0.0` and `0.0` are two,
//! for they read differently; how Arrow stores a text (plain, large, a view, a dictionary) and whether a column might hold
//! nulls do not count.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type, Schema,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};

/// The digest of a result; shows as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest of the rows of all batches. Fails for a type that Arrow's row format does not know.
    pub fn of(schema: &Schema, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let (mut rows, mut sum) = (0_u64, 0_u128);
        if let Some(first) = batches.first() {
            let encoder = RowEncoder::new(&first.schema())?;
            for batch in batches {
                rows += batch.num_rows() as u64;
                encoder.each(batch, |row| sum = sum.wrapping_add(hash(row)))?;
            }
        }
        let mut whole = blake3::Hasher::new();
        for field in schema.fields() {
            for text in [field.name(), &type_name(field.data_type())] {
                whole.update(&(text.len() as u64).to_le_bytes());
                whole.update(text.as_bytes());
            }
        }
        whole.update(&rows.to_le_bytes());
        whole.update(&sum.to_le_bytes());
        Ok(Self(half(whole.finalize())))
    }
}

/// The hash of a row's bytes, as [`RowEncoder`] gives them: rows with the same one are the same, but for chance.
pub fn hash(row: &[u8]) -> u128 {
    u128::from_le_bytes(half(blake3::hash(row)))
}

/// The first 128 bits.
fn half(hash: blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text of a [`Digest`] is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is no digest: it must be 32 hexadecimal digits", .0.escape_debug())]
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

/// Rows as bytes: equal bytes for what is shown alike, under the module's rules.
#[derive(Debug)]
pub struct RowEncoder(RowConverter);

impl RowEncoder {
    /// For batches of these columns. Fails for a type that Arrow's row format does not know.
    pub fn new(schema: &Schema) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        RowConverter::new(fields.collect()).map(Self)
    }

    /// Hands each row's bytes to `take`, in the order of the batch.
    pub fn each(&self, batch: &RecordBatch, mut take: impl FnMut(&[u8])) -> Result<(), ArrowError> {
        if batch.num_columns() == 0 {
            (0..batch.num_rows()).for_each(|_| take(&[]));
            return Ok(());
        }
        let columns = batch.columns().iter().map(with_one_nan).collect::<Result<Vec<_>, _>>()?;
        for row in &self.0.convert_columns(&columns)? {
            take(row.as_ref());
        }
        Ok(())
    }
}

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// The same values with one bit pattern for every NaN, also inside of lists and structs.
fn with_one_nan(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn floats<T: ArrowPrimitiveType>(array: &ArrayRef, one: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        Arc::new(array.as_primitive::<T>().unary::<_, T>(one))
    }
    match array.data_type() {
        DataType::Float16 => Ok(floats::<Float16Type>(array, |x| if x.is_nan() { Half::NAN } else { x })),
        DataType::Float32 => Ok(floats::<Float32Type>(array, |x| if x.is_nan() { f32::NAN } else { x })),
        DataType::Float64 => Ok(floats::<Float64Type>(array, |x| if x.is_nan() { f64::NAN } else { x })),
        nested if nested.is_nested() => {
            let data = array.to_data();
            let children =
                data.child_data().iter().map(|child| Ok(with_one_nan(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<_, ArrowError>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

/// A type's name without what no user sees: nullability, metadata, and how text is stored.
pub fn type_name(data_type: &DataType) -> String {
    let of = |field: &FieldRef| type_name(field.data_type());
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8.to_string(),
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary.to_string(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::RunEndEncoded(_, values) => of(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            format!("List({})", of(item))
        }
        DataType::FixedSizeList(item, size) => format!("List({}; {size})", of(item)),
        DataType::Map(entries, _) => format!("Map({})", of(entries)),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| format!("{:?}: {}", field.name(), of(field))).collect();
            format!("Struct({})", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{
        Float64Array, Int64Array, LargeStringArray, StringArray, StringViewArray, StructArray, TimestampSecondArray,
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
