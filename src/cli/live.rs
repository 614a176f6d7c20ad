//! The roles that run until they are stopped: `demo`, `dashboard`, `login-checker`, `control-panel`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::generators::LogoffForm;
use super::shared::{Batching, Connection, Listening, Queries};
use super::values::{Rate, parse_group, parse_interval, parse_latitude, parse_longitude, parse_name, parse_positive};
use tallgrass_sink::Format;

/// `tallgrass demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass demo                        until Ctrl-C
  tallgrass demo --duration 20s         ends by itself, then replays and compares
  tallgrass demo --verify 10s           compares while it runs, too
  kcat -b 127.0.0.1:PORT -t pokemons    from another terminal, PORT as printed")]
pub struct Demo {
    /// End after this long, then replay everything and compare
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub duration: Option<Duration>,
    /// Replay the newest results at this interval, beside the live run, and compare
    #[arg(long, value_parser = parse_interval, value_name = "DURATION")]
    pub verify: Option<Duration>,
    /// Events per second of each Pokémon generator
    #[arg(long, default_value = "50/s", allow_hyphen_values = true)]
    pub rate: Rate,
    /// Logins and logoffs per second
    #[arg(long, default_value = "10/s", allow_hyphen_values = true)]
    pub user_rate: Rate,
    /// Form of a logoff in Kafka
    #[arg(long, value_enum, default_value = "tombstone")]
    pub logoff: LogoffForm,
    /// Same seed, same events
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub queries: Queries,
    #[command(flatten)]
    pub listening: Listening,
}

/// `tallgrass dashboard`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass dashboard                         tiles, redrawn in place
  tallgrass dashboard --once --format json    up to the current end offsets, then exit
  tallgrass dashboard --format ndjson         a line for each result that changes, with its as-of
  tallgrass dashboard --verify 30s            beside it, a replay checks the numbers
  tallgrass dashboard --queries my-queries")]
pub struct Dashboard {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub queries: Queries,
    #[command(flatten)]
    pub batching: Batching,
    /// Read up to the end offsets at the start, print the results and exit
    #[arg(long)]
    pub once: bool,
    /// With --once, exit with 1 if some records were not rows, because they did not fit their declaration
    #[arg(long, requires = "once")]
    pub strict: bool,
    /// Format of --once. Without --once only ndjson, which then writes a line for each result that changes, forever
    #[arg(
        long,
        value_enum,
        default_value = "table",
        requires_ifs = [("table", "once"), ("json", "once"), ("csv", "once"), ("markdown", "once")]
    )]
    pub format: Format,
    /// Replay the newest results at this interval, beside the live run, and compare
    #[arg(long, value_parser = parse_interval, value_name = "DURATION", conflicts_with = "once")]
    pub verify: Option<Duration>,
    /// Time between two refreshes (longer where a refresh takes long, or by a file's @refresh)
    #[arg(long, default_value = "50ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub refresh: Duration,
    /// Rows that a view without an incremental form may keep
    #[arg(long, default_value = "5000000", value_name = "ROWS")]
    pub max_retained_rows: usize,
    #[command(flatten)]
    pub listening: Listening,
}

/// The form in which a role prints a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// A sentence for people
    Text,
    /// A JSON object of all columns
    Ndjson,
}

/// The default consumer group of login checkers.
pub const LOGIN_CHECKER_GROUP: &str = "login-checker";

/// `tallgrass login-checker`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass login-checker                     run it twice: the two share the partitions
  tallgrass login-checker --group audit       a second, independent check
  tallgrass login-checker --format ndjson | mailer    an object a line; what was printed is committed")]
pub struct LoginChecker {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub queries: Queries,
    #[command(flatten)]
    pub batching: Batching,
    /// Consumer group; its instances share the partitions
    #[arg(long, default_value = LOGIN_CHECKER_GROUP, value_parser = parse_group)]
    pub group: String,
    /// Format of a login
    #[arg(long, value_enum, default_value = "text")]
    pub format: LineFormat,
}

/// `tallgrass control-panel`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass control-panel --lat 40.4168 --lon=-3.7038 --radius-km 3
  tallgrass control-panel --lat 40.4168 --lon=-3.7038 --id sol --from-beginning
  tallgrass control-panel --panel bikes_nearby --lat 52.52 --lon 13.405
  tallgrass control-panel --lat 40.4168 --lon=-3.7038 --format ndjson | jq .name")]
pub struct ControlPanel {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub queries: Queries,
    #[command(flatten)]
    pub batching: Batching,
    /// File of panels/ to run [default: the first by @order and name]
    #[arg(long, value_name = "NAME")]
    pub panel: Option<String>,
    /// Degrees north
    #[arg(long, allow_hyphen_values = true, value_parser = parse_latitude)]
    pub lat: f64,
    /// Degrees east
    #[arg(long, allow_hyphen_values = true, value_parser = parse_longitude)]
    pub lon: f64,
    /// Radius of what counts as near, km
    #[arg(long, default_value = "3", value_name = "KM", value_parser = parse_positive, allow_hyphen_values = true)]
    pub radius_km: f64,
    /// Name of this panel; its consumer group is control-panel-ID [default: generated]
    #[arg(long, value_parser = parse_name)]
    pub id: Option<String>,
    /// Show history first (a panel started again with the same --id continues where it stopped)
    #[arg(long)]
    pub from_beginning: bool,
    /// Format of a row
    #[arg(long, value_enum, default_value = "text")]
    pub format: LineFormat,
}
