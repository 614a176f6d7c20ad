//! Where the reads of one statement begin and end.
//!
//! "The end" of a growing topic is a moment. All scans of a statement (and all files of one replay) must mean the same
//! moment, or a join would see a user's login on one side and not on the other. So the watermarks of a topic are taken
//! once, when the first scan over it is planned, and every later scan takes them from here.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use datafusion::logical_expr::Expr;

use super::catalog::KafkaRelation;
use super::reach::Reach;
use tallgrass_kafka::{AsOf, Cluster, HistoryStart, KafkaConfig, KafkaError, Watermarks};

/// How long the first contact with a broker may take before a command gives up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One partition's share of a read: plain data, frozen when the statement is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: i32,
    /// The first offset to read.
    pub start: i64,
    /// The offset after the last; never below `start`.
    pub end: i64,
    /// Drop records until the first of this time or later; only where the broker cannot look times up.
    pub skip_before_ms: Option<i64>,
}

/// How far the reads of a statement are: for a progress bar, and to prove that little was read.
#[derive(Debug, Default)]
pub struct ReadProgress {
    offsets_total: AtomicU64,
    offsets_done: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl ReadProgress {
    /// Offsets that the planned scans cover: at least as many as there are records to read.
    pub fn offsets_total(&self) -> u64 {
        self.offsets_total.load(Ordering::Relaxed)
    }

    /// Offsets that have been passed; equals the total in the end, unless a limit ended a scan early.
    pub fn offsets_done(&self) -> u64 {
        self.offsets_done.load(Ordering::Relaxed)
    }

    /// Records that brokers have sent and scans have looked at.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes of their keys and values.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn plan(&self, ranges: &[PartitionRange]) {
        let offsets: i64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.offsets_total.fetch_add(offsets.unsigned_abs(), Ordering::Relaxed);
    }

