//! Whole documents: everything around the tiles.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::render::Rendered;
use crate::app::App;
use crate::assets;
use crate::selection::Selection;
use tallgrass_pipeline::Variant;
use tallgrass_sink::sanitize::{sanitize, sanitize_lines};
use tallgrass_view::load_panels;

/// A document with the common head.
pub fn document(title: &str, class: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" class=(class) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(assets::ICON.path) type="image/svg+xml";
                link rel="stylesheet" href=(assets::PAGE_STYLE.path);
                script src=(assets::THEME.path) {}
                script src=(assets::PAGE_SCRIPT.path) defer {}
            }
            body { (body) }
        }
    }
}

/// The dashboard with the selection of an address.
pub fn dashboard(app: &App, picture: &Rendered, selection: &Selection) -> Markup {
    let tiles: Vec<_> = picture
        .tiles
        .iter()
        .filter(|tile| !Variant::is_name(&tile.name))
        .filter_map(|tile| picture.selected(app, tile, selection, 0))
        .collect();
    let body = html! {
        a.skip href="#tiles" { "To the tiles" }
        header.top {
            h1 { a href="/" { (app.name) } }
            (buttons(app))
            div.strip id="strip" { (PreEscaped(&*picture.strip)) }
        }
        div.offline id="offline" role="status" hidden { }
        main.tiles id="tiles" data-seq=(picture.seq) {
            @for tile in &tiles { (PreEscaped(tile)) }
        }
        @if tiles.is_empty() { (nothing(app, picture)) }
        noscript { p.noscript { "Without JavaScript this page does not update: reload it for newer numbers." } }
        (keys())
        dialog id="detail" aria-label="About this tile" { div.body {} form method="dialog" { button { "Close" } } }
        div.tip id="tip" role="tooltip" hidden {}
        p.sr id="live" role="status" aria-live="polite" {}
    };
    document(&app.name, if selection.wall { "wall" } else { "" }, &body)
}

fn buttons(app: &App) -> Markup {
    html! {
        nav.buttons aria-label="View" {
            button type="button" id="pause" aria-pressed="false" title="Pause (p)" hidden { "Pause" }
            button type="button" id="theme" title="Light or dark (t)" hidden { "Theme" }
            @for panel in load_panels(&app.queries) {
                a.button href={ "/panel/" (panel.name) } title="On a map, as it appears" { (sanitize(panel.title())) }
            }
            a.button href="/?wall" title="Tiles only, for a large screen (w)" { "Wall" }
            button type="button" id="help" title="Keys (?)" hidden { "?" }
        }
    }
}

/// An empty dashboard, with instructions to fill it.
fn nothing(app: &App, picture: &Rendered) -> Markup {
    html! {
        div.nothing {
            @if picture.seq == 0 {
                p { "Waiting for the first result…" }
            } @else {
                p { "There is no dashboard file yet. Save one, and its tile appears here:" }
                pre { (app.queries.join("dashboard/how_many.sql").display()) "\n\n-- @title: How many\nSELECT count(*) AS seen FROM " (relation(app)) }
            }
        }
    }
}

/// An existing relation, for an example.
fn relation(app: &App) -> String {
    let definitions = app.newest().and_then(|published| published.definitions.clone());
    let first = definitions
        .and_then(|definitions| Some(definitions.workspace.catalog().kafka_relations().next()?.name().to_owned()));
    first.map_or_else(|| "a_relation".to_owned(), |name| sanitize(&name).into_owned())
}

fn keys() -> Markup {
    let keys = [
        ("?", "these keys"),
        ("p", "pause and resume"),
        ("j k", "next and previous tile"),
        ("Enter", "details of the tile"),
        ("t", "light, dark, or the system's theme"),
        ("w", "tiles only, and back"),
        ("+ − 0", "zoom the map of the tile, and back"),
        ("Esc", "close"),
    ];
    html! {
        dialog id="keys" aria-label="Keys" {
            h2 { "Keys" }
            dl { @for (key, what) in keys { dt { kbd { (key) } } dd { (what) } } }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// A page with content other than tiles.
pub fn plain(app: &App, title: &str, content: &Markup) -> Markup {
    let body = html! {
        header.top {
            h1 { a href="/" { (app.name) } }
            nav.buttons aria-label="View" {
                button type="button" id="theme" title="Light or dark (t)" hidden { "Theme" }
                a.button href="/" { "← Dashboard" }
            }
        }
        main.plain id="tiles" { (content) }
        div.tip id="tip" role="tooltip" hidden {}
    };
    document(&format!("{title} · {}", app.name), "", &body)
}

/// The error page of a request.
pub fn refusal(status: StatusCode, message: &str) -> Markup {
    let body = html! {
        main.plain {
            h1 { (status.as_str()) " " (status.canonical_reason().unwrap_or_default()) }
            pre { (sanitize_lines(message)) }
            p .links { a href="/" { "To the dashboard" } }
        }
    };
    document("tallgrass", "", &body)
}
