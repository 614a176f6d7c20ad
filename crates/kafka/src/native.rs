//! A consumer read through `rd_kafka_consume_batch_queue`, which rdkafka does not wrap: therefore `unsafe`.
//!
//! One call takes many messages off the queue under one lock, 1.5 times the rate of polling them one by one, and each
//! message stays where the network put it until its [`RawRecord`] has been looked at.
//!
//! # Contract
//! Assumed of librdkafka 2.12: a client and its queues may be used from any thread; the messages of a batch belong to the
//! caller until `rd_kafka_message_destroy`; callbacks run inside a call on the queue or inside `rd_kafka_destroy`, and on
//! no other thread while `log.queue` is set.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr, RDKafkaType};

use super::error::{KafkaError, is_transient};
use super::log::ClientLog;

/// Slots for messages of one call; a larger `max` is served in several calls of the caller.
const MAX_SLOTS: usize = 65_536;

/// Errors that wait for the next read. A dead broker repeats itself, so a few are enough.
const MAX_PROBLEMS: usize = 16;

/// An error that librdkafka reports outside of the messages.
pub(super) enum CallbackError {
    /// It concerns the client as a whole.
    Client(KafkaError),
    /// A topic, or this partition of it, does not exist.
    Partition { topic: String, partition: i32, kind: RawKind, reason: String },
}

/// What the callbacks of one consumer write to.
pub(super) struct ReaderContext {
    log: ClientLog,
    problems: Mutex<Vec<CallbackError>>,
}

impl ReaderContext {
    pub(super) fn new(role: &'static str) -> Self {
        Self { log: ClientLog::new(role), problems: Mutex::default() }
    }

    /// What was reported since the last call.
    pub(super) fn take_problems(&self) -> Vec<CallbackError> {
        std::mem::take(&mut self.problems.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.log.line(level, facility, line);
    }

    fn error(&self, error: ClientError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let kind = match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Some(RawKind::Missing),
            Some(Code::UnknownPartition) => Some(RawKind::PartitionMissing),
            _ => None,
        };
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kind, (topic, partition, reason))) = kind.zip(coordinates(reason)) {
            problems.push(CallbackError::Partition { topic, partition, kind, reason });
            return;
        }
        self.log.problem(&error, reason);
        let fatal = error.rdkafka_error_code() == Some(Code::Fatal);
        if fatal || problems.len() < MAX_PROBLEMS {
            problems.push(CallbackError::Client(KafkaError::Broker { reason: reason.to_owned(), fatal }));
        }
    }
}

/// `pokemons [3]: topic does not exist (…)` → pokemons, 3, the rest. librdkafka reports a missing topic through the callback
/// for errors of the whole client, with the coordinates in the text only.
fn coordinates(reason: &str) -> Option<(String, i32, String)> {
    let (head, reason) = reason.split_once("]: ")?;
    let (topic, partition) = head.rsplit_once(" [")?;
    Some((topic.to_owned(), partition.parse().ok()?, reason.to_owned()))
}

/// A consumer whose one queue carries messages, ends of partitions, errors and log lines.
pub(super) struct NativeConsumer {
    // Dropped in this order: the queue before the client that owns its memory.
    queue: Queue,
    client: Client<ReaderContext>,
    slots: Vec<*mut rd::rd_kafka_message_t>,
}

// SAFETY: the client and the queue may be used from any thread (see Contract), and `slots` holds no message outside of
// `take`, which borrows the whole consumer.
unsafe impl Send for NativeConsumer {}

