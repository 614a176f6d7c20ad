//! Control panels in the browser: what appears near a place, for a thousand of them with one consumer and one index.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::app::App;

/// The panels' routes; their event streams end with `stop`.
pub fn routes(_app: Arc<App>, _stop: &CancellationToken) -> Router {
    Router::new()
}
