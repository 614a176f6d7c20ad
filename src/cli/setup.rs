//! The commands around a folder of SQL: `check`, `init`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::shared::{Connection, Queries};

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
