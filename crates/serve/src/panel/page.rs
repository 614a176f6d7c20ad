//! The page of a panel, as it is before any script runs: map, newest rows, form.
//!
//! Everything that the script changes later has an id here, and the script makes the same elements: what is drawn first
//! does not jump.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::content::Content;
use super::form;
use super::ground::{Ground, RADIUS_UNITS, compass, distance};
use super::link::{Area, Link};
use super::open::About;
use super::row::{PanelRow, RowShape};
use super::state::{ConsumerState, Phase, now_ms};
use crate::assets;
use tallgrass_sink::cells::group_digits;
use tallgrass_view::SqlFile;

/// How bright the oldest mark is.
const DIMMEST: f64 = 0.28;

/// Five points, four units wide: what a flag holds for.
const STAR: &str = "M0-3.4 1-1.1 3.5-.9 1.6.7 2.2 3.1 0 1.8-2.2 3.1-1.6.7-3.5-.9-1-1.1Z";

/// What a page shows.
pub struct PanelPage<'a> {
    /// Where the panels of the file are, such as `/panel/bikes`.
    pub base: &'a str,
    /// The heading.
    pub title: &'a str,
    /// The file as it is saved; none while it is broken.
    pub file: Option<&'a SqlFile>,
    /// What is asked for.
    pub link: &'a Link,
    /// Its rows.
    pub content: &'a Content,
    /// How the consumer is doing.
    pub state: &'a ConsumerState,
    /// What runs.
    pub about: &'a About,
}

/// A page that says why there is no panel.
pub fn refused(title: &str, reason: &str, form: Option<Markup>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, false))
            body.refused {
                main {
                    h1 { (title) }
                    p.reason { bdi { (reason) } }
                    @if let Some(form) = form { (form) }
                    p { a href="/" { "Back to the dashboard" } }
                }
            }
        }
    };
    page.into_string()
}

/// The page.
pub fn panel(panel: &PanelPage<'_>) -> String {
    let PanelPage { base, title, file, link, content, state, .. } = panel;
    let rows: Vec<PanelRow> = content.rows.iter().rev().filter_map(|row| serde_json::from_str(row).ok()).collect();
    let Area { lat, lon, .. } = link.area;
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
                main #panel data-base=(base) data-query=(link.query()) {
                    section.map aria-label="Map" {
                        (map(link.area, &rows))
                        (banner(panel))
                        div #card hidden {}
                        p.legend {
                            span.dot.new {} " newest"
                            span.dot.old {} " older"
                            span #flag-legend hidden[content.shape.flag.is_none()] {
                                (PreEscaped("<svg viewBox=\"-4 -4 8 8\" aria-hidden=\"true\"><path d=\""))
                                (STAR) (PreEscaped("\"/></svg>"))
                                " " span #flag-name { (flag_name(&content.shape)) }
                            }
                        }
                    }
                    aside {
                        (form::of_panel(base, *file, link))
                        (counts(content))
                        ol #list aria-label="Newest first" {
                            @for row in &rows { (item(&content.shape, row)) }
                        }
                    }
                }
                footer { (about_details(panel)) }
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

fn phase_class(state: &ConsumerState) -> &'static str {
    match state.phase {
        _ if state.sql_error.is_some() => "bad",
        Phase::Live => "good",
        Phase::Unreachable | Phase::Broken => "bad",
        Phase::Waiting | Phase::CatchingUp | Phase::Starting => "warn",
    }
}

fn flag_name(shape: &RowShape) -> &str {
    shape.flag.and_then(|column| shape.names.get(column)).map_or("", String::as_str)
}

