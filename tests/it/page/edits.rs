//! Files are edited while a tab is open.

use serde_json::json;

use super::{World, assert_not_reloaded, in_tile, numbered, open_marked, shows};
use crate::browser::{BrowserPage, browser};

const TOTAL: &str = "-- @order: 9\nSELECT count(*) AS n FROM s";
const NEAR: &str =
    "-- @chart: table  @order: 1\n-- @param least BIGINT = 0\nSELECT id, name FROM s WHERE id >= $least ORDER BY id";

#[test]
fn an_edit_changes_its_tile_in_place_and_keeps_scroll_and_focus() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("near", NEAR), ("total", TOTAL)]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    page.set_viewport(700, 420);
    page.wait_until(&shows("total", 40));
    page.click("input[name='near.least']");
    page.type_text("7");
    page.eval("scrollTo(0, 90)");
    let place = "[scrollY, Math.round(document.activeElement.getBoundingClientRect().top)]";
    let (typed, before) = (page.eval("document.activeElement.value"), page.eval(place));
    assert!(before[0].as_f64().unwrap() > 0.0, "{before}");
    page.eval("void (window.__tile = document.querySelector('[data-testid=tile-total]'))");

    world.save("total", &TOTAL.replace("count(*)", "count(*) * 2"));
    page.wait_until(&shows("total", 80));
    page.wait_until(&format!("{}?.textContent.startsWith('Edited: ')", in_tile("total", ".note.news")));
    assert_not_reloaded(&page);
    assert_eq!(page.eval("window.__tile === document.querySelector('[data-testid=tile-total]')"), true);
    assert_eq!(page.eval(place), before, "it has scrolled");
    assert_eq!(page.eval("document.activeElement.name"), "near.least");
    assert_eq!(page.eval("document.activeElement.value"), typed, "what was typed");
    world.is_quiet(&page);
}

#[test]
fn a_broken_edit_shows_line_and_caret_over_the_last_good_picture_until_it_is_mended() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL)]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 40));
    world.save("total", &TOTAL.replace("count(*)", "count(idd)"));
    page.wait_until("document.querySelector('[data-testid=tile-total]').dataset.state === 'broken'");
    let error = page.text("[data-testid=tile-total] .banner");
    assert!(error.contains("total.sql:2:14") && error.contains("idd"), "{error}");
    let excerpt = page.text("[data-testid=tile-total] .banner pre");
    let lines: Vec<&str> = excerpt.lines().collect();
    let caret = lines.iter().position(|line| line.contains("^^^")).unwrap_or_else(|| panic!("no caret: {excerpt}"));
    let column = lines[caret].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[caret - 1].chars().skip(column).take(3).collect::<String>(), "idd", "{excerpt}");
    // The file as it was is still live below its error.
    world.produce(&[json!({ "id": 41 })]);
    page.wait_until(&shows("total", 41));
    assert_eq!(page.eval("document.querySelector('[data-testid=tile-total]').dataset.state"), "broken");

    world.save("total", &TOTAL.replace("count(*)", "count(id) + 1"));
    page.wait_until(&shows("total", 42));
    page.wait_until("document.querySelector('[data-testid=tile-total]').dataset.state === 'ok'");
    assert_eq!(page.count("[data-testid=tile-total] .banner"), 0);
    assert_not_reloaded(&page);
    world.is_quiet(&page);
}

#[test]
fn a_new_file_appears_in_its_order_and_a_deleted_one_goes() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("total", TOTAL), ("old", "-- @order: 2\nSELECT min(id) AS n FROM s")]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 40));
    let tiles = "[...document.querySelectorAll('article')].map((tile) => tile.dataset.testid)";
    assert_eq!(page.eval(tiles), json!(["tile-old", "tile-total"]));
    world.save("new", "-- @order: 1\nSELECT max(id) AS n FROM s");
    page.wait_until(&shows("new", 39));
    assert_eq!(page.eval(tiles), json!(["tile-new", "tile-old", "tile-total"]));
    world.delete("old");
    page.wait_until("!document.querySelector('[data-testid=tile-old]')");
    assert_eq!(page.eval(tiles), json!(["tile-new", "tile-total"]));
    assert_not_reloaded(&page);
    world.is_quiet(&page);
}

