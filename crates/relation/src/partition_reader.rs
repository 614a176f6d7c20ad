//! Reads one range of one partition on a thread of its own, and hands Arrow batches to one stream or to several.
//!
//! # Contract
//! A stream ends after the last record of the range, or with an error; it never ends early without one. The end is
//! found by offset or by the partition's end, whichever comes first, so an offset that compaction or a transaction marker
//! took is not waited for. A dropped stream stops the thread within [`POLL`].

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::physical_plan::metrics::Count;

use super::bad_records::BadRecords;
use super::error::RelationError;
use super::read_bounds::{PartitionRange, ReadProgress};
use super::record_reader::{Arrived, RecordReader};
use super::row_stream::{RowReceiver, RowSender, row_stream};
use super::topic_decoder::{TopicDecoder, Wanted};
use tallgrass_kafka::{KafkaConfig, KafkaError};

/// How long one wait for messages lasts: the time after which a dropped stream is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Bytes of messages after which a batch is closed whatever its rows, so that large records do not pile up.
const MAX_BATCH_BYTES: u64 = 8 << 20;

/// How long a partition may stay silent although there is more to read. The client reconnects by itself meanwhile, and a
/// broker that restarts takes some seconds.
const STALL: Duration = Duration::from_secs(30);

/// How long a stream that is not read may hold up the others. After that its batches pile up: its plan may be
/// waiting for another partition, whose thread waits for another plan.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a look at full channels waits.
const FULL_WAIT: Duration = Duration::from_micros(300);

/// What to read of a topic.
pub(super) struct PartitionRead {
    pub topic: Arc<str>,
    pub range: PartitionRange,
    /// Rows that are wanted at most; of one stream only.
    pub limit: Option<usize>,
    pub batch_rows: usize,
    pub config: KafkaConfig,
    pub bad: BadRecords,
    pub progress: Arc<ReadProgress>,
    /// Records looked at, for EXPLAIN ANALYZE.
    pub records: Count,
}

/// Starts to read into all outputs.
pub(super) fn start(read: PartitionRead, outputs: Vec<RowSender>) -> Result<()> {
    // Not from the runtime's pool of blocking threads: that is bounded, and a merge that waits for all of its inputs would
    // wait for ever once more partitions than threads are read.
    let name = format!("{}[{}]", read.topic, read.range.partition);
    std::thread::Builder::new().name(name).spawn(move || run(&read, outputs))?;
    Ok(())
}

/// One plan's share of a read that several plans share.
pub(super) struct SharedRead {
    /// By DataFusion partition the streams of all plans, until the first plan starts to read it.
    senders: Arc<Vec<Mutex<Option<Vec<RowSender>>>>>,
    /// The same of this plan; taken by its execution, dropped with the plan.
    receivers: Vec<Mutex<Option<RowReceiver>>>,
}

impl SharedRead {
    /// A share for each of the plans, by what they want of these ranges.
    pub(super) fn of(ranges: &[PartitionRange], plans: &[Wanted]) -> Result<Vec<Self>> {
        let mut senders: Vec<Vec<RowSender>> = ranges.iter().map(|_| Vec::new()).collect();
        let mut receivers = Vec::with_capacity(plans.len());
        for wanted in plans {
            let mut own = Vec::with_capacity(ranges.len());
            for (range, senders) in ranges.iter().zip(&mut senders) {
                let (sender, receiver) = row_stream(wanted.clone(), range.partition)?;
                senders.push(sender);
                own.push(Mutex::new(Some(receiver)));
            }
            receivers.push(own);
        }
        let senders = Arc::new(senders.into_iter().map(|senders| Mutex::new(Some(senders))).collect());
        Ok(receivers.into_iter().map(|receivers| Self { senders: Arc::clone(&senders), receivers }).collect())
    }

    /// Starts to read a partition for all plans, unless one of them has, and gives this plan's stream.
    pub(super) fn start(&self, partition: usize, read: PartitionRead) -> Result<RowReceiver> {
        if let Some(outputs) = take(&self.senders[partition]) {
            start(read, outputs)?;
        }
        take(&self.receivers[partition]).ok_or_else(|| exec_datafusion_err!("a shared read can be executed once"))
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn run(read: &PartitionRead, mut outputs: Vec<RowSender>) {
    let turn = Turn::wait();
    let ended = PartitionReader::open(read, &mut outputs).and_then(|reader| reader.read_all(turn)).map_err(Arc::new);
    for output in outputs {
        match &ended {
            Ok(ControlFlow::Continue(())) => output.end(Ok(())),
            // All plans have dropped their ends.
            Ok(ControlFlow::Break(())) => {}
            Err(error) => output.end(Err(Arc::clone(error))),
        }
    }
}

struct PartitionReader<'a> {
    read: &'a PartitionRead,
    outputs: &'a mut [RowSender],
    records: RecordReader,
    rows_sent: usize,
}

/// Clients that may connect at the same time. A scan opens one for each partition, and a broker's queue of connections to
/// accept is short: what it drops, TCP tries again only after a second.
const MAX_OPENING: usize = 6;

/// The right to connect. It is held until the first answer only, never while a batch waits for the query: all partitions
/// are read at once, as a merge of them needs.
struct Turn;

static OPENING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    fn wait() -> Self {
        let (opening, freed) = &OPENING;
        let opening = opening.lock().unwrap_or_else(PoisonError::into_inner);
        let opening = freed.wait_while(opening, |opening| *opening >= MAX_OPENING);
        *opening.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (opening, freed) = &OPENING;
        *opening.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        freed.notify_one();
    }
}

