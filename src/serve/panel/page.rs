//! The page of a panel, as it is before any script runs: map, newest rows, form.
//!
//! Everything that the script changes later has an id here, and the script makes the same elements: what is drawn first
//! does not jump.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::ground::{Ground, RADIUS_UNITS, compass, distance};
use super::place::{MAX_RADIUS_KM, PLACES, Place, Request};
use super::row::{Columns, Row};
use super::shared::{About, Content};
use super::state::{Phase, State, now_ms};
use super::stream::link;
use crate::serve::assets;
use crate::sink::cells::group_digits;

/// Radii that a click chooses, km.
const RADII_KM: [f64; 6] = [0.5, 1.0, 3.0, 10.0, 100.0, 1000.0];

/// How bright the oldest mark is.
const DIMMEST: f64 = 0.28;

/// Five points, four units wide: what a flag holds for.
const STAR: &str = "M0-3.4 1-1.1 3.5-.9 1.6.7 2.2 3.1 0 1.8-2.2 3.1-1.6.7-3.5-.9-1-1.1Z";

/// What a page shows.
pub struct Panel<'a> {
    /// The panel.
    pub request: &'a Request,
    /// Its rows.
    pub content: &'a Content,
    /// How the consumer is doing.
    pub state: &'a State,
    /// What is run.
    pub about: &'a About,
}

/// A page that says why there is no panel.
pub fn refused(title: &str, reason: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, false))
            body.refused {
                main {
                    h1 { (title) }
                    p.reason { bdi { (reason) } }
                    form action="/panel" method="get" {
                        label for="place" { "Place" }
                        input #place name="place" required placeholder="40.4168, -3.7038" list="places" autocomplete="off";
                        label for="radius" { "Radius, km" }
                        input #radius name="radius_km" inputmode="decimal" value="3";
                        button type="submit" { "Show" }
                        (places())
                    }
                    p { a href="/" { "Back to the dashboard" } }
                }
            }
        }
    };
    page.into_string()
}

/// The page.
pub fn panel(panel: &Panel<'_>) -> String {
    let Panel { request, content, state, about } = panel;
    let rows: Vec<Row> = content.rows.iter().rev().filter_map(|row| serde_json::from_str(row).ok()).collect();
    let title = if about.title.is_empty() { "Nearby" } else { &about.title };
    let Place { lat, lon, .. } = request.place;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{title} · {lat}, {lon}"), true))
            body {
                header {
                    a.back href="/" { "Dashboard" }
                    h1 #title { (title) }
                    p #state .{ (phase_class(state)) } role="status" { (state.title) }
                    div.tools {
                        button #share type="button" hidden { "Copy link" }
                        button #theme type="button" hidden aria-label="Light or dark" { "Theme" }
                        button #help type="button" hidden aria-label="Keys" { "?" }
                    }
                }
                main #panel data-query=(request.query()) {
                    section.map aria-label="Map" {
                        (map(panel, &rows))
                        (banner(panel))
                        div #card hidden {}
                        p.legend {
                            span.dot.new {} " newest"
                            span.dot.old {} " older"
                            span #flag-legend hidden[content.columns.flag.is_none()] {
                                (PreEscaped("<svg viewBox=\"-4 -4 8 8\" aria-hidden=\"true\"><path d=\""))
                                (STAR) (PreEscaped("\"/></svg>"))
                                " " span #flag-name { (flag_name(&content.columns)) }
                            }
                        }
                    }
                    aside {
                        (form(request))
                        (counts(content))
                        ol #list aria-label="Newest first" {
                            @for row in &rows { (item(&content.columns, row)) }
                        }
                    }
                }
                footer { (about_details(about, request)) }
                (keys())
                p #live .unseen aria-live="polite" {}
            }
        }
    };
    page.into_string()
}

fn head(title: &str, live: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            link rel="icon" href=(assets::ICON.path) type="image/svg+xml";
            link rel="stylesheet" href=(assets::PANEL_STYLE.path);
            script src=(assets::THEME.path) {}
            @if live {
                script src=(assets::PANEL_SCRIPT.path) defer {}
                noscript { meta http-equiv="refresh" content="5"; }
            }
        }
    }
}

fn phase_class(state: &State) -> &'static str {
    match state.phase {
        _ if state.sql_error.is_some() => "bad",
        Phase::Live => "good",
        Phase::BrokerGone | Phase::Broken => "bad",
        Phase::Waiting | Phase::CatchingUp | Phase::Starting => "warn",
    }
}

fn flag_name(columns: &Columns) -> &str {
    columns.flag.and_then(|column| columns.names.get(column)).map_or("", String::as_str)
}

