//! The command line: one struct per command.
//!
//! This is only data; `cmd/` has a file per command that takes its struct and runs.
//!
//! ```text
//!  shared       groups of options that several commands take: Connection, Queries, Batching
//!  values       single values: a rate, a place, a moment, a name
//!  generators   pokemon-gen, user-gen
//!  live         demo, dashboard, login-checker, control-panel
//!  bounded      replay, query, verify
//!  setup        check, init, topics
//!  install      completions, man
//!  config       the environment and the config file, for all of these
//! ```

// These comments are the help, and a group of options that is flattened into a command has its own.
#![allow(missing_docs, clippy::doc_markdown)]

mod bounded;
pub mod config;
mod generators;
mod install;
mod live;
mod setup;
mod shared;
mod values;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use self::bounded::{Query, Replay, Verify};
pub use self::generators::{LogoffForm, PokemonGen, UserGen};
pub use self::install::{Completions, Man};
pub use self::live::{ControlPanel, Dashboard, Demo, LOGIN_CHECKER_GROUP, LineFormat, LoginChecker};
pub use self::setup::{Check, Config, ConfigCommand, ConfigShow, Explain, Init, Topics};
pub use self::shared::{Batching, Connection, Listening, Queries};
pub use self::values::{From, Listen, Place, Rate};

/// Live SQL dashboards over Kafka topics: edit a SQL file, see the numbers, replay to prove them.
#[derive(Debug, Parser)]
#[command(
    name = "tallgrass",
    version,
    max_term_width = 100,
    propagate_version = true,
    after_help = "\
Every option can also be set in tallgrass.toml, or in the environment
(--refresh as TALLGRASS_REFRESH): see tallgrass config --help"
)]
pub struct Cli {
    /// Settings [env: TALLGRASS_CONFIG] [default: tallgrass.toml]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    pub config: Option<PathBuf>,
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
    /// Print the email that each login gets; instances of one group share the work
    LoginChecker(LoginChecker),
    /// Show what appears near a place, by a file of queries/panels
    ControlPanel(ControlPanel),
    /// Run the dashboard's SQL over the history of the topics, then exit
    Replay(Replay),
    /// Run one SELECT over the declared relations, then exit
    Query(Query),
    /// Compare live results with a replay up to the same offsets, row by row
    Verify(Verify),
    /// Plan every SQL file and report what is wrong with it
    Check(Check),
    /// Show where a dashboard file's plan is cut: what runs on new rows, and what at a refresh
    Explain(Explain),
    /// Sample topics and write a sources.sql for them
    Init(Init),
    /// Show what topics hold, which relations read them, and how far our groups are
    Topics(Topics),
    /// Show which settings are in effect, and where each comes from
    Config(Config),
    /// Print the completions of a shell
    Completions(Completions),
    /// Print or write manual pages
    Man(Man),
}

impl Command {
    /// The connection of a command that talks to Kafka.
    fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self {
            Self::PokemonGen(PokemonGen { connection, .. })
            | Self::UserGen(UserGen { connection, .. })
            | Self::Dashboard(Dashboard { connection, .. })
            | Self::LoginChecker(LoginChecker { connection, .. })
            | Self::ControlPanel(ControlPanel { connection, .. })
            | Self::Replay(Replay { connection, .. })
            | Self::Query(Query { connection, .. })
            | Self::Verify(Verify { connection, .. })
            | Self::Init(Init { connection, .. })
            | Self::Topics(Topics { connection, .. }) => Some(connection),
            Self::Demo(_)
            | Self::Check(_)
            | Self::Explain(_)
            | Self::Config(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }
}
