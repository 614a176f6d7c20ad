//! The commands that read up to fixed offsets and exit: `replay`, `query`, `verify`.

use std::path::PathBuf;

use clap::Args;

use super::shared::{Batching, Connection, Queries};
use super::values::{From, parse_until};
use tallgrass_relation::Until;
use tallgrass_sink::ResultFormat;

/// `tallgrass replay`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass replay                                   every dashboard file
  tallgrass replay by_type top_species --format json
  tallgrass replay spawns_per_minute --from @2026-01-31T09:00:00Z --format csv
  tallgrass replay --until 'pokemons 0:120 1:98, users 0:7'
  tallgrass replay --format markdown --output report/
  tallgrass replay --format parquet --output report/    for pandas, DuckDB and their like")]
pub struct Replay {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub queries: Queries,
    /// Names of dashboard files, without .sql [default: all]
    #[arg(value_name = "VIEW")]
    pub views: Vec<String>,
    /// earliest, or @TIME (RFC 3339 or milliseconds since 1970); keyed tables always start at the
    /// earliest record, since their rows are the outcome of all updates
    #[arg(long, default_value = "earliest")]
    pub from: From,
    /// Stop exactly there, and read no record at or above: OFFSETS (TOPIC PARTITION:OFFSET …, as replay prints them on a
    /// terminal at its end, or the `as_of` of a line of `dashboard --format ndjson`), or @TIME (the first record of each
    /// partition at that time or later) [default: the current ends]
    #[arg(long, value_name = "OFFSETS|@TIME", value_parser = parse_until)]
    pub until: Option<Until>,
    /// Format of the rows; ndjson, parquet and arrow hold one view, and the latter two are not for a terminal
    #[arg(long, value_enum, default_value = "table")]
    pub format: ResultFormat,
    /// Write one file per view into this folder instead of stdout
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Exit with 1 if some records were not rows, because they did not fit their declaration
    #[arg(long)]
    pub strict: bool,
}

/// `tallgrass query`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass query \"SELECT name, count(*) FROM pokemons GROUP BY name ORDER BY 2 DESC LIMIT 5\"
  tallgrass query \"SELECT * FROM users WHERE _partition = 0\" --format ndjson
  tallgrass query \"SELECT * FROM pokemons\" -o pokemons.parquet
  tallgrass query \"SELECT * FROM pokemons\" --format arrow | my-reader    a stream of Arrow IPC
  tallgrass query \"EXPLAIN SELECT count(*) FROM pokemons WHERE _offset >= 1000\"
  tallgrass query \"SHOW TABLES\"")]
pub struct Query {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub queries: Queries,
    /// One SELECT, EXPLAIN or SHOW statement
    #[arg(allow_hyphen_values = true)]
    pub sql: String,
    /// Format of the rows [default: by the extension of -o, else table]
    #[arg(long, value_enum)]
    pub format: Option<ResultFormat>,
    /// Write to this file instead of stdout; it is replaced when the result is complete
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Exit with 1 if some records were not rows, because they did not fit their declaration
    #[arg(long)]
    pub strict: bool,
}

/// `tallgrass verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass verify                                   a live run up to now, and its replay
  tallgrass verify by_type
  tallgrass dashboard --format ndjson > today.ndjson
  tallgrass verify --against today.ndjson            tomorrow, or on another machine

Exit code 0 means that no result differs, 1 that one does, or that nothing could be compared.")]
pub struct Verify {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub queries: Queries,
    #[command(flatten)]
    pub batching: Batching,
    /// Names of dashboard files, without .sql [default: all]
    #[arg(value_name = "VIEW")]
    pub views: Vec<String>,
    /// Compare lines of `dashboard --format ndjson`, the last one of each view, instead of a live run; - is stdin
    #[arg(long, value_name = "FILE|-")]
    pub against: Option<PathBuf>,
    /// Rows that a view without an incremental form may keep
    #[arg(long, default_value = "5000000", value_name = "ROWS")]
    pub max_retained_rows: usize,
}
