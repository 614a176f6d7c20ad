//! Hub and file alone: for any statement, panel and row, what the hub shows is what the SQL gives with bound values.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringViewArray, TimestampMillisecondArray,
};
use datafusion::arrow::datatypes::Schema;
use rand::{RngExt as _, SeedableRng as _};

use super::content::KEPT;
use super::link::{Area, Link};
use super::open::{OpenPanel, OpenPanels};
use super::pairs::Pairs;
use super::panels::Panels;
use super::recent::{LocatedBatch, RecentRows};
use super::row::{PanelRow, RowShape, json_rows};
use super::source::PanelSource;
use tallgrass_geo::Projection;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{InputRows, LiveView, SqlFile, Workspace, live_view, plan_with};

const SOURCES: &str = "
CREATE EXTERNAL TABLE pokemons (name VARCHAR, legendary BOOLEAN, lat DOUBLE, lon DOUBLE) STORED AS KAFKA LOCATION 'pokemons';
CREATE EXTERNAL TABLE users (id BIGINT, name VARCHAR, PRIMARY KEY (id)) STORED AS KAFKA LOCATION 'users';
CREATE EXTERNAL TABLE kinds (name VARCHAR, kind VARCHAR) STORED AS CSV LOCATION 'kinds.csv' OPTIONS ('has_header' 'true');
";

const PARAMS: &str = "-- @param lat DOUBLE\n-- @param lon DOUBLE\n-- @param radius_km DOUBLE = 3\n";

struct World {
    folder: tempfile::TempDir,
    workspace: Workspace,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("sources.sql"), SOURCES).unwrap();
        std::fs::write(folder.path().join("kinds.csv"), "name,kind\nn1,one\nn2,two\nn2,twice\n").unwrap();
        let workspace = Workspace::load(folder.path()).unwrap();
        Self { folder, workspace }
    }

    fn file(&self, sql: &str) -> SqlFile {
        SqlFile::parse("near", self.folder.path().join("near.sql"), format!("{PARAMS}{sql}")).unwrap()
    }

    async fn pairs(&self, sql: &str) -> Pairs {
        Pairs::plan(&self.workspace, self.file(sql)).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn refused(&self, sql: &str) -> String {
        Pairs::plan(&self.workspace, self.file(sql)).await.unwrap_err().to_string()
    }

    /// The file alone with a panel's values; none where its condition is never true for them.
    async fn alone(&self, sql: &str, link: &Link) -> Alone {
        let file = self.file(sql);
        let session = self.workspace.live_session().await.unwrap();
        let bindings = link.bind(&file).unwrap();
        let plan = plan_with(&session, &file, &bindings).await.unwrap();
        Alone(live_view(&session, &file, plan, Use::NewRows, 0).await.ok())
    }
}

struct Alone(Option<LiveView>);

impl Alone {
    /// What it gives for rows with all columns.
    async fn rows(&mut self, batch: &RecordBatch) -> Vec<RecordBatch> {
        let all: Vec<usize> = (0..batch.num_columns()).collect();
        let rows = InputRows { relation: "pokemons", columns: &all, batches: std::slice::from_ref(batch) };
        match &mut self.0 {
            Some(view) => view.apply(rows).await.unwrap(),
            None => Vec::new(),
        }
    }
}

/// Latitudes and longitudes where something is special, and anywhere.
fn somewhere(dice: &mut impl rand::Rng) -> (f64, f64) {
    let lat = match dice.random_range(0..8) {
        0 => 90.0,
        1 => -90.0,
        2 => 89.99 + 0.01 * dice.random::<f64>(),
        3 => 0.0,
        4 | 5 => 40.4 + 0.05 * dice.random::<f64>(),
        _ => dice.random_range(-90.0..=90.0),
    };
    let lon = match dice.random_range(0..8) {
        0 => 180.0,
        1 => -180.0,
        2 => 179.98 + 0.02 * dice.random::<f64>(),
        3 => -179.98 - 0.02 * dice.random::<f64>(),
        4 | 5 => -3.7 + 0.05 * dice.random::<f64>(),
        _ => dice.random_range(-180.0..=180.0),
    };
    (lat, lon)
}

fn link(dice: &mut impl rand::Rng) -> Link {
    let (lat, lon) = somewhere(dice);
    let radius_km = [0.0, 1e-9, 0.5, 3.0, 50.0, 5_000.0, 10_007.543_398, 20_015.1, 20_100.0][dice.random_range(0..9)];
    Link { area: Area { lat, lon, radius_km }, values: BTreeMap::new(), own_group: false }
}

