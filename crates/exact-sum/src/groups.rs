//! `sum` and `avg` of doubles for many groups at once.

use std::hint::black_box;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array};
use datafusion::arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use datafusion::common::cast::{as_binary_array, as_float64_array, as_int64_array};
use datafusion::common::{Result, exec_datafusion_err, resources_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::accumulator::ExactSum;
use super::functions::ExactKind;

/// Rows whose groups are [fetched](ExactGroups::fetch) at once.
const AHEAD: usize = 32;

/// One group: its values' sum and number, side by side, as each value changes both.
#[derive(Clone, Default, Debug)]
pub(super) struct GroupSum {
    pub(super) sum: ExactSum,
    pub(super) count: i64,
}

impl GroupSum {
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        self.sum.add(value);
        self.count += 1;
    }

    #[inline]
    pub(super) fn retract(&mut self, value: f64) {
        self.sum.retract(value);
        self.count -= 1;
    }

    pub(super) fn merge(&mut self, count: i64, sum: &[u8]) -> Result<()> {
        self.sum.merge_bytes(sum).map_err(|error| exec_datafusion_err!("{error}"))?;
        self.count += count;
        Ok(())
    }

    pub(super) fn result(&self, kind: ExactKind) -> Option<f64> {
        kind.result(self.sum.value(), self.count)
    }
}

/// The state columns of an aggregate, read.
pub(super) struct States<'a> {
    counts: &'a Int64Array,
    sums: &'a BinaryArray,
}

