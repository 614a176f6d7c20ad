//! Bad records, which do not fit their declaration: all are counted, few are logged.
//!
//! A bad record never stops a read and never shifts its neighbours; what it must not do is vanish without a trace, nor
//! fill the log. So each is counted under its topic and kind, and each *reason* (topic, kind and column) is logged at most
//! once in [`LOG_INTERVAL`], with the coordinates of one record and the number of those that were not logged.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a reason is not logged again.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Distinct reasons that are kept apart. Column paths come from the declaration, so a reader meets a handful; the bound
/// is for paths into nested lists, and reasons past it share one entry per kind.
const MAX_REASONS: usize = 1_000;

/// Shared counter of bad records; clones count into the same place.
#[derive(Debug, Clone, Default)]
pub struct BadRecords {
    tallies: Arc<Tallies>,
}

#[derive(Debug, Default)]
struct Tallies {
    total: AtomicU64,
    quiet: bool,
    reasons: Mutex<HashMap<Reason, Tally>>,
    /// Of each relation and partition, by the reader that has read most of it.
    read: Mutex<BTreeMap<(Arc<str>, i32), Read>>,
}

/// What one reader has read of a relation's partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Read {
    /// Records, bad ones too.
    pub records: u64,
    /// Those that are not rows.
    pub bad: u64,
}

/// How many records of a relation were not rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRows {
    /// The relation.
    pub relation: Arc<str>,
    /// Its records that were read, bad ones too.
    pub records: u64,
    /// Those that did not fit the declaration.
    pub bad: u64,
}

impl fmt::Display for MissingRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relation, records, bad } = self;
        let noun = if *records == 1 { "record" } else { "records" };
        let verb = if *bad == 1 { "was not a row" } else { "were not rows" };
        write!(f, "{bad} of {records} {noun} of {relation} {verb}")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reason {
    topic: Arc<str>,
    kind: &'static str,
    column: Option<String>,
}

#[derive(Debug)]
struct Tally {
    count: u64,
    unlogged: u64,
    logged_at: Instant,
    /// The last that was logged: its coordinates and what is wrong with it.
    example: String,
}

/// How many records of one topic were bad in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCount {
    /// The topic that holds them.
    pub topic: Arc<str>,
    /// What was wrong, as a short stable name.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
}

/// One way of being bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExample {
    /// The topic that holds them.
    pub topic: Arc<str>,
    /// What was wrong, as a short stable name.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// One of the newest: its coordinates and what is wrong with it.
    pub example: String,
}

impl BadRecords {
    /// A counter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter at zero that logs nothing: for reading once more what has been read and logged already.
    pub fn quiet() -> Self {
        Self { tallies: Arc::new(Tallies { quiet: true, ..Tallies::default() }) }
    }

    /// Bad records of all topics and kinds. Where two different declarations read one topic, a record counts once for
    /// each declaration that it does not fit.
    pub fn total(&self) -> u64 {
        self.tallies.total.load(Ordering::Relaxed)
    }

