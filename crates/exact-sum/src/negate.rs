//! The state of a sum, negated: the state of its retraction.
//!
//! An exact sum is linear, so the state over some rows, negated, is the state over the same rows at weight −1. It is the
//! sign bit of a header and the signs of three counts: no number is read.

use datafusion::arrow::array::{Array, BinaryArray};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::common::{Result, exec_datafusion_err, resources_datafusion_err};

use super::bytes;

/// Negates a column of states, the second state column of `sum` and `avg` of doubles. A null stays null.
///
/// An error where a value is not such a state.
pub fn negate_states(states: &BinaryArray) -> Result<BinaryArray> {
    let mut offsets = Vec::with_capacity(states.len() + 1);
    let mut negated = Vec::with_capacity(states.value_data().len());
    offsets.push(0);
    for row in 0..states.len() {
        if states.is_valid(row) {
            bytes::write_negated(&mut negated, states.value(row)).map_err(|error| exec_datafusion_err!("{error}"))?;
        }
        let end = i32::try_from(negated.len()).map_err(|_| {
            resources_datafusion_err!("the states of {} exact sums pass the 2 GiB of one column", states.len())
        })?;
        offsets.push(end);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(BinaryArray::try_new(offsets, Buffer::from_vec(negated), states.nulls().cloned())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::ExactSum;
    use super::*;

    fn state(values: &[(f64, i64)]) -> Vec<u8> {
        let mut sum = ExactSum::new();
        for (value, weight) in values {
            sum.add_weighted(*value, *weight);
        }
        let mut bytes = Vec::new();
        sum.write_bytes(&mut bytes);
        bytes
    }

    fn negated(state: &[u8]) -> Vec<u8> {
        negate_states(&BinaryArray::from(vec![state])).unwrap().value(0).to_vec()
    }

    fn any_double() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            -1e6..1e6_f64,
            prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MAX]),
        ]
    }

    proptest! {
        #[test]
        fn a_negated_state_is_that_of_the_opposite_weights(
            values in prop::collection::vec((any_double(), -3..3_i64), 0..12)
        ) {
            let opposite: Vec<(f64, i64)> = values.iter().map(|(value, weight)| (*value, -weight)).collect();
            let state = state(&values);
            prop_assert_eq!(&negated(&state), &self::state(&opposite));
            prop_assert_eq!(&negated(&negated(&state)), &state);
            // An insertion and its retraction leave nothing, not even of a NaN.
            let mut sum = ExactSum::from_bytes(&state).unwrap();
            sum.merge_bytes(&negated(&state)).unwrap();
            prop_assert_eq!(&sum, &ExactSum::new());
        }
    }

    #[test]
    fn a_count_of_nothing_but_the_lowest_wraps_like_an_addition() {
        let lowest = state(&[(f64::NAN, i64::MIN), (f64::INFINITY, 7)]);
        assert_eq!(negated(&lowest), state(&[(f64::NAN, i64::MIN), (f64::INFINITY, -7)]));
    }

    #[test]
    fn nulls_stay_nulls_and_slices_are_read_where_they_lie() {
        let (one, two) = (state(&[(1.5, 1)]), state(&[(1.5, -1)]));
        let states = BinaryArray::from(vec![Some(&b"skipped"[..]), None, Some(&one[..]), Some(&b""[..])]).slice(1, 3);
        let expected = BinaryArray::from(vec![None, Some(&two[..]), Some(&b""[..])]);
        assert_eq!(negate_states(&states).unwrap(), expected);
    }

    #[test]
    fn bytes_that_are_no_state_are_an_error() {
        let error = negate_states(&BinaryArray::from(vec![&[7_u8][..]])).unwrap_err();
        assert!(error.to_string().contains("not the state of an exact sum"), "{error}");
    }
}
