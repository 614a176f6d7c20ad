//! Two results of one view: are they the same rows, and where not, which differ.
//!
//! ```text
//!                 ┌─▶ Digest                 one number
//!  rows ─▶ hashes ┤
//!                 └─▶ Difference ─┬─▶ ChangeCounts    what a swap changed
//!                                 └─▶ Tolerances      what a replay may change in the last digits
//! ```

mod difference;
mod digest;
mod row;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod same_tests;
pub(crate) mod tolerance;

pub use difference::{ChangeCounts, Difference};
pub use digest::{BadDigest, Digest};
pub use row::{columns, type_name};
pub use tolerance::{Tolerance, Tolerances, tolerances};
