//! The live loop: from messages to results, all of them at one as-of.
//!
//! ```text
//!  Feed (a thread)                      Engine (a task)                          servers, terminal
//!  BatchReader ─▶ TopicDecoder ─▶ MicroBatch ─▶ keyed tables, reducers ─(refresh)─▶ Snapshot { as_of, results }
//!                                  bounded
//!                                  channel
//!  Watch ─(a file was saved)─▶ Plan ─▶ Rebuild: an engine and a feed of its own ─(at one as-of)─▶ joins the running ones
//! ```
//!
//! The engine takes in whole micro-batches and refreshes between two of them, so no result ever mixes two moments.
//!
//! ```no_run
//! use std::time::Duration;
//! use tallgrass_kafka::KafkaConfig;
//! use tallgrass_pipeline::{BatchLimits, Live, LiveConfig, Variants};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), tallgrass_pipeline::LiveError> {
//! let mut live = Live::start(LiveConfig {
//!     kafka: KafkaConfig::new("127.0.0.1:9092"),
//!     queries: "queries".into(),
//!     limits: BatchLimits::default(),
//!     refresh: Duration::from_millis(50),
//!     max_retained_rows: 1_000_000,
//!     bounded: true,
//!     watch: false,
//!     variants: Variants::default(),
//! })
//! .await?;
//! let print = |_: &Live, snapshot: tallgrass_pipeline::Snapshot| {
//!     for view in &snapshot.results {
//!         println!("{}: {:?}", view.name, view.rows);
//!     }
//! };
//! live.run(&CancellationToken::new(), print).await?;
//! # Ok(())
//! # }
//! ```

mod engine;
mod error;
mod feed;
mod files;
mod group;
mod history;
mod input;
mod live;
mod named_view;
mod planning;
mod published;
mod rebuild;
mod status;
mod variants;
mod watch;

pub use engine::{Engine, Snapshot};
pub use error::LiveError;
pub use feed::{BatchLimits, Feed, FeedError, FeedEvent, FeedUntil, GoOn};
pub use files::{Definitions, FileState, Swap};
pub use group::{AppendingView, GroupError, GroupMember, HandlerError, MemberEvent, RowHandler};
pub use input::{FeedInput, FeedTopic, InputId, MicroBatch};
pub use live::{Live, LiveConfig};
pub use named_view::{Cost, NamedView, ViewResult};
pub use published::{Newest, Published};
pub use status::{RebuildStatus, Status, TopicStatus};
pub use variants::{MAX_VARIANTS, Variant, Variants};
