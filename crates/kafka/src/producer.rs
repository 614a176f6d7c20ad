//! Produces records, none lost and none twice: idempotent, acknowledged by all replicas, every delivery counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::config::KafkaConfig;
use super::error::KafkaError;
use super::log::ClientLog;

/// The pause before a full queue is tried again.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(5);

/// One record to produce.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// `None` leaves it to the partitioner: by the key's hash, as the Java client does, or any for a record without one.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; `None` is now.
    pub timestamp_ms: Option<i64>,
}

/// What became of the records so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Acknowledged by the broker.
    pub ok: u64,
    /// Given up.
    pub failed: u64,
    /// Why the first of them was given up.
    pub first_error: Option<String>,
}

/// May be shared by threads. Call [`flush`](Self::flush) before dropping it: what is not delivered by then is lost, and logged.
pub struct Producer {
    inner: ThreadedProducer<DeliveryReports>,
}

impl Producer {
    /// Connects in the background and returns at once.
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let inner = config
            .for_producer()?
            .create_with_context(DeliveryReports::default())
            .map_err(|source| KafkaError::client("create a producer", source))?;
        Ok(Self { inner })
    }

    /// Blocks while the local queue is full. `value: None` is a tombstone. Without a key the partition is the partitioner's
    /// choice. Success means queued; [`delivered`](Self::delivered) says what became of it.
    pub fn send(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), KafkaError> {
        self.send_record(Record { topic, key, value, ..Record::default() })
    }

    /// The same with a partition and a time of the caller's choice.
    pub fn send_record(&self, record: Record<'_>) -> Result<(), KafkaError> {
        let Record { topic, partition, key, value, timestamp_ms } = record;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.partition = partition;
        record.key = key;
        record.payload = value;
        record.timestamp = timestamp_ms;
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                // This ends: an undelivered record leaves the queue after `message.timeout.ms`, as a failed delivery.
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    self.inner.poll(FULL_QUEUE_WAIT);
                }
                Err((source, _)) => return Err(KafkaError::Produce { topic: topic.to_owned(), source }),
            }
        }
    }

    /// Waits for all outstanding deliveries. Records that failed are not an error here: see [`delivered`](Self::delivered).
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        let started = Instant::now();
        self.inner.flush(timeout).map_err(|source| match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::OperationTimedOut) => {
                KafkaError::Flush { outstanding: self.inner.in_flight_count(), after: started.elapsed() }
            }
            _ => KafkaError::client("flush a producer", source),
        })
    }

    /// What became of the records so far.
    pub fn delivered(&self) -> Delivered {
        let reports = self.inner.context();
        Delivered {
            ok: reports.ok.load(Ordering::Relaxed),
            failed: reports.failed.load(Ordering::Relaxed),
            first_error: reports.first_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Records that are queued or on their way.
    pub fn outstanding(&self) -> u64 {
        u64::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        match self.outstanding() {
            0 => {}
            outstanding => tracing::warn!(outstanding, "a producer was dropped before its records were delivered"),
        }
    }
}

/// Counts delivery reports, on librdkafka's polling thread and on senders that wait.
struct DeliveryReports {
    log: ClientLog,
    ok: AtomicU64,
    failed: AtomicU64,
    first_error: Mutex<Option<String>>,
}

impl Default for DeliveryReports {
    fn default() -> Self {
        Self {
            log: ClientLog::new("producer"),
            ok: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_error: Mutex::default(),
        }
    }
}

impl ClientContext for DeliveryReports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.line(level, facility, line);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.log.problem(&error, reason);
    }
}

impl ProducerContext for DeliveryReports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        match result {
            Ok(_) => {
                self.ok.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, message)) => {
                // The count last: a reader that sees a failure finds its reason.
                let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
                let code = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
                first.get_or_insert_with(|| format!("{}[{}]: {code}", message.topic(), message.partition()));
                drop(first);
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