fn map(panel: &Panel<'_>, rows: &[Row]) -> Markup {
    let place = panel.request.place;
    let ground = Ground::of(place);
    let scale = RADIUS_UNITS / place.radius_km;
    let near = distance(place.radius_km);
    html! {
        svg #map viewBox="-100 -100 200 200" role="group" tabindex="0" aria-labelledby="map-title" {
            title #map-title { "What appeared within " (near) " of " (place.lat) ", " (place.lon) }
            defs { clipPath #rim { circle #rim-circle r=(RADIUS_UNITS) {} } }
            circle.ground r=(RADIUS_UNITS) {}
            g clip-path="url(#rim)" { path #graticule d=(ground.graticule) {} }
            g #degrees {
                @for label in &ground.labels { text x=(label.x) y=(label.y) { (label.text) } }
            }
            g #rings {
                @for (number, ring) in ground.rings.iter().enumerate() {
                    circle.own[number + 1 == ground.rings.len()] r=(ring.r) {}
                    text x="0" y=(format!("{:.2}", ring.r - 1.6)) { (ring.label) }
                }
            }
            g.compass aria-hidden="true" { path d="M0-99.2 2.2-94.6 0-95.8-2.2-94.6Z" {} text x="4.4" y="-95.2" { "N" } }
            path.centre d="M-2.4 0H2.4M0-2.4V2.4" aria-hidden="true" {}
            g #marks {
                // The newest lie on top.
                @for (age, row) in rows.iter().enumerate().rev() {
                    @if let Some((x, y)) = row.at {
                        @let opacity = 1.0 - (1.0 - DIMMEST) * age as f64 / rows.len().max(40) as f64;
                        g.mark data-k=(row.k) transform=(format!("translate({:.2} {:.2})", x * scale, -y * scale))
                            opacity=(format!("{opacity:.2}")) {
                            @if row.flag { path d=(STAR) {} } @else { circle r="2" {} }
                        }
                    }
                }
            }
        }
    }
}

/// What stands over the map when there is something to say.
fn banner(panel: &Panel<'_>) -> Markup {
    let Panel { content, state, request, .. } = panel;
    let error = state.sql_error.as_deref().or(content.error.as_deref());
    let radius = distance(request.place.radius_km);
    let quiet = state.phase == Phase::Live && error.is_none();
    html! {
        div #banner .{ (phase_class(state)) } .alone[content.rows.is_empty()] hidden[quiet && !content.rows.is_empty()] {
            strong #banner-title {
                @if error.is_some() { "The SQL has an error" }
                @else if quiet { "Nothing within " (radius) " yet" }
                @else { (state.title) }
            }
            p #banner-detail {
                @if error.is_some() { "What ran before goes on." }
                @else if quiet { "This page shows it the moment that something appears." }
                @else { (state.detail) }
            }
            pre #banner-code hidden[error.is_none() && state.command.is_none()] {
                (error.or(state.command.as_deref()).unwrap_or_default())
            }
        }
    }
}

fn form(request: &Request) -> Markup {
    let Place { lat, lon, radius_km } = request.place;
    html! {
        form #where action="/panel" method="get" {
            label for="place" { "Place" }
            input #place name="place" value=(format!("{lat}, {lon}")) list="places" autocomplete="off" spellcheck="false"
                placeholder="40.4168, -3.7038, or a name" aria-describedby="place-error";
            label for="radius" { "Radius, km" }
            input #radius name="radius_km" value=(radius_km) inputmode="decimal" autocomplete="off";
            button type="submit" { "Go" }
            @for (name, value) in &request.others { input type="hidden" name=(name) value=(value); }
            @if request.own_group { input type="hidden" name="own_group" value="true"; }
            p #place-error role="alert" hidden {}
            input #slider type="range" min="-2" max=(MAX_RADIUS_KM.log10()) step="0.01" value=(radius_km.log10()) hidden
                aria-label="Radius";
            p.radii {
                @for km in RADII_KM {
                    @let mut other = (*request).clone();
                    @let () = other.place.radius_km = km;
                    a href=(link(&other)) data-radius=(km) aria-current=[(km.total_cmp(&radius_km).is_eq()).then_some("true")] {
                        (distance(km))
                    }
                }
            }
            (places())
        }
    }
}

fn places() -> Markup {
    html! {
        datalist #places {
            @for (name, lat, lon) in PLACES { option value=(name) data-at=(format!("{lat},{lon}")) {} }
        }
    }
}

fn counts(content: &Content) -> Markup {
    html! {
        p #counts {
            span { b #total { (group_digits(&content.total.to_string())) } " since opened" }
            // The same number twice, while a panel is younger than a minute.
            span.apart hidden[content.minute == content.total] { b #minute { (group_digits(&content.minute.to_string())) } " in the last minute" }
            span #sampled hidden[!content.sampled] {
                "More than can be shown: all are counted, and some of the newest are here."
            }
        }
    }
}

