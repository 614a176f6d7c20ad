//! Servers over a live run: the page people look at, an API for programs, the Postgres protocol.
//!
//! ```text
//!                     ┌─▶ page      tiles, rendered once a refresh for all tabs ─▶ HTML, server-sent events
//!   newest Shot ──────┼─▶ api       views as JSON, CSV, Arrow, SVG; changes; health; metrics
//!   (a watch of one)  └─▶ postgres  views by name, relations as bounded reads
//!   panels' own consumer ─▶ panel   what is near a place, one reader and one index for all
//! ```
//!
//! # Contract
//! The live loop never waits for a server: it leaves its newest [`Shot`](tallgrass_pipeline::Shot) in a place of one. HTTP
//! is served by one thread of its own, SQL over Postgres by a runtime of its own. Whatever comes in from outside names
//! things that are there (a view, a place, a parameter's value); SQL comes in by Postgres only, which only reads.

pub mod api;
mod app;
mod assets;
pub mod guard;
mod http;
pub mod line;
pub mod page;
pub mod panel;
pub mod postgres;
mod problem;
pub mod wish;
pub mod words;

pub use self::app::{App, ProofSource};
pub use self::guard::AllowedHost;
pub use self::http::{HttpServer, bind};
