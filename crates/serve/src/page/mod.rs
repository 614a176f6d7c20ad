//! The page: a dashboard's tiles as HTML, and the events that keep them current.
//!
//! ```text
//!  newest Published ─▶ Renderer: each changed tile once, at most every RENDER_INTERVAL ─▶ Rendered (a watch of one)
//!                                                                                     ├─▶ GET /        the whole page
//!                                                                                     └─▶ GET /events  a stream per tab
//! ```
//!
//! The server draws everything, so that a page is complete before any script runs; the script only swaps what changed.
//!
//! # Contract
//! All tiles of one [`Rendered`] are of one moment, and an event carries all that changed since the tab's last one: a tab
//! never shows two moments. A tab that is slow gets the newest picture and misses those between.

mod detail;
mod document;
mod events;
mod render;
mod strip;
#[cfg(test)]
mod tests;
mod tile;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::render::{Audience, Rendered, Renderer};
use super::app::App;
use super::selection::Selection;

/// How long the first request waits for the first picture, and a new variant for its tile.
const FIRST_PICTURE: Duration = Duration::from_secs(2);

/// The shared state of the page's handlers.
#[derive(Debug)]
struct Page {
    app: Arc<App>,
    rendered: watch::Receiver<Arc<Rendered>>,
    audience: Arc<Audience>,
    stop: CancellationToken,
}

/// The page's routes; its event streams end with `stop`. Must be called inside the runtime that serves them.
pub fn routes(app: Arc<App>, stop: &CancellationToken) -> Router {
    let audience = Arc::<Audience>::default();
    let rendered = Renderer::start(Arc::clone(&app), Arc::clone(&audience), stop);
    let page = Page { app, rendered, audience, stop: stop.clone() };
    Router::new()
        .route("/", get(dashboard))
        .route("/view/{name}", get(view))
        .route("/view/{name}/detail", get(detail::fragment))
        .route("/bad-records", get(detail::bad_records))
        .route("/events", get(events::stream))
        .with_state(Arc::new(page))
}

/// Why a selection cannot be shown.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refuse(self.0, &self.1)
    }
}

impl Page {
    /// The selection of an address; from now on its variants are in use.
    fn selection(&self, query: &[(String, String)]) -> Result<Selection, Refused> {
        let selection = Selection::parse(query, self.app.newest().as_deref());
        let mut selection = selection.map_err(|wrong| Refused(StatusCode::BAD_REQUEST, wrong))?;
        selection.keep_what_fits(&self.app.variants);
        Ok(selection)
    }

    /// The same, with its picture.
    async fn selected(&self, query: &[(String, String)]) -> Result<(Selection, Arc<Rendered>), Refused> {
        let selection = self.selection(query)?;
        let picture = self.picture(&selection).await;
        Ok((selection, picture))
    }

    /// The newest picture, once it has all that is selected, or after [`FIRST_PICTURE`].
    async fn picture(&self, selection: &Selection) -> Arc<Rendered> {
        let mut rendered = self.rendered.clone();
        let newest = self.app.newest();
        self.audience.asked.notify_one();
        let complete = |picture: &Arc<Rendered>| {
            let published = picture.published.as_ref();
            let is_new =
                published.is_some_and(|published| newest.as_ref().is_none_or(|newest| published.taken >= newest.taken));
            is_new && selection.variants.values().all(|variant| picture.tile(variant.name()).is_some())
        };
        let waited = tokio::time::timeout(FIRST_PICTURE, rendered.wait_for(complete)).await;
        drop(waited);
        self.rendered.borrow().clone()
    }
}

/// The dashboard.
async fn dashboard(State(page): State<Arc<Page>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let (selection, picture) = match page.selected(&query).await {
        Ok(selected) => selected,
        Err(refused) => return refused.into_response(),
    };
    Html(document::dashboard(&page.app, &picture, &selection).into_string()).into_response()
}

/// One tile's own page, with all details.
async fn view(
    State(page): State<Arc<Page>>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let (selection, picture) = match page.selected(&query).await {
        Ok(selected) => selected,
        Err(refused) => return refused.into_response(),
    };
    match detail::view(&page.app, &picture, &selection, &name) {
        Some(document) => Html(document.into_string()).into_response(),
        None => refuse(StatusCode::NOT_FOUND, &format!("there is no view '{name}'")),
    }
}

/// An address without a page.
pub async fn nowhere() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// A page with an error message.
fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Html(document::refusal(status, message).into_string())).into_response()
}
