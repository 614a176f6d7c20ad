//! How a SQL file describes itself, in comments above its statement, so that every editor and psql accept the file.
//!
//! ```sql
//! -- @title: Pokémon by type
//! -- @chart: bar            -- number | bar | line | scatter | map | table
//! -- @x: type_1  @y: seen
//! -- @param lat DOUBLE = 40.4168
//! ```
//!
//! A value ends at the next ` @key:` or ` --` of its line. Presentation never stops a file: an unknown key or a wrong
//! value is a warning, and the key counts as absent. A wrong `@param` is an error, because the statement needs it.

use std::time::Duration;

use datafusion::arrow::datatypes::Schema;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use tallgrass_chart::ChartKind;
use tallgrass_diagnostics::{Diagnostic, Span, SqlText, did_you_mean, is_significant};

use crate::files::param::{self, Param};

/// Columns of the dashboard's grid, and so the largest `@width`.
pub const GRID_COLUMNS: u8 = 12;

const KEYS: [&str; 8] = ["title", "chart", "x", "y", "order", "width", "refresh", "param"];

/// A column of the result that front matter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnName {
    /// Name in the result
    pub name: String,
    /// Where front matter names it
    pub span: Span,
}

/// All that is in the comments above a statement.
#[derive(Debug, Clone, Default)]
pub struct FrontMatter {
    /// Heading of the tile; the view's name when absent
    pub title: Option<String>,
    /// How to draw; guessed from the result when absent
    pub chart: Option<ChartKind>,
    /// Column of the horizontal axis, or of the labels
    pub x: Option<ColumnName>,
    /// Columns of the values, in order: `@y: logins, logoffs`
    pub y: Vec<ColumnName>,
    /// Place among the other tiles, lowest first; absent comes last
    pub order: Option<i32>,
    /// Columns of the grid that the tile takes, 1 to [`GRID_COLUMNS`]
    pub width: Option<u8>,
    /// Time between two refreshes, above zero
    pub refresh: Option<Duration>,
    /// Parameters in the order of their declaration
    pub params: Vec<Param>,
}

impl FrontMatter {
    /// Warnings for the columns of `@x` and `@y` that the view's result does not have.
    pub(super) fn check_columns(&self, source: SqlText<'_>, schema: &Schema) -> Vec<Diagnostic> {
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        self.x
            .iter()
            .chain(&self.y)
            .filter(|column| !names().any(|name| name == column.name))
            .map(|column| {
                let hint = did_you_mean(&column.name, names())
                    .unwrap_or_else(|| format!("its columns are {}", names().collect::<Vec<_>>().join(", ")));
                source.warning(Some(column.span), format!("the result has no column '{}'", column.name)).with_hint(hint)
            })
            .collect()
    }
}

/// What [`parse`] found, the good and the bad.
#[derive(Default)]
pub(super) struct ParsedFrontMatter {
    pub front_matter: FrontMatter,
    pub warnings: Vec<Diagnostic>,
    /// The first wrong `@param`
    pub error: Option<Diagnostic>,
}

/// Reads the comments among `tokens`, the tokens of `source`.
pub(super) fn parse(source: SqlText<'_>, tokens: &[TokenWithSpan]) -> ParsedFrontMatter {
    let mut parser = Parser { source, seen: Vec::new(), parsed: ParsedFrontMatter::default() };
    let statement = tokens.iter().position(|t| is_significant(&t.token)).unwrap_or(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        let Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) = &token.token else { continue };
        let Some(start) = Span::of(token.span) else { continue };
        let start = Span::at(start.line, start.column + prefix.chars().count());
        let entries = entries(comment.trim_end(), start);
        if index < statement {
            for entry in entries {
                parser.entry(entry);
            }
        } else if let Some(late) = entries.first().filter(|late| KEYS.contains(&late.key)) {
            let message = format!("'@{}' stands below the start of the statement and has no effect", late.key);
            let warning = source.warning(Some(late.key_span), message);
            parser.parsed.warnings.push(warning.with_hint("move it above the SELECT".to_owned()));
        }
    }
    parser.parsed
}

/// One `@key: value` of a comment.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a str,
    key_span: Span,
    colon: bool,
    value: &'a str,
    value_span: Span,
}

