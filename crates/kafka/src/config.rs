//! How to reach a cluster, and the settings of each kind of client.
//!
//! A user's `-X` property wins over our defaults. It cannot win over what correctness depends on: that is an error, because
//! a silently ignored property is worse than none.

use rdkafka::config::ClientConfig;

use super::error::KafkaError;
use super::log;

/// Bootstrap servers and librdkafka properties, as given with `-b` and `-X`.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    brokers: String,
    properties: Vec<(String, String)>,
}

/// Names the properties without their values: passwords are among them.
impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.properties.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("KafkaConfig").field("brokers", &self.brokers).field("properties", &keys).finish()
    }
}

/// A property whose value is not the user's choice.
struct Fixed {
    key: &'static str,
    value: &'static str,
    /// Other spellings of the same value.
    same: &'static [&'static str],
    because: &'static str,
}

const fn fixed(key: &'static str, value: &'static str, same: &'static [&'static str], because: &'static str) -> Fixed {
    Fixed { key, value, same, because }
}

/// Every client: better to find a broker that comes back within two seconds than within ten.
const COMMON: &[(&str, &str)] = &[
    ("client.id", "tallgrass"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    // An idle connection that the broker closes is normal.
    ("log.connection.close", "false"),
];

const CONSUMER: &[(&str, &str)] = &[
    // An empty fetch holds back the partitions of the same broker that become fetchable meanwhile, so that a start, an added
    // partition and each partition's end wait this long: the ends of four small partitions are known after 60 ms, with the
    // default of 500 ms after 510. New records are answered at once either way.
    ("fetch.wait.max.ms", "50"),
    // How long a partition pauses once the local queue is full. The default of 1000 ms starves a fast reader.
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.error.backoff.ms", "100"),
    // The local queue, for all partitions of one reader: some 100 ms of reading at full speed, and the bound on memory.
    ("queued.min.messages", "100000"),
    ("queued.max.messages.kbytes", "32768"),
];

/// `assign()` with explicit offsets.
const READER: &[(&str, &str)] = &[
    // assign() needs a group's machinery inside librdkafka; nothing ever joins it or commits to it.
    ("group.id", "tallgrass-reader"),
    // How long a topic that was just created may be unknown to a broker before it counts as missing; the default is 30 s.
    ("topic.metadata.propagation.max.ms", "5000"),
];

const READER_FIXED: &[Fixed] = &[
    fixed("enable.auto.commit", "false", &[], "a reader keeps its offsets with its results"),
    fixed("enable.auto.offset.store", "false", &[], "a reader keeps its offsets with its results"),
    fixed("enable.partition.eof", "true", &[], "bounded reads end by it"),
    fixed("auto.offset.reset", "error", &[], "an offset out of range must be an error, never skipped"),
];

const GROUP: &[(&str, &str)] = &[
    // Cooperative: a member that keeps a partition continues to read it while another joins or leaves, so that one more
    // login checker never silences the others. All members of a group must agree on it.
    ("partition.assignment.strategy", "cooperative-sticky"),
    // Soon enough for a killed instance's partitions to find a new owner, long enough for a pause of the machine.
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "1000"),
    // Partitions and topics created later are noticed that soon.
    ("topic.metadata.refresh.interval.ms", "5000"),
];

const GROUP_FIXED: &[Fixed] = &[
    fixed("enable.auto.commit", "false", &[], "only what has been acted on is committed"),
    fixed("enable.auto.offset.store", "false", &[], "only what has been acted on is committed"),
];

const PRODUCER: &[(&str, &str)] = &[
    ("compression.codec", "lz4"),
    // Batches fill for this long, which lz4 and the embedded broker (it counts batches, not records) depend on.
    ("linger.ms", "50"),
    ("batch.size", "1000000"),
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "131072"),
    ("message.timeout.ms", "60000"),
    // The Java client's partitioner: another tool's records of one key land beside ours, so the newest of a key stays one.
    ("partitioner", "murmur2_random"),
];

const PRODUCER_FIXED: &[Fixed] = &[
    fixed("enable.idempotence", "true", &[], "a retry must neither repeat nor reorder records"),
    fixed("acks", "all", &["-1"], "a delivered record must survive the loss of a broker"),
];

/// The names that librdkafka has for the same property.
const ALIASES: &[(&str, &str)] = &[
    ("request.required.acks", "acks"),
    ("compression.type", "compression.codec"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("metadata.broker.list", "bootstrap.servers"),
];

fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name)
}

