//! The commands around a folder of SQL, its topics and the settings: `check`, `explain`, `init`, `topics`, `config`.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::shared::{Connection, Queries};
use super::values::parse_group;
use tallgrass_sink::Format;

/// `tallgrass explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass explain by_type
  tallgrass explain --queries my-queries    every file; needs no broker")]
pub struct Explain {
    #[command(flatten)]
    pub queries: Queries,
    /// Names of files, without .sql [default: all]
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
    pub connection: Connection,
    #[command(flatten)]
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
    /// Format of the rows
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// `tallgrass config`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass config show                               of every command
  tallgrass config show dashboard --format json
  tallgrass config show dashboard -- --refresh 1s     with what would be typed

What is typed wins over the environment, the environment over the file,
the file over the defaults. The file is tallgrass.toml in the working
directory, or what --config or TALLGRASS_CONFIG names:

  brokers = \"broker.example.org:9093\"    # of every command that has --brokers
  [properties]                           # -X
  security.protocol = \"SASL_SSL\"
  [dashboard]                            # of this command, wins over the above
  refresh = \"250ms\"
  verify = \"30s\"

In the environment --radius-km is TALLGRASS_RADIUS_KM, a flag is true or
false, several values stand between semicolons, and
TALLGRASS_X_SASL_PASSWORD is the librdkafka property sasl.password.")]
pub struct Config {
    /// What to do
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The actions on settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings that are in effect; secrets are hidden
    Show(ConfigShow),
}

/// `tallgrass config show`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass config show                               of every command
  tallgrass config show dashboard --format json
  tallgrass config show dashboard -- --refresh 1s     with what would be typed")]
pub struct ConfigShow {
    /// The command whose settings to print [default: all]
    pub command: Option<String>,
    /// Arguments of that command
    #[arg(last = true, requires = "command", value_name = "ARGS")]
    pub args: Vec<OsString>,
    /// Format of the rows
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}
