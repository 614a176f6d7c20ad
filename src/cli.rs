//! The command line: one struct per command, shared groups of options first.
//!
//! Nothing here does anything; `cmd/` holds a file per command that takes its struct and runs.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::kafka::{BadAsOf, KafkaConfig};
use crate::pipeline::BatchLimits;
use crate::relation::Until;
use crate::sink::Format;

/// Live SQL dashboards over Kafka topics: edit a SQL file, see the numbers, replay to prove them.
#[derive(Debug, Parser)]
#[command(name = "tallgrass", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// The role to play
    #[command(subcommand)]
    pub command: Command,
}

/// Every role of the pipeline.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// All roles at once on an embedded broker
    Demo(Demo),
    /// Produce wild Pokémon: random species near one of the spawn points
    PokemonGen(PokemonGen),
    /// Produce logins and logoffs of made-up users
    UserGen(UserGen),
    /// Show the tallies of queries/dashboard/*.sql live in the terminal
    Dashboard(Dashboard),
    /// Say which email each login gets; instances of one group share the work
    LoginChecker(LoginChecker),
    /// Show the Pokémon that appear near a place
    ControlPanel(ControlPanel),
    /// Run the dashboard's SQL over the history of the topics, then exit
    Replay(Replay),
    /// Run one SELECT over the declared relations, then exit
    Query(Query),
    /// Compare live results with a replay up to the same offsets, row by row
    Verify(Verify),
    /// Plan every SQL file and say what is wrong with it
    Check(Check),
    /// Sample topics and write a sources.sql for them
    Init(Init),
}

/// Which cluster to talk to.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Bootstrap servers, HOST:PORT[,HOST:PORT…]
    #[arg(
        short,
        long,
        env = "TALLGRASS_BROKERS",
        default_value = "127.0.0.1:9092",
        value_name = "HOSTS",
        value_parser = parse_brokers,
        help_heading = "Kafka"
    )]
    pub brokers: String,
    /// A librdkafka property, such as `security.protocol=SASL_SSL` (repeatable)
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = parse_property, help_heading = "Kafka")]
    pub properties: Vec<(String, String)>,
}

impl Connection {
    /// The same as the library's own type.
    pub fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.brokers).with_properties(self.properties.iter().cloned())
    }
}

/// Where the SQL lives.
#[derive(Debug, Clone, Args)]
pub struct Queries {
    /// Folder of sources.sql, dashboard/*.sql, `login_checker.sql` and `control_panel.sql`
    #[arg(long, default_value = "queries", value_name = "DIR")]
    pub queries: PathBuf,
}

/// When a micro-batch closes: whichever limit is reached first.
#[derive(Debug, Clone, Args)]
pub struct Batching {
    /// Rows per micro-batch at most
    #[arg(long, default_value = "8192", value_name = "ROWS", help_heading = "Micro-batches")]
    pub batch_rows: NonZeroUsize,
    /// Bytes of messages per micro-batch at most
    #[arg(long, default_value = "4194304", value_name = "BYTES", help_heading = "Micro-batches")]
    pub batch_bytes: NonZeroUsize,
    /// How long a micro-batch waits for more rows
    #[arg(long, default_value = "50ms", value_name = "DURATION", value_parser = humantime::parse_duration, help_heading = "Micro-batches")]
    pub linger: Duration,
}

impl Batching {
    /// The same as the library's own type.
    pub fn limits(&self) -> BatchLimits {
        BatchLimits { rows: self.batch_rows.get(), bytes: self.batch_bytes.get(), linger: self.linger }
    }
}

/// Events per second, or as fast as the broker takes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// This many events a second
    PerSecond(f64),
    /// No pause between events
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let (number, seconds) = match text.split_once('/') {
            None => (text, 1.0),
            Some((number, "s")) => (number, 1.0),
            Some((number, "m" | "min")) => (number, 60.0),
            Some((number, "h")) => (number, 3600.0),
            Some((_, unit)) => return Err(format!("unknown unit '/{unit}': use /s, /min or /h")),
        };
        let events: f64 = number.trim().parse().map_err(|_| format!("'{text}' is no rate: try 50/s, 90/min or max"))?;
        if events.is_finite() && events > 0.0 {
            Ok(Self::PerSecond(events / seconds))
        } else {
            Err(format!("'{text}' is no rate: it must be above zero"))
        }
    }
}

