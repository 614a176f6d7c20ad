//! Errors in settings, and where they are.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tallgrass_diagnostics::{Diagnostic, Span};

use super::secret::without_secrets;

/// What is wrong with a setting, whatever its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Lower case, no full stop
    pub message: String,
    /// What to do about it
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Settings that cannot be used. Its Display is complete: position, severity and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that was named, or the default one, cannot be read.
    #[error("error: cannot read the config file {}: {source}", path.display())]
    Unreadable {
        /// As it was named
        path: PathBuf,
        /// The system's error
        source: io::Error,
    },
    /// What is wrong in the file, in its order.
    #[error("{}", .0.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n\n"))]
    File(Vec<Diagnostic>),
    /// A variable of the environment, or settings that conflict.
    #[error("error: {message}{}", Hint(.hint.as_deref()))]
    Outside {
        /// What is wrong, and in which variable
        message: String,
        /// What to do about it
        hint: Option<String>,
    },
}

impl ConfigError {
    pub(super) fn outside(fault: Fault) -> Self {
        Self::Outside { message: fault.message, hint: fault.hint }
    }
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "\nhelp: {hint}"))
    }
}

/// What is wrong at some bytes of a config file.
pub(super) fn diagnostic(file: &Path, text: &str, bytes: &Range<usize>, fault: Fault) -> Diagnostic {
    let span = Span::of_bytes(text, bytes);
    let start: usize = text.split_inclusive('\n').take(span.line - 1).map(str::len).sum();
    let length = text[start..].lines().next().unwrap_or_default().len();
    let shown = without_secrets(text, start..start + length);
    Diagnostic::error(file, text, span, fault.message).with_hint(fault.hint).with_excerpt(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, bytes: Range<usize>) -> String {
        diagnostic(Path::new("t.toml"), text, &bytes, Fault::new("no")).to_string()
    }

    #[test]
    fn a_fault_is_shown_at_its_place() {
        assert_eq!(shown("a = 1\nbé = 22\n", 12..14), "t.toml:2:6: error: no\n  2 | bé = 22\n    |      ^^");
        assert_eq!(shown("a =", 3..3), "t.toml:1:4: error: no\n  1 | a =\n    |    ^");
        assert_eq!(shown("", 0..0), "t.toml:1:1: error: no\n  1 | \n    | ^");
    }

    #[test]
    fn a_secret_is_never_part_of_a_message() {
        let text = "\"sasl.password\" = hunter2";
        assert!(!shown(text, 18..25).contains("hunter2"));
    }
}
