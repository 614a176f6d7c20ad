//! `tallgrass pokemon-gen`: wild Pokémon appear in a topic.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::Exit;
use super::generate::{self, EventTarget, GenerateError, Generated, Progress};
use crate::cli;
use tallgrass_kafka::KafkaConfig;
use tallgrass_world::pokedex::Pokedex;
use tallgrass_world::pokemon::Pokemons;
use tallgrass_world::spawn::{CITIES, GeoPoint};

/// Partitions of a topic that does not exist yet: a few readers can share it.
pub const PARTITIONS: i32 = 4;

/// What to generate, and the topic.
#[derive(Debug, Clone)]
pub struct PokemonGenConfig {
    /// CSV of species.
    pub pokedex: PathBuf,
    /// Topic to produce to; records have no key.
    pub topic: String,
    /// The rate.
    pub rate: cli::Rate,
    /// How many; `None` runs until it is stopped.
    pub count: Option<u64>,
    /// Spawn points.
    pub near: Vec<GeoPoint>,
    /// Largest distance of a Pokémon from its spawn point, km.
    pub spread_km: f64,
    /// Same seed, same events: give each generator its own.
    pub seed: u64,
}

/// Runs the role until its count is reached or `stop` is cancelled. Blocking.
pub fn generate(
    config: &PokemonGenConfig,
    kafka: &KafkaConfig,
    stop: &CancellationToken,
    progress: &mut dyn FnMut(Progress),
) -> Result<Generated, GenerateError> {
    let pokedex = Pokedex::open(&config.pokedex)?;
    let mut pokemons = Pokemons::new(&pokedex, &config.near, config.spread_km, config.seed)?;
    let output = EventTarget {
        topic: config.topic.clone(),
        partitions: PARTITIONS,
        compacted: false,
        rate: config.rate,
        count: config.count,
    };
    let mut json = Vec::new();
    generate::generate(&output, kafka, stop, progress, &mut |producer| {
        pokemons.next_into(&mut json);
        producer.send(&output.topic, None, Some(&json))
    })
}

/// Runs the command.
#[allow(clippy::needless_pass_by_value)] // every command takes its arguments and its token
pub fn run(args: cli::PokemonGen, stop: CancellationToken) -> anyhow::Result<Exit> {
    let near = match args.near.as_slice() {
        [] => CITIES.to_vec(),
        places => places.iter().map(|place| GeoPoint { lat: place.lat, lon: place.lon }).collect(),
    };
    let config = PokemonGenConfig {
        pokedex: args.pokedex,
        topic: args.topic,
        rate: args.rate,
        count: args.count,
        near,
        spread_km: args.spread_km,
        seed: args.seed.unwrap_or_else(generate::any_seed),
    };
    let (topic, seed, points) = (&config.topic, config.seed, config.near.len());
    let plural = if points == 1 { "" } else { "s" };
    let rate = generate::rate_text(config.rate);
    eprintln!("Pokémon appear in {topic} at {rate} near {points} spawn point{plural} (seed {seed})");
    generate::run(topic, config.count, |progress| generate(&config, &args.connection.config(), &stop, progress))
}
