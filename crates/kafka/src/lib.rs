//! The only user of librdkafka: everything else sees topics, offsets and messages.
//!
//! ```text
//!  Cluster ──── what is there: topics, partitions, watermarks, offsets of a time, commits (blocking metadata calls)
//!  BatchReader ─ assigned partitions at explicit offsets, many messages a call, no group        dashboards, replay
//!  GroupReader ─ a consumer group shares the partitions, commits what has been acted on         checkers, panels
//!  Producer ──── idempotent, waits when full, counts every delivery                             generators
//!  EmbeddedBroker, HistoryGuard: a broker in this process, and a watch over what a broker no longer has
//! ```
//!
//! Offsets are always *next* offsets: the first one that has not been read.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use tallgrass_kafka::{BatchReader, EmbeddedBroker, Producer, Start};
//!
//! let broker = EmbeddedBroker::start()?;
//! broker.create_topic("greetings", 1)?;
//! let producer = Producer::new(&broker.config())?;
//! producer.send("greetings", Some(b"en"), Some(b"hello"))?;
//! producer.flush(Duration::from_secs(10))?;
//!
//! let start = Start { topic: Arc::from("greetings"), partition: 0, next_offset: 0 };
//! let mut reader = BatchReader::open(&broker.config(), &[start])?;
//! let mut values = Vec::new();
//! while values.is_empty() {
//!     let keep = |message: tallgrass_kafka::Message<'_>| values.extend(message.value.map(<[u8]>::to_vec));
//!     reader.read(100, Duration::from_secs(1), keep, |_| {})?;
//! }
//! assert_eq!((values[0].as_slice(), reader.next_offset(0, 0)), (&b"hello"[..], Some(1)));
//! # Ok::<(), tallgrass_kafka::KafkaError>(())
//! ```

mod admin;
mod cluster;
mod committed;
mod config;
mod embedded;
mod error;
mod group;
mod guard;
mod log;
mod message;
mod native;
mod offsets;
mod producer;
mod reader;

pub use cluster::{Cluster, Watermarks};
pub use config::KafkaConfig;
pub use embedded::EmbeddedBroker;
pub use error::KafkaError;
pub use group::{GroupEvent, GroupReader, GroupStart};
pub use guard::{HistoryGuard, HistoryStart};
pub use message::{Message, Start};
pub use offsets::{AsOf, BadAsOf};
pub use producer::{Delivered, Producer, Record};
pub use reader::{BatchReader, Signal};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_may_move_between_threads_and_some_be_shared() {
        fn moves<T: Send>() {}
        fn shared<T: Send + Sync>() {}
        moves::<BatchReader>();
        moves::<GroupReader>();
        shared::<Cluster>();
        shared::<Producer>();
        shared::<EmbeddedBroker>();
        shared::<KafkaError>();
    }
}
