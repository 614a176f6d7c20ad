//! Servers over a live run: the page for people, an API for programs, the Postgres protocol.
//!
//! ```text
//!                     ┌─▶ page      tiles, rendered once a refresh for all tabs ─▶ HTML, server-sent events
//!   newest Published ──────┼─▶ api       views as JSON, CSV, Arrow, SVG; changes; health; metrics
//!   (a watch of one)  └─▶ postgres  views by name, relations as bounded reads
//!   panels' own consumer ─▶ panel   what is near a place, one reader and one index for all
//! ```
//!
//! # Contract
//! The live loop never waits for a server: it leaves its newest [`Published`](tallgrass_pipeline::Published) in a place of one. HTTP
//! is served by one thread of its own, SQL over Postgres by a runtime of its own. A request from outside can only name
//! things that exist (a view, a place, a parameter's value); SQL is accepted by Postgres only, which is read-only.

mod api;
mod app;
mod assets;
pub mod captions;
mod guard;
mod http;
mod page;
pub mod panel;
pub mod postgres;
mod problem;
mod selection;

pub use self::app::App;
pub use self::guard::AllowedHost;
pub use self::http::{HttpServer, bind};
