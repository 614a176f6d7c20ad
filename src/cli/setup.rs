//! The commands around a folder of SQL and its topics: `check`, `init`, `topics`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::shared::{Connection, Queries};
use super::values::parse_group;
use crate::sink::Format;

/// `tallgrass explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass explain by_type
  tallgrass explain --queries my-queries    every dashboard file; needs no broker")]
pub struct Explain {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    /// Names of dashboard files, without .sql [default: all]
    #[arg(value_name = "VIEW")]
    pub views: Vec<String>,
}

/// `tallgrass check`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass check
  tallgrass check --queries my-queries    needs no broker")]
pub struct Check {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
}

/// `tallgrass init`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass init orders payments                    print the DDL
  tallgrass init orders -o my-queries/sources.sql   write it (never over a file)")]
pub struct Init {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    /// Topics to sample
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Records to sample in each partition
    #[arg(long, default_value = "1000", value_name = "N")]
    pub sample: NonZeroUsize,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `tallgrass topics`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass topics                                all of them, but Kafka's own
  tallgrass topics users --partitions             first and next offset of each partition
  tallgrass topics users --group audit            with another group than the roles' own
  tallgrass topics --format ndjson

records counts offsets: compaction and transactions may have taken some of them. lag is what a group
would still read, the whole of a partition where it has committed nothing.")]
pub struct Topics {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    /// Topics to show [default: all]
    #[arg(value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// A consumer group to show besides login-checker and those of the control panels (repeatable)
    #[arg(long = "group", value_name = "GROUP", value_parser = parse_group)]
    pub groups: Vec<String>,
    /// A row for each partition
    #[arg(long)]
    pub partitions: bool,
    /// How the rows are written
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}
