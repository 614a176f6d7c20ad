//! `tallgrass completions SHELL`: tab completions for a shell.

use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Exit;
use crate::cli::{Cli, Completions};

/// Prints them.
pub fn run(args: &Completions) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Into memory first: the generator does not return from a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    std::io::stdout().lock().write_all(&script).context("stdout")?;
    Ok(Exit::Done)
}
