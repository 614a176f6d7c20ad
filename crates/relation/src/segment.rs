//! A run of a keyed table's rows: columns that never change, and which of the rows are still current.

use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, ListArray, RecordBatch,
    RecordBatchOptions, StructArray,
};
use datafusion::arrow::compute::{concat, concat_batches, filter, filter_record_batch};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;

/// A row's number within its table. Never used for two rows at the same time, and 64 bits do not run out.
pub(super) type RowId = u64;

/// Rows `first_row..first_row + batch.num_rows()` of a table.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first_row: RowId,
    pub(super) batch: RecordBatch,
    pub(super) keys: BinaryArray,
    live: BooleanBufferBuilder,
    live_rows: usize,
    /// The live rows as a batch, until one of them dies.
    current: OnceLock<RecordBatch>,
}

impl Segment {
    /// A segment whose rows are all live.
    pub(super) fn new(first_row: RowId, batch: RecordBatch, keys: BinaryArray) -> Self {
        let rows = batch.num_rows();
        let mut live = BooleanBufferBuilder::new(rows);
        live.append_n(rows, true);
        Self { first_row, batch, keys, live, live_rows: rows, current: OnceLock::new() }
    }

    pub(super) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(super) fn live_rows(&self) -> usize {
        self.live_rows
    }

    pub(super) fn end(&self) -> RowId {
        self.first_row + self.rows() as RowId
    }

    pub(super) fn is_live(&self, row: usize) -> bool {
        self.live.get_bit(row)
    }

    /// The row is no longer current.
    pub(super) fn kill(&mut self, row: usize) {
        if self.live.get_bit(row) {
            self.live.set_bit(row, false);
            self.live_rows -= 1;
            self.current.take();
        }
    }

    /// More than half of the rows are dead.
    pub(super) fn is_sparse(&self) -> bool {
        self.live_rows * 2 < self.rows()
    }

    /// The live rows.
    pub(super) fn filtered(&self) -> Result<RecordBatch, ArrowError> {
        if self.live_rows == self.rows() {
            return Ok(self.batch.clone());
        }
        filter_record_batch(&self.batch, &self.mask())
    }

    /// The same, kept for the next call where some rows are dead.
    pub(super) fn current(&self) -> Result<RecordBatch, ArrowError> {
        match self.current.get() {
            Some(current) => Ok(current.clone()),
            None if self.live_rows == self.rows() => Ok(self.batch.clone()),
            None => {
                let current = self.filtered()?;
                Ok(self.current.get_or_init(|| current).clone())
            }
        }
    }

    /// The live rows as a segment of their own, numbered from `first_row`, without the memory of the dead.
    pub(super) fn rewritten(&self, first_row: RowId) -> Result<Self, ArrowError> {
        let mask = self.mask();
        let batch = compacted(&filter_record_batch(&self.batch, &mask)?)?;
        let keys = filter(&self.keys, &mask)?.as_binary::<i32>().clone();
        Ok(Self::new(first_row, batch, keys))
    }

    /// This segment with the rows of the next one behind its own.
    pub(super) fn merged(&self, next: &Self) -> Result<Self, ArrowError> {
        let batch = compacted(&concat_batches(&self.batch.schema(), [&self.batch, &next.batch])?)?;
        let keys = concat(&[&self.keys, &next.keys])?.as_binary::<i32>().clone();
        let mut live = BooleanBufferBuilder::new(self.rows() + next.rows());
        live.append_buffer(&self.live.finish_cloned());
        live.append_buffer(&next.live.finish_cloned());
        let live_rows = self.live_rows + next.live_rows;
        Ok(Self { first_row: self.first_row, batch, keys, live, live_rows, current: OnceLock::new() })
    }

    /// Bytes on the heap.
    pub(super) fn memory_size(&self) -> usize {
        // The views of `current` are its own, the text behind them is shared.
        let current: usize = self.current.get().map_or(0, |current| current.columns().iter().map(own_size).sum());
        self.batch.get_array_memory_size() + self.keys.get_array_memory_size() + self.live.capacity() / 8 + current
    }

    fn mask(&self) -> BooleanArray {
        BooleanArray::new(self.live.finish_cloned(), None)
    }
}

fn own_size(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::Utf8View | DataType::BinaryView => array.len() * size_of::<u128>(),
        _ => array.get_array_memory_size(),
    }
}

/// The same rows without text that no row refers to: filters, sorts and concatenations of view arrays keep every buffer
/// alive that any of their inputs had.
pub fn compacted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(compacted_array).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn compacted_array(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::Struct(fields) if !fields.is_empty() => {
            let parts = array.as_struct();
            let columns = parts.columns().iter().map(compacted_array).collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, parts.nulls().cloned())?)
        }
        DataType::List(item) => {
            let lists = array.as_list::<i32>();
            let values = compacted_array(lists.values())?;
            Arc::new(ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, lists.nulls().cloned())?)
        }
        _ => Arc::clone(array),
    })
}
