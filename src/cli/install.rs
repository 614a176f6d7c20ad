//! Parts of an installation: `completions`, `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `tallgrass completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass completions bash > ~/.local/share/bash-completion/completions/tallgrass
  tallgrass completions zsh > ~/.zfunc/_tallgrass          where fpath has ~/.zfunc
  tallgrass completions fish > ~/.config/fish/completions/tallgrass.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `tallgrass man`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tallgrass man | man -l -                                 the page of the whole program
  tallgrass man ~/.local/share/man/man1                    and then: man tallgrass-replay")]
pub struct Man {
    /// Write a page of each command into this folder [default: the program's page to stdout]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
