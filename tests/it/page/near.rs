//! A control panel in the browser.

use serde_json::{Value, json};

use super::World;
use crate::browser::{BrowserPage, browser};

/// Kilometres of a degree of longitude in Madrid.
const KM: f64 = 84.66;
const MADRID: (f64, f64) = (40.4168, -3.7038);

fn east(name: &str, km: f64) -> Value {
    json!({ "name": name, "type_1": "Grass", "legendary": false, "lat": MADRID.0, "lon": MADRID.1 + km / KM })
}

/// JavaScript: the names in the list, in order.
const LIST: &str = "[...document.querySelectorAll('#list .name')].map((name) => name.textContent).sort()";

#[track_caller]
fn wait_for_names(page: &BrowserPage, names: &[&str]) {
    page.wait_until(&format!("JSON.stringify({LIST}) === {:?}", json!(names).to_string()));
}

#[test]
fn a_panel_shows_exactly_the_near_ones_and_a_click_moves_it() {
    let Some(browser) = browser() else { return };
    let world = World::shipped(0, 0, &[]);
    world.produce(&[east("East", 4.0), east("Here", 0.1), east("West", -2.0), east("Edge", 2.99), east("Out", 3.01)]);
    let page = browser.open(&world.url("/panel?lat=40.4168&lon=-3.7038&radius_km=3"));
    page.eval("void (window.__mark = 1)");
    wait_for_names(&page, &["Edge", "Here", "West"]);
    assert_eq!(page.count("#marks .mark"), 3);
    world.produce(&[east("Later", -1.0), east("Elsewhere", 400.0)]);
    wait_for_names(&page, &["Edge", "Here", "Later", "West"]);

    // A click moves the centre: half a radius to the east, a little to the north where no mark is.
    page.centre("#map");
    let point = page.eval(
        "(() => { const map = document.querySelector('#map');
           const at = new DOMPoint(46, -6).matrixTransform(map.getScreenCTM()); return [at.x, at.y]; })()",
    );
    page.click_at(point[0].as_f64().unwrap(), point[1].as_f64().unwrap());
    wait_for_names(&page, &["East", "Edge", "Here", "Later", "Out"]);
    assert_eq!(page.count("#marks .mark"), 5);
    let number = |name: &str| -> f64 {
        let value = page.eval(&format!("new URLSearchParams(location.search).get('{name}')"));
        value.as_str().unwrap().parse().unwrap()
    };
    assert!((number("lon") - (MADRID.1 + 1.5 / KM)).abs() < 0.001, "{}", number("lon"));
    assert!(number("lat") > MADRID.0 && number("lat") < MADRID.0 + 0.01, "{}", number("lat"));
    assert_eq!(page.eval("window.__mark"), 1, "without a reload");
    // The link can be shared.
    let link = page.eval("location.href");
    let other = browser.open(link.as_str().unwrap());
    wait_for_names(&other, &["East", "Edge", "Here", "Later", "Out"]);
    page.eval("history.back()");
    wait_for_names(&page, &["Edge", "Here", "Later", "West"]);
    world.is_quiet(&page);
    world.is_quiet(&other);
}

#[test]
fn hostile_names_are_text_on_a_panel() {
    let Some(browser) = browser() else { return };
    let world = World::shipped(0, 0, &[]);
    let names = ["<img src=x onerror=pwned=1>", "</li><b class=evil>", "\u{202e}\"'&amp;\u{1b}[31m"];
    let page = browser.open(&world.url("/panel?lat=40.4168&lon=-3.7038&radius_km=3"));
    world.produce(&names.iter().map(|name| east(name, 0.2)).collect::<Vec<_>>());
    page.wait_until("document.querySelectorAll('#list li').length === 3");
    let shown = page.eval(LIST);
    let shown: Vec<&str> = shown.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in &names[..2] {
        assert!(shown.contains(name), "{name} in {shown:?}");
    }
    assert!(!shown.iter().any(|name| name.contains('\u{202e}')), "{shown:?}");
    page.hover("#list li:first-child");
    page.click("#list li:first-child");
    assert_eq!(page.count("img, b.evil, main script"), 0);
    assert_eq!(page.eval("typeof pwned"), "undefined");
    world.is_quiet(&page);
}