/// Splits a comment's text, which begins at `start`, into its entries; none when it is prose.
fn entries(comment: &str, start: Span) -> Vec<Entry<'_>> {
    let text = comment.split_inclusive(char::is_whitespace).scan(0, |at, word| {
        let here = *at;
        *at += word.len();
        Some((here, word))
    });
    // Where a remark begins ends the line for us: `-- @chart: bar  -- a remark`.
    let end = text.clone().find(|(at, word)| *at > 0 && word.starts_with("--")).map_or(comment.len(), |(at, _)| at);
    let mut starts: Vec<(usize, usize, bool)> = Vec::new(); // byte of '@', byte behind the key, whether a colon follows
    for (at, word) in text.take_while(|(at, _)| *at < end) {
        let Some(key) = word.strip_prefix('@') else {
            if starts.is_empty() && !word.trim().is_empty() {
                return Vec::new();
            }
            continue;
        };
        let length = key.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(key.len());
        let colon = key[length..].starts_with(':');
        // `mail @ home` and `@home` inside of a title are text; only the first needs no colon to be seen.
        if length > 0 && (colon || starts.is_empty()) {
            starts.push((at, at + 1 + length, colon));
        }
    }
    let span = |from: usize, text: &str| Span {
        line: start.line,
        column: start.column + comment[..from].chars().count(),
        width: text.chars().count().max(1),
    };
    let ends = starts.iter().skip(1).map(|(at, ..)| *at).chain([end]);
    (starts.iter().zip(ends))
        .map(|(&(at, behind, colon), end)| {
            let raw = &comment[(behind + usize::from(colon)).min(end)..end];
            let value = raw.trim();
            let value_at = end - raw.trim_start().len();
            let key = &comment[at + 1..behind];
            Entry { key, key_span: span(at, &comment[at..behind]), colon, value, value_span: span(value_at, value) }
        })
        .collect()
}

struct Parser<'a> {
    source: SqlText<'a>,
    seen: Vec<String>,
    parsed: ParsedFrontMatter,
}

