//! `tallgrass demo`: every role at once on an embedded broker, and at the end the proof.
//!
//! ```text
//!  two pokemon-gen ─▶ pokemons ─┬─▶ dashboard      tiles, live
//!                               └─▶ control-panel  what is near one place
//!  user-gen ───────▶ users ─────┬─▶ dashboard
//!                               └─▶ login-checker  who gets an email
//!  at the end: replay from the earliest offsets up to the dashboard's as-of, compared row by row
//! ```

use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use datafusion::arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::batch::{flush, stdout};
use super::board::Board;
use super::dashboard::{WatchOutcome, lock, watch};
use super::lines::RowFormatter;
use super::servers::{Defaults, Servers, app};
use super::verify::report;
use super::{Exit, control_panel, generate, group, login_checker, pokemon_gen, user_gen};
use crate::cli::{Demo, LogoffForm, Rate};
use tallgrass_kafka::{EmbeddedBroker, GroupStart, KafkaConfig};
use tallgrass_pipeline::{
    AppendingView, BatchLimits, Definitions, GroupMember, Live, LiveConfig, Newest, Published, Snapshot, Variants,
};
use tallgrass_proof::{Claim, Prover, Verifier};
use tallgrass_relation::BadRecords;
use tallgrass_serve::panel::new_id;
use tallgrass_sink::terminal::{LogPane, LogTail, draw_plain};
use tallgrass_view::Workspace;
use tallgrass_world::spawn::CITIES;
use tallgrass_world::users;

/// The name of this role.
const NAME: &str = "tallgrass demo";

/// The embedded broker keeps some megabytes per partition: with this many, hours of the demo's events.
const PARTITIONS: i32 = 24;

/// Batches that wait longer compress better, so that the embedded broker's memory holds more history; short enough for a
/// picture that moves.
const PRODUCER_LINGER_MS: &str = "200";

/// Largest distance of a Pokémon from its city.
const SPREAD_KM: f64 = 5.0;

/// Radius of the demo's control panel.
const RADIUS_KM: f64 = 1.5;

/// How long the dashboard may take to read the rest after the generators have stopped.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Runs the command.
pub async fn run(args: Demo, stop: CancellationToken) -> anyhow::Result<Exit> {
    Servers::check(&args.listening, Defaults::DEMO)?;
    let broker = broker()?;
    let kafka = broker.config();
    let workspace = Workspace::load(&args.queries.queries)?;
    let mut roles = Roles::start(&args, &kafka, &workspace, &stop).await?;
    let variants = Variants::default();
    let mut live = Live::start(LiveConfig {
        kafka: kafka.clone(),
        queries: args.queries.queries.clone(),
        limits: BatchLimits::default(),
        refresh: Duration::from_millis(50),
        max_retained_rows: 5_000_000,
        bounded: false,
        watch: true,
        variants: variants.clone(),
    })
    .await?;

    // Three stages: everything runs; the generators have stopped and the dashboard reads the rest; the proof.
    let watching = CancellationToken::new();
    let newest = Newest::default();
    let verifier = args.verify.map(|interval| Verifier::start(interval, kafka.clone(), &newest)).transpose()?;
    let app = app(NAME, &kafka, &args.queries.queries, &newest, &variants, verifier.as_ref());
    let servers = Servers::start(&args.listening, Defaults::DEMO, &app)?;
    let board = Board::new(NAME, broker.brokers(), &live).with_proofs(app.proofs.clone()).with_page(servers.page());
    let board = Arc::new(Mutex::new(board));
    let watcher = {
        let (board, watching, panes) = (Arc::clone(&board), watching.clone(), roles.panes.clone());
        tokio::task::spawn_blocking(move || watch(&board, &watching, &move || panes.on_screen()))
    };
    let mut last = Arc::<Published>::default();
    let alarm = alarm(args.duration);
    let reading = CancellationToken::new();
    let generators = roles.generators.clone();
    let ending = async {
        tokio::select! {
            () = alarm => {}
            () = stop.cancelled() => {}
            () = watching.cancelled() => {}
            () = generators.failed.cancelled() => {}
        }
        generators.stop.cancel();
    };
    let outcome = async {
        let show = |live: &Live, snapshot: Snapshot| {
            let published = Arc::new(Published::of(live, snapshot));
            last = Arc::clone(&published);
            lock(&board).update(Arc::clone(&published));
            newest.send_replace(Some(published));
        };
        let running = live.run(&reading, show);
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => { ended?; }
            () = ending => {}
        }
        let interrupted = stop.is_cancelled() || watching.is_cancelled();
        let finished = roles.finish_generators();
        tokio::pin!(finished);
        let generated = tokio::select! {
            generated = &mut finished => generated,
            ended = &mut running => { ended?; finished.await }
        };
        // What the generators delivered must be in the last result.
        let ends = ends(&kafka).await?;
        tokio::select! {
            ended = &mut running => { ended?; }
            () = ends.are_shown(&board) => {}
            () = tokio::time::sleep(CATCH_UP) => {}
        }
        reading.cancel();
        watching.cancel();
        let watched = watcher.await?;
        for line in generated? {
            eprintln!("{line}");
        }
        anyhow::Ok((watched, interrupted))
    }
    .await;
    // However it ended, every role is stopped as on Ctrl-C.
    roles.generators.stop.cancel();
    watching.cancel();
    roles.finish().await?;
    servers.stop();
    let (watched, interrupted) = outcome?;
    // After any edits: the files that ran last are proved.
    let definitions = live.definitions().cloned();
    drop(live);
    let interrupted = interrupted || (watched? == WatchOutcome::Interrupted && args.duration.is_none());

    let differed = match verifier {
        Some(verifier) => verifier.finish().await,
        None => false,
    };
    print_tallies(&board)?;
    let agree = match definitions {
        Some(definitions) => prove(&definitions, &kafka, &last).await?,
        None => bail!("a file was saved at the last moment: not replayed"),
    };
    Ok(match (agree && !differed, interrupted) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Interrupted,
        (true, false) => Exit::Done,
    })
}

