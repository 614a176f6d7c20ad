//! The accumulator against integers without bounds: a double is an integer number of 2^-1074.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use num_bigint::{BigInt, Sign};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::accumulator::ExactSum;

/// A finite double in units of 2^-1074.
fn integer(value: f64) -> BigInt {
    let bits = value.to_bits();
    let (field, fraction) = (bits >> 52 & 0x7ff, bits & ((1 << 52) - 1));
    let magnitude = if field == 0 { BigInt::from(fraction) } else { BigInt::from(fraction | 1 << 52) << (field - 1) };
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

/// The nearest double, found without any arithmetic on mantissas: positive doubles sort as their bits do, so search for
/// the largest that is not above, and compare the distances to it and to the next.
fn nearest(number: &BigInt) -> f64 {
    let magnitude = BigInt::from_biguint(Sign::Plus, number.magnitude().clone());
    let (mut below, mut above) = (0_u64, f64::INFINITY.to_bits());
    while above - below > 1 {
        let middle = u64::midpoint(below, above);
        if integer(f64::from_bits(middle)) <= magnitude { below = middle } else { above = middle }
    }
    // `integer` of infinity's bits is 2^1024, which is what rounding takes the next double to be.
    let (down, up) = (&magnitude - integer(f64::from_bits(below)), integer(f64::from_bits(above)) - &magnitude);
    let bits = if down < up || (down == up && below & 1 == 0) { below } else { above };
    // Zero is +0.0.
    if number.sign() == Sign::Minus { -f64::from_bits(bits) } else { f64::from_bits(bits) }
}

/// What IEEE arithmetic gives for the weighted values, if it did not round on the way.
pub(super) fn expected(values: &[(f64, i64)]) -> f64 {
    let weight = |found: fn(f64) -> bool| -> i64 {
        values.iter().filter(|(value, _)| found(*value)).map(|(_, weight)| weight).sum()
    };
    let (nan, up, down) =
        (weight(f64::is_nan), weight(|value| value == f64::INFINITY), weight(|value| value == f64::NEG_INFINITY));
    let finite = values.iter().filter(|(value, _)| value.is_finite());
    match (nan, (up > 0) || (down < 0), (down > 0) || (up < 0)) {
        (0, false, false) => nearest(&finite.map(|(value, weight)| integer(*value) * weight).sum()),
        (0, true, false) => f64::INFINITY,
        (0, false, true) => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}

fn sum_of(values: &[(f64, i64)]) -> ExactSum {
    let mut sum = ExactSum::new();
    for (value, weight) in values {
        sum.add_weighted(*value, *weight);
    }
    sum
}

fn bytes_of(sum: &ExactSum) -> Vec<u8> {
    let mut bytes = Vec::new();
    sum.write_bytes(&mut bytes);
    bytes
}

/// Doubles of all kinds: those that dashboards see, and those that they should never see.
fn finite() -> impl Strategy<Value = f64> {
    let around = |exponents: std::ops::Range<u64>| {
        (any::<bool>(), exponents, 0..1_u64 << 52).prop_map(|(negative, exponent, fraction)| {
            f64::from_bits(u64::from(negative) << 63 | exponent << 52 | fraction)
        })
    };
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        -f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::EPSILON,
        9_007_199_254_740_993.0,
        0.1,
        1e300,
        -1e-300,
    ];
    prop_oneof![
        4 => (-1_000_000_i64..1_000_000).prop_map(|cents| cents as f64 / 100.0),
        3 => around(1000..1050),
        2 => around(0..2047),
        1 => around(0..3),
        1 => around(2040..2047),
        2 => select(edges.to_vec()),
    ]
}

pub(super) fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![12 => finite(), 1 => select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY])]
}

fn weight() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(1_i64), 3 => Just(-1), 2 => -20..20_i64, 1 => any::<i64>(), 1 => Just(i64::MIN)]
}