impl<'a> PartitionReader<'a> {
    fn open(read: &'a PartitionRead, outputs: &'a mut [RowSender]) -> Result<Self> {
        let wanted: Vec<Wanted> = outputs.iter().map(|output| output.wanted().clone()).collect();
        let decoder = TopicDecoder::new(&read.topic, &wanted, read.bad.clone()).map_err(external)?;
        let ranges = [(0, read.range.clone())];
        let records = RecordReader::open(&read.config, vec![decoder], &ranges).map_err(external)?;
        Ok(Self { read, outputs, records, rows_sent: 0 })
    }

    /// `turn` is given up as soon as the broker has sent something.
    fn read_all(mut self, turn: Turn) -> Result<ControlFlow<()>> {
        let mut turn = Some(turn);
        let mut pending_bytes = 0;
        let mut last_arrival = Instant::now();
        let mut last_trouble: Option<String> = None;
        let end = self.read.range.end;
        let mut next_offset = self.read.range.start;
        loop {
            if self.outputs.iter().all(RowSender::is_closed) {
                return Ok(ControlFlow::Break(()));
            }
            let Arrived { records, bytes, ended, trouble } =
                self.records.read(self.room(next_offset), POLL).map_err(external)?;
            if records > 0 || ended || trouble.is_some() {
                drop(turn.take());
            }
            let before = next_offset;
            next_offset = self.records.next_offsets().next().map_or(before, |(_, next_offset)| next_offset);
            // Each of the planned scans has come so far.
            let passed = (next_offset - before) * self.outputs.len() as i64;
            self.read.progress.advance(passed, records, bytes);
            self.read.records.add(records as usize);
            pending_bytes += bytes;
            if let Some(trouble) = trouble {
                tracing::debug!(topic = %self.read.topic, error = %trouble, "while reading");
                last_trouble = Some(trouble.to_string());
            }
            if ended && next_offset < end {
                return Err(external(self.shortened(next_offset)));
            }
            let done = next_offset >= end || self.is_satisfied();
            if done || self.records.rows() >= self.read.batch_rows || pending_bytes >= MAX_BATCH_BYTES {
                pending_bytes = 0;
                if self.flush()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if done {
                return self.finish();
            }
            // Time spent waiting for the query to take a batch is not the broker's silence.
            if next_offset > before {
                last_arrival = Instant::now();
                last_trouble = None;
            } else if last_arrival.elapsed() >= STALL {
                return Err(self.stalled(next_offset, last_arrival.elapsed(), last_trouble));
            }
        }
    }

    /// Records that are taken at once: up to a full batch, and none past the end of the range if no offset is missing.
    fn room(&self, next_offset: i64) -> usize {
        let rows = self.records.rows();
        let left = usize::try_from(self.read.range.end - next_offset).unwrap_or(usize::MAX);
        // Tables need every record for one row; a stream's limit counts records, bad ones aside.
        let limit = self.limit().unwrap_or(usize::MAX).saturating_sub(self.rows_sent + rows);
        self.read.batch_rows.saturating_sub(rows).min(left).min(limit).max(1)
    }

    /// The rows that are wanted of a stream; what a table's rows are shows at the end.
    fn limit(&self) -> Option<usize> {
        self.read.limit.filter(|_| !self.outputs.iter().any(RowSender::is_table))
    }

    fn is_satisfied(&self) -> bool {
        self.limit().is_some_and(|limit| self.rows_sent + self.records.rows() >= limit)
    }

    fn flush(&mut self) -> Result<ControlFlow<()>> {
        // Less than there is only where a limit says so, and then there is one stream.
        let left = self.read.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.rows_sent));
        let rows = self.records.finish().map_err(external)?.into_iter().flat_map(|topic| topic.rows);
        for (output, rows) in self.outputs.iter_mut().zip(rows) {
            self.rows_sent += output.push(rows, left)?;
        }
        Ok(self.deliver(Some(PATIENCE)))
    }

    fn finish(mut self) -> Result<ControlFlow<()>> {
        let (limit, batch_rows) = (self.read.limit.unwrap_or(usize::MAX), self.read.batch_rows.max(1));
        for output in self.outputs.iter_mut() {
            output.finish(limit, batch_rows)?;
        }
        Ok(self.deliver(None))
    }

    /// Sends what waits; breaks when all plans have dropped their ends. With `patience` it leaves what is not taken in the
    /// queues.
    fn deliver(&mut self, patience: Option<Duration>) -> ControlFlow<()> {
        let started = Instant::now();
        loop {
            let mut listens = false;
            for output in self.outputs.iter_mut() {
                listens |= output.drain().is_continue();
            }
            if !listens {
                return ControlFlow::Break(());
            }
            let waits = self.outputs.iter().any(RowSender::waits);
            if !waits || patience.is_some_and(|patience| self.outputs.len() > 1 && started.elapsed() >= patience) {
                return ControlFlow::Continue(());
            }
            std::thread::sleep(FULL_WAIT);
        }
    }

    fn shortened(&self, next_offset: i64) -> RelationError {
        RelationError::Shortened {
            topic: self.read.topic.to_string(),
            partition: self.read.range.partition,
            next_offset,
            end: self.read.range.end,
        }
    }

    /// The broker does not answer, or answers and sends no records.
    fn stalled(&self, next_offset: i64, after: Duration, trouble: Option<String>) -> DataFusionError {
        match trouble {
            Some(reason) => {
                external(KafkaError::Unreachable { brokers: self.read.config.brokers().to_owned(), after, reason })
            }
            None => external(RelationError::Stalled {
                topic: self.read.topic.to_string(),
                partition: self.read.range.partition,
                next_offset,
                end: self.read.range.end,
                after,
            }),
        }
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
