//! The proof beside a live run: again and again the newest result is replayed and compared.
//!
//! ```text
//!  live loop ─▶ newest Published ─(every interval)─▶ replay, compare ─▶ Proofs ─▶ strip, API, log, exit code
//!  its tasks      a watch       a thread and a runtime of its own
//! ```
//!
//! # Contract
//! The live loop never waits for a proof: it leaves its newest result in a place of one, and the proof takes it from there.
//! There is one proof at a time, with clients of its own. Its SQL runs on one thread that no task of the live run uses;
//! records are decoded on the scan's threads, which run ahead of the SQL by two batches a partition at most.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::claim::Claim;
use crate::prover::Prover;
use crate::report::{Outcome, Proof, Verdict};
use tallgrass_diagnostics::message_of;
use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::{Definitions, Newest, Published};
use tallgrass_relation::BadRecords;
use tallgrass_sink::terminal::ProofNote;

/// How long the end of a live run waits for a proof that shall stop: it may wait for a broker's answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the live run may take to notice that a file was saved.
const EDIT_NOTICED: Duration = Duration::from_millis(1500);

/// Time between two looks at whether it has stopped.
const STOP_POLL: Duration = Duration::from_millis(10);

/// What the proofs have found so far.
#[derive(Debug, Default)]
pub struct Proofs {
    last: Mutex<Option<Arc<Proof>>>,
    differed: AtomicBool,
}

impl Proofs {
    /// The last proof; none before the first.
    pub fn last(&self) -> Option<Arc<Proof>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same as a fact for the line on top of a dashboard.
    pub fn note(&self) -> Option<ProofNote> {
        self.last().map(|proof| proof.note())
    }

    fn found(&self, proof: Proof) {
        self.differed.fetch_or(proof.verdict == Outcome::Differs, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(proof));
    }
}

/// Proves the results of a live run, until it is finished.
#[derive(Debug)]
pub struct Verifier {
    proofs: Arc<Proofs>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Verifier {
    /// Starts to prove the newest refresh every `interval`, from start to start; a proof that takes longer delays the
    /// next one.
    pub fn start(interval: Duration, kafka: KafkaConfig, newest: &Newest) -> io::Result<Self> {
        let (proofs, stop) = (Arc::<Proofs>::default(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stopped, newest) = (stop.clone(), newest.subscribe());
        let proving = Proving { kafka, newest, proofs: Arc::clone(&proofs), warned: BTreeSet::new(), good: false };
        let thread = std::thread::Builder::new().name("verifier".to_owned()).spawn(move || {
            runtime.block_on(stopped.run_until_cancelled(proving.run(interval)));
            runtime.shutdown_background();
        })?;
        Ok(Self { proofs, stop, thread })
    }

    /// What it has found.
    pub fn proofs(&self) -> &Arc<Proofs> {
        &self.proofs
    }

    /// Ends it; true if any proof has found a difference.
    pub async fn finish(self) -> bool {
        self.stop.cancel();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.thread.is_finished() && Instant::now() < deadline {
            tokio::time::sleep(STOP_POLL).await;
        }
        self.proofs.differed.load(Ordering::Relaxed)
    }
}

/// The work on the verifier's thread.
struct Proving {
    kafka: KafkaConfig,
    newest: watch::Receiver<Option<Arc<Published>>>,
    proofs: Arc<Proofs>,
    /// Warnings that were logged and need not be again.
    warned: BTreeSet<String>,
    /// Whether the last proof agreed.
    good: bool,
}

impl Proving {
    async fn run(mut self, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let published = self.newest.borrow().clone();
            if let Some(published) = published
                && let Some(definitions) = &published.definitions
                && let Some(proof) = self.prove(&published, definitions).await
            {
                self.log(&proof);
                self.proofs.found(proof);
            }
        }
    }

    /// Whether the live run's views still are what they were, static files too: if not, a difference means nothing.
    fn is_current(&self, definitions: &Arc<Definitions>) -> bool {
        let newest = self.newest.borrow();
        newest
            .as_ref()
            .and_then(|published| published.definitions.as_ref())
            .is_some_and(|newest| Arc::ptr_eq(newest, definitions))
    }

    /// Proves a refresh; none if its files were edited meanwhile.
    async fn prove(&self, published: &Published, definitions: &Arc<Definitions>) -> Option<Proof> {
        let (at, began) = (jiff::Timestamp::now(), Instant::now());
        let mut claims = Claim::all(&published.snapshot, &published.status.since());
        // A view without a result claims nothing; its tile shows why.
        claims.retain(|claim| published.result(&claim.view).is_some_and(|view| view.rows.is_ok()));
        let prover = Prover::new(&definitions.workspace, &definitions.files, &self.kafka).on_one_thread();
        let proved = prover.prove(&claims, &BadRecords::quiet()).await;
        let took_s = began.elapsed().as_secs_f64();
        let (verdict, error, views) = match proved {
            Ok(views) => (Outcome::of(&views), None, views),
            Err(error) => (Outcome::Failed, Some(message_of(&error)), Vec::new()),
        };
        if verdict == Outcome::Differs {
            // A file that was saved while it was read is known to the live run a moment later.
            tokio::time::sleep(EDIT_NOTICED).await;
        }
        if error.is_none() && !self.is_current(definitions) {
            tracing::debug!("edited meanwhile: not verified this time");
            return None;
        }
        Some(Proof { at, began, took_s, as_of: published.snapshot.as_of.clone(), verdict, error, views })
    }

    fn log(&mut self, proof: &Proof) {
        let as_of = &proof.as_of;
        if let Some(error) = &proof.error {
            tracing::warn!("not verified: {error}");
        }
        for (view, verdict) in proof.views.iter().map(|proved| (&proved.view, &proved.verdict)) {
            match verdict {
                Verdict::Agrees { .. } => {}
                Verdict::Differs { .. } => {
                    tracing::error!("{view}: {verdict}, as of {as_of}");
                    for row in verdict.rows() {
                        tracing::error!("{view}: {row}");
                    }
                }
                Verdict::NotReplayable { .. } => {
                    let line = format!("{view}: {verdict}");
                    if self.warned.insert(line.clone()) {
                        tracing::warn!("{line}");
                    }
                }
                Verdict::Failed { .. } => tracing::warn!("{view} is not verified: {verdict}"),
            }
        }
        let good = proof.verdict == Outcome::Agrees;
        if good {
            let agree = proof.views.iter().filter(|view| matches!(view.verdict, Verdict::Agrees { .. })).count();
            let line = format!("live = replay: {agree} views, as of {as_of} ({:.1} s)", proof.took_s);
            // News once, then a heartbeat at a finer level.
            if self.good { tracing::debug!("{line}") } else { tracing::info!("{line}") }
        }
        self.good = good;
    }
}
