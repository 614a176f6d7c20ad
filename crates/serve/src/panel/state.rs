//! The state of a panel's consumer, the hub's or its own, as text for the page.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::captions::feeder;
use tallgrass_kafka::KafkaConfig;

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is known yet.
    Starting,
    /// The topic does not exist.
    Waiting,
    /// Reads what was there before.
    CatchingUp,
    /// Shows what appears.
    Live,
    /// No broker answers.
    Unreachable,
    /// The statement cannot run, and there is none that could before.
    Broken,
}

/// How it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsumerState {
    /// What it is doing.
    pub phase: Phase,
    /// Since when, milliseconds since 1970.
    pub since: i64,
    /// The same as a short text.
    pub title: String,
    /// What one could do about it, or how far it is.
    pub detail: String,
    /// A command that would help.
    pub command: Option<String>,
    /// What is wrong with the SQL as it is saved; what ran before goes on.
    pub sql_error: Option<Arc<str>>,
}

impl ConsumerState {
    /// A state that begins now.
    pub fn new(phase: Phase, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { phase, since: now_ms(), title: title.into(), detail: detail.into(), command: None, sql_error: None }
    }

    /// Before anything is known.
    pub fn starting() -> Self {
        Self::new(Phase::Starting, "Starting", "Asks the broker where to begin.")
    }

    /// The topic does not exist yet.
    pub fn waiting(topic: &str, kafka: &KafkaConfig) -> Self {
        let title = format!("Waiting for topic '{topic}'");
        let command = Some(feeder(kafka, topic));
        Self { command, ..Self::new(Phase::Waiting, title, "It does not exist yet. This would feed it:") }
    }

    /// All that was there has been read.
    pub fn live() -> Self {
        Self::new(Phase::Live, "Live", "")
    }

    /// No broker answers.
    pub fn unreachable(reason: &str) -> Self {
        Self::new(Phase::Unreachable, "The broker does not answer", format!("{reason}. Tries again by itself."))
    }

    /// Nothing can run.
    pub fn broken() -> Self {
        Self::new(Phase::Broken, "The SQL cannot run", "Correct the file: this page goes on as soon as it is saved.")
    }

    /// The same as another but for when it began, and how far it is.
    pub fn continues(&self, other: &Self) -> bool {
        self.phase == other.phase && self.title == other.title
    }
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