/// A place on the sphere, degrees: latitude north, longitude east.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees north, -90 to 90
    pub lat: f64,
    /// Degrees east, -180 to 180
    pub lon: f64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (lat, lon) =
            text.split_once(',').ok_or_else(|| format!("'{text}' is no place: use LAT,LON as in 40.4168,-3.7038"))?;
        Ok(Self { lat: parse_latitude(lat)?, lon: parse_longitude(lon)? })
    }
}

/// Where a read of history starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum From {
    /// The oldest record that the broker still has
    #[default]
    Earliest,
    /// The first record of each partition at or after this time, in milliseconds since 1970 UTC
    TimestampMs(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        let time = text
            .strip_prefix('@')
            .ok_or_else(|| format!("'{text}': use earliest, or @TIME as in @2026-01-31T09:00:00Z"))?;
        parse_time(time).map(Self::TimestampMs)
    }
}

/// A moment, in milliseconds since 1970 UTC.
fn parse_time(time: &str) -> Result<i64, String> {
    if let Ok(timestamp) = time.parse::<jiff::Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    time.parse::<i64>().map_err(|_| {
        format!("'{time}' is no time: use 2026-01-31T09:00:00Z (with Z or an offset such as +01:00) or milliseconds since 1970")
    })
}

fn parse_until(text: &str) -> Result<Until, String> {
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time).map(Until::TimestampMs);
    }
    if text.trim().is_empty() {
        return Err("use offsets as in 'pokemons 0:120 1:98, users 0:7', or @TIME".to_owned());
    }
    text.parse().map(Until::Offsets).map_err(|error: BadAsOf| error.to_string())
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval.is_zero() => Err("use at least 1ms".to_owned()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}

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
    /// Replay the newest results this often, beside the live run, and compare
    #[arg(long, value_parser = parse_interval, value_name = "DURATION")]
    pub verify: Option<Duration>,
    /// Events per second of each Pokémon generator
    #[arg(long, default_value = "50/s", allow_hyphen_values = true)]
    pub rate: Rate,
    /// Logins and logoffs per second
    #[arg(long, default_value = "10/s", allow_hyphen_values = true)]
    pub user_rate: Rate,
    /// How a logoff looks in Kafka
    #[arg(long, value_enum, default_value = "tombstone")]
    pub logoff: Logoff,
    /// Makes every generated event the same as in another run
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
}

/// `tallgrass pokemon-gen`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass pokemon-gen
  tallgrass pokemon-gen --rate max --count 3000000
  tallgrass pokemon-gen --near 35.6762,139.6503 --near 40.7128,-74.0060 --spread-km 2 --seed 7")]
pub struct PokemonGen {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    /// CSV of species; its columns become the JSON's fields
    #[arg(long, default_value = "data/pokemon.csv", value_name = "FILE")]
    pub pokedex: PathBuf,
    /// Topic to produce to
    #[arg(long, default_value = "pokemons")]
    pub topic: String,
    /// Events per second (50/s, 90/min), or max
    #[arg(long, default_value = "50/s", allow_hyphen_values = true)]
    pub rate: Rate,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// A spawn point (repeatable) [default: Madrid and Buenos Aires]
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    pub near: Vec<Place>,
    /// How far from its spawn point a Pokémon appears at most, km
    #[arg(long, default_value = "5", value_name = "KM", value_parser = parse_positive, allow_hyphen_values = true)]
    pub spread_km: f64,
    /// Same seed, same events
    #[arg(long)]
    pub seed: Option<u64>,
}

/// How a logoff looks in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Logoff {
    /// A null value under the user's key
    Tombstone,
    /// The whole user with "action":"logoff"
    Action,
}

