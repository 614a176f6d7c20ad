//! Views written by column: Parquet and Arrow IPC, for data frames, warehouses and their like.
//!
//! | | in a file | in a pipe |
//! |---|---|---|
//! | parquet | zstd, statistics per page and row group | the same bytes: its index comes last, so nothing seeks |
//! | arrow | IPC file format, which can be mapped and read at any batch | IPC stream format, readable before its end |
//!
//! Arrow is not compressed, so that every reader supports it. Types are those of [`super::portable`], columns of one name
//! are renamed as in JSON (`id, id_2`), and all are nullable.
//!
//! # Contract
//! Rows are written as they arrive. Only one row group of Parquet is held back, of [`ROW_GROUP_ROWS`] rows or
//! [`ROW_GROUP_BYTES`] bytes at most, whichever is reached first. Without [`ColumnsWriter::finish`] no reader accepts the
//! output as complete, except for an Arrow stream.

use std::io::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::text::with_distinct_names;
use super::{ColumnFormat, SinkError, portable};

/// Rows of a row group at most: the unit that readers skip or share among threads.
pub(crate) const ROW_GROUP_ROWS: usize = 1 << 20;

/// Encoded bytes of a row group at most: what the writer keeps in memory.
pub(crate) const ROW_GROUP_BYTES: usize = 64 << 20;

/// Writes one view, batch by batch.
pub struct ColumnsWriter<W: Write + Send> {
    view: String,
    format: ColumnFormat,
    schema: SchemaRef,
    writer: ColumnEncoder<W>,
}

enum ColumnEncoder<W: Write + Send> {
    Parquet(Box<ArrowWriter<W>>),
    File(FileWriter<W>),
    Stream(StreamWriter<W>),
}

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A file, complete before it is read.
    File,
    /// A pipe, read while it is written.
    Pipe,
}

impl<W: Write + Send> ColumnsWriter<W> {
    /// Begins a view of this name; the rows have these columns.
    pub fn new(
        out: W,
        format: ColumnFormat,
        destination: Destination,
        view: &str,
        schema: &SchemaRef,
    ) -> Result<Self, SinkError> {
        let schema = portable::schema(&with_distinct_names(schema));
        let failed = |error| problem(view, format, error);
        if let Some(field) = schema.fields().iter().find(|field| has_union(field.data_type())) {
            return Err(failed(ArrowError::NotYetImplemented(format!("column '{}' is a union", field.name()))));
        }
        let writer = match (format, destination) {
            (ColumnFormat::Parquet, _) => {
                let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties(ROW_GROUP_BYTES)));
                ColumnEncoder::Parquet(Box::new(writer.map_err(|error| failed(arrow(error)))?))
            }
            (ColumnFormat::Arrow, Destination::File) => {
                ColumnEncoder::File(FileWriter::try_new(out, &schema).map_err(failed)?)
            }
            (ColumnFormat::Arrow, Destination::Pipe) => {
                ColumnEncoder::Stream(StreamWriter::try_new(out, &schema).map_err(failed)?)
            }
        };
        Ok(Self { view: view.to_owned(), format, schema, writer })
    }

    /// Rows of the view.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let pieces = portable::pieces(batch, &self.schema);
        for piece in pieces.map_err(|error| problem(&self.view, self.format, error))? {
            let written = match &mut self.writer {
                ColumnEncoder::Parquet(writer) => writer.write(&piece).map_err(arrow),
                ColumnEncoder::File(writer) => writer.write(&piece),
                ColumnEncoder::Stream(writer) => writer.write(&piece),
            };
            written.map_err(|error| problem(&self.view, self.format, error))?;
        }
        Ok(())
    }

    /// Ends the view: without this the file is not complete.
    pub fn finish(mut self) -> Result<(), SinkError> {
        let finished = match &mut self.writer {
            ColumnEncoder::Parquet(writer) => writer.finish().map(|_| ()).map_err(arrow),
            ColumnEncoder::File(writer) => writer.finish(),
            ColumnEncoder::Stream(writer) => writer.finish(),
        };
        finished.map_err(|error| problem(&self.view, self.format, error))
    }
}

fn properties(row_group_bytes: usize) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(row_group_bytes))
        .build()
}

/// The Parquet library never returns from a union.
fn has_union(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_union(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_union(field.data_type())),
        _ => false,
    }
}

/// Parquet's error as one of Arrow's; an I/O error stays one, since a broken pipe must stay recognizable.
fn arrow(error: ParquetError) -> ArrowError {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => ArrowError::IoError(error.to_string(), *error),
            Err(source) => ArrowError::ExternalError(source),
        },
        error => error.into(),
    }
}

fn problem(view: &str, format: ColumnFormat, error: ArrowError) -> SinkError {
    match error {
        ArrowError::IoError(_, error) => SinkError::Write(error),
        source => SinkError::Encode { view: view.to_owned(), format: format.into(), source },
    }
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