struct Queue(NonNull<rd::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference was acquired by `rd_kafka_queue_get_consumer` and is given back once.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl NativeConsumer {
    pub(super) fn create(config: &ClientConfig, context: ReaderContext) -> Result<Self, KafkaError> {
        let failed = |source| KafkaError::client("create a consumer", source);
        let native = config.create_native_config().map_err(failed)?;
        // SAFETY: the configuration is alive and not yet owned by a client; the callbacks are `extern "C"` functions that
        // live as long as the program.
        unsafe {
            rd::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            rd::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
        }
        // Sets the context as the opaque pointer of the callbacks, and logs to go to the main queue.
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, context).map_err(failed)?;
        // SAFETY: the client is alive; from here on its main queue (logs, errors) is served with the consumer's.
        let code = unsafe { rd::rd_kafka_poll_set_consumer(client.native_ptr()) };
        // SAFETY: the client is alive; the reference that is returned is given back by `Queue`.
        let queue = NonNull::new(unsafe { rd::rd_kafka_queue_get_consumer(client.native_ptr()) });
        match queue {
            Some(queue) if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                Ok(Self { queue: Queue(queue), client, slots: Vec::new() })
            }
            _ => Err(failed(ClientError::ClientCreation("no consumer queue (is group.id empty?)".to_owned()))),
        }
    }

    pub(super) fn client(&self) -> &Client<ReaderContext> {
        &self.client
    }

    /// Adds partitions with their offsets to those that are read; the others continue undisturbed.
    pub(super) fn assign(&self, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
        // SAFETY: client and list are alive during the call, which copies the list.
        let error = unsafe { rd::rd_kafka_incremental_assign(self.client.native_ptr(), partitions.ptr()) };
        check("assign partitions", error)
    }

    /// Removes partitions from those that are read.
    pub(super) fn unassign(&self, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
        // SAFETY: as in `assign`.
        let error = unsafe { rd::rd_kafka_incremental_unassign(self.client.native_ptr(), partitions.ptr()) };
        check("release partitions", error)
    }

    /// Hands at most `max` records (messages, ends, errors of partitions) to `on_record`, in the order of their queue, and
    /// destroys each afterwards; returns how many there were.
    ///
    /// `rd_kafka_consume_batch_queue` itself waits until its array is full or its time is over, so a plain call would hold a
    /// lone message back for the whole timeout. Therefore: take what is there without waiting; only if there is nothing, wait
    /// for *one* record, and then take what is there once more. A busy topic costs one call per batch, a quiet one two.
    pub(super) fn take(&mut self, max: usize, timeout: Duration, mut on_record: impl FnMut(RawRecord<'_>)) -> usize {
        let max = max.clamp(1, MAX_SLOTS);
        if self.slots.len() < max {
            self.slots.resize(max, ptr::null_mut());
        }
        let mut taken = fill(&self.queue, &mut self.slots[..max], 0);
        if taken == 0 && !timeout.is_zero() {
            taken = fill(&self.queue, &mut self.slots[..1], milliseconds(timeout));
            if taken == 1 {
                taken += fill(&self.queue, &mut self.slots[1..max], 0);
            }
        }
        // From here on the batch owns the messages: should `on_record` panic, its drop destroys what is left.
        let mut batch = Batch { messages: &mut self.slots[..taken], next: 0 };
        while let Some(record) = batch.current() {
            on_record(record);
            batch.advance();
        }
        taken
    }
}

/// One call on the queue; returns how many slots it filled.
fn fill(queue: &Queue, slots: &mut [*mut rd::rd_kafka_message_t], timeout_ms: c_int) -> usize {
    if slots.is_empty() {
        return 0;
    }
    // SAFETY: the queue is alive, and at most `slots.len()` pointers are written.
    let filled =
        unsafe { rd::rd_kafka_consume_batch_queue(queue.0.as_ptr(), timeout_ms, slots.as_mut_ptr(), slots.len()) };
    usize::try_from(filled).unwrap_or(0)
}

/// Waiting at least a millisecond, so that a short timeout is not a busy loop.
fn milliseconds(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis().max(1)).unwrap_or(c_int::MAX)
}

fn check(action: &str, error: *mut rd::rd_kafka_error_t) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, so ours to read and then to destroy, once; the text is copied before.
    let reason = unsafe {
        let reason = CStr::from_ptr(rd::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        rd::rd_kafka_error_destroy(error);
        reason
    };
    Err(KafkaError::client(action, ClientError::Subscription(reason)))
}

/// The messages of one call that have not been destroyed yet: those from `next` on.
struct Batch<'a> {
    messages: &'a mut [*mut rd::rd_kafka_message_t],
    next: usize,
}

impl Batch<'_> {
    /// The record that is alive until `advance`.
    fn current(&self) -> Option<RawRecord<'_>> {
        let message = self.messages.get(self.next)?;
        NonNull::new(*message).map(|message| RawRecord { message, alive: PhantomData })
    }

    fn advance(&mut self) {
        // SAFETY: each message from `next` on is ours and alive; moving `next` makes sure that it is destroyed once.
        // No `RawRecord` of it is left, since `advance` borrows the batch mutably.
        unsafe { rd::rd_kafka_message_destroy(self.messages[self.next]) }
        self.next += 1;
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        while self.next < self.messages.len() {
            self.advance();
        }
    }
}

/// What a slot turned out to be.
pub(super) enum RawKind {
    Message,
    /// The end of a partition; `offset` is the next offset.
    End,
    /// Something that librdkafka retries by itself.
    Transient,
    /// The broker does not (or no longer) have the offset.
    OffsetOutOfRange,
    /// The topic does not (or no longer) exist.
    Missing,
    /// The topic does not (or no longer) have this partition: it was deleted, or created again with fewer.
    PartitionMissing,
    /// This partition, or this client, cannot continue.
    Failed,
}

/// One message, end or error, alive while its batch is.
pub(super) struct RawRecord<'a> {
    // Not a reference: `err` is a Rust enum in the bindings, and a broker is free to send a code that it does not list.
    message: NonNull<rd::rd_kafka_message_t>,
    alive: PhantomData<&'a ()>,
}

