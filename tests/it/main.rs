//! What a user would notice, in one test binary (each would link all of DataFusion).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod generators;
mod oracle;
mod support;