fn rows(dice: &mut impl rand::Rng, centres: &[Link], count: usize) -> RecordBatch {
    let (mut lats, mut lons) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (lat, lon) = match dice.random_range(0..6) {
            // On a panel's centre, and on its rim.
            0 => (centres[0].area.lat, centres[0].area.lon),
            1 | 2 => {
                let Area { lat, lon, radius_km } = centres[dice.random_range(0..centres.len())].area;
                let turn = dice.random_range(0.0..std::f64::consts::TAU);
                Projection::new(lat, lon)
                    .inverse(radius_km.min(20_000.0) * turn.sin(), radius_km.min(20_000.0) * turn.cos())
            }
            _ => somewhere(dice),
        };
        lats.push(if dice.random_range(0..50) == 0 { None } else { Some(lat) });
        lons.push(match dice.random_range(0..60) {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(lon + 360.0),
            _ => Some(lon),
        });
    }
    let names: StringViewArray = (0..count).map(|row| Some(format!("n{}", row % 7))).collect();
    let legendary: BooleanArray = (0..count).map(|row| [Some(true), Some(false), None][row % 3]).collect();
    let times: TimestampMillisecondArray = (0..count as i64).map(Some).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("name", Arc::new(names) as ArrayRef, true),
        ("legendary", Arc::new(legendary), true),
        ("lat", Arc::new(Float64Array::from(lats)), true),
        ("lon", Arc::new(Float64Array::from(lons)), true),
        ("_key", Arc::new(StringViewArray::from(vec![None::<&str>; count])), true),
        ("_partition", Arc::new(datafusion::arrow::array::Int32Array::from(vec![0; count])), false),
        ("_offset", Arc::new(datafusion::arrow::array::Int64Array::from_iter_values(0..count as i64)), false),
        ("_timestamp", Arc::new(times), true),
    ])
    .unwrap()
}

fn bag(shape: &RowShape, batches: &[RecordBatch], link: &Link) -> Vec<String> {
    let plane = Projection::new(link.area.lat, link.area.lon);
    let mut bag = Vec::new();
    for batch in batches {
        let all: Vec<usize> = (0..batch.num_rows()).collect();
        for row in json_rows(shape, &plane, batch, &all, 0).unwrap() {
            let mut row: PanelRow = serde_json::from_str(&row).unwrap();
            row.k = 0;
            bag.push(format!("{row:?}"));
        }
    }
    bag.sort();
    bag
}

fn shown(open: &OpenPanel) -> (u64, Vec<String>, Option<Arc<str>>) {
    let content = open.content.borrow().clone();
    (content.total, sorted(&content.rows), content.error.clone())
}

fn sorted(rows: &[Arc<str>]) -> Vec<String> {
    let mut bag: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut row: PanelRow = serde_json::from_str(row).unwrap();
            row.k = 0;
            format!("{row:?}")
        })
        .collect();
    bag.sort();
    bag
}

const NEAR: &str = "WHERE haversine_km(lat, lon, $lat, $lon) <= $radius_km";

