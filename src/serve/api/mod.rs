//! The API: views for programs, and how the run is doing.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::app::App;

/// The API's routes; its event streams end with `stop`.
pub fn routes(_app: Arc<App>, _stop: &CancellationToken) -> Router {
    Router::new()
}
