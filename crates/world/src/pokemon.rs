//! Wild Pokémon: a random species at a random place near a random spawn point, as JSON.
//!
//! ```json
//! {"number":669,"name":"Flabébé",…,"legendary":false,"lat":40.4012345,"lon":-3.7123456}
//! ```
//!
//! Every column of the pokedex in its order, then `lat` and `lon` in degrees with seven decimals: a resolution of 1.1 cm.
//! (The decimals are the last step, so a place may lie up to 0.8 cm outside of the spread.)

use rand::RngExt;
use thiserror::Error;

use super::pokedex::{CsvCell, Pokedex};
use super::spawn::{Cap, GeoPoint};
use super::{Dice, Purpose, dice};

/// Steps per degree: seven decimals.
const STEPS_PER_DEGREE: f64 = 1e7;
const DECIMALS: usize = 7;
/// The date line, in steps.
const HALF_TURN_STEPS: i64 = 1_800_000_000;

/// No spawn points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Pokémon need at least one spawn point")]
pub struct NoSpawnPoint;

/// A seeded, endless stream of Pokémon.
///
/// A record is a copy of its species' JSON, rendered once, and two numbers: about 0.2 µs, so that a load test measures
/// the broker and not this.
#[derive(Debug, Clone)]
pub struct Pokemons {
    /// The rows' JSON up to and including `"lat":`, one after the other.
    rendered: Vec<u8>,
    /// Where each row's JSON ends in `rendered`.
    ends: Vec<usize>,
    caps: Vec<Cap>,
    dice: Dice,
}

impl Pokemons {
    /// Pokémon of `pokedex` within `spread_km` of the spawn points `near`; same seed, same events.
    pub fn new(pokedex: &Pokedex, near: &[GeoPoint], spread_km: f64, seed: u64) -> Result<Self, NoSpawnPoint> {
        if near.is_empty() {
            return Err(NoSpawnPoint);
        }
        let (mut rendered, mut ends) = (Vec::new(), Vec::with_capacity(pokedex.len()));
        for row in pokedex.rows() {
            rendered.push(b'{');
            for (name, cell) in row {
                push_json(&mut rendered, name);
                rendered.push(b':');
                match cell {
                    CsvCell::Null => rendered.extend_from_slice(b"null"),
                    CsvCell::Integer(integer) => push_json(&mut rendered, &integer),
                    CsvCell::Double(double) => push_json(&mut rendered, &double),
                    CsvCell::Boolean(boolean) => push_json(&mut rendered, &boolean),
                    CsvCell::Text(text) => push_json(&mut rendered, text),
                }
                rendered.push(b',');
            }
            rendered.extend_from_slice(b"\"lat\":");
            ends.push(rendered.len());
        }
        let caps = near.iter().map(|centre| Cap::new(*centre, spread_km)).collect();
        Ok(Self { rendered, ends, caps, dice: dice(seed, Purpose::Pokemon) })
    }

    /// Replaces what is in `json` by the next Pokémon.
    pub fn next_into(&mut self, json: &mut Vec<u8>) {
        let row = self.dice.random_range(0..self.ends.len());
        let cap = &self.caps[self.dice.random_range(0..self.caps.len())];
        let GeoPoint { lat, lon } = cap.scatter(&mut self.dice);
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        json.clear();
        json.extend_from_slice(&self.rendered[start..self.ends[row]]);
        push_degrees(json, (lat * STEPS_PER_DEGREE).round() as i64);
        json.extend_from_slice(b",\"lon\":");
        let lon = (lon * STEPS_PER_DEGREE).round() as i64;
        // 179.99999996 rounds up to the date line, which is written as −180.
        push_degrees(json, if lon >= HALF_TURN_STEPS { lon - 2 * HALF_TURN_STEPS } else { lon });
        json.push(b'}');
    }
}

/// Strings, numbers and booleans always have a JSON form, and a `Vec` takes any bytes.
fn push_json<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(json, value);
    debug_assert!(written.is_ok());
}

