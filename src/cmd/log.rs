//! The output of log lines: stderr, or a pane of the screen while one is open.

use std::fmt::Result as FmtResult;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::{EnvFilter, fmt};

use tallgrass_sink::terminal::LogTail;

static PANE: Mutex<Option<LogTail>> = Mutex::new(None);

/// Starts logging; `TALLGRASS_LOG` filters as `RUST_LOG` does elsewhere (default: `info` of our own lines).
pub fn init() {
    // The client's wrapper complains about a consumer that is closed already, which is how we leave a group; the client's
    // relevant lines have the target `librdkafka`.
    let ours = || EnvFilter::new("warn,tallgrass=info,rdkafka=off");
    let filter = EnvFilter::try_from_env("TALLGRASS_LOG").unwrap_or_else(|_| ours());
    let started = fmt()
        .with_env_filter(filter)
        .with_target(false)
        // No colours: the same lines may end up in a pane or a file.
        .with_ansi(false)
        .with_timer(Clock)
        .with_writer(LogTarget)
        .compact()
        .try_init();
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}

/// Keeps log lines off the terminal until it is dropped, when the last ones go to stderr.
#[derive(Debug)]
pub struct Captured(LogTail);

/// Sends log lines to a pane from now on.
pub fn capture() -> Captured {
    let tail = LogTail::default();
    *PANE.lock().unwrap_or_else(PoisonError::into_inner) = Some(tail.clone());
    Captured(tail)
}

impl Captured {
    /// The newest lines.
    pub fn tail(&self) -> &LogTail {
        &self.0
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        *PANE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut stderr = io::stderr().lock();
        for line in self.0.lines() {
            if writeln!(stderr, "{line}").is_err() {
                return;
            }
        }
    }
}

/// The time of day: a log that is kept longer gets its date elsewhere.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, line: &mut Writer<'_>) -> FmtResult {
        write!(line, "{}", jiff::Timestamp::now().strftime("%H:%M:%S%.3f"))
    }
}

struct LogTarget;

impl<'a> MakeWriter<'a> for LogTarget {
    type Writer = Box<dyn Write>;

    fn make_writer(&'a self) -> Self::Writer {
        match &*PANE.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(tail) => Box::new(tail.clone()),
            None => Box::new(io::stderr()),
        }
    }
}
