//! Signed partial states: the retractions of linear aggregates (see [`weights`](crate::incremental::weights)).

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, RecordBatch, RecordBatchOptions,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Int64Type, UInt64Type,
};
use datafusion::common::internal_err;
use datafusion::error::Result;

use tallgrass_exact_sum::negate_states;

/// Negates every state after the first `groups` columns: the states over the same rows at the opposite weights.
pub fn negated(states: &RecordBatch, groups: usize) -> Result<RecordBatch> {
    let columns = states
        .columns()
        .iter()
        .enumerate()
        .map(|(index, column)| if index < groups { Ok(Arc::clone(column)) } else { negated_state(column) });
    let options = RecordBatchOptions::new().with_row_count(Some(states.num_rows()));
    Ok(RecordBatch::try_new_with_options(states.schema(), columns.collect::<Result<_>>()?, &options)?)
}

/// The rows with a state that is not zero. A group whose states are all zero contributes nothing and is dropped: so the
/// state is as large as the groups that exist, however many there have been.
pub fn without_zeros(states: RecordBatch, groups: usize) -> Result<RecordBatch> {
    let rows = states.num_rows();
    let mut kept = BooleanBuffer::new_unset(rows);
    for column in states.columns().iter().skip(groups) {
        kept = &kept | &nonzero(column)?;
    }
    if kept.count_set_bits() == rows {
        return Ok(states);
    }
    Ok(filter_record_batch(&states, &BooleanArray::new(kept, None))?)
}

/// Dispatches on the type of a column of states, which identifies its aggregate: counts and sums of integers are integers,
/// sums of decimals decimals, and bytes belong to an exact sum.
macro_rules! by_state_type {
    ($column:ident, $primitive:ident, $bytes:expr) => {
        match $column.data_type() {
            DataType::Int64 => Ok($primitive::<Int64Type>($column)),
            DataType::UInt64 => Ok($primitive::<UInt64Type>($column)),
            DataType::Decimal32(..) => Ok($primitive::<Decimal32Type>($column)),
            DataType::Decimal64(..) => Ok($primitive::<Decimal64Type>($column)),
            DataType::Decimal128(..) => Ok($primitive::<Decimal128Type>($column)),
            DataType::Decimal256(..) => Ok($primitive::<Decimal256Type>($column)),
            DataType::Binary => $bytes,
            other => internal_err!("{other} is not the state of a linear aggregate"),
        }
    };
}

fn negated_state(column: &ArrayRef) -> Result<ArrayRef> {
    // Sums wrap, so their negations do.
    fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef) -> ArrayRef {
        let negated = column.as_primitive::<T>().unary::<_, T>(ArrowNativeTypeOp::neg_wrapping);
        Arc::new(negated.with_data_type(column.data_type().clone()))
    }
    by_state_type!(column, primitive, Ok(Arc::new(negate_states(column.as_binary())?)))
}

/// Null is the sum of nothing, and so is an empty string of bytes.
fn nonzero(column: &ArrayRef) -> Result<BooleanBuffer> {
    fn primitive<T: ArrowPrimitiveType>(column: &ArrayRef) -> BooleanBuffer {
        let values = column.as_primitive::<T>();
        BooleanBuffer::collect_bool(values.len(), |row| values.is_valid(row) && !values.value(row).is_zero())
    }
    by_state_type!(column, primitive, {
        let sums = column.as_binary::<i32>();
        Ok(BooleanBuffer::collect_bool(sums.len(), |row| sums.is_valid(row) && sums.value_length(row) > 0))
    })
}
