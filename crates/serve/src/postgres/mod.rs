//! The Postgres protocol over a live run: views by their files' names, relations as bounded reads.
//!
//! ```text
//!  psql, JDBC, Grafana ──▶ connection ──▶ service ──▶ text      SET, SHOW, BEGIN: answered here
//!                          (one thread)      │
//!                                            ▼ on the workers: few threads of low priority
//!                                 session ──▶ plan ──▶ run ──▶ encode ──▶ rows, a chunk ahead of the client
//!                                    ▲
//!            newest Published ──▶ tables ─┘   one moment for all views of a statement
//! ```
//!
//! # Contract
//! A statement only reads. It ends within its time limit, or when its client cancels it or leaves, and with it all reads of
//! Kafka for it; its memory is bounded together with all others of the server. The live loop is not involved and does not
//! wait: statements read its published refresh, and their threads have lower priority.

mod client;
mod connection;
mod copy;
mod encode;
mod errors;
mod float;
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