impl Parser<'_> {
    fn warn(&mut self, span: Span, message: String, hint: impl Into<Option<String>>) {
        self.parsed.warnings.push(self.source.warning(Some(span), message).with_hint(hint));
    }

    fn entry(&mut self, entry: Entry<'_>) {
        let Entry { key, key_span, colon, value, value_span } = entry;
        if key == "param" {
            return self.param(value, value_span);
        }
        if !KEYS.contains(&key) {
            let hint = did_you_mean(key, KEYS).unwrap_or_else(|| format!("the keys are {}", KEYS.join(", ")));
            return self.warn(key_span, format!("unknown key '@{key}'"), hint);
        }
        if !colon {
            return self.warn(key_span, format!("'@{key}' needs a colon"), format!("write '@{key}: {value}'"));
        }
        if self.seen.iter().any(|seen| seen == key) {
            self.warn(key_span, format!("'@{key}' is there twice; the last one counts"), None);
        }
        self.seen.push(key.to_owned());
        if value.is_empty() {
            return self.warn(key_span, format!("'@{key}' has no value"), None);
        }
        if let Err((message, hint)) = self.set(key, value, value_span) {
            self.warn(value_span, message, hint);
        }
    }

    fn set(&mut self, key: &str, value: &str, span: Span) -> Result<(), (String, Option<String>)> {
        let front_matter = &mut self.parsed.front_matter;
        match key {
            "title" => front_matter.title = Some(value.to_owned()),
            "chart" => {
                let names = || ChartKind::ALL.into_iter().map(ChartKind::name);
                front_matter.chart = Some(ChartKind::named(value).ok_or_else(|| {
                    let hint = did_you_mean(value, names());
                    let hint = hint.unwrap_or_else(|| format!("use {}", names().collect::<Vec<_>>().join(", ")));
                    (format!("'{value}' is not a chart"), Some(hint))
                })?);
            }
            "x" => front_matter.x = Some(ColumnName { name: value.to_owned(), span }),
            "y" => front_matter.y = columns(value, span),
            "order" => {
                front_matter.order = Some(
                    value.parse().map_err(|_| (format!("'{value}' is not an order: it is a whole number"), None))?,
                );
            }
            "width" => {
                let width = value.parse().ok().filter(|width| (1..=GRID_COLUMNS).contains(width));
                let complaint = || (format!("'{value}' is not a width: it is a number from 1 to {GRID_COLUMNS}"), None);
                front_matter.width = Some(width.ok_or_else(complaint)?);
            }
            "refresh" => {
                let refresh = humantime::parse_duration(value).ok().filter(|refresh| !refresh.is_zero());
                let complaint = || (format!("'{value}' is not a duration"), Some("write 250ms or 5s".to_owned()));
                front_matter.refresh = Some(refresh.ok_or_else(complaint)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn param(&mut self, declaration: &str, span: Span) {
        let params = &mut self.parsed.front_matter.params;
        let error = match param::parse(self.source, declaration, span) {
            Ok(param) if params.iter().any(|other| other.name == param.name) => {
                self.source.error(Some(param.span), format!("parameter '{}' is declared twice", param.name))
            }
            Ok(param) => return params.push(param),
            Err(error) => error,
        };
        self.parsed.error.get_or_insert(error);
    }
}

/// The names of a comma-separated list that stands at `span`.
fn columns(list: &str, span: Span) -> Vec<ColumnName> {
    let mut column = span.column;
    let mut names = Vec::new();
    for part in list.split(',') {
        let indent = part.chars().take_while(|c| c.is_whitespace()).count();
        let name = part.trim();
        if !name.is_empty() {
            let span = Span { line: span.line, column: column + indent, width: name.chars().count() };
            names.push(ColumnName { name: name.to_owned(), span });
        }
        column += part.chars().count() + 1;
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::Path;

    use datafusion::scalar::ScalarValue;

    use super::*;

    fn read(text: &str) -> ParsedFrontMatter {
        let source = SqlText { file: Path::new("a.sql"), text };
        parse(source, &source.tokens())
    }

    #[test]
    fn all_keys_are_read_several_of_them_on_one_line() {
        let parsed = read(
            "-- A remark first.\n-- @title: Pokémon by type\n-- @chart: bar   -- number | bar\n-- @x: type_1  @y: seen, total\n\
             -- @order: -3  @width: 6\n--@refresh: 250ms\n-- @param lat DOUBLE = -40.5\nSELECT 1",
        );
        let it = parsed.front_matter;
        assert!(parsed.warnings.is_empty() && parsed.error.is_none(), "{:?} {:?}", parsed.warnings, parsed.error);
        assert_eq!((it.title.as_deref(), it.chart), (Some("Pokémon by type"), Some(ChartKind::Bar)));
        assert_eq!(it.x, Some(ColumnName { name: "type_1".to_owned(), span: Span { line: 4, column: 8, width: 6 } }));
        assert_eq!(it.y[1], ColumnName { name: "total".to_owned(), span: Span { line: 4, column: 26, width: 5 } });
        assert_eq!((it.order, it.width, it.refresh), (Some(-3), Some(6), Some(Duration::from_millis(250))));
        assert_eq!((it.params[0].name.as_str(), &it.params[0].default), ("lat", &Some(ScalarValue::from(-40.5))));
    }

    #[test]
    fn prose_and_strings_are_not_front_matter() {
        let parsed = read("-- mail me @home: now\n/* @title: no */\nSELECT '\n-- @order: 1\n'");
        assert!(parsed.front_matter.order.is_none() && parsed.front_matter.title.is_none());
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    }

    #[test]
    fn wrong_parameters_point_at_the_wrong_part() {
        let complaint = |declaration: &str| {
            let error = read(&format!("-- é\n-- @param {declaration}\nSELECT 1")).error.expect(declaration);
            let span = error.span.expect(declaration);
            assert_eq!(span.line, 2, "{error}");
            format!("{} {} {}", span.column, span.width, error.message)
        };
        let declarations = [
            "",
            "lat",
            "Lat DOUBLE",
            "lat DOUBEL",
            "lat DOUBLE = ",
            "lat DOUBLE = x",
            "n BIGINT = 1 2",
            "d DATE = now()",
            "n INT = 'é",
        ];
        let shown = declarations.map(|declaration| format!("[{declaration}] {}", complaint(declaration))).join("\n");
        insta::assert_snapshot!("wrong_parameters", shown);
    }
}