/// `tallgrass user-gen`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass user-gen
  tallgrass user-gen --users 50 --rate 2/s --logoff action
  tallgrass user-gen --rate max --count 600000 --seed 1")]
pub struct UserGen {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    /// Topic to produce to
    #[arg(long, default_value = "users")]
    pub topic: String,
    /// How many users there are
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: u32,
    /// Events per second (10/s, 90/min), or max
    #[arg(long, default_value = "10/s", allow_hyphen_values = true)]
    pub rate: Rate,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Same seed, same events
    #[arg(long)]
    pub seed: Option<u64>,
    /// How a logoff looks in Kafka
    #[arg(long, value_enum, default_value = "tombstone")]
    pub logoff: Logoff,
}

/// `tallgrass dashboard`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass dashboard                         tiles, redrawn in place
  tallgrass dashboard --once --format json    up to the end offsets as of now, then exit
  tallgrass dashboard --format ndjson         a line for each result that changes, with its as-of
  tallgrass dashboard --verify 30s            beside it, a replay checks the numbers
  tallgrass dashboard --queries my-queries")]
pub struct Dashboard {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub batching: Batching,
    /// Read up to the end offsets as of the start, print the results and exit
    #[arg(long)]
    pub once: bool,
    /// How --once prints. Without --once only ndjson, which then writes a line for each result that changes, for ever
    #[arg(
        long,
        value_enum,
        default_value = "table",
        requires_ifs = [("table", "once"), ("json", "once"), ("csv", "once"), ("markdown", "once")]
    )]
    pub format: Format,
    /// Replay the newest results this often, beside the live run, and compare
    #[arg(long, value_parser = parse_interval, value_name = "DURATION", conflicts_with = "once")]
    pub verify: Option<Duration>,
    /// Time between two refreshes (more where a refresh takes long, or a file's @refresh says so)
    #[arg(long, default_value = "50ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub refresh: Duration,
    /// Rows that a view without an incremental form may keep
    #[arg(long, default_value = "5000000", value_name = "ROWS")]
    pub max_retained_rows: usize,
}

/// `tallgrass login-checker`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass login-checker                     run it twice: the two share the partitions
  tallgrass login-checker --group audit       a second, independent check")]
pub struct LoginChecker {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub batching: Batching,
    /// Consumer group; its instances share the partitions
    #[arg(long, default_value = "login-checker", value_parser = parse_group)]
    pub group: String,
}

/// `tallgrass control-panel`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass control-panel --lat 40.4168 --lon=-3.7038 --radius-km 3
  tallgrass control-panel --lat 40.4168 --lon=-3.7038 --id sol --from-beginning")]
pub struct ControlPanel {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub batching: Batching,
    /// Degrees north
    #[arg(long, allow_hyphen_values = true, value_parser = parse_latitude)]
    pub lat: f64,
    /// Degrees east
    #[arg(long, allow_hyphen_values = true, value_parser = parse_longitude)]
    pub lon: f64,
    /// How near is near, km
    #[arg(long, default_value = "3", value_name = "KM", value_parser = parse_positive, allow_hyphen_values = true)]
    pub radius_km: f64,
    /// Name of this panel; its consumer group is control-panel-ID [default: generated]
    #[arg(long, value_parser = parse_name)]
    pub id: Option<String>,
    /// Show history first (a panel started again with the same --id goes on where it stopped)
    #[arg(long)]
    pub from_beginning: bool,
}

/// `tallgrass replay`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass replay                                   every dashboard file
  tallgrass replay by_type top_species --format json
  tallgrass replay spawns_per_minute --from @2026-01-31T09:00:00Z --format csv
  tallgrass replay --until 'pokemons 0:120 1:98, users 0:7'
  tallgrass replay --format markdown --output report/")]
