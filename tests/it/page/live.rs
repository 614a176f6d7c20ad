//! The page keeps up with the results, and with the state of the server.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tallgrass_kafka::{Producer, Record};

use super::{World, assert_not_reloaded, in_tile, numbered, open_marked, shows};
use crate::browser::{BrowserPage, browser};
use crate::support::TIME_LIMIT;

const TOTAL: &str = "-- @order: 1\nSELECT count(*) AS n FROM s";
const NAMES: &str =
    "-- @chart: table  @order: 3\nSELECT name, kind, count(*) AS seen FROM s GROUP BY name, kind ORDER BY name";

/// From the record to the picture. What the page promises is 250 ms; the rest is for a busy test machine.
const SLACK: Duration = Duration::from_secs(2);

/// The texts of elements of a tile, each as its parts.
fn texts(page: &BrowserPage, tile: &str, each: &str, parts: &str) -> Value {
    page.eval(&format!(
        "[...document.querySelectorAll('[data-testid=\"tile-{tile}\"] {each}')]
           .map((one) => [...one.querySelectorAll('{parts}')].map((part) => part.textContent.trim()))"
    ))
}

/// Rows of the API as texts.
fn cells(rows: &[Value], columns: &[&str]) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    rows.iter().map(|row| columns.iter().map(|column| text(&row[*column])).collect::<Value>()).collect()
}

#[test]
fn every_tile_shows_what_the_api_says_of_the_same_moment() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[
        ("total", TOTAL),
        ("kinds", "-- @chart: bar  @order: 2\nSELECT kind, count(*) AS seen FROM s GROUP BY kind ORDER BY kind"),
        ("names", NAMES),
        ("places", "-- @chart: map  @order: 4\nSELECT lat, lon, name FROM s ORDER BY id LIMIT 30"),
        (
            "minutes",
            "-- @chart: line  @x: minute  @y: n  @order: 5
             SELECT date_bin(INTERVAL '1 minute', _timestamp) AS minute, count(*) AS n FROM s GROUP BY minute ORDER BY minute",
        ),
    ]);
    let texts_of_records: Vec<String> = (0..1240)
        .map(|id: u32| {
            let (lat, lon) = (40.4 + f64::from(id) * 1e-4, -3.7 + f64::from(id % 7) * 1e-3);
            json!({ "id": id, "name": format!("n{:02}", id % 23), "kind": format!("k{}", id % 5), "lat": lat, "lon": lon })
                .to_string()
        })
        .collect();
    let page = browser.open(&world.url("/"));
    // Forty minutes, a minute apart, the last of them long past.
    let minute = |id: usize| 1_767_268_800_000 + (id as i64 % 40) * 60_000;
    world.broker.produce_records(texts_of_records.iter().enumerate().map(|(id, text)| Record {
        topic: &world.topic,
        value: Some(text.as_bytes()),
        timestamp_ms: Some(minute(id)),
        ..Record::default()
    }));
    world.wait_for_total(1240);
    page.wait_until(&shows("total", 1240));

    let kinds = world.rows("kinds");
    assert_eq!(kinds.len(), 5);
    assert_eq!(texts(&page, "kinds", "g.bar", "text"), cells(&kinds, &["kind", "seen"]));
    let names = world.rows("names");
    assert_eq!(names.len(), 23 * 5);
    let shown = texts(&page, "names", "tbody tr", "td");
    let shown = shown.as_array().unwrap();
    // A tile has a screenful of rows, and says that there are more.
    assert!(shown.len() == 60 || shown.len() == names.len(), "{}", shown.len());
    assert_eq!(json!(shown), cells(&names[..shown.len()], &["name", "kind", "seen"]));
    let places = world.rows("places");
    let at = page.eval(
        "[...document.querySelectorAll('[data-testid=\"tile-places\"] path[data-at]')].map((mark) => mark.dataset.at)",
    );
    let mut at: Vec<&str> = at.as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    let place = |row: &Value| format!("{:.5},{:.5}", row["lat"].as_f64().unwrap(), row["lon"].as_f64().unwrap());
    let mut expected: Vec<String> = places.iter().map(place).collect();
    at.sort_unstable();
    expected.sort_unstable();
    assert_eq!((at.len(), at), (30, expected.iter().map(String::as_str).collect()));
    let minutes = world.rows("minutes");
    assert_eq!(minutes.len(), 40);
    assert_eq!(page.count("[data-testid=\"tile-minutes\"] .points circle"), 40);
    world.is_quiet(&page);
}

