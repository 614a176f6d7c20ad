//! Event data is text, whatever it looks like.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use serde_json::{Value, json};
use tallgrass_sink::sanitize::{is_unsafe, sanitize};

use super::World;
use crate::browser::browser;
use crate::program::on;

/// Names of Pokémon, benign and hostile.
const NAMES: [&str; 48] = [
    "<img src=x onerror=pwned=1>",
    "<script>pwned=1</script>",
    "</script><script>pwned=1</script>",
    "<b class=evil>bold</b>",
    "</td></tr></table><b class=evil>",
    "<svg/onload=pwned=1>",
    "</svg><b class=evil>",
    "<iframe src=javascript:pwned=1>",
    "<a href=javascript:pwned=1>click</a>",
    "<style>*{display:none}</style>",
    "<!-- comment",
    "--><b class=evil>",
    "<![CDATA[<b class=evil>]]>",
    "\" onmouseover=\"pwned=1",
    "' onmouseover='pwned=1",
    "`${pwned=1}`",
    "${pwned=1}",
    "{{pwned=1}}",
    "{% evil %}",
    "<%= evil %>",
    "&amp;",
    "&lt;b&gt;",
    "&#60;b class=evil&#62;",
    "\\u003cb class=evil\\u003e",
    "%3Cb%20class=evil%3E",
    "javascript:pwned=1",
    "'; DROP TABLE s; --",
    "=1+1",
    "@SUM(A1)",
    "a,b;c\td",
    "say \"hi\", then go",
    "two\nlines",
    "event: picture\ndata: {}\n\n",
    "carriage\rreturn",
    "nul\u{0}byte",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{1b}]0;title\u{7}",
    "bell\u{7}back\u{8}",
    "c1\u{9b}31m",
    "\u{202e}right to left",
    "\u{2066}isolated\u{2069}",
    "mark\u{200f}\u{200e}\u{61c}",
    "line\u{2028}para\u{2029}",
    "zero\u{200b}width\u{200d}\u{feff}",
    "not a character \u{ffff}",
    "\u{1f984}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "Flabébé ♀ 妙蛙种子 فشفش",
    "Z\u{351}\u{36b}\u{343}\u{32a}\u{302}\u{36b}\u{33d}\u{34f}\u{334}\u{319}alg\u{324}\u{31e}o",
];

/// Nothing of a name becomes any of these.
const EVIL: &str = "img, iframe, object, embed, style, b.evil, main script, svg[onload], [onerror], [onload], \
                    [onmouseover], a[href^=\"javascript:\"]";

fn names() -> Vec<String> {
    let long = ["W".repeat(5_000), format!("<b class=evil>{}", "&".repeat(1_000))];
    NAMES.iter().map(|name| (*name).to_owned()).chain(long).collect()
}

/// As people read it: on one line, with control characters escaped.
fn readable(name: &str) -> String {
    sanitize(name).replace('\u{ffff}', "\u{fffd}")
}

/// Whether a text is the name, or so much of it as there is room for.
fn is_shown(text: &str, name: &str) -> bool {
    let whole = readable(name);
    text == whole || text.strip_suffix('…').is_some_and(|start| !start.is_empty() && whole.starts_with(start))
}

/// As a text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn world(names: &[String]) -> World {
    let bars = |part: usize| {
        let (from, to) = (part * 17, part * 17 + 17);
        format!(
            "-- @chart: bar  @x: name  @y: seen  @order: {part}
             SELECT name, seen FROM (SELECT id, name, count(*) AS seen FROM s GROUP BY id, name)
             WHERE id >= {from} AND id < {to} ORDER BY id"
        )
    };
    let world = World::start(&[
        ("total", "SELECT count(*) AS n FROM s"),
        ("bars_0", &bars(0)),
        ("bars_1", &bars(1)),
        ("bars_2", &bars(2)),
        ("all", "-- @title: <b class=evil>&amp; \"title\"\n-- @chart: table\nSELECT name, id FROM s ORDER BY id"),
        ("one", "-- @chart: number\nSELECT name FROM s ORDER BY id LIMIT 1"),
        ("map", "-- @chart: map\nSELECT lat, lon, name FROM s ORDER BY id"),
    ]);
    let records: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(id, name)| json!({ "id": id, "name": name, "kind": name, "lat": 40.0 + id as f64 * 0.01, "lon": -3.7 }))
        .collect();
    world.produce(&records);
    world.wait_for_total(names.len() as u64);
    world
}

