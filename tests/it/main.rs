//! What a user would notice, in one test binary (each would link all of DataFusion).

mod kafka;
mod kafka_group;
mod scan;
mod support;