impl<'a> States<'a> {
    pub(super) fn of(columns: &'a [ArrayRef]) -> Result<Self> {
        match columns {
            [counts, sums] => Ok(Self { counts: as_int64_array(counts)?, sums: as_binary_array(sums)? }),
            _ => Err(exec_datafusion_err!("the state of an exact sum has 2 columns, got {}", columns.len())),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Adds row `row` to `group`; a null is not a state, so it adds nothing.
    pub(super) fn merge_into(&self, group: &mut GroupSum, row: usize) -> Result<()> {
        if self.counts.is_null(row) || self.sums.is_null(row) {
            return Ok(());
        }
        group.merge(self.counts.value(row), self.sums.value(row))
    }
}

/// The argument of an aggregate, read.
pub(super) fn doubles(columns: &[ArrayRef]) -> Result<&Float64Array> {
    match columns {
        [values] => as_float64_array(values),
        _ => Err(exec_datafusion_err!("an exact sum has one argument, got {}", columns.len())),
    }
}

/// The accumulators of all groups.
pub(super) struct ExactGroups {
    kind: ExactKind,
    groups: Vec<GroupSum>,
    /// Heap bytes of the groups at the last count, and rows added since. Counting looks at every group, so it is done
    /// about once per as many rows as there are groups.
    heap_bytes: usize,
    rows_since: usize,
}

impl ExactGroups {
    pub(super) fn new(kind: ExactKind) -> Self {
        Self { kind, groups: Vec::new(), heap_bytes: 0, rows_since: 0 }
    }

    fn resize(&mut self, total: usize) {
        self.groups.resize_with(total, GroupSum::default);
    }

    /// Reads from each group, so that they are loaded into the cache in parallel. An addition waits for its group before
    /// the next one's memory is even requested, which at 100,000 groups made it three times as slow.
    fn fetch(&self, indices: &[usize]) {
        black_box(indices.iter().fold(0, |all, group| all | self.groups[*group].count));
    }

    fn took(&mut self, rows: usize) {
        self.rows_since += rows;
        if self.rows_since >= self.groups.len() {
            self.rows_since = 0;
            self.heap_bytes = self.groups.iter().map(|group| group.sum.heap_bytes()).sum();
        }
    }
}

impl GroupsAccumulator for ExactGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = doubles(values)?;
        self.resize(total_num_groups);
        let counted = counted(values, filter);
        let chunks = group_indices.chunks(AHEAD).zip(values.values().chunks(AHEAD));
        for (chunk, (indices, values)) in chunks.enumerate() {
            self.fetch(indices);
            for (row, (group, value)) in indices.iter().zip(values).enumerate() {
                if counted.as_ref().is_none_or(|counted| counted.is_valid(chunk * AHEAD + row)) {
                    self.groups[*group].add(*value);
                }
            }
        }
        self.took(values.len());
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let states = States::of(values)?;
        self.resize(total_num_groups);
        for (chunk, indices) in group_indices.chunks(AHEAD).enumerate() {
            self.fetch(indices);
            for (row, group) in indices.iter().enumerate() {
                states.merge_into(&mut self.groups[*group], chunk * AHEAD + row)?;
            }
        }
        self.took(states.len());
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        Ok(Arc::new(groups.iter().map(|group| group.result(self.kind)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emit_to.take_needed(&mut self.groups);
        let counts = groups.iter().map(|group| group.count).collect();
        state_columns(counts, groups.len(), |row, out| groups[row].sum.write_bytes(out))
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = doubles(values)?;
        let counted = counted(values, filter);
        let counts = |row| counted.as_ref().is_none_or(|counted| counted.is_valid(row));
        state_columns((0..values.len()).map(|row| i64::from(counts(row))).collect(), values.len(), |row, out| {
            if counts(row) {
                let mut sum = ExactSum::new();
                sum.add(values.value(row));
                sum.write_bytes(out);
            }
        })
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<GroupSum>() + self.heap_bytes
    }
}

/// Which rows are summed: those that are not null and that pass the filter. `None` for all.
fn counted(values: &Float64Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let passes = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(values.nulls(), passes.as_ref()).filter(|counted| counted.null_count() > 0)
}

/// The state columns for `rows` groups.
fn state_columns(counts: Vec<i64>, rows: usize, write: impl Fn(usize, &mut Vec<u8>)) -> Result<Vec<ArrayRef>> {
    /// Bytes of a sum of values of similar size.
    const TYPICAL_BYTES: usize = 14;
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut bytes = Vec::with_capacity(rows * TYPICAL_BYTES);
    offsets.push(0);
    for row in 0..rows {
        write(row, &mut bytes);
        let end = i32::try_from(bytes.len())
            .map_err(|_| resources_datafusion_err!("the states of {rows} exact sums pass the 2 GiB of one column"))?;
        offsets.push(end);
    }
    let sums = BinaryArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), None)?;
    Ok(vec![Arc::new(Int64Array::from(counts)), Arc::new(sums)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn column(values: &[Option<f64>]) -> Vec<ArrayRef> {
        vec![Arc::new(Float64Array::from(values.to_vec()))]
    }

    fn evaluated(groups: &mut ExactGroups, emit_to: EmitTo) -> Vec<Option<f64>> {
        as_float64_array(&groups.evaluate(emit_to).unwrap()).unwrap().iter().collect()
    }

    #[test]
    fn nulls_and_filtered_rows_do_not_count() {
        let mut groups = ExactGroups::new(ExactKind::Avg);
        let values = column(&[Some(1.0), None, Some(2.0), Some(4.0), Some(8.0)]);
        let filter = BooleanArray::from(vec![Some(true), Some(true), None, Some(false), Some(true)]);
        groups.update_batch(&values, &[0, 0, 0, 1, 0], Some(&filter), 3).unwrap();
        assert_eq!(evaluated(&mut groups, EmitTo::All), [Some(4.5), None, None]);
    }

    #[test]
    fn the_first_groups_leave_and_the_others_move_up() {
        let mut groups = ExactGroups::new(ExactKind::Sum);
        groups.update_batch(&column(&[Some(1.0), Some(2.0), Some(3.0)]), &[0, 1, 2], None, 3).unwrap();
        assert_eq!(evaluated(&mut groups, EmitTo::First(2)), [Some(1.0), Some(2.0)]);
        groups.update_batch(&column(&[Some(0.5), Some(5.0)]), &[0, 1], None, 2).unwrap();
        let state = groups.state(EmitTo::First(1)).unwrap();
        assert_eq!(evaluated(&mut groups, EmitTo::All), [Some(5.0)]);
        groups.merge_batch(&state, &[1], 2).unwrap();
        assert_eq!(evaluated(&mut groups, EmitTo::All), [None, Some(3.5)]);
    }

    #[test]
    fn rows_turned_into_states_are_worth_the_same() {
        let values = column(&[Some(0.1), None, Some(f64::NAN), Some(1e300), Some(-1e300)]);
        let filter = BooleanArray::from(vec![true, true, false, true, true]);
        let mut merged = ExactGroups::new(ExactKind::Sum);
        let states = merged.convert_to_state(&values, Some(&filter)).unwrap();
        merged.merge_batch(&states, &[0; 5], 1).unwrap();
        assert_eq!(evaluated(&mut merged, EmitTo::All), [Some(0.1)]);
    }

    #[test]
    fn the_size_follows_the_heap() {
        let mut groups = ExactGroups::new(ExactKind::Sum);
        groups.update_batch(&column(&[Some(1.0)]), &[0], None, 1).unwrap();
        let before = groups.size();
        groups.update_batch(&column(&[Some(1e300)]), &[0], None, 1).unwrap();
        assert!(groups.size() > before + 500);
    }

    #[test]
    fn a_damaged_state_is_an_error() {
        let sums: ArrayRef = Arc::new(BinaryArray::from(vec![&[7_u8][..]]));
        let states = [Arc::new(Int64Array::from(vec![1])) as ArrayRef, sums];
        let error = ExactGroups::new(ExactKind::Sum).merge_batch(&states, &[0], 1).unwrap_err();
        assert!(error.to_string().contains("not the state of an exact sum"), "{error}");
    }
}
