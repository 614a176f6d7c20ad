//! The oracle: at any point a live result equals plain DataFusion over all rows so far, to the last bit.
//!
//! ```text
//!  data, grammar ──▶ history, views ──▶ executions ──┬──▶ Engine, fed in micro-batches ──▶ snapshot ──┐
//!                    (random, a seed)                └──▶ DataFusion over all rows so far ──▶ rows ───┴──▶ compare
//! ```
//!
//! No broker takes part: rows are put into micro-batches by hand, and a plain map determines the rows of a table.

mod compare;
mod data;
mod executions;
mod grammar;
mod history;
mod insert;
mod maintained;
mod random;
mod shrink;
mod slt;
