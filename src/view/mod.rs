//! Placeholder.

pub mod exact_sum;