impl<'a> RawRecord<'a> {
    pub(super) fn kind(&self) -> RawKind {
        use RDKafkaRespErr as Code;
        // SAFETY: the message is alive; the field is read as the C `int` that it is.
        let code = unsafe { ptr::addr_of!((*self.message.as_ptr()).err).cast::<c_int>().read() };
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR as c_int {
            return RawKind::Message;
        }
        if code == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF as c_int {
            return RawKind::End;
        }
        match RDKafkaRespErr::try_from(code).ok().map(RDKafkaErrorCode::from) {
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ) => RawKind::OffsetOutOfRange,
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => RawKind::Missing,
            Some(RDKafkaErrorCode::UnknownPartition) => RawKind::PartitionMissing,
            Some(code) if is_transient(code) => RawKind::Transient,
            // Reading assigned partitions needs no right to the group that librdkafka looks up in passing.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => RawKind::Transient,
            _ => RawKind::Failed,
        }
    }

    /// The same for all records of one topic while it is assigned; 0 for an error without a topic.
    pub(super) fn topic_handle(&self) -> usize {
        // SAFETY: the message is alive.
        unsafe { (*self.message.as_ptr()).rkt as usize }
    }

    pub(super) fn topic_name(&self) -> &'a str {
        // SAFETY: the message is alive and holds a reference to its topic, whose name is a C string of that life.
        unsafe {
            let topic = (*self.message.as_ptr()).rkt;
            if topic.is_null() { "" } else { CStr::from_ptr(rd::rd_kafka_topic_name(topic)).to_str().unwrap_or("") }
        }
    }

    pub(super) fn partition(&self) -> i32 {
        // SAFETY: the message is alive.
        unsafe { (*self.message.as_ptr()).partition }
    }

    pub(super) fn offset(&self) -> i64 {
        // SAFETY: the message is alive.
        unsafe { (*self.message.as_ptr()).offset }
    }

    pub(super) fn timestamp_ms(&self) -> Option<i64> {
        // SAFETY: the message is alive; the kind of time is not asked for.
        let timestamp = unsafe { rd::rd_kafka_message_timestamp(self.message.as_ptr(), ptr::null_mut()) };
        // -1 is "none"; Kafka has no times before 1970.
        (timestamp >= 0).then_some(timestamp)
    }

    pub(super) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: the message is alive; see `bytes`.
        unsafe { bytes((*self.message.as_ptr()).key, (*self.message.as_ptr()).key_len) }
    }

    /// The value of a message, the text of an error.
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: the message is alive; see `bytes`.
        unsafe { bytes((*self.message.as_ptr()).payload, (*self.message.as_ptr()).len) }
    }

    /// librdkafka's description of an error.
    pub(super) fn reason(&self) -> String {
        self.value().map_or_else(|| "unknown error".to_owned(), |text| String::from_utf8_lossy(text).into_owned())
    }
}

/// # Safety
/// `pointer` is null or the start of `length` bytes that live as long as the message.
unsafe fn bytes<'a>(pointer: *mut c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    NonNull::new(pointer).map(|start| unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<u8>(), length) })
}

/// A log line of librdkafka. It may arrive before the client exists; it is then dropped.
unsafe extern "C" fn on_log(client: *const rd::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    if client.is_null() || facility.is_null() || line.is_null() {
        return;
    }
    // SAFETY: the opaque pointer of our clients is their `ReaderContext`, which `Client` keeps alive longer than the native
    // client; the strings are valid during the call.
    unsafe {
        if let Some(context) = rd::rd_kafka_opaque(client).cast::<ReaderContext>().as_ref() {
            let (facility, line) = (CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(line).to_string_lossy());
            context.log(log_level(level), facility.trim(), line.trim());
        }
    }
}

/// Syslog's numbers; rdkafka's own conversion is private.
fn log_level(level: c_int) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}

/// An error of the client as a whole.
unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: as in `on_log`; librdkafka hands over the opaque pointer itself.
    let (context, reason) = unsafe {
        let reason =
            if reason.is_null() { String::new() } else { CStr::from_ptr(reason).to_string_lossy().into_owned() };
        (opaque.cast::<ReaderContext>().as_ref(), reason)
    };
    if let Some(context) = context {
        let code = RDKafkaRespErr::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from);
        context.error(ClientError::Global(code), reason.trim());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_topic_is_found_in_the_text() {
        let reason = "my.topic-x [11]: topic does not exist (Broker: Unknown topic or partition)";
        let rest = "topic does not exist (Broker: Unknown topic or partition)";
        assert_eq!(coordinates(reason), Some(("my.topic-x".to_owned(), 11, rest.to_owned())));
        assert_eq!(coordinates("127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed"), None);
    }
}
