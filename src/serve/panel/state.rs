//! How the hub (or a panel's own consumer) is doing, in words for the page.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is known yet.
    Starting,
    /// The topic is not there.
    Waiting,
    /// Reads what was there before.
    CatchingUp,
    /// Shows what appears.
    Live,
    /// No broker answers.
    BrokerGone,
    /// The statement cannot run, and there is none that could before.
    Broken,
}

/// How it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// Since when, milliseconds since 1970.
    pub since: i64,
    /// The same in a few words.
    pub title: String,
    /// What one could do about it, or how far it is.
    pub detail: String,
    /// A command that would help.
    pub command: Option<String>,
    /// What is wrong with the SQL on disk; what ran before goes on.
    pub sql_error: Option<Arc<str>>,
}

impl State {
    /// A state that begins now.
    pub fn new(phase: Phase, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { phase, since: now_ms(), title: title.into(), detail: detail.into(), command: None, sql_error: None }
    }

    /// Before anything is known.
    pub fn starting() -> Self {
        Self::new(Phase::Starting, "Starting", "asks the broker what there is")
    }

    /// Nobody has made the topic.
    pub fn waiting(topic: &str, brokers: &str) -> Self {
        let command = match topic {
            "pokemons" => format!("tallgrass pokemon-gen -b {brokers}"),
            _ => format!("kcat -P -b {brokers} -t {topic}"),
        };
        let title = format!("Waiting for topic '{topic}'");
        Self {
            command: Some(command),
            ..Self::new(Phase::Waiting, title, "Nothing has been sent to it yet. This would:")
        }
    }

    /// All that was there has been read.
    pub fn live() -> Self {
        Self::new(Phase::Live, "Live", "")
    }

    /// Nobody answers.
    pub fn broker_gone(reason: &str) -> Self {
        Self::new(Phase::BrokerGone, "The broker does not answer", format!("{reason}. Tries again by itself."))
    }

    /// Nothing can run.
    pub fn broken() -> Self {
        Self::new(Phase::Broken, "The SQL cannot run", "Mend the file: this page goes on as soon as it is saved.")
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
