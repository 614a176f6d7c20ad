//! The page: a dashboard's tiles as HTML, and the events that keep them current.
//!
//! ```text
//!  newest Shot ─▶ Renderer: each changed tile once, at most every RENDER_INTERVAL ─▶ Rendered (a watch of one)
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
use super::wish::Wish;

/// How long the first visitor waits for the first picture, and a new variant for its tile.
const FIRST_PICTURE: Duration = Duration::from_secs(2);

/// What the page's handlers share.
#[derive(Debug)]
struct Page {
    app: Arc<App>,
    rendered: watch::Receiver<Arc<Rendered>>,
    audience: Arc<Audience>,
    stop: CancellationToken,
}

/// The page's routes; its event streams end with `stop`. Must be called inside of the runtime that serves them.
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

/// Why somebody cannot see what they wish.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refuse(self.0, &self.1)
    }
}

impl Page {
    /// What an address asks for; from now on its variants are looked at.
    fn wish(&self, query: &[(String, String)]) -> Result<Wish, Refused> {
        let wish = Wish::parse(query, self.app.newest().as_deref());
        let mut wish = wish.map_err(|wrong| Refused(StatusCode::BAD_REQUEST, wrong))?;
        wish.keep_what_fits(&self.app.variants);
        Ok(wish)
    }

    /// The same, with its picture.
    async fn wished(&self, query: &[(String, String)]) -> Result<(Wish, Arc<Rendered>), Refused> {
        let wish = self.wish(query)?;
        let picture = self.picture(&wish).await;
        Ok((wish, picture))
    }

    /// The newest picture, once it has all that is wished for, or after [`FIRST_PICTURE`].
    async fn picture(&self, wish: &Wish) -> Arc<Rendered> {
        let mut rendered = self.rendered.clone();
        let newest = self.app.newest();
        self.audience.asked.notify_one();
        let complete = |picture: &Arc<Rendered>| {
            let shot = picture.shot.as_ref();
            let is_new = shot.is_some_and(|shot| newest.as_ref().is_none_or(|newest| shot.taken >= newest.taken));
            is_new && wish.variants.values().all(|variant| picture.tile(variant.name()).is_some())
        };
        let waited = tokio::time::timeout(FIRST_PICTURE, rendered.wait_for(complete)).await;
        drop(waited);
        self.rendered.borrow().clone()
    }
}

/// The dashboard.
async fn dashboard(State(page): State<Arc<Page>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let (wish, picture) = match page.wished(&query).await {
        Ok(wished) => wished,
        Err(refused) => return refused.into_response(),
    };
    Html(document::dashboard(&page.app, &picture, &wish).into_string()).into_response()
}

/// One tile alone, with all there is to know about it.
async fn view(
    State(page): State<Arc<Page>>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let (wish, picture) = match page.wished(&query).await {
        Ok(wished) => wished,
        Err(refused) => return refused.into_response(),
    };
    match detail::view(&page.app, &picture, &wish, &name) {
        Some(document) => Html(document.into_string()).into_response(),
        None => refuse(StatusCode::NOT_FOUND, &format!("there is no view '{name}'")),
    }
}

/// An address that is none.
pub async fn nowhere() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// A page that says what is wrong.
fn refuse(status: StatusCode, words: &str) -> Response {
    (status, Html(document::refusal(status, words).into_string())).into_response()
}
