//! Read the command line and the settings, run, exit code.

use std::env;
use std::process::ExitCode;

use tallgrass::{cli, cmd};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::config::read(env::args_os(), env::vars_os()) {
        Ok((cli, configuration)) => cmd::main(cli, configuration),
        Err(refusal) => ExitCode::from(refusal.report()),
    }
}
