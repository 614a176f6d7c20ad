//! The API: views for programs, and the state of the run.
//!
//! | | |
//! |---|---|
//! | `/api/views` | every file: state, columns, cost, where to get its rows |
//! | `/api/views/NAME`, `NAME.json`, `.csv`, `.arrow`, `.svg` | one view's rows at the newest moment |
//! | `/api/views/NAME/changes` | its changes as server-sent events |
//! | `/api/proof` | whether a replay gives the same, view by view |
//! | `/api/openapi.json` | the same, for programs |
//! | `/healthz`, `/readyz`, `/metrics` | the state of the run |
//!
//! # Contract
//! Everything is read from the newest [`Published`], so all answers of one moment agree. What takes longer than a moment
//! (digests, encoding, differences) runs beside the runtime, and once for all requests for the same.

mod body;
mod changes;
mod events;
mod form;
mod health;
mod list;
mod metrics;
mod moment;
mod process;
mod proof;
mod recent;
mod state;
mod svg;
mod tracker;
mod version;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use self::body::Body;
use self::changes::Trackers;
use self::form::Form;
use self::metrics::Metrics;
use self::recent::Recent;
use super::app::App;
use super::problem::Problem;
use super::selection::{AddressPairs, Selection};
use tallgrass_diagnostics::did_you_mean;
use tallgrass_pipeline::Published;

/// Encoded results kept: some forms of some views at the newest moments.
const MAX_BODIES: usize = 16;

/// The description of all routes, in `OpenAPI` 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// The shared state of the handlers.
#[derive(Debug)]
struct Api {
    app: Arc<App>,
    trackers: Trackers,
    bodies: Recent<(i64, String, Form), Result<Body, Problem>>,
    lists: Recent<i64, axum::body::Bytes>,
    metrics: Metrics,
}

impl Api {
    /// The newest refresh.
    fn published(&self) -> Result<Arc<Published>, Problem> {
        let none = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no refresh yet").with_retry(1);
        self.app.newest().ok_or_else(none)
    }

    /// The same, with this view in it.
    fn published_with(&self, view: &str) -> Result<Arc<Published>, Problem> {
        let published = self.published()?;
        if published.file(view).is_some() || published.result(view).is_some() {
            return Ok(published);
        }
        let message = format!("there is no view '{}'", view.escape_debug());
        let near = did_you_mean(view, published.files.iter().map(|file| &*file.name));
        let help = near.unwrap_or_else(|| "/api/views lists all views".to_owned());
        Err(Problem::new(StatusCode::NOT_FOUND, message).with_help(help))
    }

    /// The view of an address: the file's own, or with other values (`?near.lat=41`), which is waited for.
    async fn asked(&self, view: &str, query: &AddressPairs) -> Result<(Arc<Published>, Selection), Problem> {
        let published = self.published_with(view)?;
        let bad = |message: String| Problem::new(StatusCode::BAD_REQUEST, message);
        if let Some((key, _)) = query.iter().find(|(key, _)| key.split_once('.').is_none_or(|(of, _)| of != view)) {
            let message = format!("there is no parameter '{}' here", key.escape_debug());
            return Err(bad(message).with_help(format!("a parameter of this view is written {view}.NAME=VALUE")));
        }
        let mut selection = Selection::parse(query, Some(&published)).map_err(bad)?;
        if let Some((_, refusal)) = selection.refused.pop_first() {
            return Err(bad(refusal.message));
        }
        selection
            .keep(&self.app.variants)
            .map_err(|full| Problem::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()).with_retry(60))?;
        let name = selection.view_of(view);
        let mut newest = self.app.newest.clone();
        let is_in = |published: &Arc<Published>| {
            published.result(name).is_some() || published.file(name).is_some_and(|file| file.error.is_some())
        };
        let is_there = |published: &Option<Arc<Published>>| published.as_ref().is_some_and(is_in);
        if selection.variants.is_empty() || is_there(&Some(Arc::clone(&published))) {
            return Ok((published, selection));
        }
        let found = match tokio::time::timeout(VARIANT_TIMEOUT, newest.wait_for(is_there)).await {
            Ok(Ok(found)) => found.clone(),
            _ => None,
        };
        let building =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("'{name}' is being built")).with_retry(1);
        Ok((found.ok_or_else(building)?, selection))
    }
}

/// How long a request waits for a view with new values.
const VARIANT_TIMEOUT: Duration = Duration::from_secs(5);

/// The API's routes; its event streams end with `stop`.
pub fn routes(app: Arc<App>, stop: &CancellationToken) -> Router {
    let api = Arc::new(Api {
        trackers: Trackers::new(&app, stop),
        bodies: Recent::new(MAX_BODIES),
        lists: Recent::new(2),
        metrics: Metrics::default(),
        app,
    });
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let (api, stop) = (Arc::clone(&api), stop.clone());
        runtime.spawn(async move { stop.run_until_cancelled(metrics::follow(&api)).await });
    }
    Router::new()
        .route("/api/views", get(list::list))
        .route("/api/views/{view}", get(view::view))
        .route("/api/views/{view}/changes", get(changes::changes))
        .route("/api/proof", get(proof::proof))
        .route("/api/openapi.json", get(openapi))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api", get(nothing_here))
        .route("/api/{*rest}", get(nothing_here))
        .with_state(api)
}

async fn nothing_here(uri: Uri) -> Problem {
    let message = format!("there is nothing at '{}'", uri.path().escape_debug());
    Problem::new(StatusCode::NOT_FOUND, message).with_help("/api/openapi.json describes all addresses".to_owned())
}

async fn openapi() -> impl axum::response::IntoResponse {
    let document = OPENAPI.replace("\"0.0.0\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""));
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document).into_response()
}
