//! Clients of the Postgres protocol on the running program: psql, tokio-postgres, JDBC, and the queries of Grafana.

mod clients;
mod grafana;
mod limits;
mod sessions;
mod statements;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use crate::program::{Running, on, queries, start};
use crate::support::{Broker, TIME_LIMIT, broker, skip};

/// Events of the small world.
pub const EVENTS: i64 = 3_000;

/// A running dashboard with the Postgres protocol.
pub struct Served {
    pub broker: Broker,
    pub pokemons: String,
    pub folder: TempDir,
    pub running: Running,
    pub host: String,
    pub port: u16,
}

impl Served {
    /// Over the small world.
    pub fn start() -> Self {
        Self::with_events(EVENTS, &[])
    }

    /// Over so many events, with more arguments.
    pub fn with_events(events: i64, more: &[&str]) -> Self {
        let broker = broker();
        let (pokemons, users) = (broker.topic("pokemons", 12).to_string(), broker.topic("users", 2).to_string());
        generate(&broker, &pokemons, events);
        on(&broker, &["user-gen", "--topic", &users, "--rate", "max", "--count", "200", "--seed", "1"]).good();
        let folder = queries(&pokemons, &users);
        let served = Self::on(broker, pokemons, folder, more);
        served.wait_for_events(events);
        served
    }

    /// Over a folder.
    pub fn on(broker: Broker, pokemons: String, folder: TempDir, more: &[&str]) -> Self {
        let queries = folder.path().display().to_string();
        let mut args = vec!["dashboard", "--format", "ndjson", "--queries", &queries, "--listen", "off"];
        if !more.contains(&"--pg") {
            args.extend(["--pg", "0"]);
        }
        args.extend(more);
        let running = start(&broker, &args);
        let address = running.word_after("postgres at ");
        let (host, port) = address.trim_end_matches(':').rsplit_once(':').expect("an address");
        let host = if host == "0.0.0.0" { "127.0.0.1" } else { host };
        Self { host: host.to_owned(), port: port.parse().expect("a port"), broker, pokemons, folder, running }
    }

    /// Waits until the live views have so many events.
    pub fn wait_for_events(&self, events: i64) {
        let deadline = std::time::Instant::now() + TIME_LIMIT;
        self.run(async |client| {
            loop {
                let rows = client.query("SELECT pokemons_seen FROM pokemons_seen", &[]).await;
                if rows.is_ok_and(|rows| rows[0].get::<_, i64>(0) == events) {
                    return;
                }
                assert!(std::time::Instant::now() < deadline, "not all {events} events are seen");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user("ana").dbname("tallgrass");
        config
    }

    /// A connection; it ends with its runtime.
    pub async fn connect(&self) -> Client {
        connect(&self.config()).await.expect("a connection")
    }

    /// Runs something with a connection.
    pub fn run<T>(&self, work: impl AsyncFnOnce(&Client) -> T) -> T {
        runtime().block_on(async { work(&self.connect().await).await })
    }

    /// psql's output, or its stderr where it fails.
    pub fn psql(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("psql");
        command.args(["-X", "-h", &self.host, "-p", &self.port.to_string(), "-U", "ana", "-d", "tallgrass"]);
        command.args(args).env("PGPASSWORD", "none").env("PAGER", "cat").stdin(Stdio::null());
        let output = command.output().expect("psql starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // psql fails softly where a meta-command does.
        if output.status.success() && output.stderr.is_empty() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// What psql prints for one command.
    #[track_caller]
    pub fn psql_good(&self, command: &str) -> String {
        self.psql(&["-c", command]).unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

/// Produces the same events each time.
pub fn generate(broker: &Broker, topic: &str, count: i64) {
    generate_at(broker, topic, count, "max");
}

/// `rate`: records per second.
pub fn generate_at(broker: &Broker, topic: &str, count: i64, rate: &str) {
    let count = count.to_string();
    on(broker, &["pokemon-gen", "--topic", topic, "--rate", rate, "--count", &count, "--seed", "1"]).good();
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The SQLSTATE and the message of an error.
pub fn state_and_message(error: &tokio_postgres::Error) -> (SqlState, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("no word of the server: {error:?}"));
    (error.code().clone(), error.message().to_owned())
}

/// Whether a client is installed; where it is not, the test says so, or fails where all must be there.
pub fn has(program: &str) -> bool {
    let there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !there {
        assert!(std::env::var_os("TALLGRASS_REQUIRE_CLIENTS").is_none(), "{program} is not installed");
        skip(&format!("{program} is not installed"));
    }
    there
}

/// The program on a folder of its own, which refuses to start.
pub fn refused_at(address: &str, password_file: Option<&Path>) -> crate::program::Run {
    let mut args = vec!["dashboard", "--pg", address, "--listen", "off", "-b", "127.0.0.1:1"];
    let file = password_file.map(|file| file.display().to_string());
    if let Some(file) = &file {
        args.extend(["--pg-password-file", file]);
    }
    crate::program::tallgrass(&args)
}
