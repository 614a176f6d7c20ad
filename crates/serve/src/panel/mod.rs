//! Control panels in the browser: what appears near a place, for a thousand of them with one consumer and one index.
//!
//! ```text
//!  /panel/NAME?lat=&lon=&radius_km=  ─▶ page     the map and the newest rows, drawn by the server first
//!  /panel/NAME/events?…              ─▶ stream   what is new, coalesced to the newest
//!                                         ▲
//!  link ── an area, and values            │ Content, a place of one for each panel
//!  hub ─── Feed ─▶ panels ────────────────┘ circle (index) ─▶ pairs (the SQL over rows beside panels) ─▶ row
//!  group ─ with own_group=true: a consumer group instead of a share in the hub
//! ```
//!
//! Without a NAME it is the first file of `panels/`.
//!
//! # Contract
//! A panel shows what its file gives with the link's values as its parameters, whatever is saved there. A file's hub is one
//! thread; it starts with the first panel and ends some seconds after the last. No tab slows it: it leaves each panel's
//! newest content in a place of one.

mod circle;
mod cities;
mod content;
mod form;
mod ground;
mod group;
mod hub;
mod link;
mod near;
mod open;
mod page;
mod pairs;
#[cfg(test)]
mod pairs_tests;
mod panels;
mod recent;
mod row;
mod source;
mod state;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::Markup;
use tokio_util::sync::CancellationToken;

use self::content::Content;
use self::group::OwnGroup;
use self::link::{Address, BadLink, Link};
use self::open::{LimitReached, Limits, OpenPanel, OpenPanels, lock};
use self::pairs::Pairs;
use self::source::PanelSource;
use self::stream::Follow;
use super::app::App;
use tallgrass_diagnostics::Diagnostic;
use tallgrass_view::{PanelFile, SqlFile, Workspace, WorkspaceError, load_panels};

pub use self::group::{GROUP_PREFIX, new_id};

/// How long the page waits for its first rows: a hub that runs has them in some milliseconds.
const FIRST_PAINT: Duration = Duration::from_millis(700);

/// A sign of life on a quiet stream, so that proxies and browsers keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is wrong with a panel's file beyond its plan for one panel: an error where many panels could not share it, warnings
/// for what has no effect.
pub async fn check(workspace: &Workspace, file: &SqlFile) -> Result<Vec<Diagnostic>, WorkspaceError> {
    let pairs = Pairs::plan(workspace, file.clone()).await?;
    let unknown = file.check_columns(pairs.shown());
    Ok(unknown.into_iter().chain(row::off_the_map(file, pairs.shown())).collect())
}

/// What the handlers share.
struct Server {
    app: Arc<App>,
    limits: Arc<Limits>,
    /// The open panels of each file that any have been opened of.
    hubs: Mutex<BTreeMap<String, Arc<OpenPanels>>>,
    stop: CancellationToken,
}

/// The panels' routes; their event streams end with `stop`.
pub fn routes(app: Arc<App>, stop: &CancellationToken) -> Router {
    let server = Server { app, limits: Arc::default(), hubs: Mutex::default(), stop: stop.clone() };
    Router::new()
        .route("/panel", get(show))
        .route("/panel/events", get(follow))
        .route("/panel/{panel}", get(show))
        .route("/panel/{panel}/events", get(follow))
        .with_state(Arc::new(server))
}

type Values = Query<Vec<(String, String)>>;

/// A panel's file, as a request names it.
struct Asked {
    /// Where its panels are.
    base: String,
    panel: PanelFile,
}