/// `-3.7038000`: fixed-point decimals are exact and cost a fourth of a float's shortest form.
fn push_degrees(json: &mut Vec<u8>, steps: i64) {
    let mut digits = [b'0'; 13];
    let (mut rest, mut first) = (steps.unsigned_abs(), digits.len());
    while rest > 0 || first > digits.len() - DECIMALS - 2 {
        first -= 1;
        if first == digits.len() - DECIMALS - 1 {
            digits[first] = b'.';
            continue;
        }
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if steps < 0 {
        json.push(b'-');
    }
    json.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;
    use crate::spawn::CITIES;
    use tallgrass_geo::distance_km;

    fn shipped() -> Pokedex {
        Pokedex::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/pokemon.csv"))).unwrap()
    }

    fn events(near: &[GeoPoint], spread_km: f64, seed: u64, count: usize) -> Vec<String> {
        let mut pokemons = Pokemons::new(&shipped(), near, spread_km, seed).unwrap();
        let mut json = Vec::new();
        (0..count)
            .map(|_| {
                pokemons.next_into(&mut json);
                String::from_utf8(json.clone()).unwrap()
            })
            .collect()
    }

    #[test]
    fn same_seed_same_events_and_the_first_ones_are_known() {
        assert_eq!(events(&CITIES, 5.0, 7, 500), events(&CITIES, 5.0, 7, 500));
        assert_ne!(events(&CITIES, 5.0, 7, 500), events(&CITIES, 5.0, 8, 500));
        insta::assert_snapshot!(events(&CITIES, 5.0, 1, 3).join("\n"), @r#"
        {"number":913,"name":"Quaxwell","type_1":"Water","type_2":null,"total":410,"hp":70,"attack":85,"defense":65,"sp_attack":65,"sp_defense":60,"speed":65,"generation":9,"legendary":false,"lat":-34.6131625,"lon":-58.3860483}
        {"number":573,"name":"Cinccino","type_1":"Normal","type_2":null,"total":470,"hp":75,"attack":95,"defense":60,"sp_attack":65,"sp_defense":60,"speed":115,"generation":5,"legendary":false,"lat":40.3920771,"lon":-3.6557574}
        {"number":708,"name":"Phantump","type_1":"Ghost","type_2":"Grass","total":309,"hp":43,"attack":70,"defense":48,"sp_attack":50,"sp_defense":60,"speed":38,"generation":6,"legendary":false,"lat":-34.5810647,"lon":-58.4173781}
        "#);
    }

    #[test]
    fn json_has_every_column_in_order_with_its_type() {
        let csv = "number,name,\"odd \"\"name\"\"\",share,legendary,note\n-3,Nidoran♀,\"a\"\"b\\\n\",0.5,TRUE,\n";
        let pokedex = Pokedex::read(csv.as_bytes(), Path::new("test.csv")).unwrap();
        let place = GeoPoint { lat: -0.000_000_04, lon: 180.0 };
        let mut json = b"the record before".to_vec();
        Pokemons::new(&pokedex, &[place], 1e-9, 1).unwrap().next_into(&mut json);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"number":-3,"name":"Nidoran♀","odd \"name\"":"a\"b\\\n","share":0.5,"legendary":true,"note":null,"lat":0.0000000,"lon":-180.0000000}"#
        );
    }

    #[test]
    fn species_and_spawn_points_are_even_and_places_within_the_spread() {
        let draws = 60_000;
        let (mut near_madrid, mut species) = (0_u32, HashMap::<String, u32>::new());
        for json in events(&CITIES, 5.0, 3, draws) {
            let pokemon: serde_json::Value = serde_json::from_str(&json).unwrap();
            let (lat, lon) = (pokemon["lat"].as_f64().unwrap(), pokemon["lon"].as_f64().unwrap());
            let apart = CITIES.map(|city| distance_km(city.lat, city.lon, lat, lon));
            assert!(apart[0].min(apart[1]) <= 5.0 + 8e-6, "{apart:?}");
            near_madrid += u32::from(apart[0] < apart[1]);
            *species.entry(pokemon["name"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert!((f64::from(near_madrid) / draws as f64 - 0.5).abs() < 0.01, "{near_madrid}");
        assert_eq!(species.len(), 1025);
        // 58.5 of each are expected, with a standard deviation of 7.6.
        assert!(species.values().all(|count| (20..110).contains(count)), "{species:?}");
    }

    #[test]
    fn degrees_have_seven_decimals() {
        let text = |steps| {
            let mut json = Vec::new();
            push_degrees(&mut json, steps);
            String::from_utf8(json).unwrap()
        };
        assert_eq!(text(0), "0.0000000");
        assert_eq!(text(-1), "-0.0000001");
        assert_eq!(text(404_168_000), "40.4168000");
        assert_eq!(text(-37_038_000), "-3.7038000");
        assert_eq!(text(-1_800_000_000), "-180.0000000");
        assert_eq!(text(1_799_999_999), "179.9999999");
    }

    #[test]
    fn nowhere_to_appear_is_an_error() {
        assert_eq!(Pokemons::new(&shipped(), &[], 5.0, 1).unwrap_err(), NoSpawnPoint);
    }
}