pub struct Replay {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    /// Names of dashboard files, without .sql [default: all]
    #[arg(value_name = "VIEW")]
    pub views: Vec<String>,
    /// earliest, or @TIME (RFC 3339 or milliseconds since 1970); keyed tables always start at the
    /// earliest record, since their rows are what all updates left
    #[arg(long, default_value = "earliest")]
    pub from: From,
    /// Stop exactly there, and read no record at or above: OFFSETS (TOPIC PARTITION:OFFSET …, as replay prints them on a
    /// terminal at its end, or what a line of `dashboard --format ndjson` gives as `as_of`), or @TIME (the first record of each
    /// partition of that time or later) [default: the ends as of now]
    #[arg(long, value_name = "OFFSETS|@TIME", value_parser = parse_until)]
    pub until: Option<Until>,
    /// How the rows are written
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Write one file per view into this folder instead of stdout
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `tallgrass query`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass query \"SELECT name, count(*) FROM pokemons GROUP BY name ORDER BY 2 DESC LIMIT 5\"
  tallgrass query \"SELECT * FROM users WHERE _partition = 0\" --format ndjson
  tallgrass query \"EXPLAIN SELECT count(*) FROM pokemons WHERE _offset >= 1000\"
  tallgrass query \"SHOW TABLES\"")]
pub struct Query {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    /// One SELECT, EXPLAIN or SHOW statement
    #[arg(allow_hyphen_values = true)]
    pub sql: String,
    /// How the rows are written
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// `tallgrass verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass verify                                   a live run up to now, and its replay
  tallgrass verify by_type
  tallgrass dashboard --format ndjson > today.ndjson
  tallgrass verify --against today.ndjson            tomorrow, or on another machine

Exit code 0 says that no result differs, 1 that one does, or that nothing could be compared.")]
pub struct Verify {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connection: Connection,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub queries: Queries,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub batching: Batching,
    /// Names of dashboard files, without .sql [default: all]
    #[arg(value_name = "VIEW")]
    pub views: Vec<String>,
    /// Instead of a live run: lines of `dashboard --format ndjson`, the last one of each view; - is stdin
    #[arg(long, value_name = "FILE|-")]
    pub against: Option<PathBuf>,
    /// Rows that a view without an incremental form may keep
    #[arg(long, default_value = "5000000", value_name = "ROWS")]
    pub max_retained_rows: usize,
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

fn parse_property(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("'{text}': use KEY=VALUE"))
}

/// `HOST:PORT[,HOST:PORT…]`; without a port it is 9092.
fn parse_brokers(text: &str) -> Result<String, String> {
    for broker in text.split(',').map(str::trim) {
        let address = broker.split_once("://").map_or(broker, |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            // An IPv6 address without a port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (address, None),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        if host.is_empty() {
            return Err(format!("'{broker}' is no broker: use HOST:PORT as in 127.0.0.1:9092"));
        }
        if let Some(port) = port
            && port.parse::<u16>().ok().is_none_or(|port| port == 0)
        {
            return Err(format!("'{port}' is no port: use 1 to 65535"));
        }
    }
    Ok(text.to_owned())
}

fn parse_group(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a consumer group needs a name".to_owned());
    }
    Ok(text.to_owned())
}

/// A name that becomes a part of a consumer group's.
fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(allowed) {
        return Err(format!("'{}' is no name: use letters, digits, '.', '_' and '-'", text.escape_debug()));
    }
    Ok(text.to_owned())
}

/// Characters of a name at most; Kafka itself takes groups of up to 32,767.
const MAX_NAME: usize = 200;

fn parse_bounded(text: &str, what: &str, limit: f64) -> Result<f64, String> {
    let degrees: f64 = text.trim().parse().map_err(|_| format!("'{text}' is no {what}"))?;
    if (-limit..=limit).contains(&degrees) {
        Ok(degrees)
    } else {
        Err(format!("{what} {text} is not within -{limit} to {limit}"))
    }
}

fn parse_latitude(text: &str) -> Result<f64, String> {
    parse_bounded(text, "latitude", 90.0)
}

fn parse_longitude(text: &str) -> Result<f64, String> {
    parse_bounded(text, "longitude", 180.0)
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err(format!("'{text}' must be a number above zero")),
    }
}
