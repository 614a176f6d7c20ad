//! A dashboard as it ships, with hostile names in it, for the pictures that tests compare.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};

use super::*;

const NOON: i64 = 1_767_268_980_000;

pub fn tile(name: &str, title: &str, width: u16, columns: Vec<(&str, ArrayRef)>) -> Tile {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch =
        batch.unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(datafusion::arrow::datatypes::Schema::empty())));
    Tile {
        name: name.to_owned(),
        title: title.to_owned(),
        chart: crate::chart::chart_for(&batch.schema(), std::slice::from_ref(&batch)),
        x: None,
        y: None,
        width,
        schema: batch.schema(),
        rows: vec![batch],
        note: None,
        foot: String::new(),
    }
}

pub fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

pub fn doubles(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

pub fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values))
}

/// The same numbers in every run, spread between 0 and 1.
pub fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xD1B5_4A32_D192_ED03);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// Marks around two cities that are ten thousand kilometres apart.
fn spawns(count: usize) -> Tile {
    let city = |row: usize| if row.is_multiple_of(2) { (40.4168, -3.7038) } else { (-34.6037, -58.3816) };
    let off = |row: usize| (noise(row) - 0.5) * (noise(row + 7_777) * 0.12);
    let mut tile = tile(
        "map",
        "Where they appear",
        6,
        vec![
            ("name", texts((0..count).map(|row| if row == 3 { "\x1b[2JMissingNo\u{202e}" } else { "Pidgey" }))),
            ("lat", doubles((0..count).map(|row| city(row).0 + off(row)))),
            ("lon", doubles((0..count).map(|row| city(row).1 + off(row + 99_999)))),
            ("legendary", Arc::new((0..count).map(|row| Some(row % 97 == 5)).collect::<BooleanArray>())),
            ("_timestamp", times((0..count).map(|row| NOON + row as i64 * 20))),
        ],
    );
    "2 s ago".clone_into(&mut tile.foot);
    tile
}

pub fn frame() -> Frame {
    const TYPES: [&str; 18] = [
        "Water", "Normal", "Grass", "Bug", "Psychic", "Fire", "Electric", "Rock", "Dark", "Ghost", "Ground", "Poison",
        "Steel", "Fighting", "Dragon", "Ice", "Fairy", "Flying",
    ];
    let mut online = tile("users_online", "Users online", 3, vec![("online", longs([412]))]);
    "0.2 s ago · 1 row".clone_into(&mut online.foot);
    let seen = tile("seen", "Pokémon seen", 3, vec![("seen", longs([1_234_567]))]);
    let mut strongest = tile("average", "Average strength", 3, vec![("avg", doubles([431.283_745]))]);
    strongest.note = Some("counts from offset 120,000: older records are lost".to_owned());
    let distinct = tile("species", "Species seen", 3, vec![("n", longs([987]))]);
    let mut by_type = tile(
        "by_type",
        "Pokémon by type",
        6,
        vec![("type_1", texts(TYPES)), ("seen", longs((0..18).map(|row| 134_000 / (row + 1) - row * 13)))],
    );
    "0.2 s ago".clone_into(&mut by_type.foot);
    let minutes = 48;
    let cities = ["Madrid", "Buenos Aires"];
    let per_minute = tile(
        "spawns_per_minute",
        "Spawns per minute",
        6,
        vec![
            ("minute", times((0..minutes).flat_map(|minute| [NOON + minute * 60_000; 2]))),
            ("city", texts((0..minutes).flat_map(|_| cities))),
            (
                "spawns",
                longs((0..minutes as usize * 2).map(|row| {
                    2_000 + (row % 2 * 700) as i64 + ((row as f64 / 9.0).sin() * 800.0 + noise(row) * 300.0) as i64
                })),
            ),
        ],
    );
    let mut names: Vec<Option<String>> = [
        "Mewtwo",
        "Flabébé",
        "Nidoran♀",
        "カイリュー",
        "\x1b]0;pwned\x07Zapdos",
        "a very long name that was never given to a Pokémon before",
    ]
    .map(|name| Some(name.to_owned()))
    .into();
    names.push(None);
    names.extend((7..120).map(|row| Some(format!("Species {row}"))));
    let last_seen = tile(
        "legendaries",
        "Legendaries last seen",
        6,
        vec![
            ("name", Arc::new(StringArray::from(names)) as ArrayRef),
            ("times", longs((0..120).map(|row| 12_345 / (row + 1)))),
            ("km", doubles((0..120).map(|row| noise(row as usize) * 5.0))),
            ("last_seen", times((0..120).map(|row| NOON - row * 1_234))),
        ],
    );
    let mut broken = tile("unseen", "Species not seen yet", 6, vec![("name", texts([]))]);
    broken.note = Some(
        "unseen.sql:3:14: no column 'nmae', did you mean 'name'?\n  SELECT nmae FROM pokedex\n         ^".to_owned(),
    );
    Frame {
        strip: Strip {
            page: String::new(),
            name: "tallgrass demo".to_owned(),
            broker: "127.0.0.1:34567".to_owned(),
            events_per_s: 1234.4,
            events: 1_234_567,
            lag: 0,
            bad_records: 2,
            as_of: "12:03:07".to_owned(),
            elapsed: Duration::from_secs(192),
            catching_up: None,
            proof: None,
        },
        tiles: vec![online, seen, strongest, distinct, by_type, per_minute, spawns(900), last_seen, broken],
        logs: Vec::new(),
    }
}

pub fn logs() -> Vec<LogPane> {
    ["login checker", "control panel · Madrid, 3 km", "generators"]
        .map(|title| LogPane {
            title: title.to_owned(),
            lines: (0..30)
                .map(|line| format!("12:03:{line:02} would send an email to Ana\u{9b} <ana{line}@example.org>"))
                .collect(),
        })
        .into()
}
