//! The page on a phone and on a wall, and its cost for the tab.

use std::path::Path;
use std::time::Duration;

use super::World;
use crate::browser::{BrowserPage, browser};
use crate::program::start;

const ALL_OK: &str = "document.querySelectorAll('article').length === 15
    && [...document.querySelectorAll('article')].every((tile) => tile.dataset.state === 'ok')";

/// Nothing is wider than the window.
#[track_caller]
fn fits(page: &BrowserPage, what: &str) {
    let widths = page.eval("[document.documentElement.scrollWidth, innerWidth]");
    let wide = page.eval(
        "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
           .slice(0, 8).map((one) => one.tagName + '.' + one.getAttribute('class') + '#' + one.id)",
    );
    assert!(widths[0].as_f64() <= widths[1].as_f64(), "{what}: {widths}, {wide}");
}

#[test]
fn it_fits_a_phone_and_a_wall_by_day_and_by_night() {
    let Some(browser) = browser() else { return };
    let world = World::shipped(3_000, 400, &[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    let pages = [
        ("dashboard", "/", ALL_OK),
        ("panel", "/panel?lat=40.4168&lon=-3.7038&radius_km=3", "document.querySelectorAll('#list li').length > 20"),
    ];
    for (name, path, ready) in pages {
        for (size, width, height) in [("phone", 390, 844), ("wide", 1920, 1080)] {
            let page = browser.blank();
            if size == "phone" {
                page.set_phone(width, height);
            } else {
                page.set_viewport(width, height);
            }
            page.set_preferences(&[("prefers-color-scheme", "light"), ("prefers-reduced-motion", "reduce")]);
            page.go(&world.url(path));
            page.wait_until(ready);
            let mut grounds = Vec::new();
            for theme in ["light", "dark"] {
                page.set_preferences(&[("prefers-color-scheme", theme), ("prefers-reduced-motion", "reduce")]);
                page.listen(Duration::from_millis(300));
                fits(&page, &format!("{name} {size} {theme}"));
                grounds.push(page.eval("getComputedStyle(document.body).backgroundColor"));
                for (part, whole) in [("", false), ("-whole", true)] {
                    page.screenshot(&folder.join(format!("{name}-{size}-{theme}{part}.png")), whole);
                }
            }
            assert_ne!(grounds[0], grounds[1], "{name} {size} has no night");
            world.is_quiet(&page);
        }
    }
}

/// A figure for the documents rather than a promise: `--ignored --nocapture` prints it.
#[test]
#[ignore = "takes half a minute, and other tests would be measured, too"]
fn twelve_tiles_at_four_refreshes_a_second_leave_the_tab_most_of_its_time() {
    let Some(browser) = browser() else { return };
    let world = World::shipped(3_000, 400, &["--refresh", "250ms"]);
    let _source = start(&world.broker, &["pokemon-gen", "--topic", &world.topic, "--rate", "50/s"]);
    let page = browser.blank();
    page.set_viewport(1440, 900);
    page.go(&world.url("/"));
    page.wait_until(ALL_OK);
    for name in ["newest_online", "most_active_users", "species_not_seen_yet"] {
        world.delete(name);
    }
    page.wait_until("document.querySelectorAll('article').length === 12");
    let seq = || page.eval("Number(document.querySelector('#tiles').dataset.seq)").as_f64().unwrap();
    page.listen(Duration::from_secs(3));
    let (time, seq_before, before) = (Duration::from_secs(20), seq(), page.metrics());
    page.listen(time);
    let (refreshes, after) = ((seq() - seq_before) / time.as_secs_f64(), page.metrics());
    let percent = |name: &str| 100.0 * (after[name] - before[name]) / (after["Timestamp"] - before["Timestamp"]);
    println!("a tab with 12 tiles at {refreshes:.1} refreshes/s:");
    for name in ["ThreadTime", "TaskDuration", "ScriptDuration", "RecalcStyleDuration", "LayoutDuration", "ProcessTime"]
    {
        println!("{:>8.1}% {name}", percent(name));
    }
    assert!(refreshes > 1.0, "{refreshes} refreshes/s");
    // The duration of tasks is by the clock: where other programs take the cores, it is theirs, too.
    assert!(percent("ThreadTime") <= 25.0, "{}% of the main thread", percent("ThreadTime"));
    world.is_quiet(&page);
}
