//! Live SQL over Kafka: edit a SQL file and get a correct live dashboard whose replay proves the same numbers.
//!
//! ```text
//!  Kafka ──▶ kafka ──▶ decode ──▶ relation ──▶ view ──▶ pipeline ──▶ sink ──────▶ serve
//!            messages   Arrow      streams,     cut,     refresh at    terminal,   page, API,
//!            in batches columns    tables       reduce   one as-of     files, SVG  psql
//! ```
//!
//! A module imports only what stands to its left; `cmd` holds one file per role and wires them up.

pub mod cli;
pub mod cmd;
