//! Groups of options that several commands take.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{Listen, parse_brokers, parse_property};
use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::BatchLimits;
use tallgrass_serve::AllowedHost;

/// The cluster to connect to.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Bootstrap servers, HOST:PORT[,HOST:PORT…] [env: TALLGRASS_BROKERS]
    #[arg(
        short,
        long,
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

/// The folder of SQL.
#[derive(Debug, Clone, Args)]
pub struct Queries {
    /// Folder of sources.sql, dashboard/*.sql, panels/*.sql and `login_checker.sql`
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

/// The servers of a live run.
#[derive(Debug, Clone, Args)]
pub struct Listening {
    /// Serve the page and its API at ADDRESS:PORT, or PORT of 127.0.0.1, or `off` [default: 8080, or the next free port]
    #[arg(long, value_name = "ADDRESS", help_heading = "Servers")]
    pub listen: Option<Listen>,
    /// Also accept this Host, as behind a proxy: NAME or NAME:PORT (repeatable). Any other is refused
    #[arg(long, value_name = "NAME", help_heading = "Servers")]
    pub allow_host: Vec<AllowedHost>,
    /// Serve the views and relations to psql and other Postgres clients at this address [default: off; in demo 5433, or the
    /// next free port]
    #[arg(long, value_name = "ADDRESS", help_heading = "Servers")]
    pub pg: Option<Listen>,
    /// Password of Postgres clients: the first line of FILE (or `TALLGRASS_PG_PASSWORD`); needed beyond loopback
    #[arg(long, value_name = "FILE", help_heading = "Servers")]
    pub pg_password_file: Option<PathBuf>,
}
