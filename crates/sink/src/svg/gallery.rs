//! Every kind of picture on one page, to be looked at: `TALLGRASS_GALLERY=/tmp/g cargo test --lib gallery -- --ignored`.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};

use super::*;

pub const NOON_MS: i64 = 1_767_268_980_000;

/// One tile of the gallery.
pub struct Exhibit {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: ChartKind,
    pub span: u16,
    pub height: u16,
    pub x: Option<&'static str>,
    pub y: &'static [&'static str],
    pub batch: RecordBatch,
}

impl Exhibit {
    pub fn draw<T>(&self, trend: &Trend, draw: impl Fn(&PictureSpec) -> T) -> T {
        let schema = self.batch.schema();
        let batches = [self.batch.clone()];
        let mut spec = PictureSpec::new(self.kind, &schema, &batches).sized(self.span, self.height);
        (spec.title, spec.id, spec.x, spec.y) = (self.title, self.name, self.x, self.y);
        (spec.trend, spec.now_ms) = (Some(trend), Some(NOON_MS + 30_000));
        draw(&spec)
    }
}

pub fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

pub fn doubles(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

pub fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values))
}

pub fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

/// The same numbers in every run, spread between 0 and 1.
fn noise(seed: i64) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xD1B5_4A32_D192_ED03);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

const TYPES: [&str; 18] = [
    "Water", "Normal", "Grass", "Bug", "Psychic", "Fire", "Electric", "Rock", "Dark", "Ghost", "Ground", "Poison",
    "Steel", "Fighting", "Dragon", "Ice", "Fairy", "Flying",
];

pub fn spawns(count: i64, cities: &[(f64, f64)]) -> RecordBatch {
    let city = |row: i64| cities[row as usize % cities.len()];
    let off = |row: i64| (noise(row) - 0.5) * (noise(row + 7_777) * 0.12);
    batch([
        ("lat", doubles((0..count).map(|row| city(row).0 + off(row)))),
        ("lon", doubles((0..count).map(|row| city(row).1 + off(row + 99_999)))),
        ("name", texts((0..count).map(|row| if row == 3 { "<b>MissingNo\u{202e}" } else { "Pidgey" }))),
        ("type_1", texts((0..count).map(|row| TYPES[row as usize % 18]))),
        ("legendary", Arc::new((0..count).map(|row| Some(row % 37 == 5)).collect::<BooleanArray>())),
        ("_timestamp", times((0..count).map(|row| NOON_MS - row * 400))),
    ])
}

pub fn trend() -> Trend {
    let mut trend = Trend::default();
    for second in 0..300 {
        trend.push(
            second * 1000,
            1_200_000.0 + (second as f64 / 25.0).sin() * 900.0 + second as f64 * 20.0 + noise(second) * 250.0,
        );
    }
    trend
}

