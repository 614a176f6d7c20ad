//! What `replay`, `query` and `verify` share: the requested files, and a bounded run with progress, written as it arrives.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Exit;
use tallgrass_diagnostics::{Diagnostic, did_you_mean};
use tallgrass_relation::{BadRecords, ReadBounds};
use tallgrass_sink::progress::{ReadBar, progress};
use tallgrass_view::{SqlFile, Workspace};

/// The dashboard's files, and the errors of those that matter: of all files, or of the requested ones.
pub fn choose_files(workspace: &Workspace, wanted: &[String]) -> anyhow::Result<(Vec<SqlFile>, Vec<Diagnostic>)> {
    let (mut files, mut broken) = (Vec::new(), Vec::new());
    for file in workspace.dashboard() {
        match file {
            Ok(file) => files.push(file),
            Err(error) => broken.push(error),
        }
    }
    let names: Vec<&str> = files.iter().map(SqlFile::name).collect();
    for name in wanted {
        if names.contains(&name.as_str()) {
            continue;
        }
        let file = format!("{name}.sql");
        if let Some(error) = broken.iter().find(|error| error.file.file_name().is_some_and(|name| *name == *file)) {
            return Ok((Vec::new(), vec![error.clone()]));
        }
        let hint =
            did_you_mean(name, names.iter().copied()).unwrap_or_else(|| format!("there are {}", names.join(", ")));
        bail!("no dashboard file is named '{name}': {hint}");
    }
    if !wanted.is_empty() {
        broken.clear();
    }
    Ok((files, broken))
}

/// Shows the progress of the planned reads on stderr, after a note about missing history.
pub fn show_progress(bounds: &ReadBounds) -> ReadBar {
    for start in bounds.history_starts() {
        eprintln!("note: {start}");
    }
    let read = Arc::clone(bounds.progress());
    progress(read.offsets_total(), move || read.offsets_done())
}

/// Says of which relations some records were not rows, and whether that is a failure.
pub fn report_missing_rows(bad: &BadRecords, strict: bool) -> Exit {
    let missing = bad.missing_rows();
    for relation in &missing {
        eprintln!("{}: {relation}", if strict { "error" } else { "note" });
    }
    if strict && !missing.is_empty() { Exit::Failed } else { Exit::Done }
}

/// The graver of two exits.
pub fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Done, exit) | (exit, Exit::Done) => exit,
        (Exit::SqlError, _) | (_, Exit::SqlError) => Exit::SqlError,
        (exit, _) => exit,
    }
}

/// stdout, whole blocks at a time, and whether it is a terminal.
pub fn stdout() -> (io::BufWriter<io::Stdout>, bool) {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    (io::BufWriter::with_capacity(1 << 16, stdout), terminal)
}

/// Flushes what was written to stdout.
pub fn flush(mut out: impl Write) -> anyhow::Result<()> {
    out.flush().context("cannot write the result")
}

/// How long a first answer of the broker may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