#[test]
fn a_parameter_is_part_of_the_address_and_of_this_tab_only() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("near", NEAR), ("total", TOTAL)]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    let rows = |count: usize, first: &str| {
        let all = "[...document.querySelectorAll('[data-testid=tile-near] tbody tr')]";
        format!("{all}.length === {count} && {all}[0].textContent.includes('{first}')")
    };
    page.wait_until(&rows(40, "n000"));
    page.click("input[name='near.least']");
    page.eval("document.activeElement.select()");
    page.type_text("30");
    page.press("Enter");
    page.wait_until(&rows(10, "n030"));
    assert_eq!(page.eval("new URLSearchParams(location.search).get('near.least')"), "30");
    assert_not_reloaded(&page);
    page.reload();
    page.wait_until(&rows(10, "n030"));
    assert_eq!(page.eval("document.querySelector(\"input[name='near.least']\").value"), "30");

    let other = browser.open(&world.url("/"));
    other.wait_until(&rows(40, "n000"));
    assert_eq!(other.eval("document.querySelector(\"input[name='near.least']\").value"), "0");
    // Both continue.
    world.produce(&[json!({ "id": 99, "name": "n099" })]);
    page.wait_until(&rows(11, "n030"));
    other.wait_until(&rows(41, "n000"));
    world.is_quiet(&page);
    world.is_quiet(&other);
}

#[test]
fn a_refused_value_stays_in_its_tile_with_the_reason_until_another_is_given() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("near", NEAR), ("total", TOTAL)]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 40));
    let give = |text: &str| {
        page.click("input[name='near.least']");
        page.eval("document.activeElement.select()");
        page.type_text(text);
        page.press("Enter");
    };
    let tile = "[data-testid=tile-near]";
    let input = "document.querySelector(\"input[name='near.least']\").value";
    let is_refused = |page: &BrowserPage| {
        let error = page.text(&format!("{tile} .banner"));
        assert!(error.contains("'abc' is not a value for parameter 'least'"), "{error}");
        assert!(error.contains("Below: the result with the file's own values."), "{error}");
        assert_eq!(page.eval(input), "abc");
        assert_eq!((page.count("article"), page.count(".banner")), (2, 1), "the other tile has nothing to do with it");
    };
    give("abc");
    page.wait_until(&format!("document.querySelector('{tile} .banner.bad')"));
    is_refused(&page);
    assert_eq!(page.eval("new URLSearchParams(location.search).get('near.least')"), "abc");
    // Newer pictures change nothing of it.
    world.produce(&[json!({ "id": 98, "name": "n098" })]);
    page.wait_until(&shows("total", 41));
    is_refused(&page);
    assert_not_reloaded(&page);
    page.reload();
    page.wait_until(&shows("total", 41));
    is_refused(&page);
    // Without scripts too.
    let html = world.get("/?near.least=abc");
    assert!(html.contains("value=\"abc\"") && html.contains("file's own values"), "{html}");
    assert_eq!(world.get("/view/near?near.least=abc").matches("is not a value for parameter").count(), 1);

    give("98");
    page.wait_until(&format!("document.querySelectorAll('{tile} tbody tr').length === 1"));
    assert_eq!(page.count(".banner"), 0);
    world.is_quiet(&page);
}

#[test]
fn a_parameter_without_a_default_can_be_given_in_the_form() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[("near", &NEAR.replace(" = 0", "")), ("total", TOTAL)]);
    world.produce(&numbered(40));
    let page = open_marked(&browser, &world);
    page.wait_until(&shows("total", 40));
    assert_eq!(page.text("body").matches("parameter 'least' has no value").count(), 1);
    page.click("input[name='near.least']");
    page.type_text("30");
    page.press("Enter");
    let has_rows = "document.querySelectorAll('[data-testid=tile-near] tbody tr').length === 10";
    page.wait_until(has_rows);
    assert_eq!(page.count(".banner"), 0);
    assert_not_reloaded(&page);
    let other = browser.open(&world.url("/?near.least=30"));
    other.wait_until(has_rows);
    world.is_quiet(&page);
    world.is_quiet(&other);
}