#[test]
fn hostile_names_are_text_on_the_page_and_under_the_pointer() {
    let Some(browser) = browser() else { return };
    let names = names();
    assert_eq!(names.len(), 50);
    let world = world(&names);
    let page = browser.open(&world.url("/"));
    page.wait_until("document.querySelectorAll('[data-testid=tile-all] tbody tr').length === 50");
    let texts = |each: &str| -> Vec<String> {
        let texts = page.eval(&format!("[...document.querySelectorAll('{each}')].map((one) => one.textContent)"));
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let cells = texts("[data-testid=tile-all] tbody td:first-child");
    for (cell, name) in cells.iter().zip(&names) {
        assert!(is_shown(cell, name), "{cell:?} of {name:?}");
        assert!(name.chars().count() > 40 || !cell.ends_with('…'), "{cell:?} of {name:?} is cut");
    }
    let labels: Vec<String> =
        (0..3).flat_map(|part| texts(&format!("[data-testid=tile-bars_{part}] g.bar text:first-of-type"))).collect();
    assert_eq!(labels.len(), 50);
    for (label, name) in labels.iter().zip(&names) {
        assert!(is_shown(label, name), "{label:?} of {name:?}");
    }
    assert_eq!(page.text("[data-testid=tile-all] h2"), "<b class=evil>&amp; \"title\"");

    for (id, name) in names.iter().enumerate() {
        let bar = format!("[data-testid=tile-bars_{}] g.bar:nth-of-type({}) rect", id / 17, id % 17 + 1);
        // Scrolling hides the hover text, so it must be over before the pointer moves.
        page.centre(&bar);
        page.hover_at(1.0, 1.0);
        page.listen(Duration::from_millis(60));
        page.hover(&bar);
        page.wait_until("!document.querySelector('#tip').hidden");
        let tip = page.eval("document.querySelector('#tip').textContent");
        let tip = tip.as_str().unwrap();
        let first = tip.strip_prefix("name: ").and_then(|tip| tip.strip_suffix("\nseen: 1"));
        assert!(first.is_some_and(|first| is_shown(first, name)), "{tip:?} of {name:?}");
        assert_eq!(page.count("#tip *"), 0);
    }
    assert_eq!(page.count(EVIL), 0);
    assert_eq!(page.eval("typeof pwned"), "undefined");
    // A tile's own page and its details are drawn by other code.
    page.click("[data-testid=tile-all] h2 a");
    page.wait_until("document.querySelector('#detail').open");
    assert_eq!(page.count(EVIL), 0);
    world.is_quiet(&page);
    let alone = browser.open(&world.url("/view/all"));
    alone.wait_until("document.querySelectorAll('tbody tr').length >= 50");
    assert_eq!(alone.count(EVIL), 0);
    assert_eq!(alone.eval("typeof pwned"), "undefined");
    world.is_quiet(&alone);
}

#[test]
fn hostile_names_are_text_in_every_other_place() {
    let names = names();
    let world = world(&names);
    let is_plain = |text: &str| text.chars().all(|c| c == '\n' || !is_unsafe(c));

    let rows = world.rows("all");
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let json = world.get("/api/views/all.json");
    assert!(is_plain(&json), "{json}");
    let csv = world.get("/api/views/all.csv");
    let records: Vec<String> =
        csv::Reader::from_reader(csv.as_bytes()).records().map(|record| record.unwrap()[0].to_owned()).collect();
    assert_eq!(records, names);

    // The first event of a stream has every tile.
    let answer = ureq::get(world.url("/events")).call().unwrap();
    let mut lines = BufReader::new(answer.into_body().into_reader()).lines().map(Result::unwrap);
    let data = loop {
        let line = lines.next().expect("an event");
        let Some(data) = line.strip_prefix("data: ").map(str::to_owned) else { continue };
        if data.contains("tile-bars_2") && data.contains("tr data-key") {
            break data;
        }
    };
    assert!(is_plain(&data), "{data}");
    let event: Value = serde_json::from_str(&data).unwrap();
    let table = event["tiles"]["all"].as_str().unwrap();
    for name in names.iter().filter(|name| name.len() < 30) {
        assert!(table.contains(&format!(">{}<", escaped(&readable(name)))), "{name:?} in {table}");
    }
    for tile in event["tiles"].as_object().unwrap().values() {
        let tile = tile.as_str().unwrap().to_ascii_lowercase();
        for tag in ["<img", "<script", "<b class", "<iframe", "<style", "<svg/", "<!--"] {
            assert!(!tile.contains(tag), "{tag} in {tile}");
        }
    }

    let folder = world.folder.path().to_str().unwrap();
    let run = on(&world.broker, &["dashboard", "--once", "--format", "table", "--queries", folder]).good();
    assert!(is_plain(&run.stdout), "{}", run.stdout.escape_debug());
    for name in names.iter().filter(|name| name.len() < 20) {
        assert!(run.stdout.contains(&*sanitize(name)), "{name:?} in {}", run.stdout);
    }
}
