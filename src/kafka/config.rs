//! How to reach a cluster.

/// Bootstrap servers and librdkafka properties, as given with `-b` and `-X`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    brokers: String,
    properties: Vec<(String, String)>,
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
}
