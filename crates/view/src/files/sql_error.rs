//! What is wrong in a SQL file, and where: file, line, column, the line itself with a caret, and a way out.
//!
//! ```text
//! queries/dashboard/by_type.sql:3:8: error: column 'typ_1' not found
//!   3 | SELECT typ_1, count(*) AS seen FROM pokemons
//!     |        ^^^^^
//! help: did you mean 'type_1'?
//! ```
//!
//! Lines and columns start at 1 and belong to the file as an editor shows it: front matter counts, and a column is one
//! character, however many bytes it takes.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{self, Location, Token, TokenWithSpan, Tokenizer};

/// A stretch of one line of a SQL file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Line, from 1
    pub line: usize,
    /// Column in characters, from 1
    pub column: usize,
    /// Length in characters; never past the end of the line, at least 1
    pub width: usize,
}

impl Span {
    /// One character.
    pub fn at(line: usize, column: usize) -> Self {
        Self { line, column, width: 1 }
    }

    /// Whether both begin at the same character.
    pub(super) fn starts(self, other: Self) -> bool {
        (self.line, self.column) == (other.line, other.column)
    }

    /// Of a token or a syntax tree's node; `None` for the parser's "unknown". The end is exclusive, whatever sqlparser's
    /// documentation says; a span over several lines is cut to its first.
    pub(super) fn of(span: tokenizer::Span) -> Option<Self> {
        Self::between(span.start, span.end)
    }

    /// The same for DataFusion's own type.
    pub(super) fn of_diagnostic(span: datafusion::common::Span) -> Option<Self> {
        let location = |at: datafusion::common::Location| Location::new(at.line, at.column);
        Self::between(location(span.start), location(span.end))
    }

    fn between(start: Location, end: Location) -> Option<Self> {
        let position = |at: u64| usize::try_from(at).ok().filter(|at| *at > 0);
        let (line, column) = (position(start.line)?, position(start.column)?);
        let width = match position(end.column) {
            Some(end_column) if end.line == start.line => end_column.saturating_sub(column).max(1),
            _ => usize::MAX,
        };
        Some(Self { line, column, width })
    }
}

/// A finding: its text and where it belongs. [`SqlError`] and [`SqlWarning`] are this with a severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlReport {
    /// The SQL file, as its path was given
    pub file: PathBuf,
    /// Where in the file; `None` when it concerns the whole file
    pub span: Option<Span>,
    /// The line that `span` is in, without its end
    pub sql_line: Option<String>,
    /// What is wrong: lower case, no full stop, one line
    pub message: String,
    /// A way out
    pub hint: Option<String>,
}

impl SqlReport {
    /// A finding in `text`, the content of `file`. A span is clipped to its line.
    pub(crate) fn new(file: &Path, text: &str, span: Option<Span>, message: String, hint: Option<String>) -> Self {
        let sql_line = span.map(|span| text.lines().nth(span.line - 1).unwrap_or_default().to_owned());
        let span = span.zip(sql_line.as_ref()).map(|(span, sql_line)| {
            let left = (sql_line.chars().count() + 1).saturating_sub(span.column);
            Span { width: span.width.min(left).max(1), ..span }
        });
        Self { file: file.to_owned(), span, sql_line, message, hint }
    }

    pub(crate) fn render(&self, severity: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(span) = self.span {
            write!(f, "{}:{}:", span.line, span.column)?;
        }
        write!(f, " {severity}: {}", self.message)?;
        if let (Some(span), Some(sql_line)) = (self.span, &self.sql_line) {
            let before: usize = sql_line.chars().take(span.column - 1).map(|c| printable(c).len_chars()).sum();
            let under: usize =
                sql_line.chars().skip(span.column - 1).take(span.width).map(|c| printable(c).len_chars()).sum();
            let line: String = sql_line.chars().map(|c| printable(c).0).collect();
            let number = span.line.to_string();
            write!(f, "\n  {number} | {}", line.trim_end())?;
            write!(f, "\n  {:1$} | {2:3$}{4}", "", number.len(), "", before, "^".repeat(under.max(1)))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhelp: {hint}"),
            None => Ok(()),
        }
    }
}

