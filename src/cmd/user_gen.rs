//! `tallgrass user-gen`: users log in and off in a topic, keyed by their id.

use std::num::NonZeroU32;

use tokio_util::sync::CancellationToken;

use super::Exit;
use super::generate::{self, EventTarget, GenerateError, Generated, Progress};
use crate::cli;
use tallgrass_kafka::KafkaConfig;
use tallgrass_world::users::{Logoff, UserEvents};

/// Partitions of a topic that does not exist yet: a few readers can share it.
pub const PARTITIONS: i32 = 4;

/// What to generate, and the topic.
#[derive(Debug, Clone)]
pub struct UserGenConfig {
    /// Topic to produce to; created compacted, since only the newest record of a user counts.
    pub topic: String,
    /// The number of users.
    pub users: NonZeroU32,
    /// The rate.
    pub rate: cli::Rate,
    /// How many events; `None` runs until it is stopped.
    pub count: Option<u64>,
    /// Same seed, same events: give each generator its own. The users are the same under every seed.
    pub seed: u64,
    /// The form of a logoff.
    pub logoff: Logoff,
}

/// Runs the role until its count is reached or `stop` is cancelled. Blocking.
pub fn generate(
    config: &UserGenConfig,
    kafka: &KafkaConfig,
    stop: &CancellationToken,
    progress: &mut dyn FnMut(Progress),
) -> Result<Generated, GenerateError> {
    let mut events = UserEvents::new(config.users, config.logoff, config.seed);
    let output = EventTarget {
        topic: config.topic.clone(),
        partitions: PARTITIONS,
        compacted: true,
        rate: config.rate,
        count: config.count,
    };
    generate::generate(&output, kafka, stop, progress, &mut |producer| {
        let event = events.next_event();
        producer.send(&output.topic, Some(event.key), event.value)
    })
}

impl From<cli::LogoffForm> for Logoff {
    fn from(logoff: cli::LogoffForm) -> Self {
        match logoff {
            cli::LogoffForm::Tombstone => Self::Tombstone,
            cli::LogoffForm::Action => Self::Action,
        }
    }
}

/// Runs the command.
#[allow(clippy::needless_pass_by_value)] // every command takes its arguments and its token
pub fn run(args: cli::UserGen, stop: CancellationToken) -> anyhow::Result<Exit> {
    let config = UserGenConfig {
        topic: args.topic,
        users: NonZeroU32::new(args.users).ok_or_else(|| anyhow::anyhow!("--users must be above zero"))?,
        rate: args.rate,
        count: args.count,
        seed: args.seed.unwrap_or_else(generate::any_seed),
        logoff: args.logoff.into(),
    };
    let (topic, seed, users) = (&config.topic, config.seed, config.users);
    let plural = if users.get() == 1 { "" } else { "s" };
    let rate = generate::rate_text(config.rate);
    eprintln!("{users} user{plural} log in and off in {topic} at {rate} (seed {seed})");
    generate::run(topic, config.count, |progress| generate(&config, &args.connection.config(), &stop, progress))
}
