//! A broker for every test: embedded and its own by default, the one that `TALLGRASS_TEST_BROKERS` names where that is set
//! (`-X` properties for it in `TALLGRASS_TEST_PROPERTIES`, as `key=value,key=value`).
//!
//! Topics have random names, so that tests run side by side on one broker and again on the same one.

// Each module of the test binary takes what it needs.
#![allow(dead_code)]

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use tallgrass_kafka::{BatchReader, Cluster, EmbeddedBroker, KafkaConfig, Message, Producer, Record, Signal, Start};

/// How long any test waits for anything.
pub const TIME_LIMIT: Duration = Duration::from_mins(1);

/// How long one call on a reader waits.
pub const POLL: Duration = Duration::from_millis(100);

/// A broker that lives as long as the test.
pub struct Broker {
    embedded: Option<EmbeddedBroker>,
    config: KafkaConfig,
}

/// The broker of this test.
pub fn broker() -> Broker {
    match std::env::var("TALLGRASS_TEST_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => {
            let properties = std::env::var("TALLGRASS_TEST_PROPERTIES").unwrap_or_default();
            let properties = properties.split(',').filter_map(|property| property.split_once('='));
            let properties: Vec<_> = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            Broker { embedded: None, config: KafkaConfig::new(brokers).with_properties(properties) }
        }
        _ => {
            let embedded = EmbeddedBroker::start().expect("the embedded broker starts");
            Broker { config: embedded.config(), embedded: Some(embedded) }
        }
    }
}

/// A real broker for what the embedded one cannot do, or a line that the test was skipped.
pub fn real_broker(why: &str) -> Option<Broker> {
    let broker = broker();
    if broker.is_real() {
        return Some(broker);
    }
    skip(&format!("{why}: set TALLGRASS_TEST_BROKERS to a real Kafka"));
    None
}

/// Prints in the test's output that it did not run, and why.
pub fn skip(why: &str) {
    // Past the capture of passing tests: a skipped promise should be visible.
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "skipped: {name}: {why}").ok();
}

/// A name that no other test and no earlier run has used.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // A new state is randomly seeded.
    let random = RandomState::new().build_hasher().finish();
    format!("{prefix}-{:x}-{}", random & 0xffff_ffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Broker {
    /// The configuration of its clients.
    pub fn config(&self) -> KafkaConfig {
        self.config.clone()
    }

    /// The same with more `-X` properties.
    pub fn config_with(&self, properties: &[(&str, &str)]) -> KafkaConfig {
        let owned = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.config().with_properties(owned)
    }

    /// Its address, for the command line.
    pub fn brokers(&self) -> &str {
        self.config.brokers()
    }

    /// Whether it is a real Kafka.
    pub fn is_real(&self) -> bool {
        self.embedded.is_none()
    }

    /// A connected metadata client.
    pub fn cluster(&self) -> Cluster {
        Cluster::connect(&self.config, TIME_LIMIT).expect("the broker answers")
    }

    /// Makes a topic of this very name. The embedded broker does not compact.
    pub fn create_topic(&self, name: &str, partitions: i32, compacted: bool) {
        match &self.embedded {
            Some(embedded) => embedded.create_topic(name, partitions).expect("the topic is made"),
            None => self.cluster().ensure_topic(name, partitions, compacted).expect("the topic is made"),
        }
    }

    /// Gives a topic more partitions and waits until they are there; a real broker only.
    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.brokers()).create().expect("an admin client");
        let (grown, options) = (NewPartitions::new(topic, partitions), AdminOptions::new());
        let added = admin.create_partitions([&grown], &options);
        futures::executor::block_on(added).expect("the partitions are added");
        let cluster = self.cluster();
        wait_for("new partitions", || {
            (cluster.partitions(topic).is_ok_and(|found| found.len() == partitions)).then_some(())
        });
    }

    /// Makes a topic with a name of its own.
    pub fn topic(&self, prefix: &str, partitions: i32) -> Arc<str> {
        let name = unique(prefix);
        self.create_topic(&name, partitions, false);
        Arc::from(name)
    }

    /// Produces keyed or keyless texts and waits until all are delivered; `None` as a value is a tombstone.
    pub fn produce<'a>(&self, topic: &str, records: impl IntoIterator<Item = (Option<&'a str>, Option<&'a str>)>) {
        self.produce_records(records.into_iter().map(|(key, value)| Record {
            topic,
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            ..Record::default()
        }));
    }

    /// Produces records with partitions and times of the test's choice and waits until all are delivered.
    pub fn produce_records<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) {
        let producer = Producer::new(&self.config_with(&[("linger.ms", "5")])).expect("a producer");
        let mut sent = 0;
        for record in records {
            producer.send_record(record).expect("the record is queued");
            sent += 1;
        }
        producer.flush(TIME_LIMIT).expect("all records are delivered in time");
        let delivered = producer.delivered();
        assert_eq!((delivered.ok, delivered.failed), (sent, 0), "{delivered:?}");
    }

    /// Everything that the topic holds now, in the order of partition and offset.
    pub fn read_all(&self, topic: &Arc<str>) -> Vec<Received> {
        let watermarks = self.cluster().watermarks(topic).expect("the topic is there");
        let starts: Vec<Start> = watermarks
            .iter()
            .map(|(&partition, marks)| Start { topic: Arc::clone(topic), partition, next_offset: marks.low })
            .collect();
        let mut reader = BatchReader::open(&self.config, &starts).expect("a reader");
        let mut received = read_to_ends(&mut reader, starts.len());
        received.sort_by_key(|message| (message.partition, message.offset));
        received
    }
}

/// A message that has been copied out of the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: usize,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl From<Message<'_>> for Received {
    fn from(message: Message<'_>) -> Self {
        let Message { topic, partition, offset, timestamp_ms, key, value } = message;
        Self { topic, partition, offset, timestamp_ms, key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec) }
    }
}

impl Received {
    /// The value as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().expect("a value")).expect("a text")
    }
}

/// Reads until `partitions` partitions have ended.
pub fn read_to_ends(reader: &mut BatchReader, partitions: usize) -> Vec<Received> {
    read_until(reader, |ends| ends.len() == partitions)
}

/// Reads until this partition of the first topic has ended.
pub fn read_to_end_of(reader: &mut BatchReader, partition: i32) -> Vec<Received> {
    read_until(reader, |ends| ends.contains_key(&(0, partition)))
}

/// Reads until the ends, (topic, partition) → next offset, are such.
pub fn read_until(reader: &mut BatchReader, done: impl Fn(&HashMap<(usize, i32), i64>) -> bool) -> Vec<Received> {
    let mut received = Vec::new();
    let mut ends = HashMap::new();
    let deadline = Instant::now() + TIME_LIMIT;
    while !done(&ends) {
        assert!(Instant::now() < deadline, "only these partitions ended in {TIME_LIMIT:?}: {ends:?}");
        let read = reader.read(
            10_000,
            POLL,
            |message| received.push(Received::from(message)),
            |signal| {
                if let Signal::End { topic, partition, next_offset } = signal {
                    ends.insert((topic, partition), next_offset);
                }
            },
        );
        read.expect("nothing fails");
    }
    received
}

/// Asks again until there is an answer, within the one time limit.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within {TIME_LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