    /// The counts per topic and kind, ordered by both.
    pub fn counts(&self) -> Vec<BadCount> {
        let reasons = self.tallies.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<(Arc<str>, &'static str), u64> = BTreeMap::new();
        for (reason, tally) in reasons.iter() {
            *counts.entry((Arc::clone(&reason.topic), reason.kind)).or_default() += tally.count;
        }
        counts.into_iter().map(|((topic, kind), count)| BadCount { topic, kind, count }).collect()
    }

    /// Each reason with its count and an example, the commonest first.
    pub fn examples(&self) -> Vec<BadExample> {
        let reasons = self.tallies.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let example = |(reason, tally): (&Reason, &Tally)| BadExample {
            topic: Arc::clone(&reason.topic),
            kind: reason.kind,
            count: tally.count,
            example: tally.example.clone(),
        };
        let mut examples: Vec<BadExample> = reasons.iter().map(example).collect();
        examples.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
        examples
    }

    /// The relations of which some records were not rows, by name. A relation that several views read on their own counts
    /// once.
    pub fn missing_rows(&self) -> Vec<MissingRows> {
        let read = self.tallies.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing: Vec<MissingRows> = Vec::new();
        for ((relation, _), Read { records, bad }) in read.iter() {
            match missing.last_mut().filter(|last| last.relation == *relation) {
                Some(last) => {
                    last.records += records;
                    last.bad += bad;
                }
                None => missing.push(MissingRows { relation: Arc::clone(relation), records: *records, bad: *bad }),
            }
        }
        missing.retain(|relation| relation.bad > 0);
        missing
    }

    /// Takes what a reader has read of a partition so far.
    pub(super) fn take_read(&self, relation: &Arc<str>, partition: i32, read: Read) {
        let mut all = self.tallies.read.lock().unwrap_or_else(PoisonError::into_inner);
        let most = all.entry((Arc::clone(relation), partition)).or_default();
        *most = read.max(*most);
    }

    /// Counts one bad record, and logs it unless its reason was logged lately.
    pub(super) fn report(&self, at: &Coordinates<'_>, kind: &'static str, column: Option<&str>, detail: &dyn Display) {
        let line = self.line(Instant::now(), at, kind, column, detail);
        if let Some(line) = line.filter(|_| !self.tallies.quiet) {
            tracing::warn!(target: "tallgrass::bad_record", "{line}");
        }
    }

    /// The line to log now, if any.
    fn line(
        &self,
        now: Instant,
        at: &Coordinates<'_>,
        kind: &'static str,
        column: Option<&str>,
        detail: &dyn Display,
    ) -> Option<String> {
        self.tallies.total.fetch_add(1, Ordering::Relaxed);
        let mut reasons = self.tallies.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reason = Reason { topic: Arc::clone(at.topic), kind, column: column.map(str::to_owned) };
        if reasons.len() >= MAX_REASONS && !reasons.contains_key(&reason) {
            reason.column = None;
        }
        let unlogged = match reasons.get_mut(&reason) {
            None => {
                reasons.insert(reason, Tally { count: 1, unlogged: 0, logged_at: now, example: example(at, detail) });
                0
            }
            Some(tally) => {
                tally.count += 1;
                if now.saturating_duration_since(tally.logged_at) < LOG_INTERVAL {
                    tally.unlogged += 1;
                    return None;
                }
                tally.logged_at = now;
                tally.example = example(at, detail);
                std::mem::take(&mut tally.unlogged)
            }
        };
        let more = if unlogged > 0 { format!(" (+{unlogged} more like it)") } else { String::new() };
        Some(format!("{}{more}", example(at, detail)))
    }
}

fn example(Coordinates { topic, partition, offset }: &Coordinates<'_>, detail: &dyn Display) -> String {
    format!("{topic}[{partition}] offset {offset}: {detail}")
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coordinates<'a> {
    pub topic: &'a Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_once_per_interval_with_the_number_of_those_left_out() {
        let bad = BadRecords::new();
        let topic: Arc<str> = Arc::from("pokemons");
        let start = Instant::now();
        let report = |seconds, offset, kind, column| {
            let at = Coordinates { topic: &topic, partition: 2, offset };
            bad.line(start + Duration::from_secs(seconds), &at, kind, column, &"'total' expects BIGINT")
        };
        let first = report(0, 7, "wrong_type", Some("total"));
        assert_eq!(first.as_deref(), Some("pokemons[2] offset 7: 'total' expects BIGINT"));
        assert_eq!(report(1, 8, "wrong_type", Some("total")), None);
        assert_eq!(report(9, 9, "wrong_type", Some("total")), None);
        assert!(report(9, 9, "wrong_type", Some("hp")).is_some(), "another column is another reason");
        let later = report(10, 1234, "wrong_type", Some("total"));
        assert_eq!(later.as_deref(), Some("pokemons[2] offset 1234: 'total' expects BIGINT (+2 more like it)"));
        assert_eq!(
            report(21, 1235, "wrong_type", Some("total")).as_deref(),
            first.as_deref().map(|_| "pokemons[2] offset 1235: 'total' expects BIGINT")
        );
        assert_eq!(bad.total(), 6);
        assert_eq!(bad.counts(), [BadCount { topic, kind: "wrong_type", count: 6 }]);
    }

    #[test]
    fn missing_rows_are_those_of_the_reader_that_has_read_most() {
        let bad = BadRecords::new();
        let flags: Arc<str> = Arc::from("flags");
        for (partition, records, missing) in [(0, 4, 2), (1, 2, 2), (0, 3, 2), (1, 2, 2)] {
            bad.take_read(&flags, partition, Read { records, bad: missing });
        }
        bad.take_read(&Arc::from("good"), 0, Read { records: 9, bad: 0 });
        let missing: Vec<String> = bad.missing_rows().iter().map(ToString::to_string).collect();
        assert_eq!(missing, ["4 of 6 records of flags were not rows"]);
    }

    #[test]
    fn endless_paths_do_not_fill_the_memory() {
        let bad = BadRecords::new();
        let topic: Arc<str> = Arc::from("t");
        for index in 0..5_000 {
            let at = Coordinates { topic: &topic, partition: 0, offset: index };
            bad.line(Instant::now(), &at, "wrong_type", Some(&format!("tags[{index}]")), &"no");
        }
        assert_eq!(bad.counts()[0].count, 5_000);
        assert!(bad.tallies.reasons.lock().unwrap().len() <= MAX_REASONS + 1);
    }
}