#[tokio::test(flavor = "current_thread")]
async fn each_panel_gets_what_the_file_alone_gives() {
    let world = World::new();
    let select =
        "SELECT name, legendary, haversine_km(lat, lon, $lat, $lon) AS distance_km, lat, lon, _timestamp FROM pokemons";
    let statements = [
        (format!("{select} {NEAR}"), Some(true)),
        ("SELECT * FROM pokemons WHERE $radius_km > haversine_km($lat, $lon, lat, lon)".to_owned(), Some(true)),
        (format!("{select} {NEAR} AND legendary AND $radius_km < 6000"), Some(false)),
        (
            "SELECT n, away FROM (SELECT name AS n, lat AS a, lon AS o, haversine_km(lat, lon, $lat, $lon) AS away FROM pokemons) AS s WHERE haversine_km(a, o, $lat, $lon) <= $radius_km AND n <> 'n3'".to_owned(),
            Some(false),
        ),
        (format!("{select} {NEAR} OR legendary"), None),
        (
            format!(
                "SELECT name, 1 AS near FROM pokemons {NEAR} UNION ALL SELECT upper(name), 2 FROM pokemons WHERE legendary"
            ),
            None,
        ),
        (
            format!(
                "SELECT p.name, k.kind, $radius_km AS r FROM pokemons p LEFT JOIN kinds k ON k.name = p.name {}",
                NEAR.replace("lat, lon,", "p.lat, p.lon,")
            ),
            None,
        ),
        (
            format!(
                "SELECT unnest([name, kind_of]) AS word FROM (SELECT name, cast($lat AS VARCHAR) AS kind_of FROM pokemons {NEAR})"
            ),
            None,
        ),
    ];
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    for (sql, index) in statements {
        let pairs = world.pairs(&sql).await;
        assert_eq!(pairs.near().map(|near| near.alone), index, "{sql}");
        let shape = RowShape::of(pairs.file(), pairs.shown());
        let links: Vec<Link> = (0..60).map(|_| link(&mut dice)).collect();
        let batch = rows(&mut dice, &links, 300);
        let mut panels = Panels::new(pairs, 1);
        let opened: Vec<Arc<OpenPanel>> =
            links.iter().map(|link| Arc::new(OpenPanel::new(link.clone(), None))).collect();
        for open in &opened {
            panels.add(Arc::clone(open));
        }
        while !panels.seed(&RecentRows::default()).await {}
        panels.publish().await;
        let wanted = panels.wanted().to_vec();
        let mut alone = Vec::new();
        for link in &links {
            alone.push((world.alone(&sql, link).await, 0));
        }
        // In small batches, so that nothing is left out of what is shown.
        for start in (0..300).step_by(20) {
            let some = batch.slice(start, 20);
            let piece = LocatedBatch::new(some.project(&wanted).unwrap(), panels.location()).unwrap();
            let before: Vec<u64> = opened.iter().map(|open| open.content.borrow().next_k).collect();
            panels.apply(&piece).await;
            panels.force_publish().await;
            for (number, (alone, total)) in alone.iter_mut().enumerate() {
                let (open, link) = (&opened[number], &links[number]);
                let expected = bag(&shape, &alone.rows(&some).await, link);
                let content = open.content.borrow().clone();
                let new = (content.next_k - before[number]) as usize;
                let got = sorted(&content.rows[content.rows.len() - new..]);
                assert!(got == expected, "{sql} at {:?}: {} of {}", link.area, got.len(), expected.len());
                *total += expected.len() as u64;
                assert_eq!((content.total, &content.error), (*total, &None), "{sql} at {:?}", link.area);
            }
        }
        let matched: u64 = alone.iter().map(|(_, total)| total).sum();
        assert!(matched > 200, "{sql}: only {matched} rows, so this proves little");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_new_panel_shows_the_newest_of_what_was_there() {
    let world = World::new();
    for sql in [
        format!("SELECT name, lat, lon, _timestamp FROM pokemons {NEAR}"),
        format!("SELECT name, lat, lon, _timestamp FROM pokemons {NEAR} AND name <> 'n1'"),
        format!("SELECT name, lat, lon, _timestamp FROM pokemons {NEAR} OR name = 'n1'"),
    ] {
        let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let links: Vec<Link> = (0..50).map(|_| link(&mut dice)).collect();
        let batch = rows(&mut dice, &links, 3_000);
        let mut panels = Panels::new(world.pairs(&sql).await, 1);
        let wanted = panels.wanted().to_vec();
        let mut recent = RecentRows::default();
        for start in (0..3_000).step_by(500) {
            let piece = batch.slice(start, 500).project(&wanted).unwrap();
            recent.push(LocatedBatch::new(piece, panels.location()).unwrap());
        }
        let opened: Vec<Arc<OpenPanel>> =
            links.iter().map(|link| Arc::new(OpenPanel::new(link.clone(), None))).collect();
        for open in &opened {
            panels.add(Arc::clone(open));
        }
        while !panels.seed(&recent).await {}
        panels.publish().await;
        let shape = RowShape::of(panels.pairs().file(), panels.pairs().shown());
        for (open, link) in opened.iter().zip(&links) {
            let alone = world.alone(&sql, link).await.rows(&batch).await;
            let alone = datafusion::arrow::compute::concat_batches(&schema(&alone, panels.pairs()), &alone).unwrap();
            let newest = alone.slice(alone.num_rows().saturating_sub(KEPT), alone.num_rows().min(KEPT));
            let (total, rows, error) = shown(open);
            assert_eq!((total, error), (0, None), "what was there before is not counted");
            let expected = bag(&shape, &[newest], link);
            assert!(rows == expected, "{sql} at {:?}: {} of {}", link.area, rows.len(), expected.len());
        }
    }
}

fn schema(batches: &[RecordBatch], pairs: &Pairs) -> Arc<Schema> {
    batches.first().map_or_else(|| Arc::clone(pairs.shown()), RecordBatch::schema)
}

#[tokio::test(flavor = "current_thread")]
async fn a_panel_with_whose_values_the_sql_fails_leaves_the_others_alone() {
    let world = World::new();
    let file = SqlFile::parse(
        "near",
        world.folder.path().join("near.sql"),
        format!(
            "{PARAMS}-- @param d BIGINT = 1\nSELECT name, 10 / $d AS share, lat, lon FROM pokemons {NEAR} AND legendary"
        ),
    )
    .unwrap();
    let mut panels = Panels::new(Pairs::plan(&world.workspace, file).await.unwrap(), 1);
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let opened: Vec<Arc<OpenPanel>> = (0..40)
        .map(|number| {
            let mut asked = link(&mut dice);
            asked.area.radius_km = 20_100.0;
            asked.values.insert("d".to_owned(), if number == 17 { "0" } else { "5" }.to_owned());
            Arc::new(OpenPanel::new(asked, None))
        })
        .collect();
    for open in &opened {
        panels.add(Arc::clone(open));
    }
    while !panels.seed(&RecentRows::default()).await {}
    let centre = link(&mut dice);
    let batch = rows(&mut dice, &[centre], 60).project(panels.wanted()).unwrap();
    let piece = LocatedBatch::new(batch, panels.location()).unwrap();
    panels.apply(&piece).await;
    panels.force_publish().await;
    for (number, open) in opened.iter().enumerate() {
        let (total, rows, error) = shown(open);
        assert_eq!(error.is_some(), number == 17, "{error:?}");
        assert_eq!((total > 10, rows.len() > 10), (number != 17, number != 17));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_the_command_refuses_is_refused_here_too() {
    let world = World::new();
    for (sql, word) in [
        ("SELECT count(*) FROM pokemons", "aggregate"),
        ("SELECT name FROM pokemons ORDER BY name LIMIT 3", "LIMIT"),
        ("SELECT name FROM users", "keyed table"),
        ("SELECT 1 AS one", "one stream"),
        ("SELECT name, now() AS t FROM pokemons", "filters and projections"),
        ("SELECT name FROM pokemons WHERE EXISTS (SELECT 1 FROM kinds WHERE kind = cast($lat AS VARCHAR))", "subquery"),
        ("SELECT nam FROM pokemons", "1:8"),
    ] {
        let message = world.refused(sql).await;
        let word = if word == "1:8" { "near.sql:4:8" } else { word };
        assert!(message.contains(word), "{sql}: {message}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_busy_panel_counts_all_shows_the_newest_and_says_so() {
    let world = World::new();
    let mut panels = Panels::new(world.pairs(&format!("SELECT name, _timestamp FROM pokemons {NEAR}")).await, 1);
    let wide =
        Link { area: Area { lat: 0.0, lon: 0.0, radius_km: 20_100.0 }, values: BTreeMap::new(), own_group: false };
    let open = Arc::new(OpenPanel::new(wide.clone(), None));
    panels.add(Arc::clone(&open));
    while !panels.seed(&RecentRows::default()).await {}
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let batch = rows(&mut dice, &[wide], 1_000);
    let places = (0..1_000).filter(|row| {
        let numbers = |column: usize| tallgrass_sink::cells::numbers(std::slice::from_ref(&batch), column)[*row];
        numbers(2).is_some() && numbers(3).is_some()
    });
    let expected = places.count() as u64;
    let piece = LocatedBatch::new(batch.project(panels.wanted()).unwrap(), panels.location()).unwrap();
    panels.apply(&piece).await;
    panels.force_publish().await;
    let content = open.content.borrow().clone();
    assert_eq!((content.total, content.minute), (expected, expected));
    let times: Vec<i64> =
        content.rows.iter().map(|row| serde_json::from_str::<PanelRow>(row).unwrap().t.unwrap()).collect();
    assert!(times.len() == 50 && times.is_sorted() && *times.last().unwrap() > 950 && !content.sampled, "{times:?}");
    panels.apply(&piece).await;
    panels.force_publish().await;
    let content = open.content.borrow().clone();
    assert_eq!((content.rows.len(), content.total, content.sampled), (100, 2 * expected, true));
}

#[tokio::test(flavor = "current_thread")]
async fn panels_that_are_not_open_any_more_are_removed() {
    let world = World::new();
    let mut panels = Panels::new(world.pairs(&format!("SELECT name FROM pokemons {NEAR}")).await, 1);
    let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    for _ in 0..10 {
        panels.add(Arc::new(OpenPanel::new(link(&mut dice), None)));
    }
    assert_eq!(panels.len(), 10);
    let source = PanelSource { queries: "".into(), name: "near".to_owned() };
    panels.sweep(&OpenPanels::new(source, Arc::default()));
    assert_eq!(panels.len(), 0);
    let centre = link(&mut dice);
    let piece =
        LocatedBatch::new(rows(&mut dice, &[centre], 50).project(panels.wanted()).unwrap(), panels.location()).unwrap();
    panels.apply(&piece).await;
}
