//! The contents of topics, and their arrival: records in columns, cut into micro-batches by hand.
//!
//! A [`History`] is all that was ever written; a [`FeedStep`] is a micro-batch of it. The rows of a keyed table are determined
//! here by a plain map from key to newest record, independent of how the program keeps its tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    TimestampMillisecondArray, UInt32Array,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{Engine, FeedTopic, MicroBatch};
use tallgrass_relation::{KafkaRelation, RelationRows, Wanted};

/// The partition, key and time of a record, and whether its value is null.
#[derive(Debug, Clone)]
pub struct RecordOrigin {
    pub partition: i32,
    pub key: Option<String>,
    pub timestamp_ms: i64,
    pub tombstone: bool,
}

/// One topic's records in the order in which they were written, under the one declaration that its relations share.
#[derive(Debug, Clone)]
pub struct TopicRecords {
    pub name: Arc<str>,
    /// The declared columns, then the metadata.
    rows: RecordBatch,
    origins: Vec<RecordOrigin>,
    /// Rising within a partition, with gaps: compaction leaves some.
    offsets: Vec<i64>,
    /// Keyed relation → which records delete its row.
    deletes: HashMap<String, Vec<bool>>,
}

/// Every topic.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub topics: Vec<TopicRecords>,
}

/// Some rows of a topic (by its place in the history), by their place in the topic.
pub type TopicSlice = (usize, Vec<usize>);

/// A micro-batch, and whether all results are compared after it.
#[derive(Debug, Clone)]
pub struct FeedStep {
    pub rows: Vec<TopicSlice>,
    pub compare: bool,
}

impl TopicRecords {
    /// Puts records into a topic; a tombstone's columns must be null. One offset in `gap` is left out.
    pub fn new(name: &str, declared: &RecordBatch, origins: Vec<RecordOrigin>, gap: i64) -> Self {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut offsets = Vec::with_capacity(origins.len());
        for origin in &origins {
            let offset = next.entry(origin.partition).or_default();
            *offset += i64::from(*offset % gap == gap - 1);
            offsets.push(*offset);
            *offset += 1;
        }
        let metadata: [(Field, ArrayRef); 4] = [
            (
                Field::new("_key", DataType::Utf8View, true),
                Arc::new(origins.iter().map(|origin| origin.key.clone()).collect::<StringViewArray>()),
            ),
            (
                Field::new("_partition", DataType::Int32, false),
                Arc::new(Int32Array::from_iter_values(origins.iter().map(|origin| origin.partition))),
            ),
            (
                Field::new("_offset", DataType::Int64, false),
                Arc::new(Int64Array::from_iter_values(offsets.iter().copied())),
            ),
            (
                Field::new("_timestamp", DataType::Timestamp(TimeUnit::Millisecond, None), true),
                Arc::new(TimestampMillisecondArray::from_iter_values(origins.iter().map(|origin| origin.timestamp_ms))),
            ),
        ];
        let schema = declared.schema();
        let fields = schema.fields().iter().cloned().chain(metadata.iter().map(|(f, _)| Arc::new(f.clone())));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = declared.columns().iter().cloned().chain(metadata.into_iter().map(|(_, column)| column));
        let rows = RecordBatch::try_new(schema, columns.collect()).unwrap();
        Self { name: name.into(), rows, origins, offsets, deletes: HashMap::new() }
    }

    /// Every row, with the metadata.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Sets which records delete the row of a keyed relation besides tombstones.
    pub fn delete(&mut self, relation: &str, deletes: &BooleanArray) {
        let whole = deletes.iter().zip(&self.origins).map(|(delete, origin)| delete == Some(true) || origin.tombstone);
        self.deletes.insert(relation.to_owned(), whole.collect());
    }

    fn pick(&self, rows: &[usize]) -> RecordBatch {
        take_record_batch(&self.rows, &UInt32Array::from_iter_values(rows.iter().map(|row| *row as u32))).unwrap()
    }

    /// A key is a row's identity within its partition.
    fn identity(&self, row: usize) -> Option<(i32, &str)> {
        let origin = &self.origins[row];
        Some((origin.partition, origin.key.as_deref()?))
    }

    /// The rows of a relation over this topic after the records `fed`, one batch for each partition.
    pub fn current(&self, relation: &KafkaRelation, fed: &[usize]) -> Vec<RecordBatch> {
        let mut rows: Vec<usize> = if relation.is_keyed() {
            let mut newest: HashMap<(i32, &str), usize> = HashMap::new();
            for row in fed {
                let Some(identity) = self.identity(*row) else { continue };
                if self.deletes[relation.name()][*row] {
                    newest.remove(&identity);
                } else {
                    newest.insert(identity, *row);
                }
            }
            newest.into_values().collect()
        } else {
            fed.to_vec()
        };
        rows.sort_by_key(|row| self.origins[*row].partition);
        let partitions = rows.chunk_by(|a, b| self.origins[*a].partition == self.origins[*b].partition);
        partitions.map(|rows| self.pick(rows)).collect()
    }

