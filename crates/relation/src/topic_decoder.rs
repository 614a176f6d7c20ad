//! One topic's messages → the rows of every relation over it.
//!
//! Several relations may read one topic. Those that declare the same columns share one decoder over all the columns that
//! any of them wants, so a record is parsed once; `user_events` and `users` over the topic `users` are such a pair. Other
//! declarations get a decoder each, because a record counts for a relation iff it fits *that* declaration.
//!
//! ```text
//!  Message ─┬─▶ declaration A: Decoder + metadata ─┬─▶ stream      every record, tombstones as rows of nulls
//!           │                                      └─▶ table       + record keys, + which rows are deletions
//!           └─▶ declaration B: …
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewBuilder,
    TimestampMillisecondBuilder,
};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{filter, filter_record_batch};
use datafusion::arrow::datatypes::SchemaRef;

use super::bad_records::{BadRecords, Coordinates, Read};
use super::catalog::KafkaRelation;
use super::error::RelationError;
use super::record_key::{KeyColumn, RowKeys};
use tallgrass_decode::Decoder;
use tallgrass_kafka::Message;

/// Rows of one relation, in the order of their messages.
#[derive(Debug, Clone)]
pub struct RelationRows {
    /// The wanted columns, in the order of the relation's full schema. A tombstone is a row of nulls (but for metadata).
    pub batch: RecordBatch,
    /// Keyed relations only: each row's identity within the topic, opaque to readers.
    pub keys: Option<BinaryArray>,
    /// Keyed relations only: which rows delete instead of upsert; `None` where none does.
    pub deletes: Option<BooleanBuffer>,
}

/// What is wanted of one relation: columns by their index in its full schema; order and repetition do not matter.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The relation.
    pub relation: Arc<KafkaRelation>,
    /// Indices into [`KafkaRelation::schema`].
    pub columns: Vec<usize>,
}

/// Decodes the messages of one topic for several relations at once.
pub struct TopicDecoder {
    topic: Arc<str>,
    bad: BadRecords,
    decoders: Vec<SharedDecoder>,
    relations: usize,
}

impl TopicDecoder {
    /// Prepares to decode for `wanted`, whose relations all read `topic`.
    pub fn new(topic: &Arc<str>, wanted: &[Wanted], bad: BadRecords) -> Result<Self, RelationError> {
        let mut declarations: Vec<Vec<(usize, &Wanted)>> = Vec::new();
        for (place, wanted) in wanted.iter().enumerate() {
            debug_assert_eq!(wanted.relation.topic(), topic, "a topic's decoder serves the relations over it");
            // Names and types decide; an option such as deleted_when does not change what a record must look like.
            let same = |relations: &&mut Vec<(usize, &Wanted)>| {
                relations.first().is_some_and(|(_, first)| first.relation.declared() == wanted.relation.declared())
            };
            match declarations.iter_mut().find(same) {
                Some(relations) => relations.push((place, wanted)),
                None => declarations.push(vec![(place, wanted)]),
            }
        }
        let decoders = declarations.iter().map(|relations| SharedDecoder::new(relations)).collect::<Result<_, _>>()?;
        Ok(Self { topic: Arc::clone(topic), bad, decoders, relations: wanted.len() })
    }

    /// The topic whose messages it decodes.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Decodes one message for every relation. A bad record is counted and leaves no trace in the columns.
    pub fn push(&mut self, message: &Message<'_>) {
        for decoder in &mut self.decoders {
            decoder.push(message, &self.topic, &self.bad);
        }
    }

    /// Rows since the last [`Self::finish`], of the relation that has most.
    pub fn len(&self) -> usize {
        self.decoders.iter().map(|decoder| decoder.rows).max().unwrap_or(0)
    }

    /// Whether no relation has rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows since the last call: one entry per relation, in the order in which they were given.
    pub fn finish(&mut self) -> Result<Vec<RelationRows>, RelationError> {
        let mut rows: Vec<Option<RelationRows>> = vec![None; self.relations];
        for decoder in &mut self.decoders {
            decoder.report_read(&self.bad);
            decoder.finish(&mut rows)?;
        }
        Ok(rows.into_iter().flatten().collect())
    }
}

