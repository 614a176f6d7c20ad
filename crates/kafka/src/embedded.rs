//! A Kafka broker inside this process, for the demo and for tests: librdkafka's own in-memory cluster on 127.0.0.1.
//!
//! Any Kafka client can join at its address. It is exact in order, resumption, watermarks, ends of partitions, groups and
//! commits. Its limits: it keeps the smaller of 5 MiB *as sent* and 100,000 batches per partition and drops the oldest
//! silently (see [`super::HistoryGuard`]); it has no compaction, no look-up by time, no transactions and no admin requests;
//! a group's first join takes three seconds.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;

use super::config::KafkaConfig;
use super::error::KafkaError;

/// Clients of the embedded broker do better with these: an empty fetch sleeps its whole wait on a connection that other
/// partitions share, and a member that left is missed for a session.
const CLIENT_SETTINGS: &[(&str, &str)] = &[
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "500"),
    ("fetch.wait.max.ms", "10"),
    ("fetch.queue.backoff.ms", "5"),
    ("linger.ms", "50"),
];

enum BrokerCommand {
    CreateTopic { name: String, partitions: i32, answer: Sender<Result<(), String>> },
}

/// Runs until it is dropped, with all its records.
///
/// The cluster's handle is bound to the thread that made it, so a thread of its own keeps it and takes commands: the broker
/// can then be shared and moved like any other value.
pub struct EmbeddedBroker {
    brokers: String,
    commands: Option<Sender<BrokerCommand>>,
    keeper: Option<JoinHandle<()>>,
}

/// How long the broker may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

impl EmbeddedBroker {
    /// Starts on a free port of 127.0.0.1, in about a millisecond.
    pub fn start() -> Result<Self, KafkaError> {
        let (commands, inbox) = channel();
        let (ready, started) = channel();
        let keeper = std::thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || keep(&ready, &inbox))
            .map_err(|error| broken(error.to_string()))?;
        let brokers = started.recv().map_err(|_| broken("it ended at its start".to_owned()))?.map_err(broken)?;
        Ok(Self { brokers, commands: Some(commands), keeper: Some(keeper) })
    }

    /// Its address, `127.0.0.1:PORT`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The configuration of its clients, with the settings that fit it.
    pub fn config(&self) -> KafkaConfig {
        let settings = CLIENT_SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        KafkaConfig::new(&self.brokers).with_properties(settings)
    }

    /// Creates a topic. Its history is bounded per partition, so more partitions hold more.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        let ended = || broken("it has ended".to_owned());
        let (answer, result) = channel();
        let command = BrokerCommand::CreateTopic { name: name.to_owned(), partitions, answer };
        self.commands.as_ref().ok_or_else(ended)?.send(command).map_err(|_| ended())?;
        result.recv().map_err(|_| ended())?.map_err(|reason| broken(format!("cannot create topic '{name}': {reason}")))
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        // Hanging up ends the keeper, and with it the cluster.
        self.commands = None;
        let Some(keeper) = self.keeper.take() else { return };
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !keeper.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!("the embedded broker does not end: its thread is left running");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if keeper.join().is_err() {
            tracing::warn!("the embedded broker ended with a panic");
        }
    }
}

fn keep(ready: &Sender<Result<String, String>>, inbox: &Receiver<BrokerCommand>) {
    let cluster = match MockCluster::new(1) {
        Ok(cluster) => cluster,
        Err(error) => {
            // A dropped receiver means that the caller does not wait.
            ready.send(Err(error.to_string())).ok();
            return;
        }
    };
    ready.send(Ok(cluster.bootstrap_servers())).ok();
    while let Ok(BrokerCommand::CreateTopic { name, partitions, answer }) = inbox.recv() {
        answer.send(cluster.create_topic(&name, partitions, 1).map_err(|error| error.to_string())).ok();
    }
}

fn broken(reason: String) -> KafkaError {
    KafkaError::Embedded { reason }
}
