//! Reads one range of one partition on a thread of its own, and hands Arrow batches to one stream or to several.
//!
//! # Contract
//! A stream ends after the last record of the range, or with an error; it never ends early without one. The end is
//! found by offset or by the partition's end, whichever comes first, so an offset that compaction or a transaction marker
//! took is not waited for. A dropped stream stops the thread within [`POLL`].

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::metrics::Count;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::bad_records::BadRecords;
use super::error::RelationError;
use super::keyed::KeyedTable;
use super::read_bounds::{PartitionRange, ReadProgress};
use super::topic_decoder::{TopicDecoder, Wanted};
use crate::kafka::{BatchReader, KafkaConfig, KafkaError, Signal, Start};

/// Batches that wait for the query: enough that reading goes on while an operator works on one, and few, because twelve
/// partitions may be read at once.
const CHANNEL_BATCHES: usize = 2;

/// How long one wait for messages lasts: the time after which a dropped stream is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Bytes of messages after which a batch is closed whatever its rows, so that large records do not pile up.
const MAX_BATCH_BYTES: u64 = 8 << 20;

/// How long a partition may stay silent although there is more to read. The client reconnects by itself meanwhile, and a
/// broker that restarts takes some seconds.
const STALL: Duration = Duration::from_secs(30);

/// How long a stream that is not read may hold up the others. After that its batches pile up: whoever reads it may be
/// waiting for another partition, whose thread waits for somebody else.
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

/// What a thread sends: batches, then one `End` or one error.
enum Sent {
    Batch(RecordBatch),
    End,
}

/// The reader's end of one stream.
pub(super) struct Output {
    wanted: Wanted,
    sender: mpsc::Sender<std::result::Result<Sent, Arc<DataFusionError>>>,
    table: Option<KeyedTable>,
    /// Batches that its channel had no room for.
    queue: VecDeque<RecordBatch>,
}

/// The other end.
pub(super) struct Input {
    topic: Arc<str>,
    partition: i32,
    receiver: mpsc::Receiver<std::result::Result<Sent, Arc<DataFusionError>>>,
}

/// Both ends of a stream of what is wanted of a partition.
pub(super) fn channel(wanted: Wanted, partition: i32) -> Result<(Output, Input)> {
    let (sender, receiver) = mpsc::channel(CHANNEL_BATCHES);
    let topic = Arc::clone(wanted.relation.topic());
    let table = if wanted.relation.is_keyed() {
        let mut columns = wanted.columns.clone();
        columns.sort_unstable();
        columns.dedup();
        Some(KeyedTable::new(Arc::new(wanted.relation.schema().project(&columns)?)))
    } else {
        None
    };
    Ok((Output { wanted, sender, table, queue: VecDeque::new() }, Input { topic, partition, receiver }))
}

/// Starts to read into all outputs.
pub(super) fn start(read: PartitionRead, outputs: Vec<Output>) -> Result<()> {
    // Not from the runtime's pool of blocking threads: that is bounded, and a merge that waits for all of its inputs would
    // wait for ever once more partitions than threads are read.
    let name = format!("{}[{}]", read.topic, read.range.partition);
    std::thread::Builder::new().name(name).spawn(move || run(read, outputs))?;
    Ok(())
}

impl Input {
    /// The batches as they come.
    pub(super) fn stream(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        futures::stream::unfold(Some(self), |input| async move {
            let mut input = input?;
            match input.receiver.recv().await {
                Some(Ok(Sent::Batch(batch))) => Some((Ok(batch), Some(input))),
                Some(Ok(Sent::End)) => None,
                Some(Err(error)) => Some((Err(DataFusionError::Shared(error)), None)),
                None => {
                    let (topic, partition) = (input.topic.to_string(), input.partition);
                    Some((Err(external(RelationError::ReaderDied { topic, partition })), None))
                }
            }
        })
    }
}

fn run(read: PartitionRead, outputs: Vec<Output>) {
    let senders: Vec<_> = outputs.iter().map(|output| output.sender.clone()).collect();
    let turn = Turn::wait();
    let ended = Reader::open(read, outputs).and_then(|reader| reader.read_all(turn)).map_err(Arc::new);
    for sender in senders {
        let last = match &ended {
            Ok(ControlFlow::Continue(())) => Ok(Sent::End),
            // Nobody listens any more.
            Ok(ControlFlow::Break(())) => return,
            Err(error) => Err(Arc::clone(error)),
        };
        // A query may have been dropped meanwhile: then there is nobody to tell.
        drop(sender.blocking_send(last));
    }
}

