//! The generators end to end: a reader of the topic finds exactly the reported deliveries.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tallgrass::cli::Rate;
use tallgrass::cmd::generate::{GenerateError, Generated};
use tallgrass::cmd::{pokemon_gen, user_gen};
use tallgrass_geo::distance_km;
use tallgrass_kafka::{EmbeddedBroker, KafkaConfig, KafkaError};
use tallgrass_world::pokedex::{CsvCell, Pokedex};
use tallgrass_world::spawn::CITIES;
use tallgrass_world::users::Logoff;
use tokio_util::sync::CancellationToken;

use crate::support::{Received, broker, unique};

fn pokedex() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/pokemon.csv")
}

fn pokemons(topic: &str, seed: u64, count: u64) -> pokemon_gen::PokemonGenConfig {
    let (rate, near) = (Rate::Max, CITIES.to_vec());
    pokemon_gen::PokemonGenConfig {
        pokedex: pokedex(),
        topic: topic.to_owned(),
        rate,
        count: Some(count),
        near,
        spread_km: 5.0,
        seed,
    }
}

fn users(topic: &str, seed: u64, count: u64, logoff: Logoff) -> user_gen::UserGenConfig {
    let users = NonZeroU32::new(50).unwrap();
    user_gen::UserGenConfig { topic: topic.to_owned(), users, rate: Rate::Max, count: Some(count), seed, logoff }
}

fn generate_pokemons(config: &pokemon_gen::PokemonGenConfig, kafka: &KafkaConfig) -> Generated {
    pokemon_gen::generate(config, kafka, &CancellationToken::new(), &mut |_| {}).unwrap()
}

fn generate_users(config: &user_gen::UserGenConfig, kafka: &KafkaConfig) -> Generated {
    user_gen::generate(config, kafka, &CancellationToken::new(), &mut |_| {}).unwrap()
}

#[test]
fn the_count_is_exact_and_the_same_seed_gives_the_same_pokemon() {
    let broker = broker();
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let topic = broker.topic("pokemons", 1);
        let done = generate_pokemons(&pokemons(&topic, seed, 2500), &broker.config());
        assert_eq!((done.delivered, done.interrupted), (2500, false));
        let records = broker.read_all(&topic);
        assert_eq!(records.len(), 2500);
        assert!(records.iter().all(|record| record.key.is_none()));
        runs.push(records.iter().map(|record| record.text().to_owned()).collect::<Vec<_>>());
    }
    assert!(runs[0] == runs[1], "same seed, same events in the same order");
    assert!(runs[0] != runs[2]);
}