fn item(columns: &Columns, row: &Row) -> Markup {
    let value = |column: usize| row.values.get(column).and_then(Option::as_deref);
    let title = columns.title.and_then(value).unwrap_or("—");
    let tags: Vec<&str> = columns.tags.iter().filter_map(|column| value(*column)).collect();
    html! {
        li.flagged[row.flag] data-k=(row.k) tabindex="0" {
            span.name { bdi { (title) } }
            span.age { @if let Some(t) = row.t { time datetime=(t) { (age((now_ms() - t) / 1000)) } } }
            span.tags {
                @for tag in tags { bdi { (tag) } }
                @if row.flag { bdi.flag { (flag_name(columns)) } }
            }
            span.way { @if let Some((x, y)) = row.at { (compass(x, y)) " " (distance(round3(x.hypot(y)))) } }
        }
    }
}

fn round3(km: f64) -> f64 {
    (km * 1000.0).round() / 1000.0
}

/// `now`, `12 s`, `5 min`, `3 h`, `2 d`: the script counts on in the same words.
fn age(seconds: i64) -> String {
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

fn about_details(about: &About, request: &Request) -> Markup {
    html! {
        details #about {
            summary { "The SQL, and how it is kept current" }
            p #how { (about.how) }
            p { code #path { (about.path) } }
            pre #sql { (about.sql) }
            @let mut other = (*request).clone();
            @let () = other.own_group = !request.own_group;
            p {
                a #own-group href=(link(&other)) {
                    @if request.own_group { "Share the server's consumer again" }
                    @else { "Give this panel a consumer group of its own" }
                }
            }
        }
    }
}

fn keys() -> Markup {
    let keys = [
        ("← ↑ → ↓", "move by a quarter of the radius"),
        ("+ −", "larger or smaller radius"),
        ("/", "type a place"),
        ("c", "copy the link"),
        ("t", "light or dark"),
        ("?", "these keys"),
    ];
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            dl { @for (key, what) in keys { dt { kbd { (key) } } dd { (what) } } }
            p { "A click on the map moves the centre there." }
            form method="dialog" { button { "Close" } }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn request() -> Request {
        Request {
            place: Place { lat: 40.4168, lon: -3.7038, radius_km: 3.0 },
            others: [("q".to_owned(), "\"><script>".to_owned())].into(),
            own_group: false,
        }
    }

    #[test]
    fn event_data_is_text_and_the_policy_is_kept() {
        let row = Row {
            k: 0,
            t: Some(0),
            at: Some((1.0, 1.0)),
            flag: true,
            values: vec![
                Some("<img src=x onerror=alert(1)>".to_owned()),
                Some("\"'&".to_owned()),
                Some("true".to_owned()),
            ],
        };
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let flag = Field::new("legendary", DataType::Boolean, true);
        let columns = Columns::of(&Schema::new(vec![text("name"), text("<b>"), flag]));
        let content = Content {
            ready: true,
            columns: Arc::new(columns),
            rows: vec![serde_json::to_string(&row).unwrap().into()],
            next_k: 1,
            total: 1_234_567,
            ..Content::default()
        };
        let state = State { sql_error: Some("<i>".into()), ..State::live() };
        let about = About { sql: "</pre><script>".to_owned(), ..About::default() };
        let page = panel(&Panel { request: &request(), content: &content, state: &state, about: &about });
        for markup in ["<img", "<b>\"", "<i>", "</pre><script>", "\"><script>", " style=", "onclick", "javascript:"] {
            assert!(!page.contains(markup), "{markup}: {page}");
        }
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && page.contains("NE 1.414 km"));
        assert!(page.contains("1,234,567"));
        // Scripts are files, all of them.
        assert_eq!(page.matches("<script").count(), page.matches("<script src=\"/assets/").count());
    }

    #[test]
    fn every_state_says_what_it_waits_for() {
        let content = Content { ready: true, ..Content::default() };
        let text = |state: State| {
            panel(&Panel { request: &request(), content: &content, state: &state, about: &About::default() })
        };
        assert!(text(State::waiting("pokemons", "h:1")).contains("tallgrass pokemon-gen -b h:1"));
        assert!(text(State::live()).contains("Nothing within 3 km yet"));
        assert!(text(State::broker_gone("refused")).contains("refused. Tries again by itself."));
        let broken = State { sql_error: Some("q/control_panel.sql:3:1: error\n    ^".into()), ..State::broken() };
        assert!(text(broken).contains("control_panel.sql:3:1: error\n    ^"));
        assert!(refused("No", "lat: 91 is no latitude").contains("lat: 91 is no latitude"));
    }
}
