//! Where log lines go: stderr, or a pane of the screen while one is open.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

/// Lines that a screen keeps of the log.
const KEPT_LINES: usize = 200;

static PANE: Mutex<Option<VecDeque<String>>> = Mutex::new(None);

/// Starts logging; `TALLGRASS_LOG` filters as `RUST_LOG` does elsewhere (default: `info` of our own lines).
pub fn init() {
    let filter = EnvFilter::try_from_env("TALLGRASS_LOG").unwrap_or_else(|_| EnvFilter::new("warn,tallgrass=info"));
    let started = fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none())
        .with_writer(Target)
        .compact()
        .try_init();
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
}

/// Keeps log lines off the terminal until it is dropped, when those not yet seen go to stderr.
#[derive(Debug)]
pub struct Captured(());

/// Sends log lines to a pane from now on.
pub fn capture() -> Captured {
    *PANE.lock().unwrap_or_else(PoisonError::into_inner) = Some(VecDeque::new());
    Captured(())
}

impl Captured {
    /// The newest lines.
    pub fn lines(&self) -> VecDeque<String> {
        PANE.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        let lines = PANE.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let mut stderr = io::stderr().lock();
        for line in lines {
            if writeln!(stderr, "{line}").is_err() {
                return;
            }
        }
    }
}

struct Target;

impl<'a> MakeWriter<'a> for Target {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(Vec::new())
    }
}

/// Collects one event and hands it on whole when dropped.
struct LineWriter(Vec<u8>);

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        let mut pane = PANE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = pane.as_mut() {
            lines.extend(String::from_utf8_lossy(&self.0).lines().map(str::to_owned));
            let surplus = lines.len().saturating_sub(KEPT_LINES);
            lines.drain(..surplus);
        } else if io::stderr().lock().write_all(&self.0).is_err() {
            // Nobody reads the log; the work goes on.
        }
    }
}
