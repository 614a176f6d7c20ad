//! The proof beside a live run: again and again the newest result is replayed and compared.
//!
//! ```text
//!  live loop ─▶ newest Shot ─(every interval)─▶ replay, compare ─▶ Proofs ─▶ strip, log, exit code
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

use super::explain;
use super::proof::{Claim, Prover, Verdict};
use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::{Newest, Shot, Sources};
use tallgrass_relation::BadRecords;
use tallgrass_serve::ProofSource;
use tallgrass_sink::terminal::ProofNote;

/// How long the end of a live run waits for a proof that has been told to stop: it may wait for a broker's answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the live run may take to notice that a file was saved.
const EDIT_NOTICED: Duration = Duration::from_millis(1500);

/// Time between two looks at whether it has stopped.
const STOP_POLL: Duration = Duration::from_millis(10);

/// What the proofs have found so far.
#[derive(Debug, Default)]
pub struct Proofs {
    last: Mutex<Option<Found>>,
    differed: AtomicBool,
}

/// What the last proof found.
#[derive(Debug)]
struct Found {
    of: Instant,
    differ: Vec<String>,
    failed: bool,
    compared: usize,
}

impl Proofs {
    /// The fact for the line on top of a dashboard; none before the first proof.
    pub fn note(&self) -> Option<ProofNote> {
        let found = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.as_ref()?;
        let text = if !found.differ.is_empty() {
            format!("DIFFERS: {}", found.differ.join(", "))
        } else if found.failed {
            "not verified".to_owned()
        } else if found.compared == 0 {
            "cannot be replayed".to_owned()
        } else {
            format!("live = replay, {}", ago(found.of.elapsed()))
        };
        Some(ProofNote { text, good: found.differ.is_empty() && !found.failed && found.compared > 0 })
    }

    /// The same for servers.
    pub fn source(self: &Arc<Self>) -> ProofSource {
        let proofs = Arc::clone(self);
        Arc::new(move || proofs.note())
    }

    /// Whether any proof has found a difference.
    pub fn differed(&self) -> bool {
        self.differed.load(Ordering::Relaxed)
    }

    fn found(&self, found: Found) {
        self.differed.fetch_or(!found.differ.is_empty(), Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }
}

fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    }
}

/// Proves what a live run says, as often as somebody has asked for; mostly nobody has.
#[derive(Debug)]
pub struct Verifier {
    proofs: Arc<Proofs>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Verifier {
    /// Starts to prove the newest refresh every `interval`, from start to start; a proof that takes longer delays the
    /// next one. Without an interval there are no proofs.
    pub fn start(interval: Option<Duration>, kafka: KafkaConfig, newest: &Newest) -> io::Result<Self> {
        let (proofs, stop) = (Arc::<Proofs>::default(), CancellationToken::new());
        let Some(interval) = interval else { return Ok(Self { proofs, stop, thread: None }) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (found, stopped, shots) = (Arc::clone(&proofs), stop.clone(), newest.subscribe());
        let thread = std::thread::Builder::new().name("verifier".to_owned()).spawn(move || {
            let proving = Proving { interval, kafka, shots, proofs: found, told: BTreeSet::new(), fine: None };
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = proving.run() => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Self { proofs, stop, thread: Some(thread) })
    }

    /// What it has found.
    pub fn proofs(&self) -> &Arc<Proofs> {
        &self.proofs
    }

    /// Ends it; true if any proof has found a difference.
    pub async fn finish(self) -> bool {
        self.stop.cancel();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < deadline {
            tokio::time::sleep(STOP_POLL).await;
        }
        self.proofs.differed()
    }
}

/// The work on the verifier's thread.
struct Proving {
    interval: Duration,
    kafka: KafkaConfig,
    shots: watch::Receiver<Option<Arc<Shot>>>,
    proofs: Arc<Proofs>,
    /// What has been said once and need not be again.
    told: BTreeSet<String>,
    /// Whether the last proof was fine.
    fine: Option<bool>,
}

impl Proving {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let shot = self.shots.borrow().clone();
            if let Some(shot) = shot
                && let Some(sources) = &shot.sources
            {
                self.prove(&shot, sources).await;
            }
        }
    }

    /// Whether the live run's views still are what they were, static files too: if not, a difference says nothing.
    fn is_current(&self, sources: &Arc<Sources>) -> bool {
        let newest = self.shots.borrow();
        newest.as_ref().and_then(|shot| shot.sources.as_ref()).is_some_and(|newest| Arc::ptr_eq(newest, sources))
    }

    async fn prove(&mut self, shot: &Shot, sources: &Arc<Sources>) {
        let of = Instant::now();
        let snapshot = &shot.snapshot;
        // A view without a result claims nothing; its tile says why.
        let results = snapshot.results.iter().filter(|result| result.rows.is_ok());
        let claims: Vec<Claim> = results.map(|result| Claim::of(snapshot, result, shot.status.since())).collect();
        let prover = Prover {
            workspace: &sources.workspace,
            files: &sources.files,
            kafka: &self.kafka,
            views_at_once: 1,
            target_partitions: Some(1),
        };
        let verdicts = match prover.prove(&claims, &BadRecords::quiet()).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                tracing::warn!("not verified: {}", explain(&error));
                self.proofs.found(Found { of, differ: Vec::new(), failed: true, compared: 0 });
                return;
            }
        };
        if verdicts.values().any(|verdict| matches!(verdict, Verdict::Differs(_))) {
            // A file that was saved while it was read is known to the live run a moment later.
            tokio::time::sleep(EDIT_NOTICED).await;
        }
        if !self.is_current(sources) {
            tracing::debug!("edited meanwhile: not verified this time");
            return;
        }
        let mut found = Found { of, differ: Vec::new(), failed: false, compared: 0 };
        for (view, verdict) in &verdicts {
            match verdict {
                Verdict::Agrees { .. } => found.compared += 1,
                Verdict::Differs(_) => {
                    found.compared += 1;
                    found.differ.push(view.to_string());
                    tracing::error!("{view}: {verdict}, as of {}", snapshot.as_of);
                    for row in verdict.rows() {
                        tracing::error!("{view}: {row}");
                    }
                }
                Verdict::HistoryGone { .. } => {
                    let line = format!("{view}: {verdict}");
                    if self.told.insert(line.clone()) {
                        tracing::warn!("{line}");
                    }
                }
                Verdict::Failed { .. } => {
                    found.failed = true;
                    tracing::warn!("{view} is not verified: {verdict}");
                }
            }
        }
        let fine = found.differ.is_empty() && !found.failed && found.compared > 0;
        if fine {
            let took = of.elapsed().as_secs_f64();
            let line = format!("live = replay: {} views, as of {} ({took:.1} s)", found.compared, snapshot.as_of);
            // News once, then a heartbeat for whoever asks for it.
            if self.fine == Some(true) { tracing::debug!("{line}") } else { tracing::info!("{line}") }
        }
        self.fine = Some(fine);
        self.proofs.found(found);
    }
}
