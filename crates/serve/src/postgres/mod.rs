//! The Postgres protocol over a live run: views by their files' names, relations as bounded reads.
//!
//! ```text
//!  psql, JDBC, Grafana ──▶ connection ──▶ service ──▶ text      SET, SHOW, BEGIN: answered here
//!                          (one thread)      │
//!                                            ▼ on the workers: few threads of low priority
//!                                 session ──▶ plan ──▶ run ──▶ encode ──▶ rows, a chunk ahead of the client
//!                                    ▲
//!            newest Shot ──▶ tables ─┘   one moment for all views of a statement
//! ```
//!
//! # Contract
//! A statement only reads. It ends within its time limit, or when its client cancels it or leaves, and with it whatever
//! reads Kafka for it; what it may hold is bounded with all others of the server. The live loop is not asked and does not
//! wait: its newest refresh lies where it always does, and the threads of statements give way to it.

mod client;
mod connection;
mod encode;
mod errors;
mod functions;
mod interrupt;
mod login;
mod measured;
mod plan;
mod run;
mod server;
mod service;
mod session;
mod settings;
mod startup;
mod tables;
mod text;
mod wire;

pub use self::login::{Login, LoginError, PASSWORD_VARIABLE};
pub use self::server::PgServer;