pub fn exhibits() -> Vec<Exhibit> {
    use ChartKind::{Bar, Line, Map, Number, Scatter, Table};
    const MADRID: (f64, f64) = (40.4168, -3.7038);
    const BUENOS_AIRES: (f64, f64) = (-34.6037, -58.3816);
    let mut all = Vec::new();
    let mut add = |name, title, kind, span, height, batch| {
        all.push(Exhibit { name, title, kind, span, height, x: None, y: &[], batch });
    };
    let by_type = |count: usize| {
        batch([
            ("type_1", texts(TYPES.into_iter().cycle().take(count))),
            ("seen", longs((0..count as i64).map(|row| (134_000 / (row + 1) - row * 13).max(1)))),
        ])
    };
    let minutes = |count: i64| {
        let wave = |row: i64| 2_000 + ((row as f64 / 9.0).sin() * 800.0 + noise(row) * 300.0) as i64;
        batch([
            ("minute", times((0..count).map(|row| NOON_MS - NOON_MS % 60_000 + row * 60_000))),
            ("spawns", longs((0..count).map(wave))),
        ])
    };
    let cities = batch([
        ("minute", times((0..48).flat_map(|minute| [NOON_MS - NOON_MS % 60_000 + minute * 60_000; 2]))),
        ("city", texts((0..48).flat_map(|_| ["Madrid", "Buenos Aires"]))),
        (
            "spawns",
            longs(
                (0..96)
                    .map(|row| 2_000 + row % 2 * 700 + ((row as f64 / 9.0).sin() * 800.0 + noise(row) * 300.0) as i64),
            ),
        ),
    ]);
    let many_series = batch([
        ("day", times((0..80).map(|row| NOON_MS + row / 8 * 86_400_000))),
        ("type", texts((0..80).map(|row| TYPES[row % 8]))),
        ("share", doubles((0..80).map(|row| 0.1 + (row % 8) as f64 * 0.02 + noise(row) * 0.15))),
    ]);
    let scatter = |count: i64| {
        batch([
            ("name", texts((0..count).map(|row| if row % 3 == 0 { "wild" } else { "raid" }))),
            ("attack", longs((0..count).map(|row| 40 + (noise(row) * 120.0) as i64))),
            ("defense", longs((0..count).map(|row| 30 + (noise(row) * 60.0 + noise(row + 500) * 90.0) as i64))),
        ])
    };
    let mut names: Vec<String> = [
        "Mewtwo",
        "Flabébé",
        "Nidoran♀",
        "カイリュー",
        "<script>alert(1)</script>",
        "שלום \u{202e}abc",
        "a very long name that was never given to a Pokémon before",
    ]
    .map(str::to_owned)
    .into();
    names.extend((7..300).map(|row| format!("Species {row}")));
    let table = batch([
        ("name", texts(&names)),
        ("times", longs((0..300).map(|row| 12_345 / (row + 1)))),
        ("km", doubles((0..300).map(|row| noise(row) * 5.0))),
        ("last_seen", times((0..300).map(|row| NOON_MS - row * 1_234))),
    ]);
    let short_table = table.slice(0, 8);
    let hostile_bars = batch([("name", texts(&names[..7])), ("balance", longs([40, -25, 31, 0, -60, 12, 7]))]);
    add("online", "Users online", Number, 3, 110, batch([("online", longs([412]))]));
    add("seen", "Pokémon seen", Number, 3, 110, batch([("seen", longs([1_234_567]))]));
    add("average", "Average strength", Number, 3, 110, batch([("avg", doubles([431.283_745]))]));
    add("huge", "A huge number", Number, 3, 110, batch([("n", longs([i64::MIN]))]));
    add("by_type", "Pokémon by type", Bar, 6, 300, by_type(18));
    add("top", "Two bars", Bar, 6, 300, by_type(5));
    add("hostile", "Hostile names", Bar, 4, 240, hostile_bars);
    add("empty", "Nothing yet", Bar, 4, 240, by_type(0));
    add("one", "One bar", Bar, 4, 240, by_type(1));
    add("per_minute", "Spawns per minute", Line, 12, 240, minutes(60));
    add("cities", "Spawns per minute and city", Line, 6, 240, cities);
    add("shares", "Shares by day", Line, 6, 240, many_series);
    add("dense", "Many points", Line, 6, 240, minutes(3000));
    add("flat", "One point", Line, 6, 240, minutes(1));
    add("stats", "Attack and defense", Scatter, 6, 300, scatter(150));
    add("stats_many", "Very many", Scatter, 6, 300, scatter(3000));
    add("sightings", "The last 200 sightings", Map, 12, 420, spawns(200, &[MADRID, BUENOS_AIRES]));
    add("madrid", "Around Madrid", Map, 6, 360, spawns(900, &[MADRID]));
    add(
        "world",
        "Everywhere",
        Map,
        6,
        360,
        spawns(
            60,
            &[
                MADRID,
                BUENOS_AIRES,
                (35.7, 139.7),
                (-33.9, 151.2),
                (40.7, -74.0),
                (51.5, -0.1),
                (1.3, 103.8),
                (19.0, 72.8),
                (30.0, 31.2),
                (-1.3, 36.8),
                (55.7, 37.6),
                (64.1, -21.9),
            ],
        ),
    );
    add("last_seen", "Last seen", Table, 6, 300, table);
    add("strongest", "Strongest", Table, 6, 300, short_table);
    all.push(Exhibit { x: Some("tpye_1"), ..exhibit("wrong", "A wrong column", by_type(6)) });
    all
}

fn exhibit(name: &'static str, title: &'static str, batch: RecordBatch) -> Exhibit {
    Exhibit { name, title, kind: ChartKind::Bar, span: 6, height: 240, x: None, y: &[], batch }
}

#[test]
#[ignore = "writes files to be looked at"]
fn gallery() {
    let Some(folder) = std::env::var_os("TALLGRASS_GALLERY").map(std::path::PathBuf::from) else { return };
    fs::create_dir_all(&folder).unwrap();
    let mut tiles = String::new();
    let trend = trend();
    for exhibit in exhibits() {
        let picture = exhibit.draw(&trend, picture);
        let foot = [vec![picture.left_out], picture.warnings].concat().join(" · ");
        let (title, span, height) = (exhibit.title, exhibit.span, exhibit.height);
        let body = picture.body.into_string();
        write!(tiles, "<section class='w{span}'><h2>{title}</h2><div class='h{height}'>{body}</div><footer>{foot}</footer></section>").unwrap();
        fs::write(folder.join(format!("{}.svg", exhibit.name)), exhibit.draw(&trend, standalone)).unwrap();
    }
    for theme in ["light", "dark"] {
        let page = format!(
            "<!doctype html><html data-theme={theme}><meta charset=utf-8><meta name=viewport content='width=device-width'><style>{CSS}
            body{{margin:0;padding:20px;background:var(--surface);font:14px system-ui,sans-serif;color:var(--ink)}}
            main{{display:grid;grid-template-columns:repeat(12,1fr);gap:28px 24px;max-width:1160px;margin:auto}}
            h2{{font-size:15px;margin:0 0 8px;font-weight:600}}footer{{color:var(--quiet);font-size:12px;margin-top:6px}}
            .h300 .rows{{max-height:300px}}section{{min-width:0}}
            .w3{{grid-column:span 3}}.w4{{grid-column:span 4}}.w6{{grid-column:span 6}}.w12{{grid-column:span 12}}
            @media(max-width:700px){{main{{gap:20px 14px}}.w3{{grid-column:span 6}}.w4,.w6,.w12{{grid-column:span 12}}}}</style><main>{tiles}</main></html>"
        );
        fs::write(folder.join(format!("{theme}.html")), page).unwrap();
    }
}
