#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::document;
use super::events::payload;
use super::render::{Rendered, Renderer, event};
use crate::App;
use crate::selection::Selection;
use tallgrass_kafka::{HistoryStart, KafkaConfig};
use tallgrass_pipeline::{Cost, FileState, Published, TopicStatus, Variants, ViewResult};
use tallgrass_view::SqlFile;

fn app() -> Arc<App> {
    let (_, newest) = watch::channel(None);
    Arc::new(App {
        name: "test".to_owned(),
        kafka: KafkaConfig::new("127.0.0.1:1"),
        queries: "queries".into(),
        newest,
        variants: Variants::default(),
        proofs: None,
    })
}

fn file(name: &str, sql: &str) -> FileState {
    let file = SqlFile::parse(name, format!("queries/dashboard/{name}.sql"), sql);
    FileState {
        name: name.into(),
        running: file.as_ref().ok().cloned(),
        warnings: file.as_ref().map(|file| file.warnings().to_vec()).unwrap_or_default(),
        error: file.as_ref().err().cloned(),
        file: file.ok(),
        swap: None,
    }
}

fn rows(labels: &[&str], numbers: &[i64]) -> RecordBatch {
    let labels = Arc::new(StringArray::from(labels.to_vec())) as ArrayRef;
    let numbers = Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter([("label", labels), ("n", numbers)]).unwrap()
}

fn result(name: &str, rows: RecordBatch) -> ViewResult {
    let schema = rows.schema();
    ViewResult { name: name.into(), schema, description: None, rows: Ok(vec![rows]), cost: Cost::default() }
}

fn published(files: &[FileState], results: Vec<ViewResult>) -> Published {
    let mut published = Published { files: Arc::new(files.to_vec()), ..Published::default() };
    published.snapshot.results = results;
    published
}

fn tile(rendered: &Rendered, name: &str) -> String {
    rendered.tile(name).unwrap().html.to_string()
}

#[test]
fn only_what_has_changed_goes_to_a_tab() {
    let files = [file("a", "-- @title: First\nSELECT label, n FROM t"), file("b", "SELECT label, n FROM t")];
    let at = |n| Arc::new(published(&files, vec![result("a", rows(&["x"], &[n])), result("b", rows(&["y"], &[2]))]));
    let mut renderer = Renderer::new(app());
    let (first, second) = (renderer.render(&at(1)), renderer.render(&at(5)));
    let sent = |rendered: &Rendered, before| serde_json::from_str::<Value>(&event(rendered, before)).unwrap();
    let names = |sent: &Value| sent["tiles"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&sent(&first, 0)), ["a", "b"], "a new tab gets all");
    assert_eq!(names(&sent(&second, first.seq)), ["a"]);
    assert_eq!(names(&sent(&second, 0)), ["a", "b"]);
    assert_eq!(sent(&second, first.seq)["order"], json!(["a", "b"]));
    // One text for all tabs with the same picture.
    assert!(Arc::ptr_eq(&event(&second, first.seq), &event(&second, first.seq)));
}

#[test]
fn a_broken_file_shows_where_it_is_wrong_above_its_last_good_picture() {
    let mut renderer = Renderer::new(app());
    let good = [file("a", "SELECT label, n FROM t")];
    renderer.render(&Arc::new(published(&good, vec![result("a", rows(&["Water"], &[7]))])));
    let mut broken = file("a", "SELECT label, n FORM t WHERE");
    broken.running.clone_from(&good[0].running);
    let broken = Arc::new(published(&[broken], vec![result("a", rows(&["Water"], &[8]))]));
    let tile = tile(&renderer.render(&broken), "a");
    for part in ["data-state=\"broken\"", "role=\"alert\"", "queries/dashboard/a.sql:1:", "^", "Water", "still live"] {
        assert!(tile.contains(part), "{part} in {tile}");
    }
}

#[test]
fn a_result_that_fails_says_why() {
    let mut failing = result("a", rows(&[], &[]));
    failing.rows = Err(Arc::new(DataFusionError::Execution("divided <b>by</b> zero".to_owned())));
    let failing = Arc::new(published(&[file("a", "SELECT 1 AS n")], vec![failing]));
    let tile = tile(&Renderer::new(app()).render(&failing), "a");
    assert!(tile.contains("divided &lt;b&gt;by&lt;/b&gt; zero") && tile.contains("data-state=\"broken\""), "{tile}");
}

