//! One file per command; here is what they share: the runtime, Ctrl-C and exit codes.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::cli::config::{ConfigRefusal, Configuration};
use crate::cli::{Cli, Command};
use tallgrass_diagnostics::{Diagnostic, causes, message_of};
use tallgrass_kafka::KafkaError;
use tallgrass_pipeline::{FeedError, LiveError};
use tallgrass_view::WorkspaceError;

use self::generate::GenerateError;
use self::output::Usage;

mod batch;
mod board;
pub mod check;
pub mod completions;
pub mod config;
pub mod control_panel;
pub mod dashboard;
pub mod demo;
mod explain_view;
pub mod generate;
mod group;
pub mod init;
mod lines;
pub mod log;
pub mod login_checker;
pub mod man;
mod output;
pub mod pokemon_gen;
pub mod query;
pub mod replay;
mod servers;
mod topic_names;
pub mod topics;
pub mod user_gen;
pub mod verify;

/// The outcome of a command without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done,
    /// It is done, and found a failure: live and replay differ, a topic has no readable record.
    Failed,
    /// It was stopped, and it ended cleanly.
    Interrupted,
    /// It found SQL that cannot be planned, and has reported it.
    SqlError,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const SQL_ERROR: u8 = 3;
const UNREACHABLE: u8 = 4;
const INTERRUPTED: u8 = 130;

/// Stack of the threads that parse and plan SQL: an expression of thousands of terms is as deep as it is long. Only the
/// used part costs memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs the command and turns its outcome into the process's exit code; errors go to stderr.
pub fn main(cli: Cli, configuration: Configuration) -> ExitCode {
    log::init();
    // Not on the main thread, whose stack is the system's choice.
    let command = std::thread::Builder::new()
        .name("command".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || run(cli, &configuration));
    let ended = command
        .map_err(anyhow::Error::from)
        .and_then(|command| command.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    if let Err(error) = &ended
        && let Some(refusal) = error.downcast_ref::<ConfigRefusal>()
    {
        return ExitCode::from(refusal.report());
    }
    match ended {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(FAILED),
        Ok(Exit::SqlError) => ExitCode::from(SQL_ERROR),
        Ok(Exit::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => match code(error.as_ref()) {
            // The reader of our output has closed it.
            None => ExitCode::SUCCESS,
            // It prints its severity itself, after the position in the file.
            Some(SQL_ERROR) => {
                eprintln!("{}", message_of(error.as_ref()));
                ExitCode::from(SQL_ERROR)
            }
            Some(code) => {
                eprintln!("error: {}", message_of(error.as_ref()));
                ExitCode::from(code)
            }
        },
    }
}

fn run(cli: Cli, configuration: &Configuration) -> anyhow::Result<Exit> {
    let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    let stop = CancellationToken::new();
    // On a thread of its own: a query that computes may keep every worker of the runtime busy.
    let stopping = stop.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
            runtime.block_on(stop_on_signal(stopping));
        }
    })?;
    let exit = match cli.command {
        Command::PokemonGen(args) => pokemon_gen::run(args, stop),
        Command::UserGen(args) => user_gen::run(args, stop),
        Command::Init(args) => init::run(args, &stop),
        Command::Demo(args) => runtime.block_on(demo::run(args, stop)),
        Command::Dashboard(args) => runtime.block_on(dashboard::run(args, stop)),
        Command::LoginChecker(args) => runtime.block_on(login_checker::run(args, stop)),
        Command::ControlPanel(args) => runtime.block_on(control_panel::run(args, stop)),
        Command::Replay(args) => runtime.block_on(replay::run(args, stop)),
        Command::Query(args) => runtime.block_on(query::run(args, stop)),
        Command::Verify(args) => runtime.block_on(verify::run(args, stop)),
        Command::Check(args) => runtime.block_on(check::run(args)),
        Command::Explain(args) => runtime.block_on(explain_view::run(args)),
        Command::Config(args) => config::run(args, configuration),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Topics(args) => runtime.block_on(topics::run(args, stop)),
    };
    // A thread of librdkafka may still wait for a broker that does not answer: the process need not.
    runtime.shutdown_background();
    exit
}

/// The first signal asks for a clean end, the second ends at once.
async fn stop_on_signal(stop: CancellationToken) {
    if interrupted().await.is_ok() {
        stop.cancel();
        if interrupted().await.is_ok() {
            std::process::exit(i32::from(INTERRUPTED));
        }
    }
}

#[cfg(unix)]
async fn interrupted() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn interrupted() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// The exit code of an error; `None` if the reader of our stdout has closed it.
fn code(error: &(dyn Error + 'static)) -> Option<u8> {
    for cause in causes(error) {
        if cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) {
            return None;
        }
        if cause.is::<Usage>() {
            return Some(USAGE);
        }
        if is_unreachable(cause) {
            return Some(UNREACHABLE);
        }
        if is_sql(cause) {
            return Some(SQL_ERROR);
        }
    }
    Some(FAILED)
}

/// An error that prints as its source hides it from the chain, so those are opened by hand.
fn is_unreachable(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<KafkaError>() {
        return matches!(error, KafkaError::Unreachable { .. });
    }
    let inner: Option<&(dyn Error + 'static)> = if let Some(LiveError::Feed(error)) = cause.downcast_ref() {
        Some(error)
    } else if let Some(FeedError::Kafka(error)) = cause.downcast_ref() {
        Some(error)
    } else if let Some(GenerateError::Kafka(error)) = cause.downcast_ref() {
        Some(error)
    } else {
        None
    };
    inner.is_some_and(is_unreachable)
}

fn is_sql(cause: &(dyn Error + 'static)) -> bool {
    if cause.is::<Diagnostic>() {
        return true;
    }
    let workspace = match cause.downcast_ref() {
        Some(LiveError::Workspace(error)) => Some(error),
        _ => cause.downcast_ref::<WorkspaceError>(),
    };
    matches!(workspace, Some(WorkspaceError::Sql(_)))
}
