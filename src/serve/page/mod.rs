//! The page: a dashboard's tiles as HTML, and the events that keep them current.

use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::app::App;

/// The page's routes; its event streams end with `stop`.
pub fn routes(app: Arc<App>, _stop: &CancellationToken) -> Router {
    Router::new().route("/", get(|| async move { Html(app.name.clone()) }))
}