/// The relations of one declaration.
struct SharedDecoder {
    decoder: Decoder,
    /// Declared columns that the decoder builds, ascending.
    columns: Vec<usize>,
    metadata: MetadataBuilder,
    relations: Vec<RelationBuilder>,
    rows: usize,
    /// The partition of the last message, what has been read of it, and of the others.
    partition: i32,
    read: Read,
    read_before: BTreeMap<i32, Read>,
}

struct RelationBuilder {
    name: Arc<str>,
    /// Rows of the declaration that are not rows of this table, by partition.
    bad_keys: BTreeMap<i32, u64>,
    /// Place among the relations of the topic's decoder.
    place: usize,
    relation: Arc<KafkaRelation>,
    columns: Vec<usize>,
    schema: SchemaRef,
    keyed: Option<KeyBuilder>,
}

/// What a table has besides its rows.
struct KeyBuilder {
    primary_key: KeyColumn,
    row_keys: RowKeys,
    /// Rows of the declaration that are none of this table: their record has no key that can be one of its rows. Rare.
    excluded: Vec<usize>,
    tombstones: Vec<usize>,
}

impl SharedDecoder {
    fn new(wanted: &[(usize, &Wanted)]) -> Result<Self, RelationError> {
        let mut built: Vec<usize> = Vec::new();
        let mut metadata = [false; 4];
        let mut relations: Vec<RelationBuilder> = Vec::new();
        for (place, Wanted { relation, columns }) in wanted {
            let declared = relation.declared().fields().len();
            let mut columns = columns.clone();
            columns.sort_unstable();
            columns.dedup();
            let key = relation.key();
            let condition =
                key.and_then(|key| key.deleted_when.as_ref()).map_or(&[][..], |condition| condition.columns());
            for &column in columns.iter().chain(condition) {
                match column.checked_sub(declared) {
                    None if key.is_some_and(|key| key.column == column) => {}
                    None => built.push(column),
                    Some(index) => metadata[index] = true,
                }
            }
            let keyed = match key {
                None => None,
                Some(key) => {
                    let data_type = relation.declared().field(key.column).data_type();
                    let unsupported = || RelationError::UnsupportedType {
                        relation: relation.name().to_owned(),
                        reason: format!("{data_type} is not a type of a primary key"),
                    };
                    let primary_key = KeyColumn::new(data_type).ok_or_else(unsupported)?;
                    Some(KeyBuilder {
                        primary_key,
                        row_keys: RowKeys::default(),
                        excluded: Vec::new(),
                        tombstones: Vec::new(),
                    })
                }
            };
            relations.push(RelationBuilder {
                name: Arc::from(relation.name()),
                bad_keys: BTreeMap::new(),
                place: *place,
                relation: Arc::clone(relation),
                schema: Arc::new(relation.schema().project(&columns)?),
                columns,
                keyed,
            });
        }
        built.sort_unstable();
        built.dedup();
        let Some(first) = relations.first() else {
            return Err(RelationError::NotKeyed);
        };
        let decoder = Decoder::new(first.relation.declared().fields(), &built).map_err(|error| {
            RelationError::UnsupportedType { relation: first.relation.name().to_owned(), reason: error.to_string() }
        })?;
        Ok(Self {
            decoder,
            columns: built,
            metadata: MetadataBuilder::new(metadata),
            relations,
            rows: 0,
            partition: 0,
            read: Read::default(),
            read_before: BTreeMap::new(),
        })
    }

    fn push(&mut self, message: &Message<'_>, topic: &Arc<str>, bad: &BadRecords) {
        let at = Coordinates { topic, partition: message.partition, offset: message.offset };
        if message.partition != self.partition {
            self.change_partition(message.partition);
        }
        self.read.records += 1;
        match message.value {
            // Every bit of a tombstone is in its key and its place; an empty value is not one, and bad.
            None => self.decoder.append_null_row(),
            Some(value) => {
                if let Err(error) = self.decoder.decode(value) {
                    bad.report(&at, error.reason.kind(), error.column.as_deref(), &error);
                    self.read.bad += 1;
                    return;
                }
            }
        }
        self.metadata.append(message);
        for relation in &mut self.relations {
            let Some(keyed) = &mut relation.keyed else { continue };
            if let Err(error) = keyed.primary_key.append(message.key) {
                bad.report(&at, error.kind(), None, &error);
                keyed.excluded.push(self.rows);
                *relation.bad_keys.entry(message.partition).or_default() += 1;
            } else if message.value.is_none() {
                keyed.tombstones.push(self.rows);
            }
            keyed.row_keys.append(message.partition, message.key.unwrap_or_default());
        }
        self.rows += 1;
    }

