//! `pokemon-gen` and `user-gen`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::shared::Connection;
use super::values::{Place, Rate, parse_positive};

/// `tallgrass pokemon-gen`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass pokemon-gen
  tallgrass pokemon-gen --rate max --count 3000000
  tallgrass pokemon-gen --near 35.6762,139.6503 --near 40.7128,-74.0060 --spread-km 2 --seed 7")]
pub struct PokemonGen {
    #[command(flatten)]
    pub connection: Connection,
    /// CSV of species; its columns become the JSON's fields
    #[arg(long, default_value = "data/pokemon.csv", value_name = "FILE")]
    pub pokedex: PathBuf,
    /// Topic to produce to
    #[arg(long, default_value = "pokemons")]
    pub topic: String,
    /// Events per second (50/s, 90/min), or max
    #[arg(long, default_value = "50/s", allow_hyphen_values = true)]
    pub rate: Rate,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// A spawn point (repeatable) [default: Madrid and Buenos Aires]
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    pub near: Vec<Place>,
    /// Largest distance of a Pokémon from its spawn point, km
    #[arg(long, default_value = "5", value_name = "KM", value_parser = parse_positive, allow_hyphen_values = true)]
    pub spread_km: f64,
    /// Same seed, same events
    #[arg(long)]
    pub seed: Option<u64>,
}

/// The form of a logoff in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogoffForm {
    /// A null value under the user's key
    Tombstone,
    /// The whole user with "action":"logoff"
    Action,
}

/// `tallgrass user-gen`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass user-gen
  tallgrass user-gen --users 50 --rate 2/s --logoff action
  tallgrass user-gen --rate max --count 600000 --seed 1")]
pub struct UserGen {
    #[command(flatten)]
    pub connection: Connection,
    /// Topic to produce to
    #[arg(long, default_value = "users")]
    pub topic: String,
    /// Number of users
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: u32,
    /// Events per second (10/s, 90/min), or max
    #[arg(long, default_value = "10/s", allow_hyphen_values = true)]
    pub rate: Rate,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Same seed, same events
    #[arg(long)]
    pub seed: Option<u64>,
    /// Form of a logoff in Kafka
    #[arg(long, value_enum, default_value = "tombstone")]
    pub logoff: LogoffForm,
}