#[test]
fn a_record_is_on_the_page_at_once() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL), ("names", NAMES)]);
    world.produce(&numbered(10));
    let page = browser.open(&world.url("/"));
    page.wait_until(&shows("total", 10));
    // The page notes the moment by itself, so that looking at it costs nothing.
    page.eval(&format!(
        "window.__seen = {{}};
         new MutationObserver(() => {{ window.__seen[{}.value] ??= Date.now(); }})
           .observe(document.querySelector('[data-testid=tile-total]'), {{ subtree: true, attributes: true, characterData: true, childList: true }})",
        in_tile("total", "data.value")
    ));
    let producer = Producer::new(&world.broker.config_with(&[("linger.ms", "0")])).unwrap();
    let mut times = Vec::new();
    for number in 11..=20 {
        // The first one waits for the producer's connection, too.
        let sent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let value = json!({ "id": number, "name": "one more" }).to_string();
        let record = Record { topic: &world.topic, value: Some(value.as_bytes()), ..Record::default() };
        producer.send_record(record).unwrap();
        producer.flush(TIME_LIMIT).unwrap();
        page.wait_until(&format!("window.__seen['{number}']"));
        let seen = page.eval(&format!("window.__seen['{number}']")).as_f64().unwrap();
        times.push(seen - sent.as_secs_f64() * 1e3);
        page.listen(Duration::from_millis(130));
    }
    times.sort_by(f64::total_cmp);
    println!("from the record to the page, ms: {times:.0?}");
    assert!(times[times.len() / 2] < SLACK.as_secs_f64() * 1e3, "{times:?}");
    world.is_quiet(&page);
}

#[test]
fn a_server_that_goes_leaves_the_last_picture_and_one_that_comes_back_is_found() {
    let Some(browser) = browser() else { return };
    let mut world = World::start(&[("total", TOTAL)]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 40));
    assert_eq!(page.eval("document.querySelector('#offline').hidden"), true);
    world.kill();
    page.wait_until("!document.querySelector('#offline').hidden");
    let text = page.text("#offline");
    assert!(text.starts_with("Disconnected since "), "{text}");
    assert_eq!(page.eval(&shows("total", 40)), true, "the last picture stays");
    world.produce(&numbered(5));
    world.run(&[]);
    page.wait_until(&shows("total", 45));
    page.wait_until("document.querySelector('#offline').hidden");
    assert_not_reloaded(&page);
    world.is_quiet_but_for(&page, &["net::ERR_"]);
}

#[test]
fn a_paused_page_does_not_move_and_resumes_with_the_newest() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL)]);
    world.produce(&numbered(10));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 10));
    page.click("#pause");
    assert_eq!(page.eval("document.querySelector('#pause').getAttribute('aria-pressed')"), "true");
    world.produce(&numbered(5));
    world.wait_for_total(15);
    page.listen(Duration::from_millis(700));
    assert_eq!(page.eval(&shows("total", 10)), true, "it moves");
    assert_eq!(page.eval("document.querySelector('#offline').hidden"), true, "paused is not disconnected");
    page.click("#pause");
    page.wait_until(&shows("total", 15));
    assert_eq!(page.text("#pause"), "Pause");
    assert_not_reloaded(&page);
    world.is_quiet(&page);
}