fn map(area: Area, rows: &[PanelRow]) -> Markup {
    let ground = Ground::of(area);
    let scale = RADIUS_UNITS / area.radius_km;
    html! {
        svg #map viewBox="-100 -100 200 200" role="group" tabindex="0" aria-labelledby="map-title" {
            title #map-title { "What appeared within " (distance(area.radius_km)) " of " (area.lat) ", " (area.lon) }
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
fn banner(panel: &PanelPage<'_>) -> Markup {
    let PanelPage { content, state, link, .. } = panel;
    let error = state.sql_error.as_deref().or(content.error.as_deref());
    let radius = distance(link.area.radius_km);
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

fn item(shape: &RowShape, row: &PanelRow) -> Markup {
    let value = |column: usize| row.values.get(column).and_then(Option::as_deref);
    let title = shape.title.and_then(value).unwrap_or("—");
    let tags: Vec<&str> = shape.tags.iter().filter_map(|column| value(*column)).collect();
    html! {
        li.flagged[row.flag] data-k=(row.k) tabindex="0" {
            span.name { bdi { (title) } }
            span.age { @if let Some(t) = row.t { time datetime=(t) { (age((now_ms() - t) / 1000)) } } }
            span.tags {
                @for tag in tags { bdi { (tag) } }
                @if row.flag { bdi.flag { (flag_name(shape)) } }
            }
            span.way { @if let Some((x, y)) = row.at { (compass(x, y)) " " (distance(round3(x.hypot(y)))) } }
        }
    }
}

fn round3(km: f64) -> f64 {
    (km * 1000.0).round() / 1000.0
}

/// `now`, `12 s`, `5 min`, `3 h`, `2 d`: the script continues in the same format.
fn age(seconds: i64) -> String {
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

fn about_details(panel: &PanelPage<'_>) -> Markup {
    let PanelPage { about, link, .. } = panel;
    let mut other = (*link).clone();
    other.own_group = !link.own_group;
    html! {
        details #about {
            summary { "The SQL, and how it is kept current" }
            p #how { (about.how) }
            p { code #path { (about.path) } }
            pre #sql { (about.sql) }
            p {
                a #own-group href=(form::href(panel.base, &other)) {
                    @if link.own_group { "Share the server's consumer again" }
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

    const BASE: &str = "/panel/near";

    fn link() -> Link {
        Link {
            area: Area { lat: 40.4168, lon: -3.7038, radius_km: 3.0 },
            values: [("q".to_owned(), "\"><script>".to_owned())].into(),
            own_group: false,
        }
    }

    fn file(front_matter: &str) -> SqlFile {
        SqlFile::parse("near", "q/panels/near.sql", format!("{front_matter}\nSELECT $q")).unwrap()
    }

    #[test]
    fn event_data_is_text_and_the_policy_is_kept() {
        let row = PanelRow {
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
        let file = file("-- @param q VARCHAR");
        let shape = RowShape::of(&file, &Schema::new(vec![text("name"), text("<b>"), flag]));
        let content = Content {
            ready: true,
            shape: Arc::new(shape),
            rows: vec![serde_json::to_string(&row).unwrap().into()],
            next_k: 1,
            total: 1_234_567,
            ..Content::default()
        };
        let state = ConsumerState { sql_error: Some("<i>".into()), ..ConsumerState::live() };
        let about = About { sql: "</pre><script>".to_owned(), ..About::default() };
        let page = |file: Option<&SqlFile>| {
            panel(&PanelPage {
                base: BASE,
                title: "",
                file,
                link: &link(),
                content: &content,
                state: &state,
                about: &about,
            })
        };
        assert!(page(Some(&file)).contains("name=\"q\"") && page(None).contains("type=\"hidden\" name=\"q\""));
        let page = page(Some(&file)) + &page(None);
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
        let text = |state: ConsumerState| {
            let (link, about) = (link(), About::default());
            panel(&PanelPage {
                base: BASE,
                title: "",
                file: None,
                link: &link,
                content: &content,
                state: &state,
                about: &about,
            })
        };
        let kafka = tallgrass_kafka::KafkaConfig::new("h:1");
        assert!(text(ConsumerState::waiting("bikes", &kafka)).contains("kcat -P -b h:1 -t bikes"));
        assert!(text(ConsumerState::live()).contains("Nothing within 3 km yet"));
        assert!(text(ConsumerState::unreachable("refused")).contains("refused. Tries again by itself."));
        let error = Some("q/panels/near.sql:3:1: error\n    ^".into());
        assert!(
            text(ConsumerState { sql_error: error, ..ConsumerState::broken() }).contains("near.sql:3:1: error\n    ^")
        );
        assert!(refused("No", "lat: 91 is not a latitude", None).contains("lat: 91 is not a latitude"));
    }

    #[test]
    fn a_files_own_parameters_are_in_the_form_and_in_that_of_a_refusal() {
        let file = file("-- @param q VARCHAR\n-- @param charge INT = 20");
        let form = form::of_panel(BASE, Some(&file), &link()).into_string();
        assert!(form.contains("action=\"/panel/near\"") && form.contains("name=\"charge\""), "{form}");
        assert!(form.contains("value=\"20\" inputmode=\"decimal\""), "{form}");
        assert!(form.contains("spellcheck=\"false\" value=\"&quot;&gt;&lt;script&gt;\""), "{form}");
        let page = refused("No", "", Some(form::of_refusal(BASE, Some(&file))));
        assert!(page.contains("action=\"/panel/near\"") && page.contains("name=\"charge\""), "{page}");
    }
}
