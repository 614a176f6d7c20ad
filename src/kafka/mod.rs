//! The only user of librdkafka.

mod config;
mod offsets;

pub use config::KafkaConfig;
pub use offsets::AsOf;
