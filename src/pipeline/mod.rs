//! The live loop: from messages to results, all of them at one as-of.
//!
//! ```text
//!  Feed (a thread)                      Engine (a task)                          whoever looks
//!  BatchReader ─▶ TopicDecoder ─▶ MicroBatch ─▶ keyed tables, reducers ─(refresh)─▶ Snapshot { as_of, results }
//!                                  bounded
//!                                  channel
//! ```
//!
//! The engine takes in whole micro-batches and refreshes between two of them, so no result ever mixes two moments.

mod engine;
mod feed;
mod live;

pub use engine::{Engine, NamedView, Snapshot, ViewResult};
pub use feed::{BatchLimits, Feed, FeedError, FeedEvent, FeedTopic, MicroBatch};
pub use live::{Live, LiveConfig, LiveError, Status, TopicStatus};
