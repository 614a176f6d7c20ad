//! What an engine reads, and what a feed hands it: relations with the wanted columns, and their rows in micro-batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tallgrass_kafka::AsOf;
use tallgrass_relation::{KeyedTable, RelationRows, Wanted};

/// Tells the inputs of a pipeline apart: a relation with the columns that are wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId(u64);

impl InputId {
    /// One that no other input of this process has.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What is read of a topic for one input.
#[derive(Debug, Clone)]
pub struct FeedInput {
    /// Whose rows these will be.
    pub id: InputId,
    /// The relation over the topic, with the wanted columns.
    pub wanted: Wanted,
}

/// The same on the engine's side.
#[derive(Debug)]
pub(super) struct EngineInput {
    pub(super) feed: FeedInput,
    /// The current rows of a keyed relation.
    pub(super) table: Option<KeyedTable>,
}

/// A topic to read, and what of it.
#[derive(Debug, Clone)]
pub struct FeedTopic {
    /// Its name.
    pub topic: Arc<str>,
    /// Everything that is wanted of it; a record is parsed once for all that share a declaration.
    pub inputs: Vec<FeedInput>,
    /// Not read until [`GoOn::Follow`](super::GoOn::Follow) says where from.
    pub later: bool,
}

/// Inputs by the topics that they come from.
pub(super) fn topics(inputs: Vec<FeedInput>) -> Vec<FeedTopic> {
    let mut topics: Vec<FeedTopic> = Vec::new();
    for input in inputs {
        let topic = input.wanted.relation.topic();
        match topics.iter_mut().find(|known| known.topic == *topic) {
            Some(known) => known.inputs.push(input),
            None => topics.push(FeedTopic { topic: Arc::clone(topic), inputs: vec![input], later: false }),
        }
    }
    topics
}

/// Everything that one round of reading gave.
#[derive(Debug, Default)]
pub struct MicroBatch {
    /// The rows of each input; one that got none may be left out.
    pub rows: Vec<(InputId, RelationRows)>,
    /// Where each partition that is read stands now.
    pub next_offsets: AsOf,
    /// Messages read, bad ones too.
    pub messages: u64,
    /// The same by topic; one that had none is left out.
    pub messages_of: Vec<(Arc<str>, u64)>,
    /// Bytes of their keys and values.
    pub bytes: u64,
}
