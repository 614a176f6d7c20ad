//! What the generators share: events are sent to a topic at a steady rate, and every delivery is accounted for.
//!
//! ```text
//!  events (pure, seeded) ──(pacer: due yet?)──▶ Producer ──▶ topic
//!                                                  └─ delivery reports ──▶ Generated, or the first error
//! ```
//!
//! Blocking: run it on a plain thread. The token stops it within [`STOP_POLL`], however slow the rate; events that are
//! already queued are then still delivered.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::Exit;
use crate::cli::Rate;
use tallgrass_kafka::{Cluster, KafkaConfig, KafkaError, Producer};
use tallgrass_world::pacer::Pacer;
use tallgrass_world::pokedex::PokedexError;
use tallgrass_world::pokemon::NoSpawnPoint;

/// How long a broker has to answer at the start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest sleep, so that a stop is noticed soon.
const STOP_POLL: Duration = Duration::from_millis(20);
/// Events between two checks of the token and the delivery reports, at full speed: less than a millisecond.
const LOOK_EVERY: u64 = 256;
/// Events in flight at most: many batches, yet below the producer's own limit, beyond which it waits without checking the
/// token.
const MAX_OUTSTANDING: u64 = 100_000;
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How long a stopped generator still tries to deliver what it has queued.
const FLUSH_AFTER_STOP: Duration = Duration::from_secs(10);

/// The topic of events, their rate and number.
#[derive(Debug, Clone)]
pub struct EventTarget {
    /// The topic; created if it is missing and the broker can.
    pub topic: String,
    /// Partitions of a new topic.
    pub partitions: i32,
    /// Whether a new topic keeps only the newest record of each key.
    pub compacted: bool,
    /// The rate.
    pub rate: Rate,
    /// How many; `None` runs until it is stopped.
    pub count: Option<u64>,
}

/// The progress of a generator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Events handed to the producer.
    pub sent: u64,
    /// Events that the broker has acknowledged.
    pub delivered: u64,
    /// Since the first event.
    pub elapsed: Duration,
}

/// The outcome of a generator: everything that it sent has been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generated {
    /// Events that the broker has acknowledged.
    pub delivered: u64,
    /// From the first event to the last acknowledgement.
    pub elapsed: Duration,
    /// Whether the token ended it, and not the count.
    pub interrupted: bool,
}

