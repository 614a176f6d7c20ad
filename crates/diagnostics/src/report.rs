//! A finding in a text, and how it is shown: file, line, column, the line itself with a caret, and a way out.
//!
//! ```text
//! queries/dashboard/by_type.sql:3:8: error: column 'typ_1' not found
//!   3 | SELECT typ_1, count(*) AS seen FROM pokemons
//!     |        ^^^^^
//! help: did you mean 'type_1'?
//! ```

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::Span;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The text cannot be used
    Error,
    /// The text works, and yet a part of it has no effect, or surely another than meant
    Warning,
    /// The text works, and a part of it means what it does not say
    Note,
}

/// The parts of a finding. Its Display is all of it, in several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How bad it is
    pub severity: Severity,
    /// The file, as its path was given
    pub file: PathBuf,
    /// Where in the file; `None` when it concerns the whole file
    pub span: Option<Span>,
    /// The line that `span` is in, without its end
    pub excerpt: Option<String>,
    /// What is wrong: lower case, no full stop, one line
    pub message: String,
    /// A way out
    pub hint: Option<String>,
}

/// A finding in a text, on its way to the reader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Diagnostic(Box<Report>);

impl Diagnostic {
    /// An error in `text`, the content of `file`; the caret goes under `span`.
    pub fn error(file: &Path, text: &str, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, file, text, span.into(), message.into())
    }

    /// A warning in `text`, the content of `file`; the caret goes under `span`.
    pub fn warning(file: &Path, text: &str, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, file, text, span.into(), message.into())
    }

    /// A note on `text`, the content of `file`; the caret goes under `span`.
    pub fn note(file: &Path, text: &str, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, file, text, span.into(), message.into())
    }

    fn new(severity: Severity, file: &Path, text: &str, span: Option<Span>, message: String) -> Self {
        let excerpt = span.map(|span| text.lines().nth(span.line - 1).unwrap_or_default().to_owned());
        let span = span.zip(excerpt.as_ref()).map(|(span, line)| {
            let left = (line.chars().count() + 1).saturating_sub(span.column);
            Span { width: span.width.min(left).max(1), ..span }
        });
        Self(Box::new(Report { severity, file: file.to_owned(), span, excerpt, message, hint: None }))
    }

    /// Adds the `help:` line.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.0.hint = hint.into();
        self
    }

    /// Shows another line than the text's own, such as one without its secrets.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: String) -> Self {
        self.0.excerpt = Some(excerpt);
        self
    }
}

impl Deref for Diagnostic {
    type Target = Report;
    fn deref(&self) -> &Report {
        &self.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(span) = self.span {
            write!(f, "{}:{}:", span.line, span.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, " {severity}: {}", self.message)?;
        if let (Some(span), Some(excerpt)) = (self.span, &self.excerpt) {
            let part = |skip, take| printable(excerpt.chars().skip(skip).take(take));
            let before = part(0, span.column - 1).chars().count();
            let under = part(span.column - 1, span.width).chars().count();
            let number = span.line.to_string();
            write!(f, "\n  {number} | {}", printable(excerpt.chars()).trim_end())?;
            write!(f, "\n  {:1$} | {2:3$}{4}", "", number.len(), "", before, "^".repeat(under.max(1)))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhelp: {hint}"),
            None => Ok(()),
        }
    }
}

/// A text as it may go to a terminal: a tab as four columns, so that the caret stands where the text does.
fn printable(chars: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for c in chars {
        match c {
            '\t' => shown.push_str("    "),
            c if c.is_control() => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, span: Option<Span>) -> String {
        let error = Diagnostic::error(Path::new("q/a.sql"), text, span, "column 'b' not found");
        error.with_hint("look".to_owned()).to_string()
    }

    #[test]
    fn the_caret_stands_under_the_span_whatever_is_before_it() {
        let plain = render("SELECT b\n", Some(Span { line: 1, column: 8, width: 1 }));
        assert_eq!(plain, "q/a.sql:1:8: error: column 'b' not found\n  1 | SELECT b\n    |        ^\nhelp: look");
        let tab = render("\tbb\n", Some(Span { line: 1, column: 2, width: 2 }));
        assert_eq!(tab, "q/a.sql:1:2: error: column 'b' not found\n  1 |     bb\n    |     ^^\nhelp: look");
        let accents = render("-- é\n'Flabébé♀', b", Some(Span { line: 2, column: 13, width: 9 }));
        assert!(accents.contains("\n  2 | 'Flabébé♀', b\n    |             ^\n"), "{accents}");
    }

    #[test]
    fn a_span_past_the_text_and_none_at_all_still_render() {
        assert!(render("SELECT", Some(Span { line: 1, column: 7, width: 3 })).contains("      ^\n"));
        assert!(render("SELECT", Some(Span::at(9, 4))).starts_with("q/a.sql:9:4: error"));
        assert_eq!(render("SELECT", None), "q/a.sql: error: column 'b' not found\nhelp: look");
    }

    #[test]
    fn control_characters_of_a_file_never_reach_a_terminal() {
        assert!(!render("a\u{1b}[31m b", Some(Span::at(1, 4))).contains('\u{1b}'));
    }
}
