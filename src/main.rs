//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use tallgrass::{cli::Cli, cmd};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cmd::main(Cli::parse())
}
