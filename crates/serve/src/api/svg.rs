//! A view's picture, as its file defines it.

use axum::http::HeaderValue;

use tallgrass_pipeline::{FileState, ViewResult};
use tallgrass_sink::svg::{PictureSpec, standalone};
use tallgrass_view::SqlFile;

/// What a standalone picture may do: contain its own style, and nothing else.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox",
);

/// Columns of twelve, and pixels: the picture of a tile of usual size.
const SPAN: u16 = 6;
const HEIGHT: u16 = 360;

/// The picture of a result, complete in itself; ages are as of `now_ms`.
pub(super) fn svg(file: Option<&FileState>, result: &ViewResult, now_ms: i64) -> String {
    let rows = result.rows.as_deref().unwrap_or_default();
    // The rows are those of the running file, which may be older than the edited one.
    let file = file.and_then(|file| file.running.as_ref().or(file.file.as_ref()));
    let front = file.map(SqlFile::front_matter);
    let kind = front.and_then(|front| front.chart);
    let kind = kind.unwrap_or_else(|| tallgrass_sink::chart::chart_for(&result.schema, rows));
    let y: Vec<&str> = front.iter().flat_map(|front| front.y.iter().map(|column| &*column.name)).collect();
    let spec = PictureSpec {
        x: front.and_then(|front| front.x.as_ref()).map(|column| &*column.name),
        y: &y,
        title: file.map_or(&*result.name, |file| file.title()),
        now_ms: Some(now_ms),
        ..PictureSpec::new(kind, &result.schema, rows)
    };
    standalone(&spec.sized(front.and_then(|front| front.width).map_or(SPAN, u16::from), HEIGHT))
}
