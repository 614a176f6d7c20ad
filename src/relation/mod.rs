//! Topics as SQL tables.

pub mod infer;