struct Reader {
    read: PartitionRead,
    outputs: Vec<Output>,
    kafka: BatchReader,
    decoder: TopicDecoder,
    next_offset: i64,
    /// Whether the first record at or after `skip_before_ms` has come.
    begun: bool,
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

/// What one call to the client brought.
#[derive(Default)]
struct Taken {
    records: u64,
    bytes: u64,
    ended: bool,
    trouble: Option<KafkaError>,
}

impl Reader {
    fn open(read: PartitionRead, outputs: Vec<Output>) -> Result<Self> {
        let wanted: Vec<Wanted> = outputs.iter().map(|output| output.wanted.clone()).collect();
        let decoder = TopicDecoder::new(&read.topic, &wanted, read.bad.clone()).map_err(external)?;
        let start =
            Start { topic: Arc::clone(&read.topic), partition: read.range.partition, next_offset: read.range.start };
        let kafka = BatchReader::open(&read.config, &[start]).map_err(external)?;
        let next_offset = read.range.start;
        let begun = read.range.skip_before_ms.is_none();
        Ok(Self { read, outputs, kafka, decoder, next_offset, begun, rows_sent: 0 })
    }

    /// `turn` is given up as soon as the broker has sent something.
    fn read_all(mut self, turn: Turn) -> Result<ControlFlow<()>> {
        let mut turn = Some(turn);
        let mut pending_bytes = 0;
        let mut heard = Instant::now();
        let mut last_trouble: Option<String> = None;
        loop {
            if self.outputs.iter().all(|output| output.sender.is_closed()) {
                return Ok(ControlFlow::Break(()));
            }
            let before = self.next_offset;
            let taken = self.take().map_err(external)?;
            if taken.records > 0 || taken.ended || taken.trouble.is_some() {
                drop(turn.take());
            }
            let passed = self.next_offset.min(self.read.range.end) - before;
            // Each of the planned scans has come so far.
            let passed = passed.max(0) * self.outputs.len() as i64;
            self.read.progress.advance(passed, taken.records, taken.bytes);
            self.read.records.add(taken.records as usize);
            pending_bytes += taken.bytes;
            if let Some(trouble) = taken.trouble {
                tracing::debug!(topic = %self.read.topic, error = %trouble, "while reading");
                last_trouble = Some(trouble.to_string());
            }
            if taken.ended && self.next_offset < self.read.range.end {
                return Err(external(self.shortened()));
            }
            let done = self.next_offset >= self.read.range.end || self.is_satisfied();
            if done || self.decoder.len() >= self.read.batch_rows || pending_bytes >= MAX_BATCH_BYTES {
                pending_bytes = 0;
                if self.flush()?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if done {
                return self.finish();
            }
            // Time spent waiting for the query to take a batch is not the broker's silence.
            if taken.records > 0 || self.next_offset > before {
                heard = Instant::now();
                last_trouble = None;
            } else if heard.elapsed() >= STALL {
                return Err(self.stalled(heard.elapsed(), last_trouble));
            }
        }
    }

    /// Takes what has come, at most up to a full batch and never past the end of the range if no offset is missing.
    fn take(&mut self) -> Result<Taken, KafkaError> {
        let PartitionRange { end, skip_before_ms, .. } = self.read.range;
        let room = self.read.batch_rows.saturating_sub(self.decoder.len());
        let left = usize::try_from(end - self.next_offset).unwrap_or(usize::MAX);
        // Tables need every record for one row; a stream's limit counts records, bad ones aside.
        let limit = self.limit().unwrap_or(usize::MAX);
        let limit = limit.saturating_sub(self.rows_sent + self.decoder.len());
        let max = room.min(left).min(limit).max(1);

        let Self { kafka, decoder, next_offset, begun, .. } = self;
        let mut taken = Taken::default();
        let mut reached = None;
        let mut trouble = None;
        kafka.read(
            max,
            POLL,
            |message| {
                *next_offset = message.offset + 1;
                if message.offset >= end {
                    return;
                }
                taken.records += 1;
                taken.bytes += (message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len)) as u64;
                *begun = *begun || message.timestamp_ms.zip(skip_before_ms).is_some_and(|(time, from)| time >= from);
                if *begun {
                    decoder.push(&message);
                }
            },
            |signal| match signal {
                Signal::End { next_offset, .. } => reached = Some(next_offset),
                Signal::Error(error) => trouble = Some(error),
            },
        )?;
        if let Some(reached) = reached {
            *next_offset = (*next_offset).max(reached);
            taken.ended = true;
        }
        taken.trouble = trouble;
        Ok(taken)
    }

