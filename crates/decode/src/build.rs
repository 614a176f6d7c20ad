//! Arrow columns while they grow.
//!
//! Arrow's own builders cannot be rolled back. These can be cut to an earlier length, which is how a bad record leaves no
//! trace: a record writes straight into the columns, and only if it fails they are cut to the rows before it. (The
//! alternative, a staged row that is copied once it is known to be good, writes each value of every good record twice.)

use std::mem;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, GenericStringArray, OffsetSizeTrait, PrimitiveArray, StringViewArray,
};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{ArrowNativeType, ArrowPrimitiveType, DataType};

use super::scan::double_word;

/// The rows without a value, ascending. A value costs nothing here, unlike a bitmap that is written row by row.
#[derive(Debug, Default)]
pub struct Nulls(Vec<usize>);

impl Nulls {
    pub fn push(&mut self, row: usize) {
        self.0.push(row);
    }

    pub fn truncate(&mut self, len: usize) {
        while self.0.last().is_some_and(|&row| row >= len) {
            self.0.pop();
        }
    }

    pub fn finish(&mut self, len: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut bits = MutableBuffer::from_len_zeroed(len.div_ceil(8));
        bits.as_slice_mut().fill(u8::MAX);
        for row in self.0.drain(..) {
            bits.as_slice_mut()[row / 8] &= !(1 << (row % 8));
        }
        Some(NullBuffer::new(BooleanBuffer::new(bits.into(), 0, len)))
    }
}

/// Numbers, dates, timestamps and decimals.
#[derive(Debug)]
pub struct Primitives<T> {
    values: Vec<T>,
    nulls: Nulls,
}

impl<T> Default for Primitives<T> {
    fn default() -> Self {
        Self { values: Vec::new(), nulls: Nulls::default() }
    }
}

impl<T: ArrowNativeType> Primitives<T> {
    #[inline]
    pub fn push(&mut self, value: T) {
        self.values.push(value);
    }

    pub fn push_null(&mut self) {
        self.nulls.push(self.values.len());
        self.values.push(T::default());
    }

    pub fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    pub fn finish<A: ArrowPrimitiveType<Native = T>>(&mut self, data_type: &DataType) -> ArrayRef {
        let values = take(&mut self.values);
        let nulls = self.nulls.finish(values.len());
        Arc::new(PrimitiveArray::<A>::new(ScalarBuffer::from(values), nulls).with_data_type(data_type.clone()))
    }
}

/// Booleans.
#[derive(Debug)]
pub struct Bits {
    bits: BooleanBufferBuilder,
    nulls: Nulls,
}

impl Default for Bits {
    fn default() -> Self {
        Self { bits: BooleanBufferBuilder::new(0), nulls: Nulls::default() }
    }
}

impl Bits {
    #[inline]
    pub fn push(&mut self, value: bool) {
        self.bits.append(value);
    }

    pub fn push_null(&mut self) {
        self.nulls.push(self.bits.len());
        self.bits.append(false);
    }

    pub fn truncate(&mut self, len: usize) {
        if len < self.bits.len() {
            self.bits.truncate(len);
        }
        self.nulls.truncate(len);
    }

    pub fn finish(&mut self) -> ArrayRef {
        let bits = self.bits.finish();
        let nulls = self.nulls.finish(bits.len());
        Arc::new(BooleanArray::new(bits, nulls))
    }
}

/// Text as views: up to twelve bytes are stored in the view itself, longer text in blocks.
#[derive(Debug, Default)]
pub struct Views {
    texts: Vec<u128>,
    blocks: Vec<Vec<u8>>,
    nulls: Nulls,
}

/// The longest text that is stored in its view.
const INLINE_BYTES: usize = 12;
/// A block has at least this size; each next one doubles up to the largest, as in Arrow's builder.
const FIRST_BLOCK_BYTES: usize = 8 * 1024;
const LARGEST_BLOCK_BYTES: usize = 2 * 1024 * 1024;

const INLINE_MASKS: [u128; INLINE_BYTES + 1] = {
    let mut masks = [0; INLINE_BYTES + 1];
    let mut len = 1;
    while len < masks.len() {
        masks[len] = masks[len - 1] << 8 | 0xFF;
        len += 1;
    }
    masks
};

impl Views {
    /// Appends `bytes[start..end]`. A short text is copied from the record into its view in one load; the load also reads
    /// what follows in the record, which is why this takes positions.
    #[inline]
    pub fn push_range(&mut self, bytes: &[u8], start: usize, end: usize) {
        let len = end - start;
        if let Some(mask) = INLINE_MASKS.get(len) {
            self.texts.push((double_word(bytes, start) & mask) << 32 | len as u128);
        } else {
            self.push_long(&bytes[start..end]);
        }
    }

    pub fn push(&mut self, text: &[u8]) {
        self.push_range(text, 0, text.len());
    }

