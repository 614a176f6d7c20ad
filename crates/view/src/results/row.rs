//! When two rows are the same. Digests, differences and the proof know no other meaning of it.
//!
//! A row becomes bytes by Arrow's row format, behind what no user sees, and the bytes a hash of 128 bits.
//!
//! # Contract
//! Two rows of equal [columns] have the same hash if they read alike, and otherwise different ones, but for chance
//! (2⁻¹²⁸). All NaNs are one value, for every bit pattern reads `NaN`; `-0.0` and `0.0` are two, for they read
//! differently; how Arrow stores a text (plain, large, a view, a dictionary) and whether a column might hold nulls do not
//! count. The same holds inside of lists, structs and maps.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type, Schema,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};

/// The columns' names and types, as far as a user sees them: rows are comparable where these are equal.
pub fn columns(schema: &Schema) -> Vec<(&str, String)> {
    schema.fields().iter().map(|field| (field.name().as_str(), type_name(field.data_type()))).collect()
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

/// The hash of each row, in the order of the batches. Fails for a type that Arrow's row format does not know.
pub(super) fn row_hashes(batches: &[RecordBatch]) -> Result<Vec<u128>, ArrowError> {
    let mut hashes = Vec::with_capacity(count(batches));
    for batch in batches {
        if batch.num_columns() == 0 {
            hashes.extend(std::iter::repeat_n(hash(&[]), batch.num_rows()));
            continue;
        }
        let columns = batch.columns().iter().map(with_one_nan).collect::<Result<Vec<_>, _>>()?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?.convert_columns(&columns)?;
        hashes.extend(rows.iter().map(|row| hash(row.as_ref())));
    }
    Ok(hashes)
}

/// How many rows there are.
pub(super) fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn hash(row: &[u8]) -> u128 {
    u128::from_le_bytes(half(blake3::hash(row)))
}

/// The first 128 bits.
pub(super) fn half(hash: blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// The same values with one bit pattern for every NaN, also inside of lists, structs and dictionaries.
fn with_one_nan(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn floats<T: ArrowPrimitiveType>(array: &ArrayRef, one: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        Arc::new(array.as_primitive::<T>().unary::<_, T>(one))
    }
    match array.data_type() {
        DataType::Float16 => Ok(floats::<Float16Type>(array, |x| if x.is_nan() { Half::NAN } else { x })),
        DataType::Float32 => Ok(floats::<Float32Type>(array, |x| if x.is_nan() { f32::NAN } else { x })),
        DataType::Float64 => Ok(floats::<Float64Type>(array, |x| if x.is_nan() { f64::NAN } else { x })),
        _ => {
            let data = array.to_data();
            if data.child_data().is_empty() {
                return Ok(Arc::clone(array));
            }
            let children =
                data.child_data().iter().map(|child| Ok(with_one_nan(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<_, ArrowError>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
    }
}
