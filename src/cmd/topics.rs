//! `tallgrass topics`: what each topic holds, and how far our consumer groups are.
//!
//! One row for each topic and each group that has committed offsets on it (one without a group where none has); with
//! `--partitions` one for each partition of those. It only asks: no record is read, no group is joined.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::batch::{CONNECT_TIMEOUT, flush, stdout};
use super::topic_names::chosen;
use crate::cli::{Connection, LOGIN_CHECKER_GROUP, Queries, Topics};
use tallgrass_kafka::{Cluster, KafkaError, Watermarks};
use tallgrass_serve::panel::GROUP_PREFIX;
use tallgrass_sink::Format;
use tallgrass_sink::text::ViewsWriter;
use tallgrass_view::{Workspace, WorkspaceError};

/// The name of the rows where a format has one.
const NAME: &str = "topics";

/// Groups asked for at once: a broker's queue of new connections is short.
const MAX_ASKING: usize = 8;

/// Runs the command.
pub async fn run(args: Topics, stop: CancellationToken) -> anyhow::Result<Exit> {
    let Topics { connection, queries, topics, groups, partitions, format } = args;
    let readers = relations(&queries)?;
    let stopped = stop.clone();
    // Every request blocks; a stop need not wait for the answer.
    let asked = tokio::task::spawn_blocking(move || ask(&connection, topics, &groups, &readers, &stopped));
    let topics = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Interrupted),
        topics = asked => topics??,
    };
    let Some(topics) = topics else { return Ok(Exit::Interrupted) };
    let batch = if partitions { by_partition(&topics) } else { by_topic(&topics) }?;
    write(format, &batch)?;
    Ok(Exit::Done)
}

/// Topic → the relations of the folder's `sources.sql` that read it.
type Readers = BTreeMap<Arc<str>, Vec<String>>;

/// The current state of a topic.
#[derive(Debug)]
struct Topic {
    name: String,
    /// Relations that read it, in the order of their declarations.
    relations: Vec<String>,
    partitions: BTreeMap<i32, Watermarks>,
    groups: Vec<TopicGroup>,
}

/// A consumer group that has committed something on a topic.
#[derive(Debug)]
struct TopicGroup {
    name: String,
    /// Partition → next offset.
    committed: BTreeMap<i32, i64>,
}

