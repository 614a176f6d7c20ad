//! What the page needs beside itself, inside of the binary. Addresses carry a digest, so a browser keeps a file for ever and
//! yet never an old one.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::sink::svg;

/// The style sheet: the pictures' colours and classes, then the page's.
pub static STYLE: Asset = Asset::new("page", "css", "text/css; charset=utf-8", &STYLE_TEXT);
/// The script.
pub static SCRIPT: Asset = Asset::new("page", "js", "text/javascript; charset=utf-8", &SCRIPT_TEXT);
/// A blade of grass.
pub static ICON: Asset = Asset::new("icon", "svg", "image/svg+xml", &ICON_TEXT);

static STYLE_TEXT: LazyLock<String> = LazyLock::new(|| format!("{}\n{}", svg::CSS, include_str!("page.css")));
static SCRIPT_TEXT: LazyLock<String> = LazyLock::new(|| include_str!("page.js").to_owned());
static ICON_TEXT: LazyLock<String> = LazyLock::new(|| include_str!("icon.svg").to_owned());

/// A file of the page.
#[derive(Debug)]
pub struct Asset {
    stem: &'static str,
    extension: &'static str,
    media_type: &'static str,
    text: &'static LazyLock<String>,
}

impl Asset {
    const fn new(
        stem: &'static str,
        extension: &'static str,
        media_type: &'static str,
        text: &'static LazyLock<String>,
    ) -> Self {
        Self { stem, extension, media_type, text }
    }

    /// Its name, with the beginning of the digest of what it holds.
    fn name(&self) -> String {
        let digest = blake3::hash(self.text.as_bytes()).to_hex();
        format!("{}-{}.{}", self.stem, &digest.as_str()[..12], self.extension)
    }

    /// Its address.
    pub fn path(&self) -> String {
        format!("/assets/{}", self.name())
    }
}

/// `GET /assets/NAME`
pub async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name() == name) else {
        return (StatusCode::NOT_FOUND, "no such file").into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.text.as_str()).into_response()
}

/// Browsers ask for it unasked.
pub async fn icon() -> Redirect {
    Redirect::permanent(&ICON.path())
}
