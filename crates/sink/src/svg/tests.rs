//! What a reader of a page would notice.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray, UInt64Array,
};
use datafusion::arrow::datatypes::Int32Type;
use proptest::prelude::*;

use super::gallery::{Exhibit, batch, doubles, exhibits, longs, spawns, texts, times, trend};
use super::*;
use crate::trend::measured;

/// What is wrong with this markup as XML: tags that do not close, bare markup characters, forbidden ones.
fn fault(markup: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(c) = markup.chars().find(|c| !allowed(*c) || ('\u{7f}'..='\u{9f}').contains(c)) {
        return Some(format!("forbidden {c:?}"));
    }
    while let Some(at) = rest.find('<') {
        if rest[..at].contains('>') && !rest[..at].contains('{') {
            return Some(format!("bare > in {:?}", &rest[..at]));
        }
        let end = at + rest[at..].find('>')?;
        let tag = &rest[at + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Some(format!("</{name}> closes nothing"));
            }
        } else {
            let name = tag.split(' ').next()?;
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || tag.matches('"').count() % 2 == 1 {
                return Some(format!("tag <{tag}>"));
            }
            if ["NaN", "inf", "style="]
                .iter()
                .any(|bad| attributes(tag).any(|(name, value)| !free(name) && value.contains(bad) || name == "style"))
            {
                return Some(format!("attribute of <{tag}>"));
            }
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    let ampersand = markup
        .match_indices('&')
        .find(|(at, _)| !["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|entity| markup[*at..].starts_with(entity)));
    open.pop().map(|name| format!("<{name}> is open")).or(ampersand.map(|(at, _)| format!("bare & at {at}")))
}

/// Attributes that carry text from events, which may be anything.
fn free(name: &str) -> bool {
    name.starts_with("data-tip") || name == "data-key" || name == "title" || name == "aria-label" || name == "value"
}

fn attributes(tag: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut parts = tag.split('"');
    std::iter::from_fn(move || {
        let name = parts.next()?.trim().trim_end_matches('=');
        Some((name.rsplit(' ').next().unwrap_or(name), parts.next()?))
    })
}

fn spec<'a>(kind: ChartKind, schema: &'a Schema, batches: &'a [RecordBatch]) -> PictureSpec<'a> {
    PictureSpec { title: "a <title> & \"more\"", ..PictureSpec::new(kind, schema, batches) }
}

fn page(kind: ChartKind, batch: &RecordBatch) -> (Picture, String) {
    let picture = picture(&spec(kind, &batch.schema(), std::slice::from_ref(batch)));
    let body = picture.body.clone().into_string();
    (picture, body)
}

#[test]
fn faults_are_found() {
    for broken in
        ["<a>", "<a></b>", "<a x=\"NaN\"></a>", "<a style=\"x\"></a>", "a & b", "a > b<a></a>", "<a>\0</a>", "<<a></a>"]
    {
        assert!(fault(broken).is_some(), "{broken}");
    }
    assert_eq!(fault("<a x=\"1\" data-tip=\"NaN\">b &amp; c</a>"), None);
}

#[test]
fn every_exhibit_is_well_formed_and_has_a_title_and_a_summary() {
    for exhibit in exhibits() {
        let picture = exhibit.draw(&trend(), picture);
        let body = picture.body.into_string();
        assert_eq!(fault(&body), None, "{}", exhibit.name);
        let file = exhibit.draw(&trend(), standalone);
        assert_eq!(fault(&file), None, "{}", exhibit.name);
        assert!(file.starts_with("<svg") && file.contains("xmlns=\"http://www.w3.org/2000/svg\""));
        assert!(file.contains(&format!("<title>{}</title>", exhibit.title)) && file.contains("<desc>"));
        assert_eq!(body.matches("role=\"img\"").count(), body.matches("<desc").count(), "{}", exhibit.name);
        assert!(!body.contains("style="), "a strict page has no inline styles");
    }
}

#[test]
fn marks_can_be_counted() {
    let count = |name: &str, mark: &str| {
        let exhibit = exhibits().into_iter().find(|exhibit| exhibit.name == name).unwrap();
        exhibit.draw(&trend(), picture).body.into_string().matches(mark).count()
    };
    assert_eq!(count("top", "<rect"), 5);
    assert_eq!(count("per_minute", "<circle"), 60);
    assert_eq!(count("cities", "<circle"), 96);
    assert_eq!(count("dense", "<circle"), 1, "of very many only the last");
    assert_eq!(count("sightings", "data-at="), 200);
    assert_eq!(count("sightings", "<svg"), 2, "a panel for each city");
    assert_eq!(count("strongest", "<tr data-key"), 8);
    assert_eq!(count("last_seen", "<tr data-key"), 200);
}

#[test]
fn a_bar_chart_says_what_it_shows_and_what_not() {
    let many = batch([
        ("name", texts((0..100).map(|row| format!("n{row}")))),
        ("seen", longs((0..100).map(|row| 1_204 - row))),
    ]);
    let (picture, body) = page(ChartKind::Bar, &many);
    assert_eq!((picture.rows_shown, picture.rows_total), (15, 100));
    assert!(body.contains(">85 more<"), "{body}");
    assert_eq!(picture.summary, "Bar chart of seen by name, 100 bars, largest n0 with 1,204");
    assert!(body.contains("data-key=\"n3\" data-tip=\"name: n3\nseen: 1,201\""), "{body}");
}

#[test]
fn a_wrong_column_is_a_table_and_a_suggestion() {
    let rows = batch([("type_1", texts(["Water"])), ("seen", longs([1]))]);
    let schema = rows.schema();
    let batches = [rows];
    let wrong = |x: Option<&str>, y: &[&str]| {
        let picture = picture(&PictureSpec { x, y, ..spec(ChartKind::Bar, &schema, &batches) });
        (picture.kind, picture.warnings.join("; "))
    };
    assert_eq!(
        wrong(Some("tpye_1"), &[]),
        (ChartKind::Table, "@x: no column 'tpye_1', did you mean 'type_1'? (columns: type_1, seen)".to_owned())
    );
    assert_eq!(
        wrong(None, &["type_1"]),
        (ChartKind::Table, "@y: 'type_1' is not a number, and a bar needs a number; did you mean 'seen'?".to_owned())
    );
    assert_eq!(wrong(Some("type_1"), &["seen"]), (ChartKind::Bar, String::new()));
    let picture = picture(&spec(ChartKind::Map, &schema, &batches));
    assert_eq!(picture.kind, ChartKind::Table);
    assert!(picture.warnings[0].contains("lat and lon"), "{:?}", picture.warnings);
}

#[test]
fn a_number_has_its_exact_value_and_its_change() {
    let rows = batch([("seen", longs([1_234_567]))]);
    let schema = rows.schema();
    let batches = [rows];
    let mut trend = Trend::default();
    (0..=90).for_each(|second| trend.push(second * 1000, second as f64 * 20.0));
    let picture = picture(&PictureSpec { trend: Some(&trend), ..spec(ChartKind::Number, &schema, &batches) });
    let body = picture.body.into_string();
    assert!(body.contains("title=\"1234567\">1,234,567<") && body.contains(">+1,200/min<"), "{body}");
    assert_eq!(measured(&schema, &batches, &[]), Some(1_234_567.0));
}

#[test]
fn hostile_names_are_text() {
    let names = [
        "<script>alert(1)</script>",
        "\" onload=\"x",
        "\u{202e}abc",
        "a\0b\u{1b}[2J",
        "&amp;",
        &"long ".repeat(500),
        "\u{ffff}",
    ];
    let count = names.len() as i64;
    let rows = batch([
        ("name", texts(names)),
        ("lat", doubles((0..count).map(|row| 40.0 + row as f64 / 100.0))),
        ("lon", doubles((0..count).map(|row| -3.0 + row as f64 / 100.0))),
        ("_timestamp", times(0..count)),
        ("seen", longs(0..count)),
    ]);
    for kind in ChartKind::ALL {
        let (_, body) = page(kind, &rows);
        let file = standalone(&spec(kind, &rows.schema(), std::slice::from_ref(&rows)));
        for markup in [body, file] {
            assert_eq!(fault(&markup), None, "{kind}");
            assert!(
                !markup.contains("<script") && !markup.contains("\" onload") && !markup.contains('\u{202e}'),
                "{kind}"
            );
            assert!(markup.len() < 40_000, "{kind}: {}", markup.len());
        }
    }
}

#[test]
fn a_map_stays_where_it_is() {
    let rows = |count| spawns(count, &[(40.4168, -3.7038)]);
    let (first, _) = page(ChartKind::Map, &rows(200));
    let more = rows(210);
    let schema = more.schema();
    let batches = [more];
    let second = picture(&PictureSpec { extents: &first.extents, ..spec(ChartKind::Map, &schema, &batches) });
    assert_eq!(first.extents, second.extents);
}

#[test]
fn twelve_tiles_are_light() {
    let tiles = exhibits()
        .into_iter()
        .filter(|exhibit: &Exhibit| !["world", "madrid", "dense", "stats_many", "last_seen"].contains(&exhibit.name));
    let bytes: usize = tiles.take(16).map(|exhibit| exhibit.draw(&trend(), picture).body.into_string().len()).sum();
    assert!(bytes < 120_000, "{bytes}");
}

fn odd_column() -> impl Strategy<Value = (String, ArrayRef)> {
    let name = prop_oneof![Just("lat".to_owned()), Just("lon".to_owned()), Just("n".to_owned()), any::<String>()];
    let double = prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::MIN),
        Just(f64::MAX),
        Just(-0.0),
        -200.0..200.0,
        any::<f64>()
    ];
    // Seven rows each; the test takes as many as it likes.
    let column = prop_oneof![
        prop::collection::vec(prop::option::of(double), 7)
            .prop_map(|values| Arc::new(Float64Array::from(values)) as ArrayRef),
        prop::collection::vec(prop::option::of(any::<i64>()), 7)
            .prop_map(|values| Arc::new(Int64Array::from(values)) as ArrayRef),
        prop::collection::vec(any::<u64>(), 7).prop_map(|values| Arc::new(UInt64Array::from(values)) as ArrayRef),
        prop::collection::vec(any::<i64>(), 7).prop_map(times),
        prop::collection::vec(0..2_000_000_000_000_i64, 7).prop_map(times),
        prop::collection::vec(prop::option::of(any::<String>()), 7)
            .prop_map(|values| Arc::new(StringArray::from(values)) as ArrayRef),
        prop::collection::vec(any::<bool>(), 7).prop_map(|values| Arc::new(BooleanArray::from(values)) as ArrayRef),
        prop::collection::vec(any::<i64>(), 7).prop_map(|values| {
            let values = Decimal128Array::from_iter_values(values.into_iter().map(i128::from));
            Arc::new(values.with_precision_and_scale(38, 3).unwrap()) as ArrayRef
        }),
        prop::collection::vec(any::<i32>(), 7).prop_map(|values| {
            let lists = values.into_iter().map(|value| Some(vec![Some(value), None]));
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)) as ArrayRef
        }),
    ];
    (name, column)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_rows_are_well_formed_in_every_kind(
        columns in prop::collection::vec(odd_column(), 1..5),
        rows in 0..=7_usize,
        (width, height) in (0..1400_u16, 0..600_u16),
    ) {
        let named = columns.iter().map(|(name, array)| (name.as_str(), array.clone(), true));
        let all = RecordBatch::try_from_iter_with_nullable(named).unwrap().slice(0, rows);
        let schema = all.schema();
        let batches = [all.slice(0, rows / 2), all.slice(rows / 2, rows - rows / 2)];
        for kind in ChartKind::ALL {
            let spec = PictureSpec { width, height, now_ms: Some(0), ..spec(kind, &schema, &batches) };
            let picture = picture(&spec);
            let body = picture.body.into_string();
            prop_assert_eq!(fault(&body), None, "{} {}", kind, body);
            let file = standalone(&spec);
            prop_assert_eq!(fault(&file), None, "{} {}", kind, file);
            prop_assert!(picture.rows_shown <= picture.rows_total);
        }
    }
}
