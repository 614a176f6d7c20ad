//! `sum` and `avg` of doubles for one group: without GROUP BY, over window frames, and with DISTINCT.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::{as_float64_array, as_list_array};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::Accumulator;

use super::functions::ExactKind;
use super::groups::{GroupSum, States, doubles};

/// The accumulator of one group.
#[derive(Debug)]
pub(super) struct ExactAccumulator {
    kind: ExactKind,
    group: GroupSum,
}

impl ExactAccumulator {
    pub(super) fn new(kind: ExactKind) -> Self {
        Self { kind, group: GroupSum::default() }
    }
}

/// Every value that is not null.
fn for_each(values: &Float64Array, mut take: impl FnMut(f64)) {
    if values.null_count() == 0 {
        values.values().iter().for_each(|value| take(*value));
    } else {
        values.iter().flatten().for_each(take);
    }
}

impl Accumulator for ExactAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(doubles(values)?, |value| self.group.add(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(doubles(values)?, |value| self.group.retract(value));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.group.sum.write_bytes(&mut bytes);
        Ok(vec![ScalarValue::Int64(Some(self.group.count)), ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = States::of(states)?;
        (0..states.len()).try_for_each(|row| states.merge_into(&mut self.group, row))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.group.result(self.kind)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.group.sum.heap_bytes()
    }
}

/// The accumulator of one group's distinct values: how often each occurs, and the sum of those that do.
///
/// Its state is that of the built-in functions, a list of the values.
#[derive(Debug)]
pub(super) struct ExactDistinct {
    kind: ExactKind,
    times: HashMap<u64, u64, ahash::RandomState>,
    distinct: GroupSum,
}

impl ExactDistinct {
    pub(super) fn new(kind: ExactKind) -> Self {
        Self { kind, times: HashMap::default(), distinct: GroupSum::default() }
    }

    fn add(&mut self, value: f64) {
        let times = self.times.entry(key(value)).or_insert(0);
        if *times == 0 {
            self.distinct.add(value);
        }
        *times += 1;
    }
}

/// What makes two doubles the same value: the rule of GROUP BY, to which the optimizer turns DISTINCT where it can, so
/// that a query's other columns never change how this one counts. The two zeros are one value.
fn key(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

impl Accumulator for ExactDistinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(doubles(values)?, |value| self.add(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each(doubles(values)?, |value| {
            if let Some(times) = self.times.get_mut(&key(value)) {
                *times -= 1;
                if *times == 0 {
                    self.times.remove(&key(value));
                    self.distinct.retract(value);
                }
            }
        });
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<_> = self.times.keys().map(|bits| ScalarValue::Float64(Some(f64::from_bits(*bits)))).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Float64))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [lists] = states else {
            return Err(exec_datafusion_err!("the state of an exact distinct sum has 1 column, got {}", states.len()));
        };
        for list in as_list_array(lists)?.iter().flatten() {
            for_each(as_float64_array(&list)?, |value| self.add(value));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.distinct.result(self.kind)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.times.capacity() * size_of::<(u64, u64)>() + self.distinct.sum.heap_bytes()
    }
}
