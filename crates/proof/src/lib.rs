//! The proof: a live result against a replay up to its as-of, for `verify`, `dashboard --verify`, `demo` and the API.
//!
//! ```text
//!  a live run, or lines of one ─▶ Claim { as_of, now, digest, rows } ─┐
//!                                                                     ├─▶ digests, else rows compared ─▶ Verdict
//!  replay up to the as-of, at that moment ────────────────────────────┘
//! ```
//!
//! `claim` is a live result as it was published, `line` and `lines` write it as JSON and read it again; `prover` replays, `compare`
//! compares, `report` is the finding, as data; `verifier` proves beside a live run, again and again.

mod claim;
mod compare;
pub mod line;
mod lines;
mod prover;
mod report;
mod verifier;

pub use claim::{Claim, LiveResult, LiveRows};
pub use lines::{BadLines, ChangeLines, read_claims};
pub use prover::Prover;
pub use report::{Outcome, Proof, RowText, Side, Verdict, ViewProof};
pub use verifier::{Proofs, Verifier};
