//! A view's rows in a form, with a validator.

use axum::body::Bytes;
use axum::http::StatusCode;
use datafusion::arrow::array::RecordBatch;

use super::form::Form;
use super::state::Broken;
use super::svg::svg;
use crate::problem::Problem;
use tallgrass_diagnostics::message_of;
use tallgrass_pipeline::{Published, ViewResult};
use tallgrass_proof::line;
use tallgrass_sink::columns::{ColumnsWriter, Destination};
use tallgrass_sink::text::{json_rows, write_view};
use tallgrass_sink::{ColumnFormat, Format, SinkError};
use tallgrass_view::results::Digest;

/// A body with its validator.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Weak: the same rows in the same order, though the as-of in an object may differ.
    pub(super) etag: String,
}

/// The result of a view in a form. With `broken` the rows are those of the file's last good version.
pub(super) fn body(
    published: &Published,
    result: &ViewResult,
    broken: Option<&Broken>,
    form: Form,
) -> Result<Body, Problem> {
    let failed = |error: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let rows =
        result.rows.as_ref().map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, message_of(error)))?;
    let digest = Digest::of(&result.schema, rows).map_err(|error| failed(error.to_string()))?;
    let sink = |error: SinkError| failed(error.to_string());
    // A digest ignores the order of rows, and a picture or an object has more than rows: so both count.
    let (bytes, hashed) = match form {
        Form::Json => {
            let rows = json_rows(&result.name, &result.schema, rows).map_err(sink)?.join(",\n");
            let broken = broken.map(|broken| format!("\"broken\":{},", broken.json)).unwrap_or_default();
            let fields = format!("\"digest\":\"{digest}\",{broken}\"rows\":[{rows}]");
            let hash = blake3::hash(fields.as_bytes());
            (format!("{}\n", line::of_published(&result.name, published, &fields)).into_bytes(), hash)
        }
        Form::Csv => {
            let mut csv = Vec::new();
            write_view(&mut csv, Format::Csv, &result.name, &result.schema, rows).map_err(sink)?;
            let hash = blake3::hash(&csv);
            (csv, hash)
        }
        Form::Arrow => arrow(result, rows, Destination::File).map_err(sink).map(hashed)?,
        Form::ArrowStream => arrow(result, rows, Destination::Pipe).map_err(sink).map(hashed)?,
        Form::Svg => {
            hashed(svg(published.file(&result.name), result, published.snapshot.now_ns / 1_000_000).into_bytes())
        }
    };
    let etag = format!("W/\"{digest}-{}-{}\"", &hashed.to_hex()[..8], form.suffix());
    Ok(Body { bytes: bytes.into(), etag })
}

fn hashed(bytes: Vec<u8>) -> (Vec<u8>, blake3::Hash) {
    let hash = blake3::hash(&bytes);
    (bytes, hash)
}

fn arrow(result: &ViewResult, rows: &[RecordBatch], medium: Destination) -> Result<Vec<u8>, SinkError> {
    let mut bytes = Vec::new();
    let mut writer = ColumnsWriter::new(&mut bytes, ColumnFormat::Arrow, medium, &result.name, &result.schema)?;
    for batch in rows {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(bytes)
}
