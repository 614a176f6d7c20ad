//! `tallgrass man [DIR]`: the help of every command as manual pages.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};

use super::Exit;
use crate::cli::{Cli, Man};
use tallgrass_sink::files::PendingFile;

/// Prints the program's page, or writes one for each command.
pub fn run(args: &Man) -> anyhow::Result<Exit> {
    // `tallgrass-help.1` would repeat the same text.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    match &args.dir {
        None => io::stdout().lock().write_all(&page(&program)?).context("stdout")?,
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("make the folder {}", dir.display()))?;
            for command in std::iter::once(&program).chain(program.get_subcommands()) {
                write(dir, command)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

/// `tallgrass-replay.1`
fn write(dir: &Path, command: &Command) -> anyhow::Result<()> {
    let name = clap_mangen::Man::new(command.clone()).get_filename();
    let mut file = PendingFile::at(&dir.join(name))?;
    file.write_all(&page(command)?)?;
    file.commit()?;
    Ok(())
}
