//! What a feed is asked for, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::input::MicroBatch;
use tallgrass_kafka::{AsOf, KafkaError, Watermarks};
use tallgrass_relation::RelationError;

/// When a micro-batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages at most.
    pub rows: usize,
    /// Bytes of keys and values at most (one message may exceed it).
    pub bytes: usize,
    /// How long the first message waits for others at most.
    pub linger: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { rows: 8192, bytes: 4 << 20, linger: Duration::from_millis(50) }
    }
}

/// Where a feed stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedUntil {
    /// Nowhere.
    Stopped,
    /// At the end offsets as of its start; a topic that does not exist is an error.
    Ends,
    /// The same, and a topic that does not exist has nothing to read yet.
    EndsOfKnownTopics,
}

/// How a feed goes on that has reached its ends.
#[derive(Debug, Clone)]
pub enum GoOn {
    /// Exactly up to these offsets; a partition that is there already, or that is not named, stays where it is.
    UpTo(AsOf),
    /// Without an end. Partitions that have not been read yet begin at these offsets, where they are named.
    Follow(AsOf),
}

/// What a feed hands on.
#[derive(Debug)]
pub enum FeedEvent {
    /// Where reading starts; once for each partition, before any of its rows.
    Starts {
        /// What each partition of a topic held when the feed found it.
        watermarks: BTreeMap<Arc<str>, BTreeMap<i32, Watermarks>>,
        /// The offsets at which these partitions start.
        next_offsets: AsOf,
    },
    /// New rows.
    Batch(MicroBatch),
    /// Where a topic's partitions end now, asked every few seconds: what is below and has not arrived is lag.
    Ends {
        /// The topic.
        topic: Arc<str>,
        /// By partition.
        watermarks: BTreeMap<i32, Watermarks>,
    },
    /// Every end has been reached; [`Feed::go_on`](super::Feed::go_on) sets others.
    Ended,
    /// The log is no longer the one that was read: a topic was deleted or created again, or retention overtook the reader.
    HistoryChanged(KafkaError),
    /// Something that passes by itself: a broker that does not answer.
    Trouble(KafkaError),
    /// A broker that answers again.
    Recovered,
    /// The last event: reading cannot go on.
    Failed(FeedError),
}

/// Why a feed gave up.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The client could not be made or asked.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The rows could not be put together.
    #[error(transparent)]
    Relation(#[from] RelationError),
}