    pub(super) fn advance(&self, offsets: i64, records: u64, bytes: u64) {
        self.offsets_done.fetch_add(offsets.unsigned_abs(), Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Begin and end of every topic, shared by all scans of one statement or one replay.
pub struct ReadBounds {
    config: KafkaConfig,
    connect_timeout: Duration,
    until: OnceLock<Until>,
    from_ms: Option<i64>,
    progress: Arc<ReadProgress>,
    frozen: Mutex<Frozen>,
}

/// Where reads end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Until {
    /// At the ends as they are when each topic is first asked for.
    #[default]
    Ends,
    /// At these offsets. A topic or partition without one had nothing then, so nothing of it is read.
    Result(AsOf),
    /// The same, but a topic that is read must be named: the offsets were written by hand, and one may have been forgotten.
    Offsets(AsOf),
    /// The same, but a topic without one is read to its end: what stands beside the result never read it.
    Beside(AsOf),
    /// Before the first record of each partition that has this time, in milliseconds since 1970 UTC, or a later one. The
    /// broker must be able to look it up.
    TimestampMs(i64),
}

#[derive(Default)]
struct Frozen {
    cluster: Option<Arc<Cluster>>,
    topics: HashMap<Arc<str>, Arc<FrozenTopic>>,
}

/// What a topic had when the first scan asked.
struct FrozenTopic {
    /// `high` is where reads end.
    marks: BTreeMap<i32, Watermarks>,
    /// Where `from_ms` begins in each partition.
    from: StartOfTime,
}

enum StartOfTime {
    /// From the oldest record.
    Earliest,
    /// From these offsets.
    Offsets(BTreeMap<i32, i64>),
    /// Somewhere: the reader has to look at each record's time.
    Unknown(i64),
}

impl ReadBounds {
    /// From the oldest records to the ends as they are when each topic is first asked for.
    pub fn new(config: KafkaConfig) -> Self {
        Self {
            config,
            connect_timeout: CONNECT_TIMEOUT,
            until: OnceLock::new(),
            from_ms: None,
            progress: Arc::default(),
            frozen: Mutex::default(),
        }
    }

    /// Ends exactly there.
    #[must_use]
    pub fn until(self, until: Until) -> Self {
        self.end_at(until);
        self
    }

    /// The same for bounds that scans share already; once a topic has been read, or an end named, that stands.
    pub fn end_at(&self, until: Until) {
        self.until.get_or_init(|| until);
    }

    /// Streams begin at their first record of this time or later, in each partition, and go on from there whatever the
    /// later records' times are. Keyed tables still begin at the oldest record: their rows are what all updates left.
    #[must_use]
    pub fn from_timestamp_ms(mut self, from_ms: Option<i64>) -> Self {
        self.from_ms = from_ms;
        self
    }

    /// Gives up on an unreachable broker after this long.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The cluster that is read.
    pub fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// Counters of all scans under these bounds.
    pub fn progress(&self) -> &Arc<ReadProgress> {
        &self.progress
    }

    /// Where the reads end, for every topic that has been asked for.
    pub fn as_of(&self) -> AsOf {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut as_of = AsOf::default();
        for (topic, frozen) in &frozen.topics {
            for (&partition, marks) in &frozen.marks {
                as_of.set(topic, partition, marks.high);
            }
        }
        as_of
    }

    /// Partitions of the topics asked for whose first records the broker no longer has: what reads them from the oldest
    /// record counts from there.
    pub fn history_starts(&self) -> Vec<HistoryStart> {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut starts: Vec<HistoryStart> = Vec::new();
        for (topic, frozen) in &frozen.topics {
            for (&partition, marks) in frozen.marks.iter().filter(|(_, marks)| marks.low > 0) {
                starts.push(HistoryStart { topic: Arc::clone(topic), partition, first_offset: marks.low });
            }
        }
        starts.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        starts
    }

    /// What a scan under `filters` has to read of each partition; partitions that cannot matter are left out.
    /// Blocks on the broker.
    pub(super) fn ranges(&self, relation: &KafkaRelation, filters: &[Expr]) -> Result<Vec<PartitionRange>, KafkaError> {
        let topic = self.topic(relation.topic())?;
        let mut starts_of_time: HashMap<i64, Option<BTreeMap<i32, i64>>> = HashMap::new();
        let mut ranges = Vec::new();
        for (&partition, marks) in &topic.marks {
            let Some(reach) = Reach::of(filters, partition) else { continue };
            let mut range = PartitionRange { partition, start: marks.low, end: marks.high, skip_before_ms: None };
            if !relation.is_keyed() {
                match &topic.from {
                    StartOfTime::Earliest => {}
                    StartOfTime::Offsets(offsets) => {
                        range.start = range.start.max(offsets.get(&partition).copied().unwrap_or(marks.low));
                    }
                    // Its beginning is found by reading from the oldest record, so no filter may seek past that.
                    StartOfTime::Unknown(from_ms) => range.skip_before_ms = Some(*from_ms),
                }
                // Not for tables: the row is the newest record, so all records up to the end decide what it is.
                range.end = range.end.min(reach.end_offset);
            }
            // A lower bound is safe for tables too: it speaks of the newest record of a key, and a key whose newest record
            // lies below is filtered out whether it was read or not; one that was updated later has its newest above.
            if range.skip_before_ms.is_none() {
                range.start = range.start.max(reach.first_offset);
                if reach.from_ms > i64::MIN {
                    let offsets = match starts_of_time.entry(reach.from_ms) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(unknown) => {
                            unknown.insert(self.cluster()?.offsets_for_time(relation.topic(), reach.from_ms)?)
                        }
                    };
                    if let Some(&offset) = offsets.as_ref().and_then(|offsets| offsets.get(&partition)) {
                        range.start = range.start.max(offset);
                    }
                }
            }
            range.start = range.start.clamp(marks.low.min(range.end), range.end);
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// The topic as it was when first asked for.
    fn topic(&self, topic: &Arc<str>) -> Result<Arc<FrozenTopic>, KafkaError> {
        // Held over the requests, so that two scans planned at once cannot freeze two moments.
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = frozen.topics.get(topic) {
            return Ok(Arc::clone(known));
        }
        let until = self.until.get_or_init(Until::default);
        match until {
            Until::Result(as_of) if as_of.topic(topic).is_none() => {
                let nothing = Arc::new(FrozenTopic { marks: BTreeMap::new(), from: StartOfTime::Earliest });
                frozen.topics.insert(Arc::clone(topic), Arc::clone(&nothing));
                return Ok(nothing);
            }
            Until::Offsets(as_of) if as_of.topic(topic).is_none() => {
                return Err(KafkaError::EndUnknown { topic: topic.to_string() });
            }
            _ => {}
        }
        let cluster = self.connected(&mut frozen)?;
        let from = match self.from_ms {
            None => StartOfTime::Earliest,
            Some(from_ms) => match cluster.offsets_for_time(topic, from_ms)? {
                Some(offsets) => StartOfTime::Offsets(offsets),
                None => StartOfTime::Unknown(from_ms),
            },
        };
        let marks = cut(until, topic, cluster.watermarks(topic)?, &cluster)?;
        let known = Arc::new(FrozenTopic { marks, from });
        frozen.topics.insert(Arc::clone(topic), Arc::clone(&known));
        Ok(known)
    }

    fn cluster(&self) -> Result<Arc<Cluster>, KafkaError> {
        self.connected(&mut self.frozen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn connected(&self, frozen: &mut Frozen) -> Result<Arc<Cluster>, KafkaError> {
        if let Some(cluster) = &frozen.cluster {
            return Ok(Arc::clone(cluster));
        }
        let cluster = Arc::new(Cluster::connect(&self.config, self.connect_timeout)?);
        frozen.cluster = Some(Arc::clone(&cluster));
        Ok(cluster)
    }
}

/// The marks of a topic with the ends that were asked for.
fn cut(
    until: &Until,
    topic: &Arc<str>,
    mut marks: BTreeMap<i32, Watermarks>,
    cluster: &Cluster,
) -> Result<BTreeMap<i32, Watermarks>, KafkaError> {
    let ends = match until {
        Until::Ends => return Ok(marks),
        Until::Beside(as_of) if as_of.topic(topic).is_none() => return Ok(marks),
        Until::Result(as_of) | Until::Offsets(as_of) | Until::Beside(as_of) => {
            as_of.topic(topic).cloned().unwrap_or_default()
        }
        Until::TimestampMs(until_ms) => cluster
            .offsets_for_time(topic, *until_ms)?
            .ok_or_else(|| KafkaError::NoTimeIndex { topic: topic.to_string() })?
            .into_iter()
            // A record may have come between the two requests.
            .map(|(partition, next)| (partition, marks.get(&partition).map_or(next, |marks| next.min(marks.high))))
            .collect(),
    };
    marks.retain(|partition, _| ends.contains_key(partition));
    for (&partition, &next_offset) in &ends {
        let now = marks.get(&partition).copied().unwrap_or(Watermarks { low: 0, high: 0 });
        if next_offset > now.high {
            // Where a result once counted more, the topic was created again: no read can give that result again.
            return Err(KafkaError::BeyondEnd { topic: topic.to_string(), partition, next_offset, high: now.high });
        }
        marks.insert(partition, Watermarks { low: now.low, high: next_offset });
    }
    Ok(marks)
}

/// Without the configuration, which may hold passwords.
impl fmt::Debug for ReadBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadBounds")
            .field("brokers", &self.config.brokers())
            .field("until", &self.until)
            .field("from_ms", &self.from_ms)
            .finish_non_exhaustive()
    }
}
