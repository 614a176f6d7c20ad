//! `tallgrass dashboard`: the tallies, live in the terminal or as lines of changed results.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{flush, report_missing_rows, stdout, worse};
use super::board::Board;
use super::log;
use super::servers::{Defaults, Servers, app};
use crate::cli::Dashboard;
use tallgrass_diagnostics::{Diagnostic, causes, message_of};
use tallgrass_pipeline::{Live, LiveConfig, Newest, Published, Snapshot, Variants};
use tallgrass_proof::{ChangeLines, Verifier};
use tallgrass_sink::Format;
use tallgrass_sink::terminal::{Key, LogPane, Screen, draw_plain};
use tallgrass_sink::text::ViewsWriter;

/// The name of this role.
const NAME: &str = "tallgrass dashboard";

/// Time between two checks of the keyboard and the board.
const FRAME_INTERVAL: Duration = Duration::from_millis(50);

/// How long the last lines may take once the reading has ended.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two blocks of plain text.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

/// Runs the command.
pub async fn run(args: Dashboard, stop: CancellationToken) -> anyhow::Result<Exit> {
    Servers::check(&args.listening, Defaults::DASHBOARD)?;
    let variants = Variants::default();
    let config = LiveConfig {
        kafka: args.connection.config(),
        queries: args.queries.queries.clone(),
        limits: args.batching.limits(),
        refresh: args.refresh,
        max_retained_rows: args.max_retained_rows,
        bounded: args.once,
        watch: !args.once,
        variants: variants.clone(),
    };
    let mut live = Live::start(config).await?;
    if args.once {
        return once(&mut live, args.format, args.strict, &stop).await;
    }
    let newest = Newest::default();
    let kafka = args.connection.config();
    let verifier = args.verify.map(|interval| Verifier::start(interval, kafka.clone(), &newest)).transpose()?;
    let app = app(NAME, &kafka, &args.queries.queries, &newest, &variants, verifier.as_ref());
    let servers = Servers::start(&args.listening, Defaults::DASHBOARD, &app)?;
    let watching = stop.child_token();
    let ended = if args.format == Format::Ndjson {
        lines(&mut live, newest, &watching).await
    } else {
        let board =
            Board::new(NAME, &args.connection.brokers, &live).with_proofs(app.proofs.clone()).with_page(servers.page());
        tiles(&mut live, Arc::new(Mutex::new(board)), newest, &watching).await
    };
    servers.stop();
    let differed = match verifier {
        Some(verifier) => verifier.finish().await,
        None => false,
    };
    ended.map(|exit| if differed { Exit::Failed } else { exit })
}

/// Shows tiles until the user quits.
async fn tiles(
    live: &mut Live,
    board: Arc<Mutex<Board>>,
    newest: Newest,
    watching: &CancellationToken,
) -> anyhow::Result<Exit> {
    let watcher = {
        let (board, watching) = (Arc::clone(&board), watching.clone());
        tokio::task::spawn_blocking(move || watch(&board, &watching, &|| Vec::new()))
    };
    let show = |live: &Live, snapshot: Snapshot| {
        let published = Arc::new(Published::of(live, snapshot));
        lock(&board).update(Arc::clone(&published));
        newest.send_replace(Some(published));
    };
    // Quitting on the screen stops the reading, and a failure of the reading closes the screen.
    let ended = live.run(watching, show).await;
    watching.cancel();
    let watched = watcher.await?;
    ended?;
    match watched? {
        WatchOutcome::Quit => Ok(Exit::Done),
        WatchOutcome::Interrupted => Ok(Exit::Interrupted),
    }
}

/// Writes a line for each result that changes. A reader that is slower than the refreshes gets only the newest ones, and the
/// live loop never waits for it.
async fn lines(live: &mut Live, newest: Newest, watching: &CancellationToken) -> anyhow::Result<Exit> {
    let mut updates = newest.subscribe();
    let writing = {
        let (runtime, watching) = (tokio::runtime::Handle::current(), watching.clone());
        tokio::task::spawn_blocking(move || {
            let (mut out, mut changes) = (stdout().0, ChangeLines::default());
            // The last refresh is still written when the loop has ended.
            while runtime.block_on(updates.changed()).is_ok() {
                let published = updates.borrow_and_update().clone();
                let written = published.map_or(Ok(()), |published| changes.write(&mut out, &published));
                if written.is_err() {
                    watching.cancel();
                    return written;
                }
            }
            Ok(())
        })
    };
    let show = |live: &Live, snapshot: Snapshot| {
        newest.send_replace(Some(Arc::new(Published::of(live, snapshot))));
    };
    let ended = live.run(watching, show).await;
    drop(newest);
    // The pipe may still be open although it is no longer read.
    let written = tokio::time::timeout(WRITE_TIMEOUT, writing).await;
    ended?;
    if let Ok(written) = written {
        written??;
    }
    Ok(Exit::Interrupted)
}

