//! The way of rows from the thread that reads a partition to the plan that asked for them.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use futures::Stream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::error::RelationError;
use super::keyed::KeyedTable;
use super::topic_decoder::{RelationRows, Wanted};

/// Batches that wait for the query: enough that reading goes on while an operator works on one, and few, because twelve
/// partitions may be read at once.
const CHANNEL_BATCHES: usize = 2;

/// Batches, then one `End` or one error.
enum Sent {
    Batch(RecordBatch),
    End,
}

/// The reader's end of one stream.
pub(super) struct RowSender {
    wanted: Wanted,
    sender: mpsc::Sender<std::result::Result<Sent, Arc<DataFusionError>>>,
    /// A keyed relation's rows, which are sent when all records have been read.
    table: Option<KeyedTable>,
    /// Batches that its channel had no room for.
    queue: VecDeque<RecordBatch>,
}

/// The plan's end.
pub(super) struct RowReceiver {
    topic: Arc<str>,
    partition: i32,
    receiver: mpsc::Receiver<std::result::Result<Sent, Arc<DataFusionError>>>,
}

/// Both ends of a stream of what is wanted of a partition.
pub(super) fn row_stream(wanted: Wanted, partition: i32) -> Result<(RowSender, RowReceiver)> {
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
    Ok((RowSender { wanted, sender, table, queue: VecDeque::new() }, RowReceiver { topic, partition, receiver }))
}

impl RowSender {
    /// What its rows are.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether its rows are known only when all records have been read.
    pub(super) fn is_table(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the plan has dropped its end.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether batches wait for room in its channel.
    pub(super) fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes in decoded rows; of a stream's at most `limit` are sent. Returns how many those are.
    pub(super) fn push(&mut self, rows: RelationRows, limit: usize) -> Result<usize> {
        if let Some(table) = &mut self.table {
            table.absorb(rows).map_err(external)?;
            return Ok(0);
        }
        let sent = rows.batch.num_rows().min(limit);
        self.enqueue(rows.batch.slice(0, sent));
        Ok(sent)
    }

    /// After the last record: a table's rows, `limit` at most, in batches of `batch_rows`.
    pub(super) fn finish(&mut self, limit: usize, batch_rows: usize) -> Result<()> {
        let Some(table) = self.table.take() else { return Ok(()) };
        let mut left = limit;
        for batch in table.current().map_err(external)? {
            let end = batch.num_rows().min(left);
            left -= end;
            for from in (0..end).step_by(batch_rows) {
                self.enqueue(batch.slice(from, batch_rows.min(end - from)));
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.queue.push_back(batch);
        }
    }

    /// Sends as much as its channel takes; breaks when the plan has dropped its end.
    pub(super) fn drain(&mut self) -> ControlFlow<()> {
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

    /// Sends the last message: that all rows have been sent, or why not. A plan that has dropped its end needs none.
    pub(super) fn end(self, ended: std::result::Result<(), Arc<DataFusionError>>) {
        self.sender.blocking_send(ended.map(|()| Sent::End)).ok();
    }
}

impl RowReceiver {
    /// The batches as they arrive.
    pub(super) fn stream(self) -> impl Stream<Item = Result<RecordBatch>> + Send {
        futures::stream::unfold(Some(self), |receiver| async move {
            let mut this = receiver?;
            match this.receiver.recv().await {
                Some(Ok(Sent::Batch(batch))) => Some((Ok(batch), Some(this))),
                Some(Ok(Sent::End)) => None,
                Some(Err(error)) => Some((Err(DataFusionError::Shared(error)), None)),
                None => {
                    let (topic, partition) = (this.topic.to_string(), this.partition);
                    Some((Err(external(RelationError::ReaderDied { topic, partition })), None))
                }
            }
        })
    }
}

fn external(error: RelationError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
