//! One file per role: the command's run, from its arguments to its exit code.

pub mod generate;
pub mod pokemon_gen;
pub mod user_gen;

/// How a command ended, if not by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It ran, and the answer is no.
    Failed,
    /// The user ended it.
    Interrupted,
}
