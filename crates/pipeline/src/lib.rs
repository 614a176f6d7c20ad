//! The live loop: from messages to results, all of them at one as-of.
//!
//! ```text
//!  Feed (a thread)                      Engine (a task)                          whoever looks
//!  BatchReader ─▶ TopicDecoder ─▶ MicroBatch ─▶ keyed tables, reducers ─(refresh)─▶ Snapshot { as_of, results }
//!                                  bounded
//!                                  channel
//!  Watch ─(a file was saved)─▶ Plan ─▶ Rebuild: an engine and a feed of its own ─(at one as-of)─▶ joins the running ones
//! ```
//!
//! The engine takes in whole micro-batches and refreshes between two of them, so no result ever mixes two moments.

mod engine;
mod feed;
mod group;
mod live;
mod planning;
mod reading;
mod rebuild;
mod shot;
mod status;
mod variants;
mod watch;

pub use engine::{Cost, Engine, NamedView, Snapshot, ViewResult};
pub use feed::{BatchLimits, Feed, FeedError, FeedEvent, FeedInput, FeedTopic, FeedUntil, GoOn, InputId, MicroBatch};
pub use group::{Act, ActError, AppendingView, GroupError, GroupMember, MemberEvent};
pub use live::{Live, LiveConfig, LiveError};
pub use rebuild::RebuildStatus;
pub use shot::{Newest, Shot};
pub use status::{FileState, Sources, Status, Swap, TopicStatus};
pub use variants::{MAX_VARIANTS, Variant, Variants};
