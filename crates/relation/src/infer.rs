//! From sampled records of a topic to a declaration that takes them all.
//!
//! ```text
//!  record ──Json::parse──▶ Json ──observe──▶ SampleShape ──resolve──▶ Column ──Table::to_sql──▶ CREATE EXTERNAL TABLE …
//!           keys in order,         counts of          type, remarks,
//!           numbers as written     each kind          or why left out
//! ```
//!
//! # Contract
//!
//! Every sampled record that is a JSON object decodes without error under the suggested declaration. Where no type of
//! a column takes all that was seen, the column is left out and a comment says why: a wrong guess would cost whole
//! records, a missing column costs one edit. Nothing is promised for records outside the sample.
//!
//! The text depends on the samples alone: the same records give the same file.

mod ddl;
mod json;
mod names;
mod shape;
mod time;

use std::collections::HashMap;
use std::fmt::Write as _;

use self::ddl::Table;
use self::json::{Json, whole_number};
use self::names::{TakenNames, identifier};
use self::shape::{Column, ColumnVerdict, Objects, SqlType, grouped, plural};
use super::METADATA_COLUMNS;

/// What a sample of one topic's records says about them.
#[derive(Debug)]
pub struct TopicSample {
    topic: String,
    records: u64,
    tombstones: u64,
    objects: Objects,
    objects_seen: u64,
    unreadable: Unreadable,
    keys: Keys,
}

/// Records that are no JSON objects, by what they are instead.
#[derive(Debug, Default)]
struct Unreadable {
    empty: u64,
    other_json: u64,
    /// The framing of Confluent's serializers: a zero byte, then the schema's id in four bytes.
    schema_registry: u64,
    no_json: u64,
}

/// The record keys, and which fields repeat them.
#[derive(Debug, Default)]
struct Keys {
    absent: u64,
    no_text: u64,
    text: u64,
    /// Keys that are not the decimal text of a BIGINT.
    no_bigint: u64,
    /// Top-level field → records in which it (equals, differs from) the key.
    matches: HashMap<String, (u64, u64)>,
}

