//! The rows of a keyed relation: the newest record of each key, as Arrow columns.
//!
//! ```text
//!  RelationRows ──▶ new segment at the end ──▶ for each row: key index ──▶ its former row dies
//!                                                   │
//!  Delta ◀── retractions: rows that died; insertions: rows of the batch that still live
//! ```
//!
//! # Design
//! Rows are appended in segments and never change; an update kills the old row and appends the new one. The index is a
//! hash table of row numbers alone: a key's bytes are stored once, in its segment, and its hash is computed again when
//! the table grows. So a key costs its bytes, 8 for the row number, 8 for offset and partition, and the slack of the hash
//! table, besides the columns.
//!
//! A segment of which more than half is dead is rewritten at the end: the rows it moves are fewer than the deaths that
//! paid for them, so an update stays O(1) amortised and dead rows never outnumber live ones (but for the newest batch).
//! Small neighbours at the end are merged geometrically, as in an LSM tree, or batches of one row would make as many
//! segments.

use std::collections::BTreeSet;

use ahash::RandomState;
use datafusion::arrow::array::{Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::delta::Delta;
use super::error::RelationError;
use super::segment::{RowId, Segment};
use super::topic_decoder::RelationRows;

/// Segments grow by merging up to here: large enough that their number stays small at a million keys, small enough that a
/// rewrite takes a few milliseconds.
const MAX_SEGMENT_ROWS: usize = 65_536;

/// The current rows of a keyed relation.
///
/// # Contract
/// Rows must come in the order of their offsets within a partition. After any sequence of [`Self::apply`] the sum of the
/// deltas equals [`Self::current`], however the records were cut into batches.
#[derive(Debug)]
pub struct KeyedTable {
    schema: SchemaRef,
    /// Ordered by `first_row`, without overlap.
    segments: Vec<Segment>,
    next_row: RowId,
    /// The live row of each key.
    index: HashTable<RowId>,
    hasher: RandomState,
}

impl KeyedTable {
    /// A table without rows; `schema` is that of the batches to come.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, segments: Vec::new(), next_row: 0, index: HashTable::new(), hasher: RandomState::new() }
    }

    /// The columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many keys have a row.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no key has a row.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Upserts and deletes, and returns what changed, consolidated: of several records of one key in the batch only the
    /// newest counts, and a row that one record inserts and a later one of the batch replaces was never there.
    pub fn apply(&mut self, rows: RelationRows) -> Result<Delta, RelationError> {
        if rows.batch.num_rows() == 0 {
            return Ok(Delta::insertions(rows.batch));
        }
        let died = self.write(rows)?;
        let delta = self.delta(&died)?;
        self.tidy()?;
        Ok(delta)
    }

    /// The same without a delta, for a reader that only wants the current rows.
    pub fn absorb(&mut self, rows: RelationRows) -> Result<(), RelationError> {
        self.write(rows)?;
        self.tidy()?;
        Ok(())
    }

    /// The current rows, in no order. Cheap where nothing changed since the last call.
    pub fn current(&self) -> Result<Vec<RecordBatch>, RelationError> {
        let live = self.segments.iter().filter(|segment| segment.live_rows() > 0);
        Ok(live.map(Segment::current).collect::<Result<_, _>>()?)
    }

    /// Bytes on the heap.
    pub fn memory_size(&self) -> usize {
        self.index.allocation_size() + self.segments.iter().map(Segment::memory_size).sum::<usize>()
    }

    /// Appends the batch as a segment and makes it current. Returns where the rows lie that died, of earlier segments only.
    fn write(&mut self, rows: RelationRows) -> Result<Vec<(usize, usize)>, RelationError> {
        let RelationRows { batch, keys, deletes } = rows;
        let keys = keys.filter(|keys| keys.len() == batch.num_rows()).ok_or(RelationError::NotKeyed)?;
        let first_row = self.next_row;
        let count = batch.num_rows();
        if count == 0 {
            return Ok(Vec::new());
        }
        let newest = self.segments.len();
        self.segments.push(Segment::new(first_row, batch, keys));
        self.next_row += count as RowId;

        let Self { segments, index, hasher, .. } = self;
        let mut died = Vec::new();
        for row in 0..count {
            let key = segments[newest].keys.value(row);
            let hash = hasher.hash_one(key);
            let id = first_row + row as RowId;
            let deleted = deletes.as_ref().is_some_and(|deletes| deletes.value(row));
            let same = |other: &RowId| key_of(segments, *other) == key;
            let former = if deleted {
                index.find_entry(hash, same).ok().map(|entry| entry.remove().0)
            } else {
                match index.entry(hash, same, |other| hasher.hash_one(key_of(segments, *other))) {
                    Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), id)),
                    Entry::Vacant(entry) => {
                        entry.insert(id);
                        None
                    }
                }
            };
            if deleted {
                segments[newest].kill(row);
            }
            if let Some(former) = former {
                let (segment, row) = locate(segments, former);
                segments[segment].kill(row);
                if segment != newest {
                    died.push((segment, row));
                }
            }
        }
        Ok(died)
    }

    /// What the newest segment changed, given the rows that died of it.
    fn delta(&self, died: &[(usize, usize)]) -> Result<Delta, RelationError> {
        let Some((newest, earlier)) = self.segments.split_last() else {
            return Ok(Delta::insertions(RecordBatch::new_empty(self.schema.clone())));
        };
        // Only the segments that lost a row take part: there may be many others.
        let touched: BTreeSet<usize> = died.iter().map(|(segment, _)| *segment).collect();
        let touched: Vec<usize> = touched.into_iter().collect();
        let sources: Vec<&RecordBatch> = touched.iter().map(|segment| &earlier[*segment].batch).collect();
        let place = |segment: usize| touched.partition_point(|other| *other < segment);
        let rows: Vec<(usize, usize)> = died.iter().map(|(segment, row)| (place(*segment), *row)).collect();
        Ok(Delta { retractions: pick(&self.schema, &sources, &rows)?, insertions: newest.filtered()? })
    }

    /// Rewrites what is mostly dead and merges what is small.
    fn tidy(&mut self) -> Result<(), RelationError> {
        let sparse: Vec<Segment> = self.segments.extract_if(.., |segment| segment.is_sparse()).collect();
        for segment in sparse.into_iter().filter(|segment| segment.live_rows() > 0) {
            let rewritten = segment.rewritten(self.next_row)?;
            self.next_row = rewritten.end();
            let live = (0..segment.rows()).filter(|row| segment.is_live(*row));
            self.renumber(&rewritten, live.enumerate().map(|(to, from)| (to, segment.first_row + from as RowId)));
            self.segments.push(rewritten);
        }
        while let [.., before, last] = self.segments.as_slice() {
            if before.rows() > 2 * last.rows() || before.rows() + last.rows() > MAX_SEGMENT_ROWS {
                break;
            }
            let merged = before.merged(last)?;
            let moved = before.rows();
            // Numbers between the two were given back by a rewrite; the later rows move down to close the gap.
            if before.end() != last.first_row {
                let live = (0..last.rows())
                    .filter(|row| last.is_live(*row))
                    .map(|row| (moved + row, last.first_row + row as RowId));
                let live: Vec<(usize, RowId)> = live.collect();
                self.renumber(&merged, live.into_iter());
            }
            self.segments.truncate(self.segments.len() - 2);
            self.next_row = merged.end();
            self.segments.push(merged);
        }
        Ok(())
    }

    /// Lets the index name rows by their places in `segment` that it named otherwise before. Ascending, so that where
    /// numbers move down no new number meets an old one that is still to be replaced.
    fn renumber(&mut self, segment: &Segment, moves: impl Iterator<Item = (usize, RowId)>) {
        for (row, former) in moves {
            let hash = self.hasher.hash_one(segment.keys.value(row));
            if let Some(id) = self.index.find_mut(hash, |id| *id == former) {
                *id = segment.first_row + row as RowId;
            }
        }
    }
}

