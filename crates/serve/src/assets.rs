//! The pages' static files, inside the binary. Addresses contain a digest, so a browser can keep a file forever and still
//! never uses an old one.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use tallgrass_sink::svg;

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The dashboard's style sheet: the pictures' colours and classes, then the page's.
pub static PAGE_STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("page", "css", CSS, &format!("{}\n{}", svg::CSS, include_str!("page/page.css"))));
/// The dashboard's script.
pub static PAGE_SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::new("page", "js", JS, include_str!("page/page.js")));
/// A panel's style sheet.
pub static PANEL_STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("panel", "css", CSS, include_str!("panel/assets/panel.css")));
/// A panel's script.
pub static PANEL_SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("panel", "js", JS, include_str!("panel/assets/panel.js")));
/// Light or dark, for both.
pub static THEME: LazyLock<Asset> = LazyLock::new(|| Asset::new("theme", "js", JS, include_str!("theme.js")));
/// Blades of grass.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("page/icon.svg")));

/// A file.
#[derive(Debug)]
pub struct Asset {
    /// Where it is.
    pub path: String,
    media_type: &'static str,
    text: Arc<str>,
}

impl Asset {
    fn new(stem: &str, extension: &str, media_type: &'static str, text: &str) -> Self {
        let digest = blake3::hash(text.as_bytes()).to_hex();
        let path = format!("/assets/{stem}-{}.{extension}", &digest.as_str()[..12]);
        Self { path, media_type, text: text.into() }
    }
}

/// The routes of all files.
pub fn routes() -> Router {
    Router::new()
        .route("/assets/{name}", get(asset))
        // Browsers request it by themselves.
        .route("/favicon.ico", get(async || Redirect::permanent(&ICON.path)))
}

async fn asset(Path(name): Path<String>) -> Response {
    let all = [&PAGE_STYLE, &PAGE_SCRIPT, &PANEL_STYLE, &PANEL_SCRIPT, &THEME, &ICON];
    match all.into_iter().find(|asset| asset.path.strip_prefix("/assets/") == Some(&*name)) {
        Some(asset) => {
            let kept = "public, max-age=31536000, immutable";
            ([(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, kept)], asset.text.to_string())
                .into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such file").into_response(),
    }
}
