//! Control panels in the browser: what appears near a place, for a thousand of them with one consumer and one index.
//!
//! ```text
//!  /panel?lat=&lon=&radius_km=  ─▶ page     the map and the newest rows, drawn by the server first
//!  /panel/events?…              ─▶ stream   what is new, coalesced to the newest
//!                                    ▲
//!  place ── a link's parameters      │ Content, a place of one for each panel
//!  hub ──── Feed ─▶ panels ──────────┘ circle (index) ─▶ pairs (the SQL over rows beside panels) ─▶ row
//!  own_group ─ with own_group=true: a consumer group instead of a share in the hub
//! ```
//!
//! # Contract
//! A panel shows what `control_panel.sql` gives with the panel's values as its parameters, whatever is saved there. The
//! hub is one thread; it starts with the first panel and ends some seconds after the last. No tab slows it: it leaves each
//! panel's newest content in a place of one.

mod circle;
mod ground;
mod hub;
mod near;
mod own_group;
mod page;
mod pairs;
#[cfg(test)]
mod pairs_tests;
mod panels;
mod place;
mod recent;
mod row;
mod shared;
mod state;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State as AxumState};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::own_group::{MAX_GROUPS, OwnGroup};
use self::place::{Asked, BadLink, DEFAULT_RADIUS_KM, Request};
use self::shared::{Content, Entry, Full, Shared};
use self::stream::{Follow, Hold};
use super::app::App;
use crate::view::SqlFile;

/// The file that says what near is.
const FILE: &str = "control_panel";

/// How long the page waits for its first rows: a hub that runs has them in some milliseconds.
const FIRST_PAINT: Duration = Duration::from_millis(700);

/// A sign of life on a quiet stream, so that proxies and browsers keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the handlers share.
struct Server {
    app: Arc<App>,
    shared: Arc<Shared>,
    groups: Arc<Semaphore>,
    stop: CancellationToken,
}

/// The panels' routes; their event streams end with `stop`.
pub fn routes(app: Arc<App>, stop: &CancellationToken) -> Router {
    let shared = Arc::new(Shared::new(app.queries.clone()));
    let server = Server { app, shared, groups: Arc::new(Semaphore::new(MAX_GROUPS)), stop: stop.clone() };
    Router::new().route("/panel", get(show)).route("/panel/events", get(follow)).with_state(Arc::new(server))
}

type Pairs = Query<Vec<(String, String)>>;

impl Server {
    /// Understands a link, as far as the file on disk lets it.
    fn understand(&self, pairs: Vec<(String, String)>) -> Result<Asked, BadLink> {
        // While the file is broken the hub goes on with an older one, which then judges.
        let file = SqlFile::load(&self.app.queries.join(FILE).with_extension("sql")).ok();
        let radius = file.as_ref().and_then(default_radius).unwrap_or(DEFAULT_RADIUS_KM);
        let asked = Request::parse(pairs, radius)?;
        if let (Some(file), Asked::Panel(request) | Asked::Elsewhere(request)) = (file, &asked) {
            check_others(&file, request)?;
        }
        Ok(asked)
    }

    fn open(&self, request: &Request) -> Result<Arc<Entry>, Full> {
        self.shared.open(request, || hub::start(Arc::clone(&self.shared), self.app.kafka.clone(), self.stop.clone()))
    }
}

fn default_radius(file: &SqlFile) -> Option<f64> {
    let param = file.params().iter().find(|param| param.name == "radius_km")?;
    let value = param.default.as_ref()?.cast_to(&datafusion::arrow::datatypes::DataType::Float64).ok()?;
    match value {
        datafusion::common::ScalarValue::Float64(radius) => radius,
        _ => None,
    }
}

/// Says which other parameter of a link the file cannot take, or lacks.
fn check_others(file: &SqlFile, request: &Request) -> Result<(), BadLink> {
    let own = ["lat", "lon", "radius_km"];
    for name in request.others.keys() {
        if !file.params().iter().any(|param| param.name == *name) {
            let names: Vec<&str> = file.params().iter().map(|param| param.name.as_str()).collect();
            let reason = format!("{FILE}.sql has no such parameter; it has {}", names.join(", "));
            return Err(BadLink::new(name.chars().take(60).collect::<String>(), reason));
        }
    }
    for param in file.params().iter().filter(|param| !own.contains(&param.name.as_str())) {
        let given = request.others.get(&param.name);
        match given {
            None if param.default.is_none() => {
                return Err(BadLink::new(&param.name, format!("is missing: {FILE}.sql needs a value")));
            }
            None => {}
            Some(text) => {
                let value = datafusion::common::ScalarValue::from(text.as_str());
                if value.cast_to(&param.data_type).is_err() {
                    let reason = format!("'{text}' is no value of type {}", param.data_type);
                    return Err(BadLink::new(&param.name, reason));
                }
            }
        }
    }
    Ok(())
}

async fn show(AxumState(server): AxumState<Arc<Server>>, Query(pairs): Pairs) -> Response {
    let request = match server.understand(pairs) {
        Ok(Asked::Panel(request)) => request,
        Ok(Asked::Elsewhere(request)) => return Redirect::to(&stream::link(&request)).into_response(),
        Err(error) => {
            return (StatusCode::BAD_REQUEST, Html(page::refused("This link is no panel", &error.to_string())))
                .into_response();
        }
    };
    let content = if request.own_group {
        // Its consumer begins with its stream.
        Arc::default()
    } else {
        match server.open(&request) {
            Ok(entry) => first_content(&entry).await,
            Err(full) => {
                let page = page::refused("Too many panels", &full.to_string());
                return (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response();
            }
        }
    };
    let state = server.shared.state.borrow().clone();
    let about = server.shared.about.borrow().clone();
    let page = page::panel(&page::Panel { request: &request, content: &content, state: &state, about: &about });
    ([(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}

/// The rows of the first paint; what there is when they do not come in time.
async fn first_content(entry: &Entry) -> Arc<Content> {
    let mut content = entry.content.subscribe();
    let ready = content.wait_for(|content| content.ready);
    match tokio::time::timeout(FIRST_PAINT, ready).await {
        Ok(Ok(ready)) => Arc::clone(&ready),
        _ => entry.content.borrow().clone(),
    }
}

async fn follow(AxumState(server): AxumState<Arc<Server>>, Query(pairs): Pairs) -> Response {
    let unavailable = |full: Full| (StatusCode::SERVICE_UNAVAILABLE, full.to_string()).into_response();
    let request = match server.understand(pairs) {
        Ok(Asked::Panel(request) | Asked::Elsewhere(request)) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let hold = if request.own_group {
        let Ok(permit) = Arc::clone(&server.groups).try_acquire_owned() else {
            return unavailable(Full::Groups(MAX_GROUPS));
        };
        let (queries, kafka) = (server.app.queries.clone(), server.app.kafka.clone());
        match OwnGroup::start(queries, kafka, request, permit) {
            Ok(own) => match server.shared.watch(Arc::clone(&own.entry)) {
                Ok(watcher) => Hold::Own { own, _stream: watcher },
                Err(full) => return unavailable(full),
            },
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    } else {
        match server.open(&request).and_then(|entry| server.shared.watch(entry)) {
            Ok(watcher) => Hold::Shared(watcher),
            Err(full) => return unavailable(full),
        }
    };
    let follow = Follow::new(&server.shared, hold, server.stop.clone());
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let events = Sse::new(follow.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    (headers, events).into_response()
}