/// The relations by topic, if there is such a folder: topics can be listed before anything is declared.
fn relations(queries: &Queries) -> anyhow::Result<Readers> {
    let workspace = match Workspace::load(&queries.queries) {
        Ok(workspace) => workspace,
        Err(WorkspaceError::Sources { path, source }) if source.kind() == io::ErrorKind::NotFound => {
            eprintln!("note: no {}, so no relations are named", path.display());
            return Ok(Readers::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut readers = Readers::new();
    for relation in workspace.catalog().kafka_relations() {
        readers.entry(Arc::clone(relation.topic())).or_default().push(relation.name().to_owned());
    }
    Ok(readers)
}

/// Asks the cluster; nothing if it was stopped.
fn ask(
    connection: &Connection,
    names: Vec<String>,
    named_groups: &[String],
    readers: &Readers,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Vec<Topic>>> {
    let config = connection.config();
    let Some(cluster) = Cluster::connect_unless(&config, CONNECT_TIMEOUT, || stop.is_cancelled())? else {
        return Ok(None);
    };
    let known = cluster.topics()?;
    let all = names.is_empty();
    let names = if all { known } else { chosen(names, &known)? };
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let partitions = match cluster.watermarks(&name) {
            // Deleted since the list was read.
            Err(KafkaError::TopicMissing { .. }) if all => continue,
            partitions => partitions?,
        };
        let relations = readers.get(name.as_str()).cloned().unwrap_or_default();
        topics.push(Topic { name, relations, partitions, groups: Vec::new() });
    }
    let listed = cluster.groups().unwrap_or_else(|error| {
        tracing::warn!("{}", error.with_cause());
        None
    });
    let mut groups: BTreeSet<String> = named_groups.iter().cloned().collect();
    if let Some(listed) = listed {
        groups.extend(listed.into_iter().filter(|group| is_ours(group)));
    } else {
        groups.insert(LOGIN_CHECKER_GROUP.to_owned());
        eprintln!("note: this broker lists no groups: --group {GROUP_PREFIX}ID asks for one");
    }
    let groups: Vec<String> = groups.into_iter().collect();
    for groups in groups.chunks(MAX_ASKING) {
        if stop.is_cancelled() {
            return Ok(None);
        }
        for (group, committed) in groups.iter().zip(committed(&cluster, &topics, groups)) {
            let named = named_groups.contains(group);
            match committed {
                Ok(committed) if committed.is_empty() && named => {
                    let where_to = if all { "any topic" } else { "these topics" };
                    eprintln!("note: group {group} has committed nothing on {where_to}");
                }
                Ok(committed) => add_group(&mut topics, group, committed),
                // A group without permission must not hide the others.
                Err(error) if !named && !matches!(error, KafkaError::Unreachable { .. }) => {
                    tracing::warn!("{}", error.with_cause());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Some(topics))
}

/// Topic → partition → next offset.
type Committed = BTreeMap<String, BTreeMap<i32, i64>>;

/// The commits of a few groups, all requested at once: each needs a client of its own, which waits for most of its 130 ms.
fn committed(cluster: &Cluster, topics: &[Topic], groups: &[String]) -> Vec<Result<Committed, KafkaError>> {
    let partitions: Vec<(&str, i32)> = topics
        .iter()
        .flat_map(|topic| topic.partitions.keys().map(|partition| (topic.name.as_str(), *partition)))
        .collect();
    thread::scope(|scope| {
        let partitions = &partitions;
        let asked: Vec<_> =
            groups.iter().map(|group| scope.spawn(move || cluster.committed(group, partitions))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Adds a group to the topics where it has committed something.
fn add_group(topics: &mut [Topic], group: &str, mut committed: Committed) {
    for topic in topics {
        if let Some(committed) = committed.remove(&topic.name) {
            topic.groups.push(TopicGroup { name: group.to_owned(), committed });
        }
    }
}

fn is_ours(group: &str) -> bool {
    group == LOGIN_CHECKER_GROUP || group.starts_with(GROUP_PREFIX)
}

impl Topic {
    /// Its groups, or none once, so that every topic has a row.
    fn rows(&self) -> impl Iterator<Item = (&Self, Option<&TopicGroup>)> {
        let alone = self.groups.is_empty().then_some(None);
        self.groups.iter().map(Some).chain(alone).map(move |group| (self, group))
    }

    fn relations(&self) -> Option<String> {
        (!self.relations.is_empty()).then(|| self.relations.join(", "))
    }
}

impl TopicGroup {
    fn lag(&self, partition: i32, marks: Watermarks) -> u64 {
        marks.lag(self.committed.get(&partition).copied())
    }
}

/// A row for each topic and group.
fn by_topic(topics: &[Topic]) -> anyhow::Result<RecordBatch> {
    let rows: Vec<(&Topic, Option<&TopicGroup>)> = topics.iter().flat_map(Topic::rows).collect();
    let records = |topic: &Topic| topic.partitions.values().map(|marks| marks.records()).sum();
    let lag = |topic: &Topic, group: &TopicGroup| -> u64 {
        topic.partitions.iter().map(|(partition, marks)| group.lag(*partition, *marks)).sum()
    };
    let columns: [(&str, ArrayRef, bool); 7] = [
        ("topic", Arc::new(rows.iter().map(|(topic, _)| Some(topic.name.as_str())).collect::<StringArray>()), false),
        (
            "partitions",
            Arc::new(rows.iter().map(|(topic, _)| topic.partitions.len() as u64).collect::<UInt64Array>()),
            false,
        ),
        ("records", Arc::new(rows.iter().map(|(topic, _)| -> u64 { records(topic) }).collect::<UInt64Array>()), false),
        ("relations", Arc::new(rows.iter().map(|(topic, _)| topic.relations()).collect::<StringArray>()), true),
        (
            "group",
            Arc::new(rows.iter().map(|(_, group)| group.map(|group| group.name.as_str())).collect::<StringArray>()),
            true,
        ),
        (
            "committed",
            Arc::new(
                rows.iter()
                    .map(|(_, group)| group.map(|group| group.committed.values().sum::<i64>()))
                    .collect::<Int64Array>(),
            ),
            true,
        ),
        (
            "lag",
            Arc::new(rows.iter().map(|(topic, group)| group.map(|group| lag(topic, group))).collect::<UInt64Array>()),
            true,
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// A row for each partition and group.
fn by_partition(topics: &[Topic]) -> anyhow::Result<RecordBatch> {
    struct Row<'a> {
        topic: &'a Topic,
        partition: i32,
        marks: Watermarks,
        group: Option<&'a TopicGroup>,
    }
    let rows: Vec<Row<'_>> = topics
        .iter()
        .flat_map(Topic::rows)
        .flat_map(|(topic, group)| {
            let partitions = topic.partitions.iter();
            partitions.map(move |(partition, marks)| Row { topic, partition: *partition, marks: *marks, group })
        })
        .collect();
    let committed = |row: &Row<'_>| row.group.and_then(|group| group.committed.get(&row.partition).copied());
    let lag = |row: &Row<'_>| row.group.map(|group| group.lag(row.partition, row.marks));
    let columns: [(&str, ArrayRef, bool); 9] = [
        ("topic", Arc::new(rows.iter().map(|row| Some(row.topic.name.as_str())).collect::<StringArray>()), false),
        ("partition", Arc::new(rows.iter().map(|row| row.partition).collect::<Int32Array>()), false),
        ("first_offset", Arc::new(rows.iter().map(|row| row.marks.low).collect::<Int64Array>()), false),
        ("next_offset", Arc::new(rows.iter().map(|row| row.marks.high).collect::<Int64Array>()), false),
        ("records", Arc::new(rows.iter().map(|row| row.marks.records()).collect::<UInt64Array>()), false),
        ("relations", Arc::new(rows.iter().map(|row| row.topic.relations()).collect::<StringArray>()), true),
        (
            "group",
            Arc::new(rows.iter().map(|row| row.group.map(|group| group.name.as_str())).collect::<StringArray>()),
            true,
        ),
        ("committed", Arc::new(rows.iter().map(committed).collect::<Int64Array>()), true),
        ("lag", Arc::new(rows.iter().map(lag).collect::<UInt64Array>()), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn write(format: Format, batch: &RecordBatch) -> anyhow::Result<()> {
    let (mut out, terminal) = stdout();
    let mut writer = ViewsWriter::new(&mut out, format).with_terminal(terminal);
    writer.view(NAME, &batch.schema(), std::slice::from_ref(batch))?;
    writer.finish().context("cannot write the topics")?;
    flush(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use tallgrass_sink::text::write_view;

    fn some() -> Vec<Topic> {
        let marks = |marks: &[(i64, i64)]| {
            let marks = marks.iter().map(|(low, high)| Watermarks { low: *low, high: *high });
            (0..).zip(marks).collect::<BTreeMap<i32, Watermarks>>()
        };
        let group = |name: &str, committed: &[(i32, i64)]| TopicGroup {
            name: name.to_owned(),
            committed: committed.iter().copied().collect(),
        };
        vec![
            Topic { name: "alone".to_owned(), relations: Vec::new(), partitions: marks(&[(0, 0)]), groups: Vec::new() },
            Topic {
                name: "users".to_owned(),
                relations: vec!["user_events".to_owned(), "users".to_owned()],
                partitions: marks(&[(10, 110), (0, 7), (5, 5)]),
                groups: vec![
                    group("control-panel-sol", &[(0, 110), (1, 7), (2, 5)]),
                    group("login-checker", &[(0, 100)]),
                ],
            },
        ]
    }

    fn table(batch: &RecordBatch) -> String {
        let mut out = Vec::new();
        write_view(&mut out, Format::Table, NAME, &batch.schema(), std::slice::from_ref(batch)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_topic_has_a_row_and_each_of_its_groups_one() {
        assert_snapshot!(table(&by_topic(&some()).unwrap()));
    }

    #[test]
    fn partitions_have_offsets_and_what_each_group_lacks() {
        assert_snapshot!(table(&by_partition(&some()).unwrap()));
    }

    #[test]
    fn our_groups_are_known_by_their_names() {
        let ours = ["login-checker", "control-panel-sol", "login-checker-2", "control-panel", "else"].map(is_ours);
        assert_eq!(ours, [true, true, false, false, false]);
    }
}