    /// The rows that are wanted of a stream; what a table's rows are shows at the end.
    fn limit(&self) -> Option<usize> {
        self.read.limit.filter(|_| self.outputs.iter().all(|output| output.table.is_none()))
    }

    fn is_satisfied(&self) -> bool {
        self.limit().is_some_and(|limit| self.rows_sent + self.decoder.len() >= limit)
    }

    fn flush(&mut self) -> Result<ControlFlow<()>> {
        if self.decoder.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let left = self.read.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.rows_sent));
        for (output, rows) in self.outputs.iter_mut().zip(self.decoder.finish().map_err(external)?) {
            if let Some(table) = &mut output.table {
                table.absorb(rows).map_err(external)?;
            } else {
                // Less than there is only where a limit says so, and then this is the only stream.
                let batch = rows.batch.slice(0, rows.batch.num_rows().min(left));
                self.rows_sent += batch.num_rows();
                output.push(batch);
            }
        }
        Ok(self.deliver(Some(PATIENCE)))
    }

    fn finish(mut self) -> Result<ControlFlow<()>> {
        for output in &mut self.outputs {
            let Some(table) = output.table.take() else { continue };
            let mut left = self.read.limit.unwrap_or(usize::MAX);
            for batch in table.current().map_err(external)? {
                let end = batch.num_rows().min(left);
                left -= end;
                for from in (0..end).step_by(self.read.batch_rows.max(1)) {
                    output.push(batch.slice(from, self.read.batch_rows.max(1).min(end - from)));
                }
            }
        }
        Ok(self.deliver(None))
    }

    /// Hands what waits to whoever listens; breaks when nobody does. With `patience` it leaves behind what is not taken.
    fn deliver(&mut self, patience: Option<Duration>) -> ControlFlow<()> {
        let started = Instant::now();
        loop {
            let mut listens = false;
            for output in &mut self.outputs {
                listens |= output.drain().is_continue();
            }
            if !listens {
                return ControlFlow::Break(());
            }
            let waits = self.outputs.iter().any(|output| !output.queue.is_empty());
            if !waits || patience.is_some_and(|patience| self.outputs.len() > 1 && started.elapsed() >= patience) {
                return ControlFlow::Continue(());
            }
            std::thread::sleep(FULL_WAIT);
        }
    }

    fn shortened(&self) -> RelationError {
        RelationError::Shortened {
            topic: self.read.topic.to_string(),
            partition: self.read.range.partition,
            next_offset: self.next_offset,
            end: self.read.range.end,
        }
    }

    /// The broker is gone, or says that it is not and sends nothing.
    fn stalled(&self, after: Duration, trouble: Option<String>) -> DataFusionError {
        match trouble {
            Some(reason) => {
                external(KafkaError::Unreachable { brokers: self.read.config.brokers().to_owned(), after, reason })
            }
            None => external(RelationError::Stalled {
                topic: self.read.topic.to_string(),
                partition: self.read.range.partition,
                next_offset: self.next_offset,
                end: self.read.range.end,
                after,
            }),
        }
    }
}

impl Output {
    fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.queue.push_back(batch);
        }
    }

    /// Sends as much as its channel takes; breaks when nobody listens.
    fn drain(&mut self) -> ControlFlow<()> {
        if self.sender.is_closed() {
            self.queue.clear();
            return ControlFlow::Break(());
        }
        while let Some(batch) = self.queue.pop_front() {
            match self.sender.try_send(Ok(Sent::Batch(batch))) {
                Ok(()) => {}
                Err(TrySendError::Full(Ok(Sent::Batch(batch)))) => {
                    self.queue.push_front(batch);
                    break;
                }
                Err(_) => {
                    self.queue.clear();
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
