//! A view's rows in a form, and what says whether they are the same as before.

use axum::body::Bytes;
use axum::http::StatusCode;
use datafusion::arrow::array::RecordBatch;

use super::form::Form;
use super::state::Broken;
use super::svg::svg;
use tallgrass_pipeline::{Shot, ViewResult};
use crate::line;
use crate::problem::Problem;
use tallgrass_sink::columns::{ColumnsWriter, Medium};
use tallgrass_sink::text::{json_rows, write_view};
use tallgrass_sink::{ColumnFormat, Format, SinkError};
use tallgrass_view::results::digest::Digest;
use tallgrass_view::words;

/// A body with its validator.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Weak: the same rows in the same order, though an object also says as of when.
    pub(super) etag: String,
}

/// The result of a view in a form. `broken` says that the rows are those of the file's last good meaning.
pub(super) fn body(shot: &Shot, result: &ViewResult, broken: Option<&Broken>, form: Form) -> Result<Body, Problem> {
    let failed = |error: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let rows = result.rows.as_ref().map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, words(error)))?;
    let digest = Digest::of(&result.schema, rows).map_err(|error| failed(error.to_string()))?;
    let sink = |error: SinkError| failed(error.to_string());
    // A digest knows no order of rows, and a picture or an object says more than rows: so both count.
    let (bytes, hashed) = match form {
        Form::Json => {
            let rows = json_rows(&result.name, &result.schema, rows).map_err(sink)?.join(",\n");
            let broken = broken.map(|broken| format!("\"broken\":{},", broken.json)).unwrap_or_default();
            let fields = format!("\"digest\":\"{digest}\",{broken}\"rows\":[{rows}]");
            let hash = blake3::hash(fields.as_bytes());
            (format!("{}\n", line::of_shot(&result.name, shot, &fields)).into_bytes(), hash)
        }
        Form::Csv => {
            let mut csv = Vec::new();
            write_view(&mut csv, Format::Csv, &result.name, &result.schema, rows).map_err(sink)?;
            let hash = blake3::hash(&csv);
            (csv, hash)
        }
        Form::Arrow => arrow(result, rows, Medium::File).map_err(sink).map(hashed)?,
        Form::ArrowStream => arrow(result, rows, Medium::Pipe).map_err(sink).map(hashed)?,
        Form::Svg => hashed(svg(shot.file(&result.name), result, shot.snapshot.now_ns / 1_000_000).into_bytes()),
    };
    let etag = format!("W/\"{digest}-{}-{}\"", &hashed.to_hex()[..8], form.suffix());
    Ok(Body { bytes: bytes.into(), etag })
}

fn hashed(bytes: Vec<u8>) -> (Vec<u8>, blake3::Hash) {
    let hash = blake3::hash(&bytes);
    (bytes, hash)
}

fn arrow(result: &ViewResult, rows: &[RecordBatch], medium: Medium) -> Result<Vec<u8>, SinkError> {
    let mut bytes = Vec::new();
    let mut writer = ColumnsWriter::new(&mut bytes, ColumnFormat::Arrow, medium, &result.name, &result.schema)?;
    for batch in rows {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(bytes)
}