/// The live path up to the end offsets at the start.
async fn once(live: &mut Live, format: Format, strict: bool, stop: &CancellationToken) -> anyhow::Result<Exit> {
    let mut last = Published::default();
    if !live.run(stop, |live, snapshot| last = Published::of(live, snapshot)).await? {
        return Ok(Exit::Interrupted);
    }
    let (mut out, terminal) = stdout();
    let results = &last.snapshot.results;
    if format == Format::Ndjson {
        ChangeLines::default().write(&mut out, &last)?;
    } else {
        let mut writer = ViewsWriter::new(&mut out, format).with_headings(results.len() != 1).with_terminal(terminal);
        for result in results {
            if let Ok(rows) = &result.rows {
                writer.view(&result.name, &result.schema, rows)?;
            }
        }
        writer.finish()?;
    }
    flush(out)?;
    let mut exit = Exit::Done;
    for error in live.broken_files() {
        eprintln!("{error}\n");
        exit = Exit::SqlError;
    }
    for result in results {
        let Err(error) = &result.rows else { continue };
        eprintln!("{}: {}\n", result.name, message_of(error));
        let sql = causes(error).any(<dyn std::error::Error>::is::<Diagnostic>);
        exit = if sql || exit == Exit::SqlError { Exit::SqlError } else { Exit::Failed };
    }
    Ok(worse(exit, report_missing_rows(&live.status().bad, strict)))
}

/// How watching a board ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchOutcome {
    /// The user quit.
    Quit,
    /// Ctrl-C, or the reading ended.
    Interrupted,
}

/// Shows the board until `stop`: redrawn in place on a terminal, in blocks elsewhere. Blocking.
pub fn watch(
    board: &Mutex<Board>,
    stop: &CancellationToken,
    panes: &dyn Fn() -> Vec<LogPane>,
) -> io::Result<WatchOutcome> {
    if io::stdout().is_terminal() { watch_screen(board, stop, panes) } else { watch_plain(board, stop, panes) }
}

fn watch_screen(
    board: &Mutex<Board>,
    stop: &CancellationToken,
    panes: &dyn Fn() -> Vec<LogPane>,
) -> io::Result<WatchOutcome> {
    let captured = log::capture();
    let mut screen = Screen::open()?;
    let mut paused = None;
    let ended = loop {
        if stop.is_cancelled() {
            break WatchOutcome::Interrupted;
        }
        match screen.poll_key()? {
            Some(Key::Quit) => break WatchOutcome::Quit,
            Some(Key::Interrupt) => break WatchOutcome::Interrupted,
            Some(Key::Pause) if paused.is_some() => paused = None,
            Some(Key::Pause) => paused = Some(lock(board).frame(Vec::new())),
            Some(Key::Redraw) | None => {}
        }
        let mut logs = panes();
        let lines = captured.tail().lines();
        if !lines.is_empty() {
            logs.push(LogPane { title: "log".to_owned(), lines });
        }
        let frame = match &paused {
            Some(frame) => {
                let mut frame = frame.clone();
                frame.strip.name.push_str(" (paused: p resumes)");
                frame.logs = logs;
                frame
            }
            None => lock(board).frame(logs),
        };
        screen.draw(&frame)?;
        std::thread::sleep(FRAME_INTERVAL);
    };
    stop.cancel();
    drop(screen);
    drop(captured);
    Ok(ended)
}

fn watch_plain(
    board: &Mutex<Board>,
    stop: &CancellationToken,
    panes: &dyn Fn() -> Vec<LogPane>,
) -> io::Result<WatchOutcome> {
    let (mut out, _) = stdout();
    let mut shown: Option<(tallgrass_kafka::AsOf, Option<String>, std::time::Instant)> = None;
    while !stop.is_cancelled() {
        std::thread::sleep(FRAME_INTERVAL);
        let as_of = lock(board).as_of().clone();
        // Only the first good proof is reported; a change of its age alone is not.
        let proof = lock(board).proof().map(|proof| if proof.good { String::new() } else { proof.text });
        let due = shown
            .as_ref()
            .is_none_or(|(last, proved, at)| (*last != as_of || *proved != proof) && at.elapsed() >= PLAIN_INTERVAL);
        if due && as_of.iter().next().is_some() {
            let frame = lock(board).frame(panes());
            if let Err(error) = draw_plain(&mut out, &frame) {
                stop.cancel();
                return Err(error);
            }
            shown = Some((as_of, proof, std::time::Instant::now()));
        }
    }
    Ok(WatchOutcome::Interrupted)
}

/// The board; a panic elsewhere leaves it consistent, for it is only ever replaced.
pub fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