fn locate(segments: &[Segment], id: RowId) -> (usize, usize) {
    let segment = segments.partition_point(|segment| segment.first_row <= id).saturating_sub(1);
    (segment, (id - segments[segment].first_row) as usize)
}

fn key_of(segments: &[Segment], id: RowId) -> &[u8] {
    let (segment, row) = locate(segments, id);
    segments[segment].keys.value(row)
}

/// Rows by (source, row), also where there are no columns.
fn pick(schema: &SchemaRef, sources: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    let columns = (0..schema.fields().len()).map(|column| {
        let arrays: Vec<_> = sources.iter().map(|batch| batch.column(column).as_ref()).collect();
        interleave(&arrays, rows)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::sync::Arc;

    use datafusion::arrow::array::{AsArray, BinaryBuilder, Int64Builder, StringViewBuilder};
    use datafusion::arrow::buffer::BooleanBuffer;
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    /// A record: its key, and its row unless it deletes.
    type Record = (u16, Option<i64>);
    /// Rows by their multiplicity.
    type Bag = BTreeMap<(i64, String), i64>;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("value", DataType::Int64, true),
            Field::new("text", DataType::Utf8View, true),
        ]))
    }

    fn text(key: u16, value: i64) -> String {
        // Longer than the twelve bytes that a view holds in place, so that buffers are shared and compacted.
        format!("the text of key {key} at {value}")
    }

    fn rows(records: &[Record]) -> RelationRows {
        let (mut values, mut texts, mut keys) = (Int64Builder::new(), StringViewBuilder::new(), BinaryBuilder::new());
        for (key, value) in records {
            values.append_option(*value);
            texts.append_option(value.map(|value| text(*key, value)));
            keys.append_value(key.to_be_bytes());
        }
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(values.finish()), Arc::new(texts.finish())]).unwrap();
        let deletes: BooleanBuffer = records.iter().map(|(_, value)| value.is_none()).collect();
        let deletes = (deletes.count_set_bits() > 0).then_some(deletes);
        RelationRows { batch, keys: Some(keys.finish()), deletes }
    }

    fn add(bag: &mut Bag, batch: &RecordBatch, weight: i64) {
        let values = batch.column(0).as_primitive::<Int64Type>();
        let texts = batch.column(1).as_string_view();
        for row in 0..batch.num_rows() {
            assert!(values.is_valid(row), "a deletion is not a row");
            let entry = bag.entry((values.value(row), texts.value(row).to_owned())).or_default();
            *entry += weight;
        }
        bag.retain(|_, weight| *weight != 0);
    }

    fn bag_of(table: &KeyedTable) -> Bag {
        let mut bag = Bag::new();
        for batch in table.current().unwrap() {
            add(&mut bag, &batch, 1);
        }
        bag
    }

    fn model(records: &HashMap<u16, i64>) -> Bag {
        let mut bag = Bag::new();
        for (key, value) in records {
            *bag.entry((*value, text(*key, *value))).or_default() += 1;
        }
        bag
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn deltas_sum_to_the_newest_record_of_each_key(
            batches in prop::collection::vec(prop::collection::vec((0..40_u16, prop::option::weighted(0.7, 0..5_i64)), 0..30), 0..60)
        ) {
            let mut table = KeyedTable::new(schema());
            let mut newest = HashMap::new();
            let mut sum = Bag::new();
            for records in &batches {
                let before = newest.clone();
                for (key, value) in records {
                    match value {
                        Some(value) => { newest.insert(*key, *value); }
                        None => { newest.remove(key); }
                    }
                }
                let delta = table.apply(rows(records)).unwrap();
                add(&mut sum, &delta.retractions, -1);
                add(&mut sum, &delta.insertions, 1);
                prop_assert_eq!(&sum, &model(&newest));
                prop_assert_eq!(&bag_of(&table), &sum);
                prop_assert_eq!(table.len(), newest.len());
                // Consolidated: at most one retraction and one insertion for each key that the batch names.
                let touched: std::collections::HashSet<u16> = records.iter().map(|(key, _)| *key).collect();
                prop_assert_eq!(delta.retractions.num_rows(), touched.iter().filter(|key| before.contains_key(key)).count());
                prop_assert_eq!(delta.insertions.num_rows(), touched.iter().filter(|key| newest.contains_key(key)).count());
                let stored: usize = table.segments.iter().map(Segment::rows).sum();
                prop_assert!(stored <= 2 * newest.len(), "{} rows for {} keys", stored, newest.len());
            }
        }
    }

    #[test]
    fn batches_of_one_row_make_few_segments() {
        let mut table = KeyedTable::new(schema());
        for step in 0..20_000_u32 {
            // New keys, updates and deletes in turn, so that segments of all sizes die.
            let key = (step % 7_000) as u16;
            let value = if step % 5 == 4 { None } else { Some(i64::from(step)) };
            table.apply(rows(&[(key, value)])).unwrap();
        }
        assert!(table.segments.len() < 40, "{} segments", table.segments.len());
        assert_eq!(bag_of(&table).len(), table.len());
    }

    #[test]
    fn memory_does_not_grow_with_updates() {
        let mut table = KeyedTable::new(schema());
        let records = |round: i64| (0..4_000_u16).map(|key| (key, Some(round))).collect::<Vec<_>>();
        table.apply(rows(&records(0))).unwrap();
        let once = table.memory_size();
        for round in 1..50 {
            for some in records(round).chunks(500) {
                table.apply(rows(some)).unwrap();
            }
            table.current().unwrap();
        }
        assert_eq!(table.len(), 4_000);
        assert!(table.memory_size() < 4 * once, "{} bytes after {once}", table.memory_size());
    }

    #[test]
    fn current_is_the_same_batch_until_something_changes() {
        let mut table = KeyedTable::new(schema());
        table.apply(rows(&[(1, Some(1)), (2, Some(2)), (3, Some(3))])).unwrap();
        table.apply(rows(&[(3, None)])).unwrap();
        let first = table.current().unwrap();
        let again = table.current().unwrap();
        assert_eq!(
            first[0].column(0).to_data().buffers()[0].as_ptr(),
            again[0].column(0).to_data().buffers()[0].as_ptr()
        );
        assert_eq!(table.apply(rows(&[(9, None)])).unwrap().num_rows(), 0, "nothing is deleted twice");
        assert!(table.apply(rows(&[])).unwrap().is_empty());
    }

    #[test]
    fn a_table_without_columns_still_counts() {
        let empty = Arc::new(Schema::empty());
        let mut table = KeyedTable::new(Arc::clone(&empty));
        let bare = |records: &[Record]| {
            let with = rows(records);
            let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
            RelationRows {
                batch: RecordBatch::try_new_with_options(Arc::clone(&empty), vec![], &options).unwrap(),
                ..with
            }
        };
        table.apply(bare(&[(1, Some(1)), (2, Some(2)), (3, Some(3)), (4, Some(4))])).unwrap();
        let delta = table.apply(bare(&[(1, None), (2, Some(5))])).unwrap();
        assert_eq!((delta.retractions.num_rows(), delta.insertions.num_rows()), (2, 1));
        assert_eq!(table.current().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }
}
