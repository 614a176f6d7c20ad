//! A view's picture.

use axum::http::{HeaderValue, StatusCode};

use crate::pipeline::{FileState, ViewResult};
use crate::serve::problem::Problem;

/// What a picture that stands alone may do: bring its own style, and nothing else.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox",
);

/// The picture of a result as its file wants it, complete in itself.
pub(super) fn svg(_file: Option<&FileState>, result: &ViewResult) -> Result<String, Problem> {
    Err(Problem::new(StatusCode::NOT_IMPLEMENTED, format!("no picture of {} yet", result.name)))
}
