//! librdkafka's own log lines and errors, as rate-limited `tracing` events.
//!
//! A client without a broker repeats itself several times a second for as long as it lives. Each kind of line (librdkafka
//! calls it the facility: `FAIL`, `OFFSET`, …) therefore passes once in [`QUIET`], with a count of those left out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode;

/// How long one kind of line stays quiet after it was let through.
const QUIET: Duration = Duration::from_secs(10);

/// What every client of this crate does with librdkafka's lines.
#[derive(Debug)]
pub(super) struct ClientLog {
    role: &'static str,
    limiter: Mutex<Limiter>,
    last_error: Mutex<Option<String>>,
}

impl ClientLog {
    /// `role` tells the clients of one process apart in the log.
    pub(super) fn new(role: &'static str) -> Self {
        Self { role, limiter: Mutex::default(), last_error: Mutex::default() }
    }

    /// The newest error line: why no broker answers.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A line of librdkafka.
    pub(super) fn line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        use RDKafkaLogLevel as Level;
        match level {
            // One list of -X properties serves consumers and producers, so a property of the other kind is expected.
            _ if facility == "CONFWARN" => tracing::debug!(target: "librdkafka", role = self.role, "{line}"),
            // Reported again as an error of the client.
            _ if facility == "FAIL" => tracing::debug!(target: "librdkafka", role = self.role, "{line}"),
            Level::Debug => tracing::trace!(target: "librdkafka", role = self.role, facility, "{line}"),
            Level::Info | Level::Notice => tracing::debug!(target: "librdkafka", role = self.role, facility, "{line}"),
            _ => self.warn(facility, line),
        }
    }

    /// An error that belongs to the client as a whole.
    pub(super) fn problem(&self, error: &ClientError, reason: &str) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        // "1/1 brokers are down" says less than the reason before it.
        if last.is_none() || error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *last = Some(reason.to_owned());
        }
        drop(last);
        if self.role == ASKS_ONLY {
            tracing::debug!(target: "librdkafka", role = self.role, "{reason}");
            return;
        }
        let facility = error.rdkafka_error_code().map_or_else(|| "ERROR".to_owned(), |code| format!("{code:?}"));
        self.warn(&facility, reason);
    }

    fn warn(&self, facility: &str, line: &str) {
        let admitted = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(facility, Instant::now());
        match admitted {
            Some(0) => tracing::warn!(target: "librdkafka", role = self.role, "{line}"),
            Some(left_out) => tracing::warn!(target: "librdkafka", role = self.role, left_out, "{line}"),
            None => tracing::debug!(target: "librdkafka", role = self.role, facility, "{line}"),
        }
    }
}

/// The client that only asks: what fails there comes back as the error of a request, with the last line in it.
pub(super) const ASKS_ONLY: &str = "metadata";

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.line(level, facility, line);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.problem(&error, reason);
    }
}

impl ConsumerContext for ClientLog {}

/// For producers that only ask.
impl ProducerContext for ClientLog {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Which lines librdkafka should build at all: those that the subscriber would show.
pub(super) fn level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::TRACE) {
        RDKafkaLogLevel::Debug
    } else if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Info
    } else {
        RDKafkaLogLevel::Warning
    }
}

/// Lets one line of a kind through per [`QUIET`] and counts the others. The kinds are librdkafka's few facilities.
#[derive(Debug, Default)]
struct Limiter {
    kinds: HashMap<String, (Instant, u64)>,
}

impl Limiter {
    /// `Some(left out since the last one)` if the line may pass.
    fn admit(&mut self, kind: &str, now: Instant) -> Option<u64> {
        match self.kinds.get_mut(kind) {
            None => {
                self.kinds.insert(kind.to_owned(), (now, 0));
                Some(0)
            }
            Some((last, left_out)) if now.duration_since(*last) >= QUIET => {
                *last = now;
                Some(std::mem::take(left_out))
            }
            Some((_, left_out)) => {
                *left_out += 1;
                None
            }
        }
    }
}

/// `127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)`
/// → `connection refused`
pub(super) fn short_reason(reason: &str) -> String {
    let tail = reason.split_once("failed: ").map_or(reason, |(_, tail)| tail);
    let tail = tail.split_once(" (after ").map_or(tail, |(head, _)| head).trim();
    let mut letters = tail.chars();
    match letters.next() {
        // An abbreviation such as SSL keeps its capitals.
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => tail.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_a_kind_passes_in_ten_seconds_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(limiter.admit("FAIL", start), Some(0));
        assert_eq!(limiter.admit("FAIL", start + Duration::from_secs(1)), None);
        assert_eq!(limiter.admit("OFFSET", start + Duration::from_secs(1)), Some(0));
        assert_eq!(limiter.admit("FAIL", start + Duration::from_secs(9)), None);
        assert_eq!(limiter.admit("FAIL", start + Duration::from_secs(10)), Some(2));
        assert_eq!(limiter.admit("FAIL", start + Duration::from_secs(21)), Some(0));
    }

    #[test]
    fn a_reason_is_what_a_person_wants_to_know() {
        let refused = "127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)";
        assert_eq!(short_reason(refused), "connection refused");
        assert_eq!(short_reason("SSL handshake failed: SSL error (after 3ms in state SSL)"), "SSL error");
        assert_eq!(short_reason("Failed to resolve 'nowhere:9092'"), "failed to resolve 'nowhere:9092'");
        assert_eq!(short_reason(""), "");
    }
}