/// The broker, with its topics; prints its address.
fn broker() -> anyhow::Result<EmbeddedBroker> {
    let broker = EmbeddedBroker::start()?;
    for topic in ["pokemons", "users"] {
        broker.create_topic(topic, PARTITIONS)?;
    }
    eprintln!(
        "broker at {address}, in this process: join it with `tallgrass dashboard -b {address}` or `kcat -b {address} -t pokemons`",
        address = broker.brokers()
    );
    Ok(broker)
}

/// Completes after this long, or never.
async fn alarm(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Compares the last results with a replay and prints the verdict of each file; true if none differs.
async fn prove(definitions: &Definitions, kafka: &KafkaConfig, last: &Published) -> anyhow::Result<bool> {
    let claims = Claim::all(&last.snapshot, &last.status.since());
    let prover = Prover::new(&definitions.workspace, &definitions.files, kafka);
    let views = prover.prove(&claims, &BadRecords::quiet()).await?;
    let (mut out, _) = stdout();
    writeln!(out, "replay from the earliest offsets:")?;
    let outcome = report(&mut out, &views, "  ")?;
    flush(out)?;
    Ok(outcome.is_good())
}

/// The ends of both topics.
async fn ends(kafka: &KafkaConfig) -> anyhow::Result<Ends> {
    let kafka = kafka.clone();
    tokio::task::spawn_blocking(move || {
        let cluster = tallgrass_kafka::Cluster::connect(&kafka, super::batch::CONNECT_TIMEOUT)?;
        let mut ends = Vec::new();
        for topic in ["pokemons", "users"] {
            for (partition, marks) in cluster.watermarks(topic)? {
                ends.push((topic, partition, marks.high));
            }
        }
        anyhow::Ok(Ends(ends))
    })
    .await?
}

struct Ends(Vec<(&'static str, i32, i64)>);

impl Ends {
    /// Waits until the dashboard has read all of it.
    async fn are_shown(&self, board: &Mutex<Board>) {
        let is_shown = |(topic, partition, end): &(&str, i32, i64)| {
            lock(board).as_of().next_offset(topic, *partition) >= Some(*end)
        };
        while !self.0.iter().all(is_shown) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The last picture of the dashboard, as text.
fn print_tallies(board: &Mutex<Board>) -> anyhow::Result<()> {
    let (mut out, _) = stdout();
    draw_plain(&mut out, &lock(board).frame(Vec::new()))?;
    flush(out)
}

/// The roles beside the dashboard.
struct Roles {
    generators: Generators,
    threads: Vec<tokio::task::JoinHandle<anyhow::Result<String>>>,
    consumers: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
    stop_consumers: CancellationToken,
    panes: Panes,
}

#[derive(Clone)]
struct Generators {
    stop: CancellationToken,
    failed: CancellationToken,
}

/// The output of the roles' lines: panes of the screen, or lines of a plain terminal.
#[derive(Clone)]
struct Panes {
    logins: LogTail,
    panel: LogTail,
    panel_title: String,
}

impl Panes {
    fn on_screen(&self) -> Vec<LogPane> {
        vec![
            LogPane { title: "login-checker".to_owned(), lines: self.logins.lines() },
            LogPane { title: self.panel_title.clone(), lines: self.panel.lines() },
        ]
    }
}

impl Roles {
    async fn start(
        args: &Demo,
        kafka: &KafkaConfig,
        workspace: &Workspace,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let generators = Generators { stop: stop.child_token(), failed: CancellationToken::new() };
        let producing = kafka.clone().with_properties([("linger.ms".to_owned(), PRODUCER_LINGER_MS.to_owned())]);
        let seed = args.seed.unwrap_or_else(generate::any_seed);
        let mut threads = Vec::new();
        for (index, city) in CITIES.iter().enumerate() {
            let config = pokemon_gen::PokemonGenConfig {
                pokedex: PathBuf::from("data/pokemon.csv"),
                topic: "pokemons".to_owned(),
                rate: args.rate,
                count: None,
                near: vec![*city],
                spread_km: SPREAD_KM,
                seed: seed.wrapping_add(index as u64),
            };
            let (kafka, generators) = (producing.clone(), generators.clone());
            threads.push(tokio::task::spawn_blocking(move || {
                let generated = pokemon_gen::generate(&config, &kafka, &generators.stop, &mut |_| ());
                if generated.is_err() {
                    generators.failed.cancel();
                }
                let generated = generated.context("pokemon-gen")?;
                Ok(format!("pokemon-gen {}: {} events delivered", index + 1, generated.delivered))
            }));
        }
        threads.push(Self::user_gen(args.user_rate, args.logoff, seed, &producing, &generators));

        let panes = Panes {
            logins: LogTail::default(),
            panel: LogTail::default(),
            panel_title: format!("control-panel: within {RADIUS_KM} km of {}, {}", CITIES[0].lat, CITIES[0].lon),
        };
        let stop_consumers = CancellationToken::new();
        let mut consumers = Vec::new();
        let file = workspace.login_checker()?;
        let view = AppendingView::plan(workspace, &file, &file.bind([])?).await?;
        let checker = member(kafka, "login-checker".to_owned());
        consumers.push(spawn(checker, view, &stop_consumers, panes.logins.clone(), login_checker::lines));
        let file = workspace.panel(None)?;
        let bindings = control_panel::bind(&file, CITIES[0].lat, CITIES[0].lon, RADIUS_KM)?;
        let view = AppendingView::plan(workspace, &file, &bindings).await?;
        let panel = member(kafka, control_panel::consumer_group(&new_id()));
        consumers.push(spawn(panel, view, &stop_consumers, panes.panel.clone(), control_panel::lines));
        Ok(Self { generators, threads, consumers, stop_consumers, panes })
    }

    fn user_gen(
        rate: Rate,
        logoff: LogoffForm,
        seed: u64,
        kafka: &KafkaConfig,
        generators: &Generators,
    ) -> tokio::task::JoinHandle<anyhow::Result<String>> {
        let config = user_gen::UserGenConfig {
            topic: "users".to_owned(),
            users: NonZeroU32::new(1000).unwrap_or(NonZeroU32::MIN),
            rate,
            count: None,
            seed,
            logoff: match logoff {
                LogoffForm::Tombstone => users::Logoff::Tombstone,
                LogoffForm::Action => users::Logoff::Action,
            },
        };
        let (kafka, generators) = (kafka.clone(), generators.clone());
        tokio::task::spawn_blocking(move || {
            let generated = user_gen::generate(&config, &kafka, &generators.stop, &mut |_| ());
            if generated.is_err() {
                generators.failed.cancel();
            }
            Ok(format!("user-gen: {} events delivered", generated.context("user-gen")?.delivered))
        })
    }

    /// Waits until every generator has delivered all that it sent; returns their reports.
    async fn finish_generators(&mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for thread in self.threads.drain(..) {
            lines.push(thread.await??);
        }
        Ok(lines)
    }

    async fn finish(self) -> anyhow::Result<()> {
        self.stop_consumers.cancel();
        for consumer in self.consumers {
            consumer.await??;
        }
        Ok(())
    }
}

fn member(kafka: &KafkaConfig, group: String) -> GroupMember {
    let (kafka, start) = (kafka.clone(), GroupStart::Earliest);
    GroupMember { kafka, group, start, limits: BatchLimits::default(), bad: BadRecords::default() }
}

fn spawn(
    member: GroupMember,
    view: AppendingView,
    stop: &CancellationToken,
    pane: LogTail,
    lines: RowFormatter,
) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    let (runtime, stop) = (Handle::current(), stop.clone());
    let write = move |rows: &[RecordBatch]| {
        lines(rows)?.into_iter().for_each(|line| pane.push(line));
        Ok(())
    };
    tokio::task::spawn_blocking(move || group::run(&member, view, &runtime, &stop, write))
}