    fn push_long(&mut self, text: &[u8]) {
        let (block, start) = match self.blocks.last_mut() {
            Some(block) if block.capacity() - block.len() >= text.len() => {
                let start = block.len();
                block.extend_from_slice(text);
                (self.blocks.len() - 1, start)
            }
            last => {
                let size = last.map_or(FIRST_BLOCK_BYTES, |block| (block.capacity() * 2).min(LARGEST_BLOCK_BYTES));
                let mut block = Vec::with_capacity(size.max(text.len()));
                block.extend_from_slice(text);
                self.blocks.push(block);
                (self.blocks.len() - 1, 0)
            }
        };
        let prefix = double_word(text, 0) & 0xFFFF_FFFF;
        self.texts.push((start as u128) << 96 | (block as u128) << 64 | prefix << 32 | text.len() as u128);
    }

    pub fn push_null(&mut self) {
        self.nulls.push(self.texts.len());
        self.texts.push(0);
    }

    pub fn truncate(&mut self, len: usize) {
        // The first long text that is cut holds the place where the blocks ended before it.
        let cut = self.texts.get(len..).unwrap_or_default();
        if let Some(view) = cut.iter().find(|&&view| view as u32 as usize > INLINE_BYTES) {
            let (block, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
            self.blocks.truncate(block + 1);
            if let Some(block) = self.blocks.last_mut() {
                block.truncate(start);
            }
        }
        self.texts.truncate(len);
        self.nulls.truncate(len);
    }

    pub fn finish(&mut self) -> ArrayRef {
        let views = take(&mut self.texts);
        let nulls = self.nulls.finish(views.len());
        let blocks: Vec<Buffer> = mem::take(&mut self.blocks).into_iter().map(Buffer::from_vec).collect();
        // SAFETY: what `try_new` would check holds. A short view is its length and its bytes, the rest zero; a long one
        // has its first four bytes and the block and offset where `push_long` put the whole text, and `truncate` cuts
        // blocks only behind views that stay. Each text is UTF-8: the decoder validates the whole record, takes text
        // from quote to quote (both ASCII, so never inside a character), and unescapes to whole characters.
        Arc::new(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), blocks, nulls) })
    }
}

/// Text in one buffer with offsets, for columns declared so.
#[derive(Debug)]
pub struct OffsetStrings<O> {
    bytes: Vec<u8>,
    ends: Vec<O>,
    nulls: Nulls,
}

impl<O> Default for OffsetStrings<O> {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), nulls: Nulls::default() }
    }
}

impl<O: OffsetSizeTrait> OffsetStrings<O> {
    /// `None` where the offsets end before the text does.
    pub fn push(&mut self, text: &[u8]) -> Option<()> {
        let end = O::from_usize(self.bytes.len() + text.len())?;
        self.bytes.extend_from_slice(text);
        self.ends.push(end);
        Some(())
    }

    pub fn push_null(&mut self) {
        self.nulls.push(self.ends.len());
        self.ends.push(self.ends.last().copied().unwrap_or_default());
    }

    pub fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.bytes.truncate(self.ends.last().map_or(0, |end| end.as_usize()));
        self.nulls.truncate(len);
    }

    pub fn finish(&mut self) -> ArrayRef {
        let ends = take(&mut self.ends);
        let nulls = self.nulls.finish(ends.len());
        let offsets = OffsetBuffer::new(std::iter::once(O::default()).chain(ends).collect());
        Arc::new(GenericStringArray::<O>::new(offsets, Buffer::from_vec(take(&mut self.bytes)), nulls))
    }
}

/// Hands over the vector and leaves an empty one of the same capacity: batches are alike.
pub fn take<T>(grown: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(grown.len());
    mem::replace(grown, next)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn views_cut_back_keep_their_blocks_right() {
        let mut views = Views::default();
        let long = |n: usize| format!("{n:-<9000}");
        let mut kept: Vec<String> = Vec::new();
        for n in 0..20 {
            let before = kept.len();
            for text in [long(n), format!("short{n}"), format!("no longer short{n}")] {
                views.push(text.as_bytes());
                kept.push(text);
            }
            if n % 3 == 1 {
                views.truncate(before + n % 2);
                kept.truncate(before + n % 2);
            }
        }
        let array = views.finish();
        let array = array.as_string_view();
        assert!(array.iter().map(Option::unwrap_or_default).eq(kept.iter().map(String::as_str)));
        assert!(array.to_data().validate_full().is_ok());
        let blocks: usize = array.data_buffers().iter().map(Buffer::len).sum();
        let long: usize = kept.iter().map(String::len).filter(|&len| len > INLINE_BYTES).sum();
        assert_eq!(blocks, long, "nothing of what was cut is left");
    }

    #[test]
    fn nulls_cut_back_leave_no_trace() {
        let mut values = Primitives::<i32>::default();
        for row in 0..100 {
            values.push_null();
            values.truncate(row);
            values.push(7);
        }
        values.push_null();
        let array = values.finish::<datafusion::arrow::datatypes::Int32Type>(&DataType::Int32);
        assert_eq!(array.null_count(), 1);
        assert!(array.is_null(100));
    }
}
