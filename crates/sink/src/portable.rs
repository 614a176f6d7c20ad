//! Columns in the types that readers in other languages, and older ones, support.
//!
//! Readers of before 2024 (pyarrow up to 15, most BI tools) have no views, which DataFusion uses for text, and no narrow
//! decimals; many read neither runs nor dictionaries from files with several batches. The values stay the same:
//!
//! | here | written |
//! |---|---|
//! | `Utf8View`, `BinaryView` | `Utf8`, `Binary` |
//! | `ListView`, `LargeListView` | `List`, `LargeList` |
//! | `Decimal32`, `Decimal64` | `Decimal128` |
//! | dictionaries, runs | their values |
//!
//! # Contract
//! One written batch has at most 2 GiB of text or bytes a column, which is what those types can hold: [`pieces`] cuts
//! batches that have more. A single value beyond that is an error.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayData, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

/// Bytes of text or binary values in one column of one batch at most.
const MAX_BYTES: u64 = i32::MAX as u64;

/// The same columns in portable types, each nullable: a plan's schema may claim less nullability than its batches have.
pub fn schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    Arc::new(Schema::new(
        fields.map(|field| Field::new(field.name(), portable(field.data_type()), true)).collect::<Vec<_>>(),
    ))
}

/// The rows under that schema, in one batch or, where its types cannot hold them at once, in several.
pub fn pieces(batch: &RecordBatch, schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
    cut(batch, MAX_BYTES)?.iter().map(|piece| convert(piece, schema)).collect()
}

/// The batch in halves of halves, until no column of a piece has more bytes than that.
fn cut(batch: &RecordBatch, max_bytes: u64) -> Result<Vec<RecordBatch>, ArrowError> {
    let (mut whole, mut pieces) = (vec![batch.clone()], Vec::with_capacity(1));
    while let Some(batch) = whole.pop() {
        let bytes = batch.columns().iter().map(|column| view_bytes(&column.to_data())).max().unwrap_or(0);
        if bytes <= max_bytes {
            pieces.push(batch);
        } else if batch.num_rows() > 1 {
            let half = batch.num_rows() / 2;
            whole.push(batch.slice(half, batch.num_rows() - half));
            whole.push(batch.slice(0, half));
        } else {
            return Err(ArrowError::InvalidArgumentError(format!("a value of {bytes} bytes is too long")));
        }
    }
    Ok(pieces)
}

fn convert(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

fn portable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => portable(values),
        DataType::RunEndEncoded(_, values) => portable(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(portable_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(portable_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(portable_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(portable_field).collect::<Fields>()),
        DataType::Map(entries, sorted) => DataType::Map(portable_field(entries), *sorted),
        other => other.clone(),
    }
}

fn portable_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), portable(field.data_type()), field.is_nullable()))
}

/// Bytes that the views of an array and of its children refer to. Views may share bytes; what is written does not.
fn view_bytes(data: &ArrayData) -> u64 {
    let own = match (data.data_type(), data.buffers().first()) {
        (DataType::Utf8View | DataType::BinaryView, Some(views)) => {
            // The low half of a view's first word is its length.
            let views = views.typed_data::<u128>().iter().skip(data.offset()).take(data.len());
            views.map(|view| u64::from(*view as u32)).sum()
        }
        _ => 0,
    };
    data.child_data().iter().map(view_bytes).fold(own, u64::max)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{
        ArrayRef, AsArray, BinaryViewArray, DictionaryArray, ListArray, StringArray, StringViewArray, StructArray,
    };
    use datafusion::arrow::buffer::OffsetBuffer;
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn text(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringViewArray::from(values.to_vec()))
    }

    #[test]
    fn views_go_at_every_depth_and_the_values_stay() {
        let inner = text(&[Some("short"), None, Some("longer than twelve bytes")]);
        let field = Arc::new(Field::new("city", DataType::Utf8View, true));
        let place: ArrayRef = Arc::new(StructArray::from(vec![(field, Arc::clone(&inner))]));
        let item = Arc::new(Field::new_list_field(place.data_type().clone(), true));
        let list = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::clone(&place), None);
        let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("name", Arc::clone(&inner)),
            ("bytes", Arc::new(BinaryViewArray::from(vec![Some(b"\xff".as_slice()), None, Some(b"")]))),
            ("place", place),
            ("places", Arc::new(list)),
            ("kind", Arc::new(dictionary)),
        ])
        .unwrap();
        let schema = schema(&batch.schema());
        assert!(!format!("{schema:?}").contains("View"), "{schema:?}");
        let [piece] = &pieces(&batch, &schema).unwrap()[..] else { unreachable!("it is small") };
        assert_eq!(piece.schema(), schema);
        let plain = StringArray::from(vec![Some("short"), None, Some("longer than twelve bytes")]);
        assert_eq!(piece.column(0).as_string::<i32>(), &plain);
        assert_eq!(piece.column(2).as_struct().column(0).as_string::<i32>(), &plain);
        assert_eq!(
            piece.column(3).as_list::<i32>().value(2).as_struct().column(0).as_string::<i32>().value(0),
            plain.value(2)
        );
        assert_eq!(piece.column(4).as_string::<i32>(), &StringArray::from(vec![Some("a"), None, Some("a")]));
        // Of a slice, only its own values.
        assert_eq!(view_bytes(&batch.slice(2, 1).column(0).to_data()), 24);
        assert_eq!(view_bytes(&batch.column(3).to_data()), 29);
    }

    #[test]
    fn more_text_than_a_column_can_hold_is_cut_in_order() {
        let values = ["four", "more", "texts", "", "and", "a longer one"];
        let batch = RecordBatch::try_from_iter([("text", text(&values.map(Some)))]).unwrap();
        let pieces = cut(&batch, 12).unwrap();
        let lengths: Vec<usize> = pieces.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(lengths, [1, 2, 1, 1, 1]);
        let again = datafusion::arrow::compute::concat_batches(&batch.schema(), &pieces).unwrap();
        assert_eq!(again, batch);
        let error = cut(&batch, 11).unwrap_err().to_string();
        assert!(error.contains("a value of 12 bytes is too long"), "{error}");
    }
}
