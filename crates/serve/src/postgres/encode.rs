//! From Arrow to the protocol's rows: the announced types, and the conversion to text where the protocol has no type.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray as _, RecordBatch, StringArray, StringBuilder, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{FieldFormat, FieldInfo};
use datafusion_postgres::pgwire::error::PgWireResult;
use datafusion_postgres::pgwire::messages::data::DataRow;

use super::errors::{code, error, failed};
use super::float;
use tallgrass_sink::cells::Cells;

/// How a result is sent.
#[derive(Debug, Clone)]
pub struct Encoding {
    schema: SchemaRef,
    fields: Arc<Vec<FieldInfo>>,
}

impl Encoding {
    /// For a result of these columns, in the formats that the client wants.
    pub fn new(schema: &Schema, format: &Format) -> PgWireResult<Self> {
        if let Format::Individual(formats) = format
            && formats.len() != schema.fields().len()
        {
            let message = format!("{} formats for {} columns", formats.len(), schema.fields().len());
            return Err(error(code::PROTOCOL_VIOLATION, message));
        }
        let fields: Vec<Arc<Field>> = schema.fields().iter().map(on_the_wire).collect();
        let schema = Arc::new(Schema::new(fields));
        let fields = Arc::new(arrow_schema_to_pg_fields(&schema, format, None)?);
        Ok(Self { schema, fields })
    }

    /// The columns, as announced to the client.
    pub fn fields(&self) -> &Arc<Vec<FieldInfo>> {
        &self.fields
    }

    /// The rows of a batch.
    pub fn rows(&self, batch: &RecordBatch) -> PgWireResult<impl Iterator<Item = PgWireResult<DataRow>> + use<>> {
        let columns =
            batch.columns().iter().zip(self.schema.fields()).map(|(column, field)| fit(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>>>().map_err(|error| failed(&error))?;
        let columns = columns.iter().zip(self.fields.iter()).map(|(column, field)| doubles_as_text(column, field));
        let columns: Vec<ArrayRef> = columns.collect();
        // The planner's schema may claim less nullability than the batch has.
        let fields = self.schema.fields().iter().zip(&columns);
        let fields: Vec<Field> = fields
            .map(|(field, column)| (**field).clone().with_data_type(column.data_type().clone()).with_nullable(true))
            .collect();
        let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|error| failed(&error.into()))?;
        Ok(encode_recordbatch(Arc::clone(&self.fields), batch))
    }
}

/// The field with a type that the protocol has.
fn on_the_wire(field: &Arc<Field>) -> Arc<Field> {
    let wanted = wire_type(field.data_type());
    if wanted == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new((**field).clone().with_data_type(wanted))
}

/// The type that is sent in place of this one. Records, maps and lists of lists have no form that all clients read, so they
/// are text.
fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => wire_type(values),
        DataType::RunEndEncoded(_, values) => wire_type(values.data_type()),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if is_plain(item.data_type()) =>
        {
            data_type.clone()
        }
        DataType::FixedSizeBinary(_) => DataType::Binary,
        plain if is_plain(plain) => plain.clone(),
        _ => DataType::Utf8,
    }
}

fn is_plain(data_type: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Boolean, Decimal32, Decimal64, Decimal256, Float16, LargeBinary, LargeUtf8, Utf8, Utf8View,
    };
    match data_type {
        Boolean | Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => true,
        Float16 | Decimal32(..) | Decimal64(..) | Decimal256(..) => false,
        other => other.is_primitive(),
    }
}

/// The column in the type that is sent.
fn fit(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let values = match column.data_type() {
        // Nulls without a type count as valid.
        DataType::Null => return Ok(new_null_array(wanted, column.len())),
        DataType::Dictionary(_, values) => cast(column, values)?,
        DataType::RunEndEncoded(_, values) => cast(column, values.data_type())?,
        _ => Arc::clone(column),
    };
    if *wanted == DataType::Utf8 && wire_type(values.data_type()) == DataType::Utf8 {
        return as_text(&values);
    }
    Ok(cast(&values, wanted)?)
}

/// A column of doubles that is sent as text, as PostgreSQL's text; any other as it is.
fn doubles_as_text(column: &ArrayRef, field: &FieldInfo) -> ArrayRef {
    if field.format() != FieldFormat::Text {
        return Arc::clone(column);
    }
    let texts: StringArray = match column.data_type() {
        DataType::Float64 => {
            column.as_primitive::<Float64Type>().iter().map(|value| value.map(float::double)).collect()
        }
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().map(|value| value.map(float::real)).collect(),
        _ => return Arc::clone(column),
    };
    Arc::new(texts)
}

/// The values as they are displayed elsewhere.
fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    let cells = Cells::new(column)?;
    let mut text = StringBuilder::new();
    for row in 0..column.len() {
        text.append_option(cells.raw(row));
    }
    Ok(Arc::new(text.finish()))
}