#[test]
fn every_pokemon_is_a_row_of_the_pokedex_and_a_place_near_a_city() {
    let broker = broker();
    let topic: Arc<str> = Arc::from(unique("pokemons"));
    generate_pokemons(&pokemons(&topic, 1, 12_000), &broker.config());
    let pokedex = Pokedex::open(&pokedex()).unwrap();
    let mut rows: BTreeMap<String, Vec<(String, serde_json::Value)>> = BTreeMap::new();
    for row in pokedex.rows() {
        let cells: Vec<_> = row.map(|(name, cell)| (name.to_owned(), json(cell))).collect();
        rows.insert(cells[1].1.as_str().unwrap().to_owned(), cells);
    }
    let mut seen = BTreeMap::<String, u32>::new();
    for record in broker.read_all(&topic) {
        let text = record.text();
        let pokemon: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let name = pokemon["name"].as_str().unwrap();
        let row = &rows[name];
        for (column, cell) in row {
            assert_eq!(&pokemon[column], cell, "{column} of {name}");
        }
        let columns: Vec<&str> = row.iter().map(|(column, _)| column.as_str()).chain(["lat", "lon"]).collect();
        assert_eq!(pokemon.len(), columns.len());
        let places: Vec<usize> = columns.iter().map(|column| text.find(&format!("\"{column}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "the file's order: {text}");
        let (lat, lon) = (pokemon["lat"].as_f64().unwrap(), pokemon["lon"].as_f64().unwrap());
        assert!(CITIES.iter().any(|city| distance_km(city.lat, city.lon, lat, lon) <= 5.000_01), "{lat} {lon}");
        *seen.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(seen.len(), 1025, "every species, those with nulls and with names beyond ASCII among them");
    assert!(["Nidoran♀", "Nidoran♂"].iter().all(|name| seen.contains_key(*name)));
}

fn json(cell: CsvCell<'_>) -> serde_json::Value {
    match cell {
        CsvCell::Null => serde_json::Value::Null,
        CsvCell::Integer(integer) => integer.into(),
        CsvCell::Double(double) => double.into(),
        CsvCell::Boolean(boolean) => boolean.into(),
        CsvCell::Text(text) => text.into(),
    }
}

/// Key → values in their order. All records of a key must be in one partition.
fn by_key(records: &[Received]) -> BTreeMap<String, Vec<Option<String>>> {
    let (mut partitions, mut values) = (BTreeMap::new(), BTreeMap::<String, Vec<_>>::new());
    for record in records {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        assert_eq!(*partitions.entry(key.clone()).or_insert(record.partition), record.partition, "user {key}");
        values.entry(key).or_default().push(record.value.as_ref().map(|_| record.text().to_owned()));
    }
    values
}

#[test]
fn a_logoff_is_a_null_value_or_an_action_under_the_users_key() {
    let broker = broker();
    let [tombstones, actions] = [Logoff::Tombstone, Logoff::Action].map(|logoff| {
        let topic = broker.topic("users", 4);
        let done = generate_users(&users(&topic, 3, 3000, logoff), &broker.config());
        assert_eq!((done.delivered, done.interrupted), (3000, false));
        let records = broker.read_all(&topic);
        assert_eq!(records.len(), 3000);
        by_key(&records)
    });
    assert_eq!(actions.len(), 50);
    for (key, events) in &actions {
        let with_tombstones = &tombstones[key];
        assert_eq!(events.len(), with_tombstones.len());
        for (index, (event, other)) in events.iter().zip(with_tombstones).enumerate() {
            let user: serde_json::Value = serde_json::from_str(event.as_ref().unwrap()).unwrap();
            assert_eq!(user["id"].to_string(), *key);
            assert!(user["email"].as_str().unwrap().is_ascii());
            let login = index % 2 == 0;
            assert_eq!(user["action"], if login { "login" } else { "logoff" }, "event {index} of user {key}");
            assert_eq!(other.as_ref(), login.then_some(event.as_ref().unwrap()), "event {index} of user {key}");
        }
    }
}

#[test]
fn same_seed_same_users_events_and_other_seeds_speak_of_the_same_people() {
    let broker = broker();
    let [first, again, other] = [5, 5, 6].map(|seed| {
        let topic = broker.topic("users", 4);
        generate_users(&users(&topic, seed, 1000, Logoff::Action), &broker.config());
        by_key(&broker.read_all(&topic))
    });
    assert!(first == again);
    assert!(first != other);
    for (key, events) in &first {
        if let Some(others) = other.get(key) {
            assert_eq!(events[0], others[0], "user {key}");
        }
    }
}

#[test]
fn a_stop_ends_a_slow_generator_at_once_and_delivers_what_it_sent() {
    let broker = broker();
    let topic = broker.topic("pokemons", 4);
    let config = pokemon_gen::PokemonGenConfig { rate: Rate::PerSecond(0.01), count: None, ..pokemons(&topic, 1, 0) };
    let stop = CancellationToken::new();
    let (kafka, stop_button) = (broker.config(), stop.clone());
    let role = std::thread::spawn(move || pokemon_gen::generate(&config, &kafka, &stop, &mut |_| {}));
    std::thread::sleep(Duration::from_millis(800));
    let stopped = Instant::now();
    stop_button.cancel();
    let done = role.join().unwrap().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
    assert_eq!((done.delivered, done.interrupted), (1, true));
    assert_eq!(broker.read_all(&topic).len(), 1);
}

#[test]
fn the_rate_is_kept_and_progress_never_falls() {
    let broker = broker();
    let topic = broker.topic("users", 4);
    let config = user_gen::UserGenConfig { rate: Rate::PerSecond(200.0), ..users(&topic, 1, 301, Logoff::Tombstone) };
    let mut reports = Vec::new();
    let done = user_gen::generate(&config, &broker.config(), &CancellationToken::new(), &mut |progress| {
        reports.push(progress);
    })
    .unwrap();
    // Event 300 is due 1.5 s after event 0; a busy machine may be late, never early.
    assert!(
        done.elapsed >= Duration::from_millis(1500) && done.elapsed < Duration::from_secs(10),
        "{:?}",
        done.elapsed
    );
    assert!(
        reports.len() >= 3
            && reports.is_sorted_by_key(|progress| (progress.sent, progress.delivered, progress.elapsed))
    );
    assert_eq!(reports.last().map(|progress| (progress.sent, progress.delivered)), Some((301, 301)));
}

#[test]
fn an_absent_broker_is_reported_within_seconds() {
    // Port 9 is "discard": nothing listens there.
    let kafka = KafkaConfig::new("127.0.0.1:9");
    let started = Instant::now();
    let error =
        pokemon_gen::generate(&pokemons("pokemons", 1, 1), &kafka, &CancellationToken::new(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, GenerateError::Kafka(KafkaError::Unreachable { .. })), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn an_event_that_the_client_refuses_is_an_error_with_the_count_and_the_reason() {
    let broker = broker();
    let topic = broker.topic("pokemons", 1);
    let kafka = broker.config_with(&[("message.max.bytes", "1000")]);
    let wide = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wide.path(), format!("name,note\nMew,{}\n", "x".repeat(5000))).unwrap();
    let config = pokemon_gen::PokemonGenConfig { pokedex: wide.path().to_owned(), ..pokemons(&topic, 1, 10) };
    let error = pokemon_gen::generate(&config, &kafka, &CancellationToken::new(), &mut |_| {}).unwrap_err();
    let expected = format!("delivered 0 of 1 events to {topic}; cannot produce to '{topic}': ");
    assert!(error.to_string().starts_with(&expected) && error.to_string().contains("too large"), "{error}");
}

/// On an embedded broker of its own, also where the other tests use a real one: it has to end.
#[test]
fn a_broker_that_goes_away_ends_a_generator_with_the_count_and_the_reason() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("users", 4).unwrap();
    let kafka = broker.config().with_properties([("message.timeout.ms".to_owned(), "1500".to_owned())]);
    let config = user_gen::UserGenConfig {
        rate: Rate::PerSecond(100.0),
        count: None,
        ..users("users", 1, 0, Logoff::Tombstone)
    };
    let mut broker = Some(broker);
    let outcome = user_gen::generate(&config, &kafka, &CancellationToken::new(), &mut |progress| {
        if progress.delivered > 50 {
            broker = None;
        }
    });
    let Err(GenerateError::NotDelivered { topic, sent, delivered, reason }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(topic, "users");
    assert!(delivered > 50 && delivered < sent, "{delivered} of {sent}");
    assert!(!reason.is_empty());
}