/// A character as it may go to a terminal: a tab as four columns, so that the caret stands where the text does.
struct Printable(String);

impl Printable {
    fn len_chars(&self) -> usize {
        self.0.chars().count()
    }
}

fn printable(c: char) -> Printable {
    Printable(match c {
        '\t' => "    ".to_owned(),
        c if c.is_control() => char::REPLACEMENT_CHARACTER.to_string(),
        c => c.to_string(),
    })
}

/// Why a SQL file cannot be a view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SqlError(Box<SqlReport>);

impl SqlError {
    /// An error in `text`, the content of `file`; the caret goes under `span`.
    pub fn new(file: &Path, text: &str, span: Option<Span>, message: impl Into<String>) -> Self {
        Self(Box::new(SqlReport::new(file, text, span, message.into(), None)))
    }

    /// Adds the `help:` line.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.0.hint = hint.into();
        self
    }
}

/// Something in a SQL file that has no effect, or surely another than meant; the file still works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlWarning(Box<SqlReport>);

impl SqlWarning {
    /// A warning in `text`, the content of `file`; the caret goes under `span`.
    pub fn new(file: &Path, text: &str, span: Option<Span>, message: impl Into<String>) -> Self {
        Self(Box::new(SqlReport::new(file, text, span, message.into(), None)))
    }

    /// Adds the `help:` line.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.0.hint = hint.into();
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render("error", f)
    }
}

impl fmt::Display for SqlWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.render("warning", f)
    }
}

impl Deref for SqlError {
    type Target = SqlReport;
    fn deref(&self) -> &SqlReport {
        &self.0
    }
}

impl Deref for SqlWarning {
    type Target = SqlReport;
    fn deref(&self) -> &SqlReport {
        &self.0
    }
}

/// A SQL text and the file it came from: what every finding needs to know of its surroundings.
#[derive(Clone, Copy)]
pub(super) struct SqlSource<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl SqlSource<'_> {
    pub fn error(&self, span: Option<Span>, message: impl Into<String>) -> SqlError {
        SqlError::new(self.file, self.text, span, message)
    }

    pub fn warning(&self, span: Option<Span>, message: impl Into<String>) -> SqlWarning {
        SqlWarning::new(self.file, self.text, span, message)
    }

    /// All tokens with comments and blanks; where the text cannot be tokenized, those before.
    pub fn tokens(&self) -> Vec<TokenWithSpan> {
        let mut tokens = Vec::new();
        // The failure itself is the parser's to report; here the front matter above it still counts.
        _ = Tokenizer::new(&GenericDialect {}, self.text).tokenize_with_location_into_buf(&mut tokens);
        tokens
    }

    /// Where a name stands first.
    pub fn find_word(&self, name: &str) -> Option<Span> {
        let is_it = |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
        self.tokens().iter().find(|token| is_it(&token.token)).and_then(|token| Span::of(token.span))
    }

    /// The place just behind the last token that is no comment.
    pub fn end(&self) -> Span {
        let tokens = self.tokens();
        let end = tokens.iter().rfind(|t| is_significant(&t.token)).map_or(Location::new(1, 1), |t| t.span.end);
        Span::between(end, end).unwrap_or(Span::at(1, 1))
    }
}

/// Whether a token is part of a statement rather than a comment or a blank.
pub(super) fn is_significant(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// The candidate that a misspelt `word` most probably means: at most a third of its letters off, ties by name.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean 'x'?`
pub(crate) fn did_you_mean_hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    did_you_mean(word, candidates).map(|candidate| format!("did you mean '{candidate}'?"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn render(text: &str, span: Option<Span>) -> String {
        SqlError::new(Path::new("q/a.sql"), text, span, "column 'b' not found").with_hint("look".to_owned()).to_string()
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

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(did_you_mean("typ_1", ["type_2", "type_1", "total"]), Some("type_1"));
        assert_eq!(did_you_mean("FORM", ["SELECT", "FROM"]), Some("FROM"));
        assert_eq!(did_you_mean("weight", ["type_1", "total"]), None);
        assert_eq!(did_you_mean("x", ["y"]), None);
    }
}