impl KafkaConfig {
    /// A cluster by its bootstrap servers, `HOST:PORT[,HOST:PORT…]`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), properties: Vec::new() }
    }

    /// Adds librdkafka properties; the later of two with one key wins.
    #[must_use]
    pub fn with_properties(mut self, properties: impl IntoIterator<Item = (String, String)>) -> Self {
        self.properties.extend(properties);
        self
    }

    /// The bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Settings of a client that asks for metadata only.
    pub(super) fn for_metadata(&self) -> Result<ClientConfig, KafkaError> {
        // Without a group, and never with the power to create a topic by asking for it.
        let mut config =
            self.build(&[CONSUMER], &[fixed("allow.auto.create.topics", "false", &[], "asking must not create")])?;
        config.remove("group.id");
        Ok(config)
    }

    /// Settings of a client that asks what `group` has committed, and never joins it.
    pub(super) fn for_committed(&self, group: &str) -> Result<ClientConfig, KafkaError> {
        let mut config = self.for_metadata()?;
        config.set("group.id", group);
        Ok(config)
    }

    /// Settings of an admin client.
    pub(super) fn for_admin(&self) -> Result<ClientConfig, KafkaError> {
        self.build(&[], &[])
    }

    /// Settings of a reader of assigned partitions.
    pub(super) fn for_reader(&self) -> Result<ClientConfig, KafkaError> {
        self.build(&[CONSUMER, READER], READER_FIXED)
    }

    /// Settings of a member of `group`.
    pub(super) fn for_group(&self, group: &str, reset: &'static str) -> Result<ClientConfig, KafkaError> {
        if let Some((key, value)) = self.properties.iter().find(|(key, value)| key == "group.id" && value != group) {
            return Err(conflict(
                key,
                value,
                &format!("this role's group is '{group}' (--group or --id names another)"),
            ));
        }
        let mut config = self.build(&[CONSUMER, GROUP], GROUP_FIXED)?;
        config.set("group.id", group);
        if !self.properties.iter().any(|(key, _)| key == "auto.offset.reset") {
            config.set("auto.offset.reset", reset);
        }
        Ok(config)
    }

    /// Settings of a producer.
    pub(super) fn for_producer(&self) -> Result<ClientConfig, KafkaError> {
        self.build(&[PRODUCER], PRODUCER_FIXED)
    }

    fn build(&self, defaults: &[&[(&str, &str)]], fixed: &[Fixed]) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        for (key, value) in [COMMON].iter().chain(defaults).flat_map(|list| list.iter()) {
            config.set(*key, *value);
        }
        for (key, value) in &self.properties {
            let name = canonical(key);
            if name == "bootstrap.servers" {
                return Err(conflict(key, value, "-b names the brokers"));
            }
            let rule = fixed.iter().find(|rule| rule.key == name);
            if let Some(Fixed { value: needed, because, .. }) = rule.filter(|rule| !rule.accepts(value)) {
                return Err(conflict(key, value, &format!("must be {needed} here: {because}")));
            }
            config.set(name, value);
        }
        for rule in fixed {
            config.set(rule.key, rule.value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set_log_level(log::level());
        Ok(config)
    }
}

impl Fixed {
    fn accepts(&self, value: &str) -> bool {
        let truth = match self.value {
            "true" => ["true", "t", "1"].contains(&value),
            "false" => ["false", "f", "0"].contains(&value),
            needed => needed == value,
        };
        truth || self.same.contains(&value)
    }
}

fn conflict(key: &str, value: &str, reason: &str) -> KafkaError {
    KafkaError::Property { key: key.to_owned(), value: value.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaConfig {
        let owned = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        KafkaConfig::new("127.0.0.1:9092").with_properties(owned)
    }

    #[test]
    fn a_property_of_the_user_wins_over_a_default() {
        let config =
            with(&[("linger.ms", "7"), ("compression.type", "zstd"), ("linger.ms", "8")]).for_producer().unwrap();
        assert_eq!(config.get("linger.ms"), Some("8"));
        assert_eq!(config.get("compression.codec"), Some("zstd"));
        assert_eq!(config.get("enable.idempotence"), Some("true"));
    }

    #[test]
    fn what_correctness_needs_is_an_error_that_says_so() {
        let error = with(&[("request.required.acks", "1")]).for_producer().unwrap_err();
        assert_eq!(
            error.to_string(),
            "-X request.required.acks=1: must be all here: a delivered record must survive the loss of a broker"
        );
        assert!(with(&[("acks", "-1"), ("enable.idempotence", "1")]).for_producer().is_ok());
        assert!(with(&[("enable.auto.commit", "true")]).for_reader().is_err());
        assert!(with(&[("enable.auto.offset.store", "true")]).for_group("g", "earliest").is_err());
        assert!(with(&[("enable.partition.eof", "false")]).for_reader().is_err());
        assert!(with(&[("auto.offset.reset", "latest")]).for_reader().is_err());
    }

    #[test]
    fn brokers_and_group_have_their_own_options() {
        let error = with(&[("bootstrap.servers", "elsewhere:9092")]).for_reader().unwrap_err();
        assert_eq!(error.to_string(), "-X bootstrap.servers=elsewhere:9092: -b names the brokers");
        assert!(with(&[("group.id", "mine")]).for_group("login-checker", "earliest").is_err());
        assert_eq!(with(&[("group.id", "mine")]).for_reader().unwrap().get("group.id"), Some("mine"));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let shown = format!("{:?}", with(&[("sasl.password", "hunter2")]));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
