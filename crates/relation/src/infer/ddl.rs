//! Columns as the text of a `CREATE EXTERNAL TABLE`: aligned, with the remarks as comments at the ends of the lines.

use std::fmt::Write as _;

use super::names::{identifier, literal};
use super::shape::{Column, ColumnVerdict, SqlType};

const INDENT: usize = 2;
/// Names and lines longer than this do not push the others to the right.
const ALIGNED_NAME: usize = 28;
const ALIGNED_CODE: usize = 64;
/// A struct that needs more than this is written a field a line.
const INLINE_TYPE: usize = 48;

/// One table over a topic.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    pub(super) topic: &'a str,
    pub(super) columns: &'a [Column],
    pub(super) primary_key: Option<&'a str>,
    /// Whether to say what is known of the columns, and which were left out.
    pub(super) remarks: bool,
}

impl Table<'_> {
    /// The statement, ending in a line feed.
    pub(super) fn to_sql(&self) -> String {
        let mut lines = Lines { lines: Vec::new(), remarks: self.remarks };
        lines.columns(self.columns, INDENT, self.primary_key.is_some());
        if let Some(key) = self.primary_key {
            lines.code(INDENT, &format!("PRIMARY KEY ({})", identifier(key)), false, "");
        }
        format!(
            "CREATE EXTERNAL TABLE {} (\n{}) STORED AS KAFKA LOCATION {};\n",
            identifier(self.name),
            lines.into_text(),
            literal(self.topic)
        )
    }
}

struct DdlLine {
    code: String,
    comment: String,
}

struct Lines {
    lines: Vec<DdlLine>,
    remarks: bool,
}

impl Lines {
    fn code(&mut self, indent: usize, code: &str, comma: bool, comment: &str) {
        let comma = if comma { "," } else { "" };
        let comment = if self.remarks { comment.to_owned() } else { String::new() };
        self.lines.push(DdlLine { code: format!("{:indent$}{code}{comma}", ""), comment });
    }

    /// The declared columns separated by commas, those left out as comments between them.
    fn columns(&mut self, columns: &[Column], indent: usize, comma_after_last: bool) {
        let declared = |column: &&Column| matches!(column.verdict, ColumnVerdict::Declared(..));
        let width = columns
            .iter()
            .filter(declared)
            .map(|column| width(&identifier(&column.name)))
            .filter(|width| *width <= ALIGNED_NAME);
        let width = width.max().unwrap_or(0);
        let mut left = columns.iter().filter(declared).count();
        for column in columns {
            match &column.verdict {
                ColumnVerdict::Declared(sql_type, notes) => {
                    left -= 1;
                    let name = format!("{:width$}", identifier(&column.name));
                    self.column(&name, sql_type, indent, left > 0 || comma_after_last, &notes.join("; "));
                }
                ColumnVerdict::LeftOut(reason) if self.remarks => {
                    let comment = format!("{:indent$}-- {}: left out, {reason}", "", column.name.escape_debug());
                    self.lines.push(DdlLine { code: comment, comment: String::new() });
                }
                ColumnVerdict::LeftOut(_) => {}
            }
        }
    }

    fn column(&mut self, name: &str, sql_type: &SqlType, indent: usize, comma: bool, comment: &str) {
        let (depth, innermost) = peel(sql_type);
        let inline = inline(sql_type);
        match innermost {
            SqlType::Struct(fields) if width(&inline) > INLINE_TYPE || self.remarks && has_remarks(fields) => {
                // The parser reads `>>` as two closing brackets.
                self.code(indent, &format!("{name} {}STRUCT<", "ARRAY<".repeat(depth)), false, comment);
                self.columns(fields, indent + INDENT, false);
                self.code(indent, &">".repeat(depth + 1), comma, "");
            }
            _ => self.code(indent, &format!("{name} {inline}"), comma, comment),
        }
    }

    fn into_text(self) -> String {
        let commented = self.lines.iter().filter(|line| !line.comment.is_empty());
        let column = commented.map(|line| width(&line.code)).filter(|width| *width <= ALIGNED_CODE).max().unwrap_or(0);
        let mut text = String::new();
        for DdlLine { code, comment } in &self.lines {
            text.push_str(code);
            if !comment.is_empty() {
                let gap = column.saturating_sub(width(code)) + 1;
                let _ = write!(text, "{:gap$}-- {comment}", "");
            }
            text.push('\n');
        }
        text
    }
}

/// How many arrays stand around a type, and the type within.
fn peel(sql_type: &SqlType) -> (usize, &SqlType) {
    let (mut depth, mut innermost) = (0, sql_type);
    while let SqlType::Array(element) = innermost {
        depth += 1;
        innermost = element;
    }
    (depth, innermost)
}

fn has_remarks(columns: &[Column]) -> bool {
    columns.iter().any(|column| match &column.verdict {
        ColumnVerdict::LeftOut(_) => true,
        ColumnVerdict::Declared(sql_type, notes) => {
            !notes.is_empty() || matches!(peel(sql_type).1, SqlType::Struct(fields) if has_remarks(fields))
        }
    })
}

fn inline(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Boolean => "BOOLEAN".to_owned(),
        SqlType::BigInt => "BIGINT".to_owned(),
        SqlType::Decimal => "DECIMAL(38, 0)".to_owned(),
        SqlType::Double => "DOUBLE".to_owned(),
        SqlType::Varchar => "VARCHAR".to_owned(),
        SqlType::Date => "DATE".to_owned(),
        SqlType::Timestamp(digits) => format!("TIMESTAMP({digits})"),
        SqlType::Array(element) => format!("ARRAY<{}>", inline(element)),
        SqlType::Struct(columns) => {
            let fields: Vec<_> = columns
                .iter()
                .filter_map(|column| match &column.verdict {
                    ColumnVerdict::Declared(sql_type, _) => {
                        Some(format!("{} {}", identifier(&column.name), inline(sql_type)))
                    }
                    ColumnVerdict::LeftOut(_) => None,
                })
                .collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}