    /// The decoded rows for a relation of which some columns are wanted.
    fn decoded(&self, wanted: &Wanted, rows: &[usize]) -> RelationRows {
        let relation = &wanted.relation;
        let keyed = relation.is_keyed();
        // A record without a key is not a row of a table.
        let rows: Vec<usize> = rows.iter().copied().filter(|row| !keyed || self.identity(*row).is_some()).collect();
        let mut columns = wanted.columns.clone();
        columns.sort_unstable();
        columns.dedup();
        let picked = self.pick(&rows).project(&columns).unwrap();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::new(relation.schema().project(&columns).unwrap());
        let batch = RecordBatch::try_new_with_options(schema, picked.columns().to_vec(), &options).unwrap();
        if !keyed {
            return RelationRows { batch, keys: None, deletes: None };
        }
        let keys = rows.iter().filter_map(|row| self.identity(*row)).map(|(partition, key)| {
            let mut bytes = partition.to_be_bytes().to_vec();
            bytes.extend(key.bytes());
            bytes
        });
        let deletes: BooleanBuffer = rows.iter().map(|row| self.deletes[relation.name()][*row]).collect();
        let deletes = (deletes.count_set_bits() > 0).then_some(deletes);
        RelationRows { batch, keys: Some(BinaryArray::from_iter_values(keys)), deletes }
    }
}

impl History {
    /// Cuts everything into micro-batches of random sizes. Each takes from some partitions of some topics what comes next
    /// there, in an order that keeps only that of each partition.
    pub fn steps(&self, random: &mut ChaCha8Rng, rows_a_step: usize, compare: f64) -> Vec<FeedStep> {
        let mut queues: BTreeMap<(usize, i32), std::collections::VecDeque<usize>> = BTreeMap::new();
        for (index, topic) in self.topics.iter().enumerate() {
            for (row, origin) in topic.origins.iter().enumerate() {
                queues.entry((index, origin.partition)).or_default().push_back(row);
            }
        }
        let mut steps = Vec::new();
        while !queues.is_empty() {
            let mut rows: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for _ in 0..random.random_range(0..=2 * rows_a_step) {
                let origin = random.random_range(0..queues.len().max(1));
                let Some(origin) = queues.keys().nth(origin).copied() else { break };
                let queue = queues.get_mut(&origin).unwrap();
                rows.entry(origin.0).or_default().extend(queue.pop_front());
                if queue.is_empty() {
                    queues.remove(&origin);
                }
            }
            steps.push(FeedStep { rows: rows.into_iter().collect(), compare: random.random_bool(compare) });
        }
        steps
    }
}

/// How far an engine has been fed.
#[derive(Debug)]
pub struct FeedProgress<'a> {
    pub history: &'a History,
    /// Rows of each topic in the order of their arrival.
    pub rows: Vec<Vec<usize>>,
    /// The expected as-of of the engine.
    pub as_of: AsOf,
}

impl<'a> FeedProgress<'a> {
    /// Nothing so far: every partition is at its beginning.
    pub fn start(history: &'a History, engine: &mut Engine) -> Self {
        let mut as_of = AsOf::default();
        let read: Vec<Arc<str>> = engine.topics().into_iter().map(|topic| topic.topic).collect();
        for topic in history.topics.iter().filter(|topic| read.contains(&topic.name)) {
            for origin in &topic.origins {
                as_of.set(&topic.name, origin.partition, 0);
            }
        }
        engine.start_at(&as_of);
        Self { history, rows: vec![Vec::new(); history.topics.len()], as_of }
    }

    /// The step as the feed would send it.
    pub fn take(&mut self, step: &FeedStep, topics: &[FeedTopic]) -> MicroBatch {
        let mut batch = MicroBatch::default();
        for (topic, rows) in &step.rows {
            self.rows[*topic].extend(rows);
            let topic = &self.history.topics[*topic];
            let Some(origin) = topics.iter().position(|read| read.topic == topic.name) else { continue };
            let decoded = topics[origin].inputs.iter().map(|input| (input.id, topic.decoded(&input.wanted, rows)));
            batch.rows.extend(decoded);
            for row in rows {
                batch.next_offsets.set(&topic.name, topic.origins[*row].partition, topic.offsets[*row] + 1);
            }
            batch.messages += rows.len() as u64;
        }
        for (topic, partition, next_offset) in batch.next_offsets.iter() {
            self.as_of.set(topic, partition, next_offset);
        }
        batch
    }
}
