//! What can go wrong between us and a broker, with its coordinates.

use std::time::Duration;

use rdkafka::error::KafkaError as ClientError;
use rdkafka::types::RDKafkaErrorCode;

/// An error of the Kafka layer. Its text is a sentence for the user; the client library's own error is its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// No broker answers at the bootstrap servers.
    #[error(
        "no broker answers at {brokers} after {} ({reason}): is Kafka running? \
         -b HOST:PORT names another; `tallgrass demo` brings its own", seconds(*after)
    )]
    Unreachable {
        /// The bootstrap servers tried.
        brokers: String,
        /// How long they were tried.
        after: Duration,
        /// The client library's last message about it.
        reason: String,
    },
    /// The cluster has no such topic (or does not show it to us).
    #[error("topic '{topic}' does not exist")]
    TopicMissing {
        /// Its name.
        topic: String,
    },
    /// The topic does not (or no longer) have this partition: it was deleted, or created again with fewer.
    #[error("{topic}[{partition}] does not exist")]
    PartitionMissing {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The broker does not (or no longer) have the offset: retention took it, or the topic was created again.
    #[error("{topic}[{partition}] no longer has offset {next_offset}: the broker has {low} to {high}")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What was asked for.
        next_offset: i64,
        /// The first offset that the broker still has.
        low: i64,
        /// The offset that the broker gives to the next record.
        high: i64,
    },
    /// A read should end at an offset that the partition has not reached.
    #[error("{topic}[{partition}] ends at offset {high}, so nothing can be read up to {next_offset}")]
    BeyondEnd {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where the read should end.
        next_offset: i64,
        /// The offset that the broker gives to the next record.
        high: i64,
    },
    /// A read should end at given offsets, and none were given for a topic.
    #[error("topic '{topic}' is read, but the offsets to read up to do not name it")]
    EndUnknown {
        /// The topic.
        topic: String,
    },
    /// The broker cannot say at which offset a time begins.
    #[error(
        "the broker cannot look up times (an embedded one never can), so nothing tells where topic '{topic}' was then: \
         give offsets instead, as in 'pokemons 0:120 1:98'"
    )]
    NoTimeIndex {
        /// The topic.
        topic: String,
    },
    /// A `-X` property that is refused.
    #[error("-X {key}={value}: {reason}")]
    Property {
        /// The property.
        key: String,
        /// The value given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// The client library could not do what it was asked to.
    #[error("cannot {action}")]
    Client {
        /// What it was asked to do, such as `create a producer`.
        action: String,
        /// Its own error.
        #[source]
        source: ClientError,
    },
    /// Trouble with the connections, not with one partition. The client goes on trying unless it is `fatal`.
    #[error("{reason}")]
    Broker {
        /// The client library's reason.
        reason: String,
        /// Whether this client has given up for good.
        fatal: bool,
    },
    /// One partition cannot be read on.
    #[error("cannot read {topic}[{partition}] at offset {next_offset}: {reason}")]
    Read {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The reader's next offset, -1 if unknown.
        next_offset: i64,
        /// The client library's reason.
        reason: String,
    },
    /// A record was not taken by the client's queue.
    #[error("cannot produce to '{topic}'")]
    Produce {
        /// The topic.
        topic: String,
        /// The client library's error.
        #[source]
        source: ClientError,
    },
    /// Deliveries are still open when the time to flush is over.
    #[error("{outstanding} records are still undelivered after {}", seconds(*after))]
    Flush {
        /// How many.
        outstanding: i32,
        /// How long was waited.
        after: Duration,
    },
    /// Offsets could not be committed: after a rebalance that is normal, another member then has the partitions.
    #[error("cannot commit offsets of group '{group}'")]
    Commit {
        /// The consumer group.
        group: String,
        /// The client library's error.
        #[source]
        source: ClientError,
    },
    /// The broker refused to create or describe a topic.
    #[error("cannot {action} topic '{topic}': {reason}")]
    Admin {
        /// `create` or `describe`.
        action: &'static str,
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
    },
    /// The broker of this process did not do what it was asked to.
    #[error("embedded broker: {reason}")]
    Embedded {
        /// Its reason.
        reason: String,
    },
}

impl KafkaError {
    /// Whether the client itself goes on trying, so that waiting may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Broker { fatal, .. } => !fatal,
            Self::Client { source, .. } | Self::Commit { source, .. } => {
                source.rdkafka_error_code().is_some_and(is_transient)
            }
            _ => false,
        }
    }

    /// The error with the client library's own message, for a log line.
    pub fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// Wraps an error of the client library; a bad `-X` property becomes an error that names it.
    pub(super) fn client(action: impl Into<String>, source: ClientError) -> Self {
        match source {
            ClientError::ClientConfig(_, reason, key, value) => Self::Property { key, value, reason },
            source => Self::Client { action: action.into(), source },
        }
    }
}

/// Codes after which librdkafka itself tries again. Everything else must reach the user: a code that is taken for
/// transient by mistake would leave a partition silently unread.
pub(super) fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::WaitingForCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::ReplicaNotAvailable
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::AssignmentLost
            | Code::PollExceeded
    )
}

fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_broker_is_a_sentence_that_helps() {
        let error = KafkaError::Unreachable {
            brokers: "127.0.0.1:9".into(),
            after: Duration::from_secs(5),
            reason: "connection refused".into(),
        };
        assert_eq!(
            error.to_string(),
            "no broker answers at 127.0.0.1:9 after 5 s (connection refused): is Kafka running? \
             -b HOST:PORT names another; `tallgrass demo` brings its own"
        );
        assert!(!error.is_transient());
    }
}