#[test]
fn all_of_it_can_be_done_with_keys() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL), ("names", NAMES)]);
    world.produce(&numbered(10));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 10));
    page.press("?");
    page.wait_until("document.querySelector('#keys').open");
    page.press("Escape");
    // The dialog gives the focus back a moment after it is closed.
    page.wait_until("!document.querySelector('#keys').open && document.activeElement === document.body");
    page.press("j");
    page.wait_until("document.activeElement.dataset.testid === 'tile-total'");
    page.press("j");
    page.wait_until("document.activeElement.dataset.testid === 'tile-names'");
    page.press("k");
    page.press("Enter");
    page.wait_until("document.querySelector('#detail').open");
    let detail = page.text("#detail");
    assert!(detail.contains("SELECT count(*) AS n FROM s"), "{detail}");
    page.press("Escape");
    page.wait_until("!document.querySelector('#detail').open");

    let look = "[document.documentElement.dataset.theme ?? 'auto', getComputedStyle(document.body).backgroundColor]";
    page.press("t");
    let light = page.eval(look);
    page.press("t");
    let dark = page.eval(look);
    assert_eq!((&light[0], &dark[0]), (&json!("light"), &json!("dark")));
    assert_ne!(light[1], dark[1]);
    assert_not_reloaded(&page);
    page.reload();
    assert_eq!(page.eval(look), dark, "the choice is kept");
    page.click("#theme");
    assert_eq!(page.eval(look)[0], "auto");
    world.is_quiet(&page);
}

#[test]
fn without_scripts_the_numbers_are_there() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL), ("names", NAMES)]);
    world.produce(&numbered(12));
    world.wait_for_total(12);
    let page = browser.blank();
    page.set_scripts(false);
    // A picture may be a moment behind the API, and this page does not move by itself.
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        page.go(&world.url("/"));
        if page.eval(&shows("total", 12)) == true {
            break;
        }
        assert!(Instant::now() < deadline, "the page reads {}", page.text("body"));
    }
    assert_eq!(page.text("[data-testid=tile-total] data.value"), "12");
    let rows = world.rows("names");
    assert_eq!(texts(&page, "names", "tbody tr", "td"), cells(&rows, &["name", "kind", "seen"]));
    assert!(page.text(".noscript").contains("Without JavaScript"));
    assert_eq!(page.eval("document.querySelector('#pause').hidden"), true, "a button that could do nothing");
    world.is_quiet(&page);
}

#[test]
fn a_picture_that_may_be_outdated_shows_its_age() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL)]);
    world.produce(&numbered(10));
    let page = browser.open(&world.url("/"));
    page.wait_until(&shows("total", 10));
    let age = in_tile("total", ".age");
    page.wait_until(&format!("{age}.textContent === 'now'"));
    // Without new results the page stays current: the run confirms that every second.
    page.listen(Duration::from_secs(7));
    assert_eq!(page.eval(&format!("{age}.classList.contains('stale')")), false);
    world.halt(true);
    page.wait_until(&format!("{age}.classList.contains('stale')"));
    let text = page.text("[data-testid=\"tile-total\"] .age");
    assert!(text.ends_with(" s ago"), "{text}");
    let colour = |selector: &str| page.eval(&format!("getComputedStyle(document.querySelector('{selector}')).color"));
    assert_ne!(colour("[data-testid=\"tile-total\"] .age"), colour("[data-testid=\"tile-total\"] .foot"));
    world.halt(false);
    page.wait_until(&format!("!{age}.classList.contains('stale')"));
    world.is_quiet(&page);
}

#[test]
fn more_tabs_than_a_browser_has_connections_are_all_of_use() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL)]);
    world.produce(&numbered(10));
    // Six connections a host are what browsers give to all tabs together.
    let pages: Vec<BrowserPage> = (0..9)
        .map(|_| {
            let page = browser.open_in_front(&world.url("/"));
            page.wait_until(&shows("total", 10));
            page
        })
        .collect();
    world.produce(&numbered(5));
    for page in &pages {
        page.bring_to_front();
        page.wait_until(&shows("total", 15));
    }
    world.is_quiet(&pages[8]);
}
