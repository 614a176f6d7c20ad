//! Why the settings cannot be used, and where they are wrong.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::secret::without_secrets;
use tallgrass_view::{Span, SqlReport};

/// What is wrong with a setting, wherever it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Lower case, no full stop
    pub message: String,
    /// A way out
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Settings that cannot be used. Its Display is complete: place, severity and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that was named, or the default one, cannot be read.
    #[error("error: cannot read the config file {}: {source}", path.display())]
    Unreadable {
        /// As it was named
        path: PathBuf,
        /// What the system says
        source: io::Error,
    },
    /// What is wrong in the file, in its order.
    #[error("{}", Reports(.0))]
    File(Vec<SqlReport>),
    /// A variable of the environment, or settings that do not go together.
    #[error("error: {message}{}", Hint(.hint.as_deref()))]
    Outside {
        /// What is wrong, and in which variable
        message: String,
        /// A way out
        hint: Option<String>,
    },
}

impl ConfigError {
    pub(super) fn outside(problem: Problem) -> Self {
        Self::Outside { message: problem.message, hint: problem.hint }
    }
}

struct Reports<'a>(&'a [SqlReport]);

impl fmt::Display for Reports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n\n" })?;
            report.render("error", f)?;
        }
        Ok(())
    }
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "\nhelp: {hint}"))
    }
}

/// The line, from 1, of a byte of the text.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
}

/// A problem at some bytes of a config file.
pub(super) fn report(file: &Path, text: &str, bytes: &Range<usize>, problem: Problem) -> SqlReport {
    // The parser points past the end where something is missing there.
    let start = (0..=bytes.start.min(text.len())).rfind(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line_end = line_start + text[line_start..line_end].trim_end_matches('\r').len();
    let end = (start..=bytes.end.min(line_end).max(start)).rfind(|at| text.is_char_boundary(*at)).unwrap_or(start);
    let span = Span {
        line: line_of(text, start),
        column: 1 + text[line_start..start].chars().count(),
        width: text[start..end].chars().count().max(1),
    };
    let mut report = SqlReport::new(file, text, Some(span), problem.message, problem.hint);
    report.sql_line = Some(without_secrets(text, line_start..line_end.max(line_start)));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, bytes: Range<usize>) -> String {
        ConfigError::File(vec![report(Path::new("t.toml"), text, &bytes, Problem::new("no"))]).to_string()
    }

    #[test]
    fn a_place_is_shown_as_in_a_sql_file() {
        assert_eq!(shown("a = 1\nbé = 22\n", 12..14), "t.toml:2:6: error: no\n  2 | bé = 22\n    |      ^^");
        assert_eq!(shown("a = 1\r\nb", 4..9), "t.toml:1:5: error: no\n  1 | a = 1\n    |     ^");
    }

    #[test]
    fn a_place_at_or_past_the_end_is_a_place() {
        assert_eq!(shown("a =", 3..3), "t.toml:1:4: error: no\n  1 | a =\n    |    ^");
        assert_eq!(shown("", 0..0), "t.toml:1:1: error: no\n  1 | \n    | ^");
        assert!(shown("a = 1\n", 40..50).starts_with("t.toml:2:1: error: no"));
    }

    #[test]
    fn a_secret_is_never_part_of_a_message() {
        let text = "\"sasl.password\" = hunter2";
        assert!(!shown(text, 18..25).contains("hunter2"));
    }
}