    #[cold]
    fn change_partition(&mut self, partition: i32) {
        self.read_before.insert(self.partition, self.read);
        self.read = self.read_before.get(&partition).copied().unwrap_or_default();
        self.partition = partition;
    }

    /// Reports how many records of each relation have been read, and how many of them were not rows.
    fn report_read(&mut self, bad: &BadRecords) {
        self.read_before.insert(self.partition, self.read);
        for (partition, read) in self.read_before.iter().filter(|(_, read)| read.records > 0) {
            for relation in &self.relations {
                let bad_keys = relation.bad_keys.get(partition).copied().unwrap_or_default();
                bad.take_read(&relation.name, *partition, Read { bad: read.bad + bad_keys, ..*read });
            }
        }
    }

    fn finish(&mut self, rows: &mut [Option<RelationRows>]) -> Result<(), RelationError> {
        let count = std::mem::take(&mut self.rows);
        let decoded = self.decoder.finish();
        let metadata = self.metadata.finish();
        for relation in &mut self.relations {
            rows[relation.place] = Some(relation.finish(count, &self.columns, &decoded, &metadata)?);
        }
        Ok(())
    }
}

impl RelationBuilder {
    fn finish(
        &mut self,
        count: usize,
        columns: &[usize],
        decoded: &[ArrayRef],
        metadata: &[Option<ArrayRef>; 4],
    ) -> Result<RelationRows, RelationError> {
        let declared = self.relation.declared().fields().len();
        let key = self.relation.key();
        let primary_key = self.keyed.as_mut().map(|keyed| keyed.primary_key.finish());
        let array = |column: usize| -> Option<ArrayRef> {
            if key.is_some_and(|key| key.column == column) {
                return primary_key.clone();
            }
            match column.checked_sub(declared) {
                Some(index) => metadata[index].clone(),
                None => columns.binary_search(&column).ok().map(|index| Arc::clone(&decoded[index])),
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let arrays = self.columns.iter().filter_map(|column| array(*column)).collect();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        let Some(keyed) = &mut self.keyed else {
            return Ok(RelationRows { batch, keys: None, deletes: None });
        };

        let tombstones = std::mem::take(&mut keyed.tombstones);
        let mut deletes = (!tombstones.is_empty()).then(|| marked(count, &tombstones));
        if let Some(condition) = key.and_then(|key| key.deleted_when.as_ref()) {
            let read = condition.columns().iter().filter_map(|column| array(*column)).collect();
            let held = condition.evaluate(read, count).map_err(|source| RelationError::DeletedWhen {
                relation: self.relation.name().to_owned(),
                sql: condition.sql().to_owned(),
                source: Box::new(source),
            })?;
            if held.count_set_bits() > 0 {
                deletes = Some(deletes.map_or_else(|| held.clone(), |tombstones| &tombstones | &held));
            }
        }
        let keys = keyed.row_keys.finish();
        let excluded = std::mem::take(&mut keyed.excluded);
        if excluded.is_empty() {
            return Ok(RelationRows { batch, keys: Some(keys), deletes });
        }
        let kept = BooleanArray::new(!&marked(count, &excluded), None);
        let deletes = match deletes {
            None => None,
            Some(deletes) => {
                let deletes = filter(&BooleanArray::new(deletes, None), &kept)?;
                deletes.as_any().downcast_ref::<BooleanArray>().map(|deletes| deletes.values().clone())
            }
        };
        let keys = filter(&keys, &kept)?.as_any().downcast_ref::<BinaryArray>().cloned();
        Ok(RelationRows { batch: filter_record_batch(&batch, &kept)?, keys, deletes })
    }
}

/// A bit per row, set for the given ones.
fn marked(count: usize, rows: &[usize]) -> BooleanBuffer {
    let mut bits = vec![false; count];
    for row in rows {
        bits[*row] = true;
    }
    BooleanBuffer::from(bits)
}

/// Builders of the metadata columns that are wanted.
struct MetadataBuilder {
    key: Option<StringViewBuilder>,
    partition: Option<Vec<i32>>,
    offset: Option<Vec<i64>>,
    timestamp: Option<TimestampMillisecondBuilder>,
}

impl MetadataBuilder {
    /// By the places of [`super::METADATA_COLUMNS`].
    fn new(wanted: [bool; 4]) -> Self {
        let [key, partition, offset, timestamp] = wanted;
        Self {
            key: key.then(StringViewBuilder::new),
            partition: partition.then(Vec::new),
            offset: offset.then(Vec::new),
            timestamp: timestamp.then(TimestampMillisecondBuilder::new),
        }
    }

    fn append(&mut self, message: &Message<'_>) {
        if let Some(keys) = &mut self.key {
            match message.key {
                None => keys.append_null(),
                Some(key) => match simdutf8::basic::from_utf8(key) {
                    Ok(text) => keys.append_value(text),
                    Err(_) => keys.append_value(hex(key)),
                },
            }
        }
        if let Some(partitions) = &mut self.partition {
            partitions.push(message.partition);
        }
        if let Some(offsets) = &mut self.offset {
            offsets.push(message.offset);
        }
        if let Some(timestamps) = &mut self.timestamp {
            timestamps.append_option(message.timestamp_ms);
        }
    }

    fn finish(&mut self) -> [Option<ArrayRef>; 4] {
        let array = |array: ArrayRef| array;
        [
            self.key.as_mut().map(|keys| array(Arc::new(keys.finish()))),
            self.partition.as_mut().map(|partitions| array(Arc::new(Int32Array::from(std::mem::take(partitions))))),
            self.offset.as_mut().map(|offsets| array(Arc::new(Int64Array::from(std::mem::take(offsets))))),
            self.timestamp.as_mut().map(|timestamps| array(Arc::new(timestamps.finish()))),
        ]
    }
}

/// Bytes that are not text, as `\x` and hexadecimal digits (as `PostgreSQL` prints bytea).
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::Path;

    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::{Int32Type, Int64Type, TimestampMillisecondType};

    use super::super::catalog::Catalog;
    use super::*;

    const SQL: &str = "
        CREATE EXTERNAL TABLE user_events (id BIGINT, name VARCHAR, action VARCHAR) STORED AS KAFKA LOCATION 'users';
        CREATE EXTERNAL TABLE users (id BIGINT, name VARCHAR, action VARCHAR, PRIMARY KEY (id)) STORED AS KAFKA LOCATION 'users'
          OPTIONS ('deleted_when' 'action = ''logoff''');
        CREATE EXTERNAL TABLE strict (name BIGINT) STORED AS KAFKA LOCATION 'users'";

    fn wanted(columns: &[(&str, &[&str])]) -> Vec<Wanted> {
        let catalog = Catalog::parse(SQL, Path::new("."), "sources.sql").unwrap();
        let one = |(name, columns): &(&str, &[&str])| {
            let relation = Arc::clone(catalog.get(name).unwrap().as_kafka().unwrap());
            let columns = columns.iter().map(|column| relation.schema().index_of(column).unwrap()).collect();
            Wanted { relation, columns }
        };
        columns.iter().map(one).collect()
    }

    type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

    fn decode(wanted: &[Wanted], messages: &[KeyAndValue<'_>]) -> (Vec<RelationRows>, BadRecords) {
        let bad = BadRecords::new();
        let mut decoder = TopicDecoder::new(&Arc::from("users"), wanted, bad.clone()).unwrap();
        for (offset, (key, value)) in messages.iter().enumerate() {
            let offset = offset as i64;
            let message = Message {
                topic: 0,
                partition: 3,
                offset,
                timestamp_ms: Some(offset * 1_000),
                key: *key,
                value: *value,
            };
            decoder.push(&message);
        }
        (decoder.finish().unwrap(), bad)
    }

    const ASH: &[u8] = br#"{"id":1,"name":"Ash","action":"login"}"#;
    const MISTY: &[u8] = br#"{"action":"logoff","id":2,"name":"Misty"}"#;

    #[test]
    fn one_record_is_a_row_of_a_stream_and_of_a_table() {
        let wanted = wanted(&[("user_events", &["name"]), ("users", &["name", "id", "_offset"])]);
        let (rows, bad) = decode(&wanted, &[(Some(b"1"), Some(ASH)), (Some(b"2"), Some(MISTY)), (Some(b"1"), None)]);
        assert_eq!(bad.total(), 0);
        let (events, users) = (&rows[0], &rows[1]);
        assert_eq!((events.batch.num_columns(), events.batch.num_rows()), (1, 3));
        assert!(events.batch.column(0).is_null(2), "a tombstone is a row of nulls");
        assert!(events.keys.is_none() && events.deletes.is_none());
        let names: Vec<&str> = users.batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "name", "_offset"], "in the order of the schema");
        assert_eq!(users.deletes.as_ref().unwrap().iter().collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(users.batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 1]);
        let keys = users.keys.as_ref().unwrap();
        assert_eq!(keys.value(0), keys.value(2));
        assert_ne!(keys.value(0), keys.value(1));
    }

