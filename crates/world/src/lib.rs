//! The world that ships: wild Pokémon near spawn points and users who log in and off.
//!
//! ```text
//!  pokemon.csv ──pokedex──▶ rows ─┐
//!               spawn ──▶ places ─┴─pokemon──▶ JSON ─┐
//!               fake ──▶ users ─────users────▶ JSON ─┴─(pacer)──▶ a producer
//! ```
//!
//! # Contract
//! - Pure: no clock, no broker, no global state. All events follow from the seed; so do the places, up to the last
//!   decimal, where a platform's sine may round the other way.
//! - Same seed, same events. Two processes with one seed therefore send the same events twice; give each its own seed
//!   (as the commands do when none is given). The stream of users and that of Pokémon are independent under one seed.
//! - The users themselves have a seed of their own that never changes: processes with different event seeds still share
//!   the same people.
//!
//! ```
//! use std::num::NonZeroU32;
//! use tallgrass_world::users::{Action, Logoff, UserEvents};
//!
//! let mut events = UserEvents::new(NonZeroU32::MIN, Logoff::Tombstone, 1);
//! let login = events.next_event();
//! assert_eq!((login.key, login.action), (&b"1"[..], Action::Login));
//! assert_eq!(events.next_event().value, None);
//! assert_eq!(events.online(), 0);
//! ```

pub mod pacer;
pub mod pokedex;
pub mod pokemon;
pub mod spawn;
pub mod users;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of every random choice: `ChaCha`'s output is the same on every platform and version, and eight rounds
/// are plenty without an attacker.
type Dice = ChaCha8Rng;

/// Keeps what is drawn from one seed for different purposes independent.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Pokemon = 1,
    UserEvents = 2,
    People = 3,
}

fn dice(seed: u64, purpose: Purpose) -> Dice {
    let mut dice = Dice::seed_from_u64(seed);
    dice.set_stream(purpose as u64);
    dice
}