impl TopicSample {
    /// No record yet.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            records: 0,
            tombstones: 0,
            objects: Objects::default(),
            objects_seen: 0,
            unreadable: Unreadable::default(),
            keys: Keys::default(),
        }
    }

    /// Looks at one record; a record without a value is a tombstone.
    pub fn add(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.records += 1;
        let key = self.keys.observe(key);
        let Some(value) = value else {
            self.tombstones += 1;
            return;
        };
        match std::str::from_utf8(value).ok().and_then(Json::parse) {
            Some(Json::Object(fields)) => {
                self.objects_seen += 1;
                self.objects.observe(&fields);
                if let Some(key) = key {
                    self.keys.compare(key, &fields);
                }
            }
            Some(_) => self.unreadable.other_json += 1,
            None if value.is_empty() => self.unreadable.empty += 1,
            None if value[0] == 0 && value.len() > 4 => self.unreadable.schema_registry += 1,
            None => self.unreadable.no_json += 1,
        }
    }

    /// The topic that was sampled.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How many records were looked at.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The suggested declaration of this topic alone; comments only if there is nothing to declare.
    pub fn to_ddl(&self, compacted: bool) -> String {
        let mut names = TakenNames::default();
        let name = names.of_topic(&self.topic);
        self.declare(&name, compacted, &mut names)
    }

    /// The record is a row of one relation or, where the key stands for something that lives, of two.
    fn declare(&self, name: &str, compacted: bool, names: &mut TakenNames) -> String {
        let mut sql = self.summary(compacted);
        if self.objects_seen == 0 {
            sql.push_str("-- Nothing to declare: a relation is made of JSON objects.\n");
            return sql;
        }
        let columns = self.columns();
        if !has_declared(&columns) {
            for Column { name, verdict } in &columns {
                if let ColumnVerdict::LeftOut(reason) = verdict {
                    let _ = writeln!(sql, "-- {}: {reason}", name.escape_debug());
                }
            }
            sql.push_str("-- Nothing to declare: no field has one type.\n");
            return sql;
        }
        if self.objects.is_crowded() {
            let _ = writeln!(sql, "-- Only the first {} fields are declared.", columns.len());
        }
        let stream = |name: &str| {
            Table { name, topic: &self.topic, columns: &columns, primary_key: None, remarks: true }.to_sql()
        };
        if !compacted && self.tombstones == 0 {
            if let Some(field) = self.key_field(&columns) {
                let field = identifier(field);
                let _ = writeln!(
                    sql,
                    "-- The record key is {field}: with PRIMARY KEY ({field}) this is a table of the newest record of each."
                );
            }
            return sql + &stream(name);
        }
        if let Some(obstacle) = self.keys.obstacle() {
            let _ = writeln!(sql, "-- No table of the newest record of each key is suggested: {obstacle}.");
            return sql + &stream(name);
        }
        let events = names.unique(&format!("{name}{}", if name.ends_with("events") { "_log" } else { "_events" }));
        let _ =
            write!(sql, "-- {events} has every record as a row, a tombstone as a row of nulls.\n{}\n", stream(&events));
        sql + &self.keyed_table(name, &columns)
    }

    fn keyed_table(&self, name: &str, columns: &[Column]) -> String {
        let mut sql = format!("-- {name} has the newest record of each key; a tombstone deletes its row.\n");
        sql.push_str(
            "-- If some records mean deletion too, name them: OPTIONS ('deleted_when' 'status = ''deleted''')\n",
        );
        if self.keys.absent > 0 {
            let _ = writeln!(sql, "-- {} without a key is not a row of it.", plural(self.keys.absent, "record"));
        }
        let with_key;
        let (columns, primary_key) = if let Some(field) = self.key_field(columns) {
            (columns, field)
        } else {
            let name = unused_name("record_key", columns);
            let _ = writeln!(sql, "-- No field repeats the record key, so {name} stands for it.");
            let key = Column { name, verdict: ColumnVerdict::Declared(SqlType::Varchar, Vec::new()) };
            with_key = std::iter::once(key).chain(columns.iter().cloned()).collect::<Vec<_>>();
            (with_key.as_slice(), with_key[0].name.as_str())
        };
        sql + &Table { name, topic: &self.topic, columns, primary_key: Some(primary_key), remarks: false }.to_sql()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = self.objects.columns();
        for column in columns.iter_mut().filter(|column| METADATA_COLUMNS.contains(&column.name.as_str())) {
            column.verdict = ColumnVerdict::LeftOut("the name is taken by the record's own".to_owned());
        }
        columns
    }

    /// The field to be the primary key: it equals the record key wherever both are there, in most records of all.
    fn key_field<'a>(&self, columns: &'a [Column]) -> Option<&'a str> {
        if self.keys.obstacle().is_some() {
            return None;
        }
        let mut best: Option<(&str, u64)> = None;
        for column in columns {
            let fits = match &column.verdict {
                ColumnVerdict::Declared(SqlType::BigInt, _) => self.keys.no_bigint == 0,
                ColumnVerdict::Declared(SqlType::Varchar, _) => true,
                _ => false,
            };
            let equal = match self.keys.matches.get(&column.name) {
                Some((equal, 0)) if fits => *equal,
                _ => continue,
            };
            // The first of equals: an id comes before what refers to it.
            if best.is_none_or(|(_, most)| equal > most) {
                best = Some((&column.name, equal));
            }
        }
        best.map(|(name, _)| name)
    }

    fn summary(&self, compacted: bool) -> String {
        let mut sql = format!("-- Topic {}{}: ", self.topic.escape_debug(), if compacted { ", compacted" } else { "" });
        let _ = match self.records {
            0 => writeln!(sql, "no records."),
            records => {
                writeln!(sql, "{} sampled, {}.", plural(records, "record"), plural(self.objects_seen, "JSON object"))
            }
        };
        let Unreadable { empty, other_json, schema_registry, no_json } = self.unreadable;
        let others = [
            (self.tombstones, "tombstone", ""),
            (empty, "empty value", ""),
            (other_json, "value", " of JSON other than an object"),
            (schema_registry, "value", " framed for a schema registry (Avro, Protobuf or JSON Schema)"),
            (no_json, "value", " that is not JSON"),
        ];
        let others: Vec<_> = others
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, noun, rest)| format!("{}{rest}", plural(*count, noun)))
            .collect();
        if !others.is_empty() {
            let _ = writeln!(sql, "-- Also {}.", others.join(", "));
        }
        sql
    }
}

