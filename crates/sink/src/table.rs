//! Rows as a table for people, in the terminal and in Markdown.
//!
//! Values are exact here: numbers keep all their digits, ungrouped, so that they can be copied into the next query.
//! A null reads `NULL`; text that happens to be `NULL` reads `'NULL'`, and empty text is empty.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::error::ArrowError;

use super::cells::{Cells, is_number};
use super::sanitize::sanitize;

/// A rule under the header and nothing else: alignment separates columns better than lines do.
const PRESET: &str = "     ──            ";

/// The rows as aligned columns with a header; ends with a line feed.
pub(crate) fn aligned(schema: &Schema, batches: &[RecordBatch]) -> Result<String, ArrowError> {
    if schema.fields().is_empty() {
        return Ok("(no columns)\n".to_owned());
    }
    let mut table = Table::new();
    table.load_preset(PRESET).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table.set_header(schema.fields().iter().map(|field| Cell::new(sanitize(field.name()))));
    for batch in batches {
        let columns = batch.columns().iter().map(|column| Cells::new(column)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            table.add_row(columns.iter().map(|cells| Cell::new_owned(shown(cells.get(row)))));
        }
    }
    let last = schema.fields().len() - 1;
    for (index, field) in schema.fields().iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            // The preset's blank junction is one more column.
            column.set_padding((0, u16::from(index != last)));
            if is_number(field.data_type()) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        text.push_str("(no rows)\n");
    }
    Ok(text)
}

/// The header of a Markdown table, numbers right-aligned.
pub(crate) fn markdown_header(schema: &Schema) -> String {
    let names = schema.fields().iter().map(|field| markdown_text(field.name()));
    let rules = schema.fields().iter().map(|field| if is_number(field.data_type()) { "---:" } else { "---" });
    format!("{}{}", markdown_line(names), markdown_line(rules.map(str::to_owned)))
}

/// The rows of a Markdown table. A null is an empty cell with `NULL` in italics, so that it differs from any text.
pub(crate) fn markdown_rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| Ok((column.data_type(), Cells::new(column)?)))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        text.push_str(&markdown_line(columns.iter().map(|(data_type, cells)| match cells.raw(row) {
            None => "*NULL*".to_owned(),
            Some(value) if plain_in_markdown(data_type) => value,
            Some(value) => markdown_text(&value),
        })));
    }
    Ok(text)
}

/// A value as a terminal shows it: see the module's documentation.
pub fn shown(value: Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text == "NULL" => "'NULL'".to_owned(),
        Some(text) => text,
    }
}

fn plain_in_markdown(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || matches!(data_type, DataType::Boolean)
}

fn markdown_line(cells: impl Iterator<Item = String>) -> String {
    let mut line = String::from("|");
    for cell in cells {
        line.push(' ');
        line.push_str(&cell);
        line.push_str(if cell.is_empty() { "|" } else { " |" });
    }
    line.push('\n');
    line
}

/// Text that a Markdown renderer shows as it is: its own marks escaped, line feeds as breaks, controls shown.
fn markdown_text(text: &str) -> String {
    let unix = text.replace("\r\n", "\n");
    let lines: Vec<String> = unix.split('\n').map(|line| escape_marks(&sanitize(line))).collect();
    lines.join("<br>")
}

fn escape_marks(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        // `type_1` needs no escape: an underscore inside a word is not markup.
        let mark = match c {
            '|' | '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '~' | '&' | '$' => true,
            '_' => !(before.is_alphanumeric() && rest.peek().is_some_and(|next| word(*next))),
            _ => false,
        };
        if mark {
            escaped.push('\\');
        }
        escaped.push(c);
        before = c;
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn markdown_marks_are_text() {
        assert_eq!(markdown_text("a|b"), "a\\|b");
        assert_eq!(markdown_text("one\r\ntwo\nthree"), "one<br>two<br>three");
        assert_eq!(markdown_text("<script>"), "\\<script\\>");
        assert_eq!(markdown_text("type_1"), "type_1");
        assert_eq!(markdown_text("_offset_"), "\\_offset\\_");
        assert_eq!(markdown_text("\x1b"), "\\\\x1b");
    }
}