#[test]
fn an_empty_result_says_so_and_a_shortened_history_where_it_begins() {
    let mut empty = published(&[file("a", "SELECT label, n FROM t")], vec![result("a", rows(&[], &[]))]);
    empty.status.history = vec![HistoryStart { topic: "t".into(), partition: 3, first_offset: 1200 }];
    let tile = tile(&Renderer::new(app()).render(&Arc::new(empty)), "a");
    assert!(tile.contains("No rows") && tile.contains("counts from offset 1200 of t[3]"), "{tile}");
}

#[test]
fn hostile_rows_and_titles_stay_text() {
    let hostile = "</script><img src=x onerror=alert(1)>\u{202e}\u{0}\"'";
    let state = file("a", "-- @title: <b>bold</b>\nSELECT label, n FROM t");
    let published = published(&[state], vec![result("a", rows(&[hostile, "x"], &[1, 2]))]);
    let rendered = Renderer::new(app()).render(&Arc::new(published));
    let page = document::dashboard(&app(), &rendered, &Selection::default()).into_string();
    assert!(!page.contains("<img") && !page.contains("<b>bold") && !page.contains('\u{202e}') && !page.contains('\0'));
    assert!(page.contains("&lt;img") && page.contains("&lt;b&gt;bold"), "{page}");
}

#[test]
fn a_variant_takes_its_files_place_and_only_where_it_is_selected() {
    let near = file("near", "-- @param n BIGINT = 1\nSELECT label, n FROM t WHERE n > $n");
    let mut published = published(&[near], Vec::new());
    let selection = Selection::parse(&[("near.n".to_owned(), "5".to_owned())], Some(&published)).unwrap();
    let variant = selection.view_of("near").to_owned();
    assert_eq!(variant, "near?n=5");
    let mut varied = published.files[0].clone();
    varied.name = variant.as_str().into();
    Arc::make_mut(&mut published.files).push(varied);
    published.snapshot.results = vec![result("near", rows(&["own"], &[1])), result(&variant, rows(&["other"], &[1]))];
    let rendered = Renderer::new(app()).render(&Arc::new(published));
    let mine: Value =
        serde_json::from_str(&payload(&rendered, |tile| rendered.selected(&app(), tile, &selection, 0))).unwrap();
    assert_eq!(mine["order"], json!(["near"]));
    assert!(mine["tiles"]["near"].as_str().unwrap().contains("other"));
    let others: Value = serde_json::from_str(&event(&rendered, 0)).unwrap();
    assert!(others["tiles"]["near"].as_str().unwrap().contains("own"));
}

#[test]
fn refused_values_stay_in_the_form_and_the_picture_says_that_it_is_of_others() {
    let files =
        [file("near", "-- @param n BIGINT = 1\nSELECT label, n FROM t WHERE n > $n"), file("far", "SELECT n FROM t")];
    let published = published(&files, vec![result("near", rows(&["own"], &[1])), result("far", rows(&["x"], &[2]))]);
    let selection = Selection::parse(&[("near.n".to_owned(), "many<".to_owned())], Some(&published)).unwrap();
    let rendered = Renderer::new(app()).render(&Arc::new(published));
    let mine: Value =
        serde_json::from_str(&payload(&rendered, |tile| rendered.selected(&app(), tile, &selection, 0))).unwrap();
    let near = mine["tiles"]["near"].as_str().unwrap();
    for part in [
        "data-state=\"broken\"",
        "role=\"alert\"",
        "'many&lt;' is not a value",
        "file's own values",
        "value=\"many&lt;\"",
    ] {
        assert!(near.contains(part), "{part} in {near}");
    }
    assert_eq!(mine["tiles"]["far"], tile(&rendered, "far"));
    assert!(document::dashboard(&app(), &rendered, &selection).into_string().contains(near));
    assert!(!tile(&rendered, "near").contains("many"), "others see nothing of it");
}

#[test]
fn while_history_is_read_a_tile_says_how_far_it_is() {
    let mut early = published(&[file("a", "SELECT label, n FROM t")], vec![result("a", rows(&["x"], &[1]))]);
    early.status.topics.insert("t".into(), TopicStatus { total: 200, done: 50 });
    early.status.started -= Duration::from_secs(10);
    let rendered = Renderer::new(app()).render(&Arc::new(early));
    let tile = tile(&rendered, "a");
    assert!(tile.contains("value=\"25\"") && tile.contains("catching up: 25%, 30s left"), "{tile}");
    assert!(rendered.strip.contains("catching up: 25%"));
}