impl Keys {
    /// Counts the key and returns its text.
    fn observe<'a>(&mut self, key: Option<&'a [u8]>) -> Option<&'a str> {
        let Some(key) = key else {
            self.absent += 1;
            return None;
        };
        let Ok(key) = std::str::from_utf8(key) else {
            self.no_text += 1;
            return None;
        };
        self.text += 1;
        // `007` would read as 7, and two Kafka keys would be one row.
        let canonical = key.parse::<i64>().is_ok_and(|number| number.to_string() == key);
        self.no_bigint += u64::from(!canonical);
        Some(key)
    }

    fn compare(&mut self, key: &str, fields: &[(String, Json<'_>)]) {
        for (name, value) in fields {
            let equal = match value {
                Json::Null => continue,
                Json::String(text) => text == key,
                Json::Number(text) => whole_number(text).is_some_and(|number| number.to_string() == key),
                _ => false,
            };
            let counts = self.matches.entry(name.clone()).or_default();
            if equal { counts.0 += 1 } else { counts.1 += 1 }
        }
    }

    /// Why the records cannot be a table by key, if so.
    fn obstacle(&self) -> Option<String> {
        if self.no_text > 0 {
            Some(format!(
                "{} not UTF-8 text",
                if self.no_text == 1 { "1 key is".to_owned() } else { format!("{} keys are", grouped(self.no_text)) }
            ))
        } else if self.text == 0 {
            Some("the records have no keys".to_owned())
        } else {
            None
        }
    }
}

fn has_declared(columns: &[Column]) -> bool {
    columns.iter().any(|column| matches!(column.verdict, ColumnVerdict::Declared(..)))
}

fn unused_name(wanted: &str, columns: &[Column]) -> String {
    let mut name = wanted.to_owned();
    while columns.iter().any(|column| column.name == name) {
        name.push('_');
    }
    name
}

/// A whole `sources.sql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedSources {
    /// The text of the file.
    pub sql: String,
    /// Every topic that got a relation.
    pub relations: Vec<SuggestedRelation>,
    /// Topics that got none: no record was a JSON object with a field of one type.
    pub undeclared: Vec<String>,
}

/// A relation to start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedRelation {
    /// Its topic.
    pub topic: String,
    /// The relation's name, which needs no quotes.
    pub name: String,
    /// A name for a view that counts it, unique among these and the relations.
    pub count_view: String,
}

/// The declarations of several topics, each sample with whether its topic is compacted, under names that are unique.
pub fn sources(samples: &[(TopicSample, bool)]) -> SuggestedSources {
    let mut sql = String::from(
        "-- Suggested from a sample, so the types are guesses: edit them as you like.\n\
         -- A record is a row only if it fits every column declared here; fields that are not declared are skipped.\n\
         -- Every relation also has _key, _partition, _offset and _timestamp, which are not part of *.\n\
         -- Put SELECTs into dashboard/*.sql next to this file: each becomes a tile of the dashboard.\n",
    );
    let mut names = TakenNames::default();
    let of_samples: Vec<_> = samples.iter().map(|(sample, _)| names.of_topic(&sample.topic)).collect();
    for ((sample, compacted), name) in samples.iter().zip(&of_samples) {
        sql.push('\n');
        sql.push_str(&sample.declare(name, *compacted, &mut names));
    }
    let mut relations = Vec::new();
    let mut undeclared = Vec::new();
    for ((sample, _), name) in samples.iter().zip(of_samples) {
        if has_declared(&sample.columns()) {
            let count_view = names.unique(&format!("{name}_count"));
            relations.push(SuggestedRelation { topic: sample.topic.clone(), name, count_view });
        } else {
            undeclared.push(sample.topic.clone());
        }
    }
    SuggestedSources { sql, relations, undeclared }
}

#[cfg(test)]
mod tests;
