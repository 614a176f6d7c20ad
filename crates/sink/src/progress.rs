//! The progress of a bounded read, on stderr, for a person who waits.
//!
//! Shown only where stderr is a terminal. The percentage never falls, and it reaches 100% only when the whole range has
//! been read.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::cells::group_digits;

/// Time between two updates: fast enough to look steady, slow enough to cost nothing.
const TICK: Duration = Duration::from_millis(100);

/// A bar that is drawn until this is dropped.
#[must_use = "the bar disappears when this is dropped"]
pub struct ReadBar {
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

/// Draws how many of `total` records `read` reports, from a thread of its own; nothing where stderr is not a terminal.
pub fn progress(total: u64, read: impl Fn() -> u64 + Send + 'static) -> ReadBar {
    let stop = Arc::new(AtomicBool::new(false));
    if total == 0 || !stderr().is_terminal() {
        return ReadBar { stop, ticker: None };
    }
    let bar = bar(total, ProgressDrawTarget::stderr());
    let stopped = Arc::clone(&stop);
    let ticker = thread::Builder::new().name("progress".to_owned()).spawn(move || {
        while !stopped.load(Ordering::Acquire) {
            advance(&bar, read());
            thread::park_timeout(TICK);
        }
        // The result follows on stdout: leave no half-drawn bar above it.
        bar.finish_and_clear();
    });
    // Without another thread the read can still be done.
    ReadBar { stop, ticker: ticker.ok() }
}

impl Drop for ReadBar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            if ticker.join().is_err() {
                tracing::debug!("the progress bar stopped early");
            }
        }
    }
}

fn bar(total: u64, target: ProgressDrawTarget) -> ProgressBar {
    // No colours: they would need NO_COLOR, and the bar needs none.
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {done} of {all} records  {rate}/s  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
        .with_key("done", |state: &ProgressState, out: &mut dyn std::fmt::Write| grouped(out, state.pos()))
        .with_key("all", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            grouped(out, state.len().unwrap_or_default());
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| grouped(out, state.per_sec() as u64));
    ProgressBar::with_draw_target(Some(total), target).with_style(style)
}

fn grouped(out: &mut dyn std::fmt::Write, number: u64) {
    if out.write_str(&group_digits(&number.to_string())).is_err() {
        tracing::trace!("no room for the progress bar");
    }
}

/// Moves the bar on, never back (a partition read again counts twice) and never past its end.
fn advance(bar: &ProgressBar, read: u64) {
    let total = bar.length().unwrap_or(u64::MAX);
    bar.set_position(read.min(total).max(bar.position()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_never_falls_and_never_passes_the_end() {
        let bar = bar(100, ProgressDrawTarget::hidden());
        let shares: Vec<u64> = [10, 50, 40, 0, 60, 500, 90]
            .into_iter()
            .map(|read| {
                advance(&bar, read);
                bar.position()
            })
            .collect();
        assert_eq!(shares, [10, 50, 50, 50, 60, 100, 100]);
    }

    #[test]
    fn without_a_terminal_there_is_neither_bar_nor_thread() {
        // Test runners capture stderr; where one does not, nothing is shown here.
        if !stderr().is_terminal() {
            assert!(progress(100, || 1).ticker.is_none());
        }
        assert!(progress(0, || 0).ticker.is_none());
    }
}
