//! Live SQL over Kafka: edit a SQL file and get a correct live dashboard whose replay proves the same numbers.
//!
//! ```text
//!  Kafka ──▶ kafka ──▶ decode ──▶ relation ──▶ view ──▶ pipeline ──▶ sink ──────▶ serve
//!            messages   Arrow      streams,     cut,     refresh at    terminal,   page, API,
//!            in batches columns    tables       reduce   one as-of     files, SVG  psql
//! ```
//!
//! Each of these is a crate that depends only on those to its left; `cmd` has one file per command, which wires them up.

pub mod cli;
pub mod cmd;