fn weighted(values: impl Strategy<Value = f64>) -> impl Strategy<Value = Vec<(f64, i64)>> {
    vec((values, weight()), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_value_is_the_exact_sum_rounded_once(values in weighted(finite())) {
        prop_assert_eq!(sum_of(&values).value().to_bits(), expected(&values).to_bits());
    }

    #[test]
    fn small_windows_give_it_too(values in vec((-1e6..1e6_f64, Just(1_i64)), 0..60)) {
        let sum = sum_of(&values);
        prop_assert_eq!(sum.value().to_bits(), expected(&values).to_bits());
    }

    #[test]
    fn what_is_not_finite_follows_ieee_in_any_order(values in vec((any_double(), -3..4_i64), 0..40)) {
        let expected = expected(&values);
        let mut reversed = values.clone();
        reversed.reverse();
        for values in [&values, &reversed] {
            prop_assert_eq!(sum_of(values).value().to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn order_and_split_leave_no_trace(
        (values, shuffled) in weighted(any_double()).prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        cuts in vec(0..60_usize, 0..6),
    ) {
        let whole = sum_of(&values);
        let (mut merged, mut read) = (ExactSum::new(), ExactSum::new());
        let mut rest = shuffled.as_slice();
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (part, left) = rest.split_at(cut.min(rest.len()));
            rest = left;
            let part = sum_of(part);
            merged.merge(&part);
            read.merge_bytes(&bytes_of(&part)).unwrap();
        }
        prop_assert_eq!(bytes_of(&merged), bytes_of(&whole));
        prop_assert_eq!(bytes_of(&read), bytes_of(&whole));
        prop_assert_eq!(merged.value().to_bits(), whole.value().to_bits());
        prop_assert_eq!(read.value().to_bits(), whole.value().to_bits());
        prop_assert_eq!(&read, &whole);
    }

    #[test]
    fn retraction_restores_the_state_to_the_bit(
        kept in weighted(any_double()),
        detour in weighted(any_double()).prop_shuffle(),
    ) {
        let before = sum_of(&kept);
        let mut sum = before.clone();
        for (value, weight) in &detour {
            sum.add_weighted(*value, *weight);
        }
        detour.iter().rev().for_each(|(value, weight)| sum.add_weighted(*value, weight.wrapping_neg()));
        // i64::MIN has no opposite: its negation is itself, so retract it twice more by halves.
        for (value, _) in detour.iter().filter(|(_, weight)| *weight == i64::MIN) {
            (0..4).for_each(|_| sum.add_weighted(*value, 1 << 62));
        }
        prop_assert_eq!(bytes_of(&sum), bytes_of(&before));
    }

    #[test]
    fn carries_are_in_time(values in vec(finite(), 1..4), repeats in 1000..5000_usize) {
        let mut sum = ExactSum::new();
        for _ in 0..repeats {
            for value in &values {
                sum.add(*value);
            }
        }
        let weighted: Vec<_> = values.iter().map(|value| (*value, repeats as i64)).collect();
        prop_assert_eq!(sum.value().to_bits(), expected(&weighted).to_bits());
        prop_assert_eq!(bytes_of(&sum), bytes_of(&sum_of(&weighted)));
    }

    #[test]
    fn bytes_are_read_only_in_the_form_that_is_written(bytes in prop_oneof![
        vec(any::<u8>(), 0..20),
        (any::<u16>(), vec(any::<u8>(), 0..300)).prop_map(|(header, mut rest)| {
            rest.splice(0..0, (header & 0x7ff).to_le_bytes());
            rest
        }),
    ]) {
        if let Ok(sum) = ExactSum::from_bytes(&bytes) {
            prop_assert_eq!(bytes_of(&sum), bytes);
        }
    }

    #[test]
    fn bad_bytes_add_nothing(values in weighted(any_double()), bytes in vec(any::<u8>(), 1..40)) {
        let mut sum = sum_of(&values);
        if sum.merge_bytes(&bytes).is_err() {
            prop_assert_eq!(sum, sum_of(&values));
        }
    }
}

#[test]
fn a_group_of_similar_values_is_48_bytes_and_its_state_some_fourteen() {
    assert_eq!(size_of::<ExactSum>(), 48);
    for scale in [1e-6, 0.01, 1.0, 1e6, 1e15] {
        let mut sum = ExactSum::new();
        (0..10_000).for_each(|i| sum.add(f64::from(i * 7919 % 10_007) * scale));
        assert_eq!(sum.heap_bytes(), 0, "at scale {scale}");
        assert!(bytes_of(&sum).len() <= 14, "at scale {scale}: {} bytes", bytes_of(&sum).len());
    }
}

#[test]
fn a_window_follows_its_values_down_and_up() {
    let mut sum = ExactSum::new();
    for value in [1e9, 1e-12, -1e9, 1e-20, 3e-20] {
        sum.add(value);
    }
    assert_eq!(sum.heap_bytes(), 0, "what has cancelled does not hold the window");
    assert_eq!(sum.value(), nearest(&[1e-12, 1e-20, 3e-20].map(integer).iter().sum()));
}

#[test]
fn a_sum_past_its_window_widens_exactly() {
    let mut sum = ExactSum::new();
    let mut number = BigInt::ZERO;
    for i in 0..200_000 {
        let value = if i % 1000 == 0 { 0.1 } else { 1.9e19 };
        sum.add_weighted(value, 1);
        number += integer(value);
        if i % 10_000 == 0 {
            assert_eq!(sum.value(), nearest(&number));
        }
    }
    sum.add_weighted(1.9e19, i64::MAX);
    number += integer(1.9e19) * i64::MAX;
    assert_eq!(sum.value(), nearest(&number));
}

#[test]
fn a_window_gives_way_when_both_ends_are_needed() {
    for exponent in 0..160 {
        let values = [0.1, 2_f64.powi(exponent), 1e-12, -0.3].map(|value| (value, 1));
        assert_eq!(sum_of(&values).value(), expected(&values), "2^{exponent}");
    }
}

#[test]
fn the_least_bit_breaks_a_tie() {
    let half_step = 2_f64.powi(-53); // of 1.0
    for (least, up) in [(0.0, false), (5e-324, true), (1e-200, true), (-5e-324, false)] {
        let odd = 1.0 + f64::EPSILON;
        assert_eq!(sum_of(&[(1.0, 1), (half_step, 1), (least, 1)]).value(), if up { odd } else { 1.0 });
        assert_eq!(sum_of(&[(-1.0, 1), (half_step, -1), (least, -1)]).value(), if up { -odd } else { -1.0 });
        let above = if least < 0.0 { odd } else { odd + f64::EPSILON };
        assert_eq!(sum_of(&[(odd, 1), (half_step, 1), (least, 1)]).value(), above);
    }
}

#[test]
fn overflow_is_infinity_and_can_be_undone() {
    let mut sum = sum_of(&[(f64::MAX, 2)]);
    assert_eq!(sum.value(), f64::INFINITY);
    sum.retract(f64::MAX);
    assert_eq!(sum.value(), f64::MAX);
    let half_step = 2_f64.powi(970); // half the distance from the largest double to what would be the next
    sum.add(half_step);
    assert_eq!(sum.value(), f64::INFINITY, "a tie goes to the even one, which is infinity");
    sum.retract(5e-324);
    assert_eq!(sum.value(), f64::MAX);
    assert_eq!(sum_of(&[(f64::MAX, i64::MIN), (f64::MAX, i64::MIN)]).value(), f64::NEG_INFINITY);
}

#[test]
fn the_full_range_holds_as_many_rows_as_can_be_counted() {
    let largest = sum_of(&[(f64::MAX, i64::MAX)]);
    let mut sum = largest.clone();
    (0..62).for_each(|_| sum.merge(&sum.clone()));
    assert_eq!(sum.value(), f64::INFINITY);
    let read = ExactSum::from_bytes(&bytes_of(&sum)).unwrap();
    assert_eq!(read, sum);
    // All but one of the 2^62 copies retracted.
    let mut all_but_one = ExactSum::new();
    let mut copies = sum_of(&[(f64::MAX, -i64::MAX)]);
    for _ in 0..62 {
        all_but_one.merge(&copies);
        copies.merge(&copies.clone());
    }
    sum.merge(&all_but_one);
    assert_eq!(sum, largest);
}

#[test]
fn subnormals_add_up_to_normal_numbers() {
    assert_eq!(sum_of(&[(5e-324, 1 << 52)]).value(), f64::MIN_POSITIVE);
    assert_eq!(sum_of(&[(f64::MIN_POSITIVE, 1), (5e-324, -1)]).value(), f64::MIN_POSITIVE - 5e-324);
}

#[test]
fn every_zero_is_positive() {
    for values in [vec![], vec![(-0.0, 1)], vec![(-0.0, 5), (0.0, 1)], vec![(-1.5, 1), (1.5, 1)], vec![(0.0, -1)]] {
        assert_eq!(sum_of(&values).value().to_bits(), 0, "{values:?}");
    }
}

#[test]
fn invalid_states_are_refused() {
    for (bytes, reason) in [
        (&[7_u8][..], "half a header"),
        (&[0, 0x80, 1], "unknown flags"),
        (&[5, 0], "no magnitude"),
        (&[0, 4], "a malformed count"),
        (&[0, 4, 0, 0, 0], "counts of nothing"),
        (&[0, 4, 0x82, 0, 0, 0], "a malformed count"),
        (&[0, 0, 0, 1], "a magnitude with zeros around it"),
        (&[0x18, 1, 1], "a magnitude out of range"),
    ] {
        let error = ExactSum::from_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{bytes:?}: {error}");
    }
}
