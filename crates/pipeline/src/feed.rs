//! One thread that reads, decodes and hands on micro-batches.
//!
//! A micro-batch closes by rows, bytes or time, whichever happens first. The channel is bounded: a slow engine makes the
//! reader wait, and librdkafka's own queue then stops fetching.

mod event;
mod thread;

use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use event::{BatchLimits, FeedError, FeedEvent, FeedUntil, GoOn};

use super::input::FeedTopic;
use tallgrass_kafka::{AsOf, KafkaConfig};
use tallgrass_relation::BadRecords;
use thread::{FeedLink, FeedThread, Stop};

/// Micro-batches on their way to the engine: enough to keep both sides busy, few enough to bound memory.
const CHANNEL_BATCHES: usize = 4;

/// A running reader thread; it stops when this is dropped.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<FeedEvent>,
    commands: std_mpsc::Sender<GoOn>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts to read all partitions of `topics`: those that `from` names at its offsets, the others at their earliest
    /// ones. A topic that does not exist yet is waited for, unless the feed has an end.
    ///
    /// # Errors
    /// The feed [fails](FeedEvent::Failed) where a partition that `from` names does not exist or does not have that offset:
    /// results as of `from` are not results of this log.
    pub fn start(
        kafka: &KafkaConfig,
        topics: Vec<FeedTopic>,
        limits: BatchLimits,
        from: AsOf,
        until: FeedUntil,
        bad: &BadRecords,
    ) -> std::io::Result<Self> {
        let (sender, events) = mpsc::channel(CHANNEL_BATCHES);
        let (commands, received) = std_mpsc::channel();
        let stop = CancellationToken::new();
        let (kafka, bad, stopped) = (kafka.clone(), bad.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            let link = FeedLink { events: &sender, commands: &received, stop: stopped };
            let ended =
                FeedThread::open(&kafka, topics, limits, &from, until, &bad, link).and_then(|mut thread| thread.run());
            if let Err(Stop::Failed(error)) = ended {
                // The feed may have been dropped as well.
                drop(sender.blocking_send(FeedEvent::Failed(error)));
            }
        })?;
        Ok(Self { events, commands, stop, thread: Some(thread) })
    }

    /// The next event; none after the feed has ended.
    pub async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }

    /// After [`FeedEvent::Ended`]: reads on.
    pub fn go_on(&self, how: GoOn) {
        // A thread that has ended has sent why.
        self.commands.send(how).ok();
    }
}

impl Drop for Feed {
    /// Waits for the thread, so that no client outlives its feed: at most one idle wait, or one request.
    fn drop(&mut self) {
        self.stop.cancel();
        self.events.close();
        while self.events.try_recv().is_ok() {}
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the reader thread ended with a panic");
        }
    }
}