/// Why a generator failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No species to choose from.
    #[error(transparent)]
    Pokedex(#[from] PokedexError),
    /// No spawn points.
    #[error(transparent)]
    NoSpawnPoint(#[from] NoSpawnPoint),
    /// The broker is unreachable, or refuses the topic.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The producer refused an event, gave up on some, or still had some when its time was over.
    #[error("delivered {delivered} of {sent} events to {topic}; {reason}")]
    NotDelivered {
        /// The topic.
        topic: String,
        /// Events handed to the producer.
        sent: u64,
        /// Events that the broker has acknowledged.
        delivered: u64,
        /// Why the first of the others was not.
        reason: String,
    },
}

/// Sends events until the count is reached or the token stops it; `send_next` sends exactly one each time.
///
/// The first event that is not delivered ends it: a generator that runs for hours while events are lost is of no use.
pub fn generate(
    output: &EventTarget,
    kafka: &KafkaConfig,
    stop: &CancellationToken,
    progress: &mut dyn FnMut(Progress),
    send_next: &mut dyn FnMut(&Producer) -> Result<(), KafkaError>,
) -> Result<Generated, GenerateError> {
    let Some(cluster) = Cluster::connect_unless(kafka, CONNECT_TIMEOUT, || stop.is_cancelled())? else {
        return Ok(Generated { delivered: 0, elapsed: Duration::ZERO, interrupted: true });
    };
    // Before the topic, so that a refused property does not leave one behind.
    let producer = Producer::new(kafka)?;
    cluster.ensure_topic(&output.topic, output.partitions, output.compacted)?;
    drop(cluster);
    let mut pacer = Pacer::new(match output.rate {
        Rate::PerSecond(rate) => Some(rate),
        Rate::Max => None,
    });
    let started = Instant::now();
    let mut next_progress = Duration::ZERO;
    let (mut sent, mut refused) = (0, None);
    while output.count.is_none_or(|count| sent < count) {
        let elapsed = started.elapsed();
        let wait = pacer.wait(elapsed);
        if !wait.is_zero() || sent % LOOK_EVERY == 0 {
            let mut lost = false;
            if elapsed >= next_progress {
                let delivered = producer.delivered();
                lost = delivered.failed > 0;
                progress(Progress { sent, delivered: delivered.ok, elapsed });
                next_progress = elapsed + PROGRESS_EVERY;
            }
            if lost || stop.is_cancelled() {
                break;
            }
            if !wait.is_zero() || producer.outstanding() > MAX_OUTSTANDING {
                std::thread::sleep(if wait.is_zero() { STOP_POLL } else { wait.min(STOP_POLL) });
                continue;
            }
        }
        sent += 1;
        if let Err(error) = send_next(&producer) {
            refused = Some(error.with_cause());
            break;
        }
        pacer.sent();
    }
    let flushed = flush(&producer, stop);
    let (delivered, elapsed) = (producer.delivered(), started.elapsed());
    progress(Progress { sent, delivered: delivered.ok, elapsed });
    // The first cause first: an event that the client refused ended the loop, a failed delivery may have preceded it.
    let reason = match (delivered.first_error.or(refused), flushed) {
        (Some(reason), _) => reason,
        (None, Err(error)) => error.with_cause(),
        (None, Ok(())) if delivered.ok == sent => {
            let interrupted = output.count.is_none_or(|count| sent < count);
            return Ok(Generated { delivered: sent, elapsed, interrupted });
        }
        (None, Ok(())) => "the others were never acknowledged".to_owned(),
    };
    Err(GenerateError::NotDelivered { topic: output.topic.clone(), sent, delivered: delivered.ok, reason })
}

/// Waits for all deliveries. The producer gives up on each in its own time (`message.timeout.ms`); after a stop that is
/// more than the user wants to wait.
fn flush(producer: &Producer, stop: &CancellationToken) -> Result<(), KafkaError> {
    let mut stopped: Option<Instant> = None;
    loop {
        match producer.flush(STOP_POLL) {
            Err(KafkaError::Flush { .. }) if !stop.is_cancelled() => {}
            Err(KafkaError::Flush { outstanding, .. }) => {
                let after = stopped.get_or_insert_with(Instant::now).elapsed();
                if after >= FLUSH_AFTER_STOP {
                    return Err(KafkaError::Flush { outstanding, after });
                }
            }
            ended => return ended,
        }
    }
}

/// Runs a generator as a command: progress on a terminal, one line at the end, all on stderr.
pub(super) fn run(
    topic: &str,
    count: Option<u64>,
    generator: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<Generated, GenerateError>,
) -> anyhow::Result<Exit> {
    let bar = meter(count);
    let outcome = generator(&mut |progress| bar.set_position(progress.delivered));
    bar.finish_and_clear();
    let Generated { delivered, elapsed, interrupted } = outcome.map_err(|error| match error {
        // Without context, so that `main` finds its exit code.
        GenerateError::Kafka(error) => anyhow::Error::new(error),
        error => anyhow::Error::new(error),
    })?;
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let events = if delivered == 1 { "event" } else { "events" };
    eprintln!(
        "delivered {delivered} {events} to {topic} in {seconds:.1} s ({})",
        per_second(delivered as f64 / seconds)
    );
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

/// The seed of a run without `--seed`: short enough to type.
pub(super) fn any_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

/// `50/s`, `max`.
pub(super) fn rate_text(rate: Rate) -> String {
    match rate {
        Rate::PerSecond(rate) => per_second(rate),
        Rate::Max => "full speed".to_owned(),
    }
}

/// Whole numbers from ten on, else one decimal, or as many as tell it from zero.
fn per_second(rate: f64) -> String {
    if rate >= 10.0 {
        format!("{rate:.0}/s")
    } else if rate >= 0.1 || rate <= 0.0 {
        format!("{}/s", (rate * 10.0).round() / 10.0)
    } else {
        format!("{:.1}/h", rate * 3600.0)
    }
}

/// Hidden by the library where stderr is not a terminal.
fn meter(count: Option<u64>) -> ProgressBar {
    let (bar, template) = match count {
        Some(count) => (ProgressBar::new(count), "{bar:32} {human_pos}/{human_len} events  {per_sec}  ETA {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} events  {per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_well() {
        assert_eq!(rate_text(Rate::PerSecond(50.0)), "50/s");
        assert_eq!(rate_text(Rate::PerSecond(0.5)), "0.5/s");
        assert_eq!(rate_text(Rate::PerSecond(2.0)), "2/s");
        assert_eq!(rate_text(Rate::PerSecond(2.0 / 3600.0)), "2.0/h");
        assert_eq!(rate_text(Rate::Max), "full speed");
    }
}
