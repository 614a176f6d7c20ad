//! Creates and describes topics, where the broker can.
//!
//! The embedded broker knows no admin requests and would let them time out; it is recognised by its cluster's name. There a
//! missing topic is created by asking for it, with the broker's own number of partitions (its owner can do better, see
//! [`super::EmbeddedBroker::create_topic`]).

use std::time::Instant;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use super::cluster::{Cluster, REQUEST_TIMEOUT, SETTLE};
use super::error::KafkaError;
use super::log::{ASKS_ONLY, ClientLog};

impl Cluster {
    /// Whether the topic keeps the newest record of each key; `false` when the broker cannot say.
    pub fn is_compacted(&self, topic: &str) -> Result<bool, KafkaError> {
        if self.is_embedded() {
            return Ok(false);
        }
        let resource = ResourceSpecifier::Topic(topic);
        let answer = block_on(self.admin()?.describe_configs([&resource], &options()))
            .map_err(|source| KafkaError::client(format!("describe topic '{topic}'"), source))?;
        match answer.into_iter().next() {
            Some(Ok(described)) => {
                let policy = described.get("cleanup.policy").and_then(|entry| entry.value.as_deref());
                Ok(policy.is_some_and(|policy| policy.split(',').any(|part| part.trim() == "compact")))
            }
            Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                Err(KafkaError::TopicMissing { topic: topic.to_owned() })
            }
            // A user without the right to describe can still read.
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// Creates the topic if it is missing, and waits until it can be used; an existing one is left as it is.
    pub fn ensure_topic(&self, topic: &str, partitions: i32, compacted: bool) -> Result<(), KafkaError> {
        match self.partitions(topic) {
            Err(KafkaError::TopicMissing { .. }) => {}
            found => return found.map(|_| ()),
        }
        if self.is_embedded() {
            self.create_by_asking(topic)?;
        } else {
            self.create(topic, partitions, compacted)?;
        }
        self.await_topic(topic)
    }

    fn create(&self, topic: &str, partitions: i32, compacted: bool) -> Result<(), KafkaError> {
        // -1: as many copies as the cluster's own default says.
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        if compacted {
            new = new.set("cleanup.policy", "compact");
        }
        let answer = block_on(self.admin()?.create_topics([&new], &options()))
            .map_err(|source| KafkaError::client(format!("create topic '{topic}'"), source))?;
        match answer.into_iter().next() {
            // Another client was first.
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => {
                Err(KafkaError::Admin { action: "create", topic: topic.to_owned(), reason: code.to_string() })
            }
            None => {
                Err(KafkaError::Admin { action: "create", topic: topic.to_owned(), reason: "no answer".to_owned() })
            }
        }
    }

    fn create_by_asking(&self, topic: &str) -> Result<(), KafkaError> {
        let asker: BaseProducer<ClientLog> = self
            .config
            .for_producer()?
            .create_with_context(ClientLog::new(ASKS_ONLY))
            .map_err(|source| KafkaError::client("create a metadata client", source))?;
        asker
            .client()
            .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
            .map(|_| ())
            .map_err(|source| KafkaError::client(format!("create topic '{topic}'"), source))
    }

    /// A topic just created is missing from the metadata of some brokers for a moment.
    fn await_topic(&self, topic: &str) -> Result<(), KafkaError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            match self.watermarks(topic) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(SETTLE),
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<ClientLog>, KafkaError> {
        self.config
            .for_admin()?
            .create_with_context(ClientLog::new("admin"))
            .map_err(|source| KafkaError::client("create an admin client", source))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}
