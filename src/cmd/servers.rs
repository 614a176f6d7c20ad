//! The servers of a live run, and their addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::output::Usage;
use crate::cli::{Listen, Listening};
use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::{Newest, Variants};
use tallgrass_proof::Verifier;
use tallgrass_serve::postgres::{Login, LoginError, PASSWORD_VARIABLE, PgServer};
use tallgrass_serve::{App, HttpServer, bind};

/// The default addresses of a role.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    page: u16,
    pg: Option<u16>,
}

impl Defaults {
    /// Of `dashboard`.
    pub const DASHBOARD: Self = Self { page: 8080, pg: None };
    /// Of `demo`.
    pub const DEMO: Self = Self { page: 8080, pg: Some(5433) };
}

/// A live run, for its servers.
pub fn app(
    name: &str,
    kafka: &KafkaConfig,
    queries: &Path,
    newest: &Newest,
    variants: &Variants,
    verifier: Option<&Verifier>,
) -> App {
    App {
        name: name.to_owned(),
        kafka: kafka.clone(),
        queries: queries.to_owned(),
        newest: newest.subscribe(),
        variants: variants.clone(),
        proofs: verifier.map(|verifier| Arc::clone(verifier.proofs())),
    }
}

/// The running servers.
#[derive(Debug, Default)]
pub struct Servers {
    http: Option<HttpServer>,
    pg: Option<PgServer>,
}

impl Servers {
    /// Refuses addresses that could never be served, before anything else starts.
    pub fn check(listening: &Listening, defaults: Defaults) -> anyhow::Result<()> {
        place(listening.pg, defaults.pg).map_or(Ok(()), |(address, _)| login(address, listening).map(|_| ()))
    }

    /// Starts the requested servers; prints their addresses on stderr.
    ///
    /// An address that was given must be free; for a default, the next free port is taken.
    pub fn start(listening: &Listening, defaults: Defaults, app: &App) -> anyhow::Result<Self> {
        let mut servers = Self::default();
        if let Some((address, or_next)) = place(listening.listen, Some(defaults.page)) {
            match bind(address, or_next) {
                Ok(listener) => {
                    let http = HttpServer::start(listener, app.clone(), listening.allow_host.clone())?;
                    eprintln!("page at http://{}", http.address());
                    if !http.address().ip().is_loopback() {
                        tracing::warn!("the page has no password: anyone who reaches this address can read it");
                    }
                    servers.http = Some(http);
                }
                // It was not requested, and everything else can still run.
                Err(error) if or_next => tracing::warn!("no page: no port from {address} on is free: {error}"),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot serve the page at {address} (see --listen)"));
                }
            }
        }
        if let Some((address, or_next)) = place(listening.pg, defaults.pg) {
            let login = login(address, listening)?;
            let listener = bind(address, or_next).with_context(|| format!("cannot serve Postgres at {address}"))?;
            let pg = PgServer::start(listener, app.clone(), login)?;
            let address = pg.address();
            eprintln!("postgres at {address}: psql -h {} -p {}", address.ip(), address.port());
            servers.pg = Some(pg);
        }
        Ok(servers)
    }

    /// The page's address, for people.
    pub fn page(&self) -> Option<String> {
        self.http.as_ref().map(|http| format!("http://{}", http.address()))
    }

    /// Stops them.
    pub fn stop(self) {
        if let Some(http) = self.http {
            http.stop();
        }
        if let Some(pg) = self.pg {
            pg.stop();
        }
    }
}

/// The login rule of an address; checked before anything listens there.
fn login(address: SocketAddr, listening: &Listening) -> anyhow::Result<Login> {
    let environment = std::env::var(PASSWORD_VARIABLE).ok();
    Login::new(address, listening.pg_password_file.as_deref(), environment).map_err(|error| match error {
        LoginError::NoPassword(_) | LoginError::TooShort => Usage(error.to_string()).into(),
        other => other.into(),
    })
}

/// The address, and whether the next free port will do.
fn place(given: Option<Listen>, default: Option<u16>) -> Option<(SocketAddr, bool)> {
    match given {
        Some(Listen::Off) => None,
        Some(Listen::At(address)) => Some((address, false)),
        None => default.map(|port| (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), true)),
    }
}
