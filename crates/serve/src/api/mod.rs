//! The API: views for programs, and how the run is doing.
//!
//! | | |
//! |---|---|
//! | `/api/views` | every file: state, columns, cost, where to get its rows |
//! | `/api/views/NAME`, `NAME.json`, `.csv`, `.arrow`, `.svg` | one view's rows at the newest moment |
//! | `/api/views/NAME/changes` | its changes as server-sent events |
//! | `/api/openapi.json` | this, for programs |
//! | `/healthz`, `/readyz`, `/metrics` | how the run is doing |
//!
//! # Contract
//! Everything is read from the newest [`Shot`], so all answers of one moment agree. What takes longer than a moment
//! (digests, encoding, differences) runs beside the runtime, and once for all who ask for the same.

mod body;
mod changes;
mod events;
mod form;
mod health;
mod list;
mod metrics;
mod moment;
mod process;
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
use super::wish::{Pairs, Wish};
use tallgrass_pipeline::Shot;
use tallgrass_view::did_you_mean_hint;

/// Encoded results kept: some forms of some views of the newest moments.
const MAX_BODIES: usize = 16;

/// The description of all routes, in `OpenAPI` 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// What the handlers share.
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
    fn shot(&self) -> Result<Arc<Shot>, Problem> {
        let none = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no refresh yet").with_retry(1);
        self.app.newest().ok_or_else(none)
    }

    /// The same, with this view in it.
    fn shot_with(&self, view: &str) -> Result<Arc<Shot>, Problem> {
        let shot = self.shot()?;
        if shot.file(view).is_some() || shot.result(view).is_some() {
            return Ok(shot);
        }
        let words = format!("there is no view '{}'", view.escape_debug());
        let near = did_you_mean_hint(view, shot.files.iter().map(|file| &*file.name));
        let help = near.unwrap_or_else(|| "/api/views lists what there is".to_owned());
        Err(Problem::new(StatusCode::NOT_FOUND, words).with_help(help))
    }

    /// The view that an address asks for: the file's own, or with other values (`?near.lat=41`), which is waited for.
    async fn asked(&self, view: &str, query: &Pairs) -> Result<(Arc<Shot>, Wish), Problem> {
        let shot = self.shot_with(view)?;
        let bad = |words: String| Problem::new(StatusCode::BAD_REQUEST, words);
        if let Some((key, _)) = query.iter().find(|(key, _)| key.split_once('.').is_none_or(|(of, _)| of != view)) {
            let words = format!("nothing here is called '{}'", key.escape_debug());
            return Err(bad(words).with_help(format!("a parameter of this view is written {view}.NAME=VALUE")));
        }
        let mut wish = Wish::parse(query, Some(&shot)).map_err(bad)?;
        if let Some((_, refusal)) = wish.refused.pop_first() {
            return Err(bad(refusal.words));
        }
        wish.keep(&self.app.variants)
            .map_err(|full| Problem::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()).with_retry(60))?;
        let name = wish.view_of(view);
        let mut shots = self.app.shots.clone();
        let is_in =
            |shot: &Arc<Shot>| shot.result(name).is_some() || shot.file(name).is_some_and(|file| file.error.is_some());
        let is_there = |shot: &Option<Arc<Shot>>| shot.as_ref().is_some_and(is_in);
        if wish.variants.is_empty() || is_there(&Some(Arc::clone(&shot))) {
            return Ok((shot, wish));
        }
        let found = match tokio::time::timeout(VARIANT_TIMEOUT, shots.wait_for(is_there)).await {
            Ok(Ok(found)) => found.clone(),
            _ => None,
        };
        let building =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("'{name}' is being built")).with_retry(1);
        Ok((found.ok_or_else(building)?, wish))
    }
}

/// How long somebody waits for a view with values that nobody has asked for before.
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
        .route("/api/openapi.json", get(openapi))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api", get(nothing_here))
        .route("/api/{*rest}", get(nothing_here))
        .with_state(api)
}

async fn nothing_here(uri: Uri) -> Problem {
    let words = format!("there is nothing at '{}'", uri.path().escape_debug());
    Problem::new(StatusCode::NOT_FOUND, words).with_help("/api/openapi.json describes what there is".to_owned())
}

async fn openapi() -> impl axum::response::IntoResponse {
    let document = OPENAPI.replace("\"0.0.0\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""));
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document).into_response()
}