/// Why a request gets no panel.
#[derive(Debug, thiserror::Error)]
enum PanelRefusal {
    #[error("{0}")]
    NoPanel(String),
    #[error(transparent)]
    Link(#[from] BadLink),
    #[error(transparent)]
    Limit(#[from] LimitReached),
    #[error("a panel's consumer cannot be started")]
    Thread(#[from] std::io::Error),
}

impl PanelRefusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPanel(_) => StatusCode::NOT_FOUND,
            Self::Link(_) => StatusCode::BAD_REQUEST,
            Self::Limit(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Thread(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::NoPanel(_) => "There is no such panel",
            Self::Link(_) => "This link does not lead to a panel",
            Self::Limit(_) => "Too many panels",
            Self::Thread(_) => "No panel can be opened now",
        }
    }
}

impl Asked {
    /// The file of this name, or the first one.
    fn find(server: &Server, name: Option<&str>) -> Result<Self, PanelRefusal> {
        let mut panels = load_panels(&server.app.queries);
        let found = match name {
            Some(name) => panels.iter().position(|panel| panel.name == name),
            None => (!panels.is_empty()).then_some(0),
        };
        let Some(index) = found else {
            let names: Vec<&str> = panels.iter().map(|panel| panel.name.as_str()).collect();
            return Err(PanelRefusal::NoPanel(match names.as_slice() {
                [] => "The folder of SQL has no file in panels/.".to_owned(),
                names => format!("The panels are {}.", names.join(", ")),
            }));
        };
        let base = name.map_or_else(|| "/panel".to_owned(), |name| format!("/panel/{name}"));
        Ok(Self { base, panel: panels.swap_remove(index) })
    }

    fn file(&self) -> Option<&SqlFile> {
        self.panel.file.as_ref().ok()
    }
}

impl Server {
    fn source(&self, asked: &Asked) -> PanelSource {
        PanelSource { queries: self.app.queries.clone(), name: asked.panel.name.clone() }
    }

    fn hub(&self, asked: &Asked) -> Arc<OpenPanels> {
        let new = || Arc::new(OpenPanels::new(self.source(asked), Arc::clone(&self.limits)));
        Arc::clone(lock(&self.hubs).entry(asked.panel.name.clone()).or_insert_with(new))
    }

    fn open(&self, hub: &Arc<OpenPanels>, link: &Link) -> Result<Arc<OpenPanel>, LimitReached> {
        hub.open(link, || hub::start(Arc::clone(hub), self.app.kafka.clone(), self.stop.clone()))
    }

    async fn page(&self, asked: &Asked, pairs: Vec<(String, String)>) -> Result<Response, PanelRefusal> {
        let link = match Link::parse(pairs, asked.file())? {
            Address::Canonical(link) => link,
            Address::Alias(link) => {
                return Ok(Redirect::to(&form::href(&asked.base, &link)).into_response());
            }
        };
        let hub = self.hub(asked);
        // The consumer of a panel with its own group begins with its stream.
        let content =
            if link.own_group { Arc::default() } else { first_content(self.open(&hub, &link)?.as_ref()).await };
        let (state, about) = (hub.state.borrow().clone(), hub.about.borrow().clone());
        let page = page::panel(&page::PanelPage {
            base: &asked.base,
            title: if about.title.is_empty() { asked.panel.title() } else { &about.title },
            file: asked.file(),
            link: &link,
            content: &content,
            state: &state,
            about: &about,
        });
        Ok(([(header::CACHE_CONTROL, "no-store")], Html(page)).into_response())
    }

    fn stream(&self, asked: &Asked, pairs: Vec<(String, String)>) -> Result<Follow, PanelRefusal> {
        let link = Link::parse(pairs, asked.file())?.into_link();
        if link.own_group {
            let panel = Arc::new(self.limits.group(link)?);
            let follower = self.limits.follow(Arc::clone(&panel))?;
            let group = OwnGroup::start(self.source(asked), self.app.kafka.clone(), panel)?;
            return Ok(Follow::own(group, follower, self.stop.clone()));
        }
        let hub = self.hub(asked);
        let follower = self.limits.follow(self.open(&hub, &link)?)?;
        Ok(Follow::shared(&hub, follower, self.stop.clone()))
    }
}

async fn show(State(server): State<Arc<Server>>, name: Option<Path<String>>, Query(pairs): Values) -> Response {
    let refused = |error: &PanelRefusal, form: Option<Markup>| {
        (error.status(), Html(page::refused(error.title(), &error.to_string(), form))).into_response()
    };
    let asked = match Asked::find(&server, name.as_deref().map(String::as_str)) {
        Ok(asked) => asked,
        Err(error) => return refused(&error, None),
    };
    match server.page(&asked, pairs).await {
        Ok(page) => page,
        // Another link to the same file may do.
        Err(error @ PanelRefusal::Link(_)) => refused(&error, Some(form::of_refusal(&asked.base, asked.file()))),
        Err(error) => refused(&error, None),
    }
}

/// The rows of the first paint; what there is when they do not come in time.
async fn first_content(panel: &OpenPanel) -> Arc<Content> {
    let mut content = panel.content.subscribe();
    let ready = content.wait_for(|content| content.ready);
    match tokio::time::timeout(FIRST_PAINT, ready).await {
        Ok(Ok(ready)) => Arc::clone(&ready),
        _ => panel.content.borrow().clone(),
    }
}

async fn follow(State(server): State<Arc<Server>>, name: Option<Path<String>>, Query(pairs): Values) -> Response {
    let asked = Asked::find(&server, name.as_deref().map(String::as_str));
    match asked.and_then(|asked| server.stream(&asked, pairs)) {
        Ok(follow) => {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            let events = Sse::new(follow.events()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
            (headers, events).into_response()
        }
        Err(error) => (error.status(), error.to_string()).into_response(),
    }
}
