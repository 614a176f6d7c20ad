//! The last lines of a log, kept for a pane: while a screen is up, nothing else may write to the terminal.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lines kept: more than fit into any pane.
const MAX_LINES: usize = 200;
/// Bytes of a line that are kept; a line without an end must not grow forever.
const MAX_LINE_BYTES: usize = 4096;

/// A shared, bounded tail of lines. Clones share it; each is a writer, so that
/// `tracing_subscriber::fmt().with_ansi(false).with_writer(move || tail.clone())` fills it.
#[derive(Debug, Clone, Default)]
pub struct LogTail {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    unfinished: Vec<u8>,
}

impl LogTail {
    /// Adds a line.
    pub fn push(&self, line: impl Into<String>) {
        self.lock().push(line.into());
    }

    /// The lines kept, oldest first.
    pub fn lines(&self) -> VecDeque<String> {
        self.lock().lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Lines are whole even if a writer panicked between two of them.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, line: String) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl Write for LogTail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = MAX_LINE_BYTES.saturating_sub(kept.unfinished.len());
            kept.unfinished.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                let line = std::mem::take(&mut kept.unfinished);
                kept.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_bounded() {
        let mut tail = LogTail::default();
        write!(tail.clone(), "one\ntw").unwrap();
        tail.write_all(b"o\nthree").unwrap();
        assert_eq!(tail.lines(), ["one", "two"]);
        for number in 0..1000 {
            tail.push(number.to_string());
        }
        tail.write_all(&vec![b'x'; 100_000]).unwrap();
        tail.write_all(b"\n").unwrap();
        assert_eq!(tail.lines().len(), MAX_LINES);
        assert_eq!(tail.lines().back().unwrap().len(), MAX_LINE_BYTES);
    }
}
