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
//!
//! ```no_run
//! use tallgrass_kafka::KafkaConfig;
//! use tallgrass_pipeline::{Published, Variants};
//! use tallgrass_serve::{App, HttpServer, bind};
//! use tokio::sync::watch;
//!
//! let (newest, looking) = watch::channel(None);
//! let app = App {
//!     name: "orders".to_owned(),
//!     kafka: KafkaConfig::new("127.0.0.1:9092"),
//!     queries: "queries".into(),
//!     newest: looking,
//!     variants: Variants::default(),
//!     proofs: None,
//! };
//! let server = HttpServer::start(bind("127.0.0.1:8080".parse()?, true)?, app, Vec::new())?;
//! println!("the page is at http://{}", server.address());
//! // The live loop leaves each refresh there: newest.send_replace(Some(published)).
//! # let _: watch::Sender<Option<std::sync::Arc<Published>>> = newest;
//! server.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