    #[test]
    fn the_primary_key_is_the_record_key_whatever_the_value_says() {
        let wanted = wanted(&[("users", &["id"])]);
        let (rows, _) = decode(&wanted, &[(Some(b"42"), Some(ASH))]);
        assert_eq!(rows[0].batch.column(0).as_primitive::<Int64Type>().values(), &[42]);
    }

    #[test]
    fn a_bad_key_is_bad_for_the_table_alone() {
        let wanted = wanted(&[("user_events", &["id"]), ("users", &["id", "action"])]);
        let messages: [KeyAndValue<'_>; 5] = [
            (Some(b"1"), Some(ASH)),
            (None, Some(ASH)),
            (Some(b"2"), Some(MISTY)),
            (Some(b"x"), None),
            (Some(b"3"), None),
        ];
        let (rows, bad) = decode(&wanted, &messages);
        assert_eq!(rows[0].batch.num_rows(), 5);
        assert_eq!(rows[1].batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
        assert_eq!(rows[1].deletes.as_ref().unwrap().iter().collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(rows[1].keys.as_ref().unwrap().len(), 3);
        let kinds: Vec<_> = bad.counts().iter().map(|count| (count.kind, count.count)).collect();
        assert_eq!(kinds, [("bad_key", 1), ("null_key", 1)]);
    }

    #[test]
    fn each_declaration_judges_for_itself_and_columns_do_not_matter() {
        let wanted = wanted(&[("user_events", &[]), ("strict", &[])]);
        let (rows, bad) =
            decode(&wanted, &[(None, Some(ASH)), (None, Some(br#"{"id":"seven","name":7}"#)), (None, Some(b""))]);
        assert_eq!(rows[0].batch.num_rows(), 1, "'seven' is not a number, and an empty value is not a tombstone");
        assert_eq!(rows[1].batch.num_rows(), 1, "'Ash' is not a number");
        assert_eq!(bad.total(), 4);
        assert_eq!(bad.counts().iter().find(|count| count.kind == "empty").unwrap().count, 2);
    }

    #[test]
    fn metadata_is_there_for_the_asking() {
        let wanted = wanted(&[("user_events", &["_key", "_partition", "_offset", "_timestamp"])]);
        let (rows, _) = decode(&wanted, &[(Some(b"1"), Some(ASH)), (Some(b"\xff\x01"), None), (None, None)]);
        let batch = &rows[0].batch;
        let keys = batch.column(0).as_string_view();
        assert_eq!((keys.value(0), keys.value(1), keys.is_null(2)), ("1", "\\xff01", true));
        assert_eq!(batch.column(1).as_primitive::<Int32Type>().values(), &[3, 3, 3]);
        assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[0, 1, 2]);
        assert_eq!(batch.column(3).as_primitive::<TimestampMillisecondType>().values(), &[0, 1_000, 2_000]);
    }
}
