//! Views written as text: table, JSON, NDJSON, CSV, Markdown.
//!
//! How each format writes values that it cannot represent:
//!
//! | | null | NaN, ±∞ | moments | nested values | control characters |
//! |---|---|---|---|---|---|
//! | table | `NULL` | `NaN`, `inf` | ISO 8601 | as Arrow shows them | shown as escapes |
//! | json, ndjson | `null`, never left out | `null`: JSON has none | ISO 8601 string | objects, arrays | `\u001b`: the same value |
//! | csv | empty field, like empty text | `NaN`, `inf` | ISO 8601 | JSON in one field | unchanged, as escapes on a terminal |
//! | markdown | *NULL* | `NaN`, `inf` | ISO 8601 | as Arrow shows them | shown as escapes |
//!
//! A moment without a zone is written without one. Integers and decimals keep all their digits in every format, binary
//! values are hexadecimal. Where two columns share a name, JSON calls the second one `name_2`: an object has one value per
//! key, and silently losing a column would be worse.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};

use super::sanitize::{escape_json, sanitize, sanitize_lines};
use super::{Format, SinkError, table};

/// Rows encoded before they are written: bounds the buffer, whatever size the batches have.
const CHUNK_ROWS: usize = 8192;

/// One view, complete: for [`Format::Json`] the object `{"name": [rows…]}`.
pub fn write_view(
    out: &mut dyn Write,
    format: Format,
    name: &str,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(), SinkError> {
    let mut writer = ViewsWriter::new(out, format);
    writer.view(name, schema, batches)?;
    writer.finish()
}

/// Writes any number of views one after the other, batch by batch.
///
/// Only a table waits for all of its rows (their widths align it); the other formats hold no row back. NDJSON has no place
/// for a view's name, so rows of several views could not be distinguished: the caller writes only one.
pub struct ViewsWriter<'a> {
    out: &'a mut dyn Write,
    format: Format,
    headings: bool,
    terminal: bool,
    views: usize,
    current: Option<View>,
}

struct View {
    name: String,
    schema: SchemaRef,
    rows: usize,
    waiting: Vec<RecordBatch>,
}

impl<'a> ViewsWriter<'a> {
    /// A writer without headings, to an output that is not a terminal.
    pub fn new(out: &'a mut dyn Write, format: Format) -> Self {
        Self { out, format, headings: false, terminal: false, views: 0, current: None }
    }

    /// Whether a table, Markdown or CSV names its view; wanted as soon as there are several.
    #[must_use]
    pub fn with_headings(mut self, headings: bool) -> Self {
        self.headings = headings;
        self
    }

    /// Whether the output goes to a terminal, where even CSV must not carry control characters.
    #[must_use]
    pub fn with_terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// Writes a whole view.
    pub fn view(&mut self, name: &str, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), SinkError> {
        self.begin(name, schema)?;
        for batch in batches {
            self.write(batch)?;
        }
        self.end()
    }

    /// Starts a view, ending the one before it.
    pub fn begin(&mut self, name: &str, schema: &SchemaRef) -> Result<(), SinkError> {
        self.end()?;
        // Only JSON's objects need names that differ.
        let schema = match self.format {
            Format::Json | Format::Ndjson => with_distinct_names(schema),
            _ => Arc::clone(schema),
        };
        let view = View { name: name.to_owned(), schema, rows: 0, waiting: Vec::new() };
        let heading = if self.headings { sanitize(name) } else { "".into() };
        let gap = if self.headings && self.views > 0 { "\n" } else { "" };
        match self.format {
            Format::Table if self.headings => writeln!(self.out, "{gap}{heading}\n")?,
            Format::Markdown if self.headings => writeln!(self.out, "{gap}## {heading}\n")?,
            Format::Csv if self.headings => writeln!(self.out, "{gap}# {heading}")?,
            Format::Json => {
                let key = serde_json::Value::from(name).to_string();
                let open = if self.views == 0 { "{" } else { ",\n" };
                write!(self.out, "{open}{}:[", escape_json(&key))?;
            }
            _ => {}
        }
        match self.format {
            Format::Markdown => self.out.write_all(table::markdown_header(&view.schema).as_bytes())?,
            Format::Csv => {
                let header = RecordBatch::new_empty(Arc::clone(&view.schema));
                let text = encode_csv(&header, true).map_err(|source| view.error(self.format, source))?;
                self.put_csv(&text)?;
            }
            _ => {}
        }
        self.views += 1;
        self.current = Some(view);
        Ok(())
    }

