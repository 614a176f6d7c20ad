//! A stretch of one line of a text.
//!
//! Lines and columns start at 1 and belong to the text as an editor shows it: a column is one character, however many
//! bytes it takes.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::{self, Location};

/// A stretch of one line of a text; ordered as they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line, from 1
    pub line: usize,
    /// Column in characters, from 1
    pub column: usize,
    /// Length in characters, at least 1
    pub width: usize,
}

impl Span {
    /// One character.
    pub fn at(line: usize, column: usize) -> Self {
        Self { line, column, width: 1 }
    }

    /// Of some bytes of a text; what goes past the end of their first line is cut off.
    pub fn of_bytes(text: &str, bytes: &Range<usize>) -> Self {
        // Parsers point past the end where something is missing there.
        let start = text.floor_char_boundary(bytes.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find(['\r', '\n']).map_or(text.len(), |at| start + at);
        let end = text.floor_char_boundary(bytes.end.min(line_end)).max(start);
        Self {
            line: 1 + text[..start].matches('\n').count(),
            column: 1 + text[line_start..start].chars().count(),
            width: text[start..end].chars().count().max(1),
        }
    }

    /// Of a token or a syntax tree's node; `None` for the parser's "unknown". The end is exclusive, whatever sqlparser's
    /// documentation says; a span over several lines is cut to its first.
    pub fn of(span: tokenizer::Span) -> Option<Self> {
        Self::between(span.start, span.end)
    }

    /// The character at a location of the parser.
    pub fn of_location(location: Location) -> Option<Self> {
        Self::between(location, location)
    }

    /// Of DataFusion's own type.
    pub fn of_diagnostic(span: datafusion::common::Span) -> Option<Self> {
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

    /// Whether both begin at the same character.
    pub fn starts_with(self, other: Self) -> bool {
        (self.line, self.column) == (other.line, other.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_text_are_characters_of_a_line() {
        assert_eq!(Span::of_bytes("a = 1\nbé = 22\n", &(12..14)), Span { line: 2, column: 6, width: 2 });
        assert_eq!(Span::of_bytes("a = 1\r\nb", &(4..9)), Span { line: 1, column: 5, width: 1 });
        // In the middle of a character.
        assert_eq!(Span::of_bytes("é = 1", &(1..2)), Span { line: 1, column: 1, width: 1 });
    }

    #[test]
    fn bytes_at_or_past_the_end_have_a_place() {
        assert_eq!(Span::of_bytes("a =", &(3..3)), Span::at(1, 4));
        assert_eq!(Span::of_bytes("", &(0..0)), Span::at(1, 1));
        assert_eq!(Span::of_bytes("a = 1\n", &(40..50)), Span::at(2, 1));
    }

    #[test]
    fn a_token_over_several_lines_is_cut_to_its_first() {
        let of = |end| Span::of(tokenizer::Span::new(Location::new(2, 3), end));
        assert_eq!(of(Location::new(2, 7)), Some(Span { line: 2, column: 3, width: 4 }));
        assert_eq!(of(Location::new(4, 1)), Some(Span { line: 2, column: 3, width: usize::MAX }));
        assert_eq!(Span::of(tokenizer::Span::empty()), None);
    }
}
