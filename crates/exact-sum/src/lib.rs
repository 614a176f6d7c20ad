//! Sums of doubles that are exact until they are read.
//!
//! Floating-point addition is not associative, so a plain running sum depends on how its input was cut into batches,
//! on the order of partitions, and on what was added and retracted again. [`ExactSum`] holds the sum itself, as a
//! fixed-point number wide enough for every double, and rounds once, when its value is asked for. Any order, any split
//! into partial states and any retraction therefore lead to the same bits, which is what lets a live result, a replay
//! and a verification be compared for equality.
//!
//! ```text
//!  f64 ──▶ 53-bit integer × 2^(e − 1074) ──▶ two limbs of a fixed-point number ──(value)──▶ nearest f64
//!                                            limb i counts units of 2^(32·i − 1074)
//!
//!  window   four limbs in place, where the group's values lie             [accumulator]
//!  rest     the 70 limbs of the full range, NaN and ±∞, on the heap        [rest]
//!  digits   the canonical form of a number: rounding, comparing            [digits]
//!  bytes    the same as a short byte string: partial states                [bytes]
//!  negate   the bytes of a retraction                                      [negate]
//!  functions, groups, scalar   `sum` and `avg` of SQL on top of it
//! ```
//!
//! # What the results mean
//!
//! - `sum` is the real sum of the finite values, rounded once to nearest, ties to even. Past the largest double that is
//!   ±∞; a sum never underflows, since every double is a multiple of 2⁻¹⁰⁷⁴.
//! - A NaN, or +∞ together with −∞, makes NaN; infinities of one sign win over every finite value. They are counted, so
//!   retracting the NaN restores the finite sum. The NaN is always the same one (`f64::NAN`): which payload an addition
//!   keeps would depend on the order.
//! - A zero is +0.0. As in the built-in `sum`, and in Postgres, the sum starts from +0.0, and IEEE 754 then gives +0.0
//!   for any number of −0.0 and for `x + (−x)`.
//! - `avg` is `sum / count` in doubles: the rounded exact sum, divided by the number of values, rounded once more. So
//!   `avg(x) = sum(x) / count(x)` holds to the last bit.
//!
//! ```
//! use tallgrass_exact_sum::ExactSum;
//!
//! let mut sum = ExactSum::default();
//! for value in [1e300, 0.1, -1e300] {
//!     sum.add(value);
//! }
//! assert_eq!(sum.value(), 0.1);
//! sum.retract(0.1);
//! assert_eq!(sum.value(), 0.0);
//! ```

mod accumulator;
mod bytes;
mod digits;
mod functions;
mod groups;
mod negate;
mod rest;
mod scalar;
mod wide;

#[cfg(test)]
mod number_tests;
#[cfg(test)]
mod sql_tests;

pub use accumulator::ExactSum;
pub use bytes::InvalidState;
pub use functions::{ExactKind, exact_kind, functions};
pub use negate::negate_states;