    /// Rows of the view begun last; without one they are dropped.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let Some(mut view) = self.current.take() else { return Ok(()) };
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = CHUNK_ROWS.min(batch.num_rows() - from);
            self.write_chunk(&mut view, batch.slice(from, rows))?;
            from += rows;
        }
        self.current = Some(view);
        Ok(())
    }

    fn write_chunk(&mut self, view: &mut View, chunk: RecordBatch) -> Result<(), SinkError> {
        let failed = |source| view.error(self.format, source);
        match self.format {
            Format::Table => view.waiting.push(chunk),
            Format::Markdown => self.out.write_all(table::markdown_rows(&chunk).map_err(failed)?.as_bytes())?,
            Format::Csv => {
                let text = encode_csv(&chunk, false).map_err(failed)?;
                self.put_csv(&text)?;
            }
            Format::Ndjson => {
                let text = encode_json(&chunk, &view.schema).map_err(failed)?;
                self.out.write_all(escape_json(&text).as_bytes())?;
            }
            Format::Json => {
                let text = encode_json(&chunk, &view.schema).map_err(failed)?;
                // One row per line, so that a big result can be searched and compared with ordinary tools.
                for row in escape_json(&text).lines() {
                    self.out.write_all(if view.rows == 0 { b"\n" } else { b",\n" })?;
                    self.out.write_all(row.as_bytes())?;
                    view.rows += 1;
                }
            }
        }
        Ok(())
    }

    /// Ends the view begun last.
    pub fn end(&mut self) -> Result<(), SinkError> {
        let Some(view) = self.current.take() else { return Ok(()) };
        match self.format {
            Format::Table => {
                let text =
                    table::aligned(&view.schema, &view.waiting).map_err(|source| view.error(self.format, source))?;
                self.out.write_all(text.as_bytes())?;
            }
            Format::Json => self.out.write_all(if view.rows == 0 { b"]" } else { b"\n]" })?,
            _ => {}
        }
        Ok(())
    }

    /// Ends the last view and the document, and flushes.
    pub fn finish(mut self) -> Result<(), SinkError> {
        self.end()?;
        if self.format == Format::Json {
            self.out.write_all(if self.views == 0 { b"{}\n" } else { b"}\n" })?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn put_csv(&mut self, text: &str) -> Result<(), SinkError> {
        let safe = if self.terminal { sanitize_lines(text) } else { text.into() };
        Ok(self.out.write_all(safe.as_bytes())?)
    }
}

impl View {
    fn error(&self, format: Format, source: ArrowError) -> SinkError {
        SinkError::Encode { view: self.name.clone(), format: format.into(), source }
    }
}

/// Each row as a JSON object on one line, as [`Format::Ndjson`] writes it.
pub fn json_rows(name: &str, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<String>, SinkError> {
    let schema = with_distinct_names(schema);
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let text = encode_json(batch, &schema).map_err(|source| {
            let (view, format) = (name.to_owned(), Format::Ndjson.into());
            SinkError::Encode { view, format, source }
        })?;
        rows.extend(escape_json(&text).lines().map(str::to_owned));
    }
    Ok(rows)
}

/// The batch as one JSON object a line, under the schema's names.
fn encode_json(batch: &RecordBatch, schema: &SchemaRef) -> Result<String, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let renamed = Schema::new(
        schema
            .fields()
            .iter()
            .zip(batch.columns())
            // The batch's own types: a plan's schema may claim less nullability than its batches have.
            .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
            .collect::<Vec<_>>(),
    );
    let batch = RecordBatch::try_new_with_options(Arc::new(renamed), batch.columns().to_vec(), &options)?;
    let mut bytes = Vec::new();
    let mut writer =
        json::WriterBuilder::new().with_explicit_nulls(true).build::<_, json::writer::LineDelimited>(&mut bytes);
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    String::from_utf8(bytes).map_err(|error| ArrowError::JsonError(error.to_string()))
}

/// The batch as CSV. Encoded here and written by the caller, because Arrow's CSV writer turns an I/O error into text,
/// and a broken pipe must stay recognizable.
fn encode_csv(batch: &RecordBatch, header: bool) -> Result<String, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = if column.data_type().is_nested() { nested_as_json(column)? } else { Arc::clone(column) };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    let mut bytes = Vec::new();
    csv::WriterBuilder::new().with_header(header).build(&mut bytes).write(&batch)?;
    String::from_utf8(bytes).map_err(|error| ArrowError::CsvError(error.to_string()))
}

/// Structs, lists and maps as JSON text, the only form that other programs read back.
fn nested_as_json(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field = Arc::new(Field::new("", array.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, array.as_ref(), &options)?;
    let mut text = StringBuilder::new();
    let mut bytes = Vec::new();
    for row in 0..array.len() {
        if encoder.is_null(row) {
            text.append_null();
        } else {
            bytes.clear();
            encoder.encode(row, &mut bytes);
            text.append_value(String::from_utf8_lossy(&bytes));
        }
    }
    Ok(Arc::new(text.finish()))
}

/// The same columns under distinct names: `id, id` becomes `id, id_2`.
pub(super) fn with_distinct_names(schema: &SchemaRef) -> SchemaRef {
    let names: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if names.len() == schema.fields().len() {
        return Arc::clone(schema);
    }
    let mut taken: HashSet<String> = HashSet::new();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = field.name().clone();
            let mut number = 2;
            while taken.contains(&name) || (number > 2 && names.contains(name.as_str())) {
                name = format!("{}_{number}", field.name());
                number += 1;
            }
            taken.insert(name.clone());
            field.as_ref().clone().with_name(name)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
