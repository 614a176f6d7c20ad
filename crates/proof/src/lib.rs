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
//!
//! ```no_run
//! use std::io::{BufReader, stdin};
//! use std::path::Path;
//! use tallgrass_kafka::KafkaConfig;
//! use tallgrass_proof::{Prover, read_claims};
//! use tallgrass_relation::BadRecords;
//! use tallgrass_view::{SqlFile, Workspace};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let workspace = Workspace::load(Path::new("queries"))?;
//! let files: Vec<SqlFile> = workspace.dashboard().into_iter().filter_map(Result::ok).collect();
//! let claims = read_claims(BufReader::new(stdin()))?;
//! let kafka = KafkaConfig::new("127.0.0.1:9092");
//! for proof in Prover::new(&workspace, &files, &kafka).prove(&claims, &BadRecords::default()).await? {
//!     println!("{proof:?}");
//! }
//! # Ok(())
//! # }
//! ```

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
