//! `tallgrass init TOPIC…`: from undeclared topics to a `sources.sql`, and a first tile.
//!
//! Reads a few records at both ends of every partition: the oldest and the newest records often differ.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use datafusion::common::utils::quote_identifier;
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::cmd::Exit;
use crate::cmd::topic_names::chosen;
use tallgrass_chart::ChartKind;
use tallgrass_kafka::{BatchReader, Cluster, KafkaConfig, KafkaError, Signal, Start, Watermarks};
use tallgrass_relation::Catalog;
use tallgrass_relation::infer::{SuggestedSources, TopicSample, sources};
use tallgrass_sink::chart::Axes;
use tallgrass_view::{PANELS, SOURCES};

/// How long a broker may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one topic may take; the records read until then are the sample.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(15);
/// Messages of one call.
const READ_MAX: usize = 1_000;
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// Samples the topics and prints or writes their declarations; failed if a topic has nothing to declare.
pub fn run(args: cli::Init, stop: &CancellationToken) -> anyhow::Result<Exit> {
    if let Some(file) = &args.output {
        refuse_existing(file)?;
    }
    let config = args.connection.config();
    let Some(cluster) = Cluster::connect_unless(&config, CONNECT_TIMEOUT, || stop.is_cancelled())? else {
        return Ok(Exit::Interrupted);
    };
    let topics = chosen(args.topics, &cluster.topics()?)?;

    let mut samples = Vec::with_capacity(topics.len());
    for topic in &topics {
        let sample = sample_topic(&cluster, &config, topic, args.sample.get(), stop)?;
        if stop.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        samples.push((sample, cluster.is_compacted(topic)?));
    }
    let sources = sources(&samples);
    for topic in &sources.undeclared {
        eprintln!("topic {topic}: nothing to declare, as no sampled record is a JSON object with a field of one type");
    }
    match args.output {
        None => io::stdout().lock().write_all(sources.sql.as_bytes()).context("write to stdout")?,
        Some(_) if sources.relations.is_empty() => eprintln!("nothing written"),
        Some(file) => {
            write_new(&file, &sources.sql)?;
            let queries =
                file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            let tiles = write_first_tiles(&queries, &sources)?;
            let panels = write_first_panels(&queries, &sources)?;
            for written in std::iter::once(&file).chain(&tiles).chain(&panels) {
                eprintln!("wrote {}", written.display());
            }
            eprintln!("{}", next_step(&file, &queries, &args.connection));
        }
    }
    Ok(if sources.undeclared.is_empty() { Exit::Done } else { Exit::Failed })
}

/// The offsets still to be read of one partition.
#[derive(Debug, PartialEq, Eq)]
struct Slice {
    next_offset: i64,
    /// Frozen at the start: a busy topic does not keep the sample waiting.
    end: i64,
    records: usize,
}

/// Partition → the records at its start: all of them if there are at most `sample`, else half of `sample`.
fn heads(watermarks: &BTreeMap<i32, Watermarks>, sample: usize) -> BTreeMap<i32, Slice> {
    let slice = |marks: &Watermarks| {
        let all = usize::try_from(marks.high - marks.low).unwrap_or(0) <= sample;
        Slice { next_offset: marks.low, end: marks.high, records: if all { sample } else { sample.div_ceil(2) } }
    };
    watermarks
        .iter()
        .map(|(partition, marks)| (*partition, slice(marks)))
        .filter(|(_, slice)| slice.next_offset < slice.end)
        .collect()
}

/// The same partitions' ends, without the records that the heads have read.
fn tails(heads: &BTreeMap<i32, Slice>, sample: usize) -> BTreeMap<i32, Slice> {
    let records = sample / 2;
    let length = i64::try_from(records).unwrap_or(i64::MAX);
    let slice = |head: &Slice| Slice {
        next_offset: head.next_offset.max(head.end.saturating_sub(length)),
        end: head.end,
        records,
    };
    heads
        .iter()
        .map(|(partition, head)| (*partition, slice(head)))
        .filter(|(_, slice)| slice.next_offset < slice.end)
        .collect()
}

fn sample_topic(
    cluster: &Cluster,
    config: &KafkaConfig,
    topic: &str,
    sample: usize,
    stop: &CancellationToken,
) -> anyhow::Result<TopicSample> {
    let watermarks = cluster.watermarks(topic)?;
    let deadline = Instant::now() + TOPIC_TIMEOUT;
    let mut found = TopicSample::new(topic);
    let until = || !stop.is_cancelled() && Instant::now() < deadline;
    let heads = read(config, topic, heads(&watermarks, sample), &mut found, &until)?;
    read(config, topic, tails(&heads, sample), &mut found, &until)?;
    let stopped = if Instant::now() >= deadline {
        format!(", stopped after {}", humantime::format_duration(TOPIC_TIMEOUT))
    } else {
        String::new()
    };
    let partitions = match watermarks.len() {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    };
    eprintln!("topic {topic}: {} records sampled from {partitions}{stopped}", found.records());
    Ok(found)
}

/// Reads the slices into the sample and returns them as far as they were read.
fn read(
    config: &KafkaConfig,
    topic: &str,
    mut slices: BTreeMap<i32, Slice>,
    sample: &mut TopicSample,
    continues: &dyn Fn() -> bool,
) -> anyhow::Result<BTreeMap<i32, Slice>> {
    if slices.is_empty() {
        return Ok(slices);
    }
    let name: Arc<str> = topic.into();
    let start = |(partition, slice): (&i32, &Slice)| Start {
        topic: Arc::clone(&name),
        partition: *partition,
        next_offset: slice.next_offset,
    };
    let mut reader = BatchReader::open(config, &slices.iter().map(start).collect::<Vec<_>>())?;
    let mut open: Vec<i32> = slices.keys().copied().collect();
    while !open.is_empty() && continues() {
        let mut ended = Vec::new();
        let read = reader.read(
            READ_MAX,
            READ_TIMEOUT,
            |message| {
                let Some(slice) = slices.get_mut(&message.partition) else { return };
                if message.offset >= slice.end {
                    slice.next_offset = slice.end;
                } else if slice.records > 0 && message.offset >= slice.next_offset {
                    sample.add(message.key, message.value);
                    slice.records -= 1;
                    slice.next_offset = message.offset + 1;
                }
            },
            |signal| match signal {
                // Offsets below the end that compaction or a transaction has removed never arrive.
                Signal::End { partition, .. } => ended.push(partition),
                Signal::Error(error) => tracing::debug!(topic, %error, "the client keeps trying"),
            },
        );
        match read {
            Ok(_) => {}
            // Retention has removed the start since the watermarks were read; the end of the partition is left.
            Err(KafkaError::OffsetOutOfRange { partition, .. }) => ended.push(partition),
            Err(error) => return Err(error.into()),
        }
        let mut still_open = Vec::with_capacity(open.len());
        for partition in open {
            let has_more =
                slices.get(&partition).is_some_and(|slice| slice.records > 0 && slice.next_offset < slice.end);
            if has_more && !ended.contains(&partition) {
                still_open.push(partition);
            } else {
                reader.remove(topic, partition)?;
            }
        }
        open = still_open;
    }
    Ok(slices)
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    if fs::symlink_metadata(file).is_ok() {
        bail!("{} exists already: init writes new files only", file.display());
    }
    Ok(())
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    }
    let written = fs::File::create_new(file).and_then(|mut created| created.write_all(text.as_bytes()));
    match written {
        // It was created since the first check.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_existing(file),
        written => written.with_context(|| format!("write {}", file.display())),
    }
}

/// A tile that counts each relation, where the folder has no dashboard yet.
fn write_first_tiles(queries: &Path, sources: &SuggestedSources) -> anyhow::Result<Vec<PathBuf>> {
    let dashboard = queries.join("dashboard");
    if dashboard.exists() {
        return Ok(Vec::new());
    }
    let mut written = Vec::with_capacity(sources.relations.len());
    for relation in &sources.relations {
        let file = dashboard.join(format!("{}.sql", relation.count_view));
        let name = &relation.name;
        write_new(
            &file,
            &format!("-- @title: Rows of {name}\n-- @chart: number\nSELECT count(*) AS rows_now FROM {name}\n"),
        )?;
        written.push(file);
    }
    Ok(written)
}

/// A panel of each stream whose rows have a latitude and a longitude, where the folder has no panels yet.
fn write_first_panels(queries: &Path, sources: &SuggestedSources) -> anyhow::Result<Vec<PathBuf>> {
    let panels = queries.join(PANELS);
    if panels.exists() {
        return Ok(Vec::new());
    }
    let catalog = Catalog::parse(&sources.sql, queries, SOURCES)?;
    let mut written = Vec::new();
    for relation in catalog.kafka_relations().filter(|relation| !relation.is_keyed()) {
        let declared = relation.declared();
        let Some(Axes { x, y, .. }) = Axes::of(ChartKind::Map, declared, None, &[]) else { continue };
        let name = |index: usize| quote_identifier(declared.field(index).name()).into_owned();
        let (lat, lon) = (name(y.first().copied().unwrap_or_default()), name(x));
        let is_flat = |index: &usize| !declared.field(*index).data_type().is_nested();
        let columns: Vec<String> = (0..declared.fields().len()).filter(is_flat).map(name).collect();
        let distance = format!("haversine_km({lat}, {lon}, $lat, $lon)");
        let sql = format!(
            "-- @title: {relation} nearby\n\
             -- @param lat DOUBLE\n-- @param lon DOUBLE\n-- @param radius_km DOUBLE = 3\n\
             SELECT\n  {},\n  {distance} AS distance_km,\n  _timestamp\n\
             FROM {relation}\nWHERE {distance} <= $radius_km\n",
            columns.join(",\n  "),
            relation = relation.name(),
        );
        let file = panels.join(format!("{}_nearby.sql", relation.name()));
        write_new(&file, &sql)?;
        written.push(file);
    }
    Ok(written)
}

fn next_step(file: &Path, queries: &Path, connection: &cli::Connection) -> String {
    if file.file_name().is_none_or(|name| name != "sources.sql") {
        return format!(
            "a dashboard reads sources.sql in its folder: rename {} to that, or append it there",
            file.display()
        );
    }
    // Not the -X properties: they may hold secrets.
    let brokers =
        if connection.brokers == DEFAULT_BROKERS { String::new() } else { format!(" -b {}", connection.brokers) };
    format!("next: tallgrass dashboard{brokers} --queries {}", queries.display())
}

/// The default of `-b`.
const DEFAULT_BROKERS: &str = "127.0.0.1:9092";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn marks(low: i64, high: i64) -> BTreeMap<i32, Watermarks> {
        BTreeMap::from([(0, Watermarks { low, high })])
    }

    #[test]
    fn a_short_partition_is_read_whole_and_once() {
        let mut heads = heads(&marks(5, 8), 10);
        assert_eq!(heads[&0], Slice { next_offset: 5, end: 8, records: 10 });
        heads.get_mut(&0).unwrap().next_offset = 8;
        assert!(tails(&heads, 10).is_empty());
        assert!(super::heads(&marks(8, 8), 10).is_empty());
    }

    #[test]
    fn a_long_partition_is_read_at_both_ends() {
        let mut heads = heads(&marks(0, 100), 9);
        assert_eq!(heads[&0], Slice { next_offset: 0, end: 100, records: 5 });
        heads.get_mut(&0).unwrap().next_offset = 5;
        assert_eq!(tails(&heads, 9)[&0], Slice { next_offset: 96, end: 100, records: 4 });
    }

    #[test]
    fn the_end_does_not_repeat_what_the_start_has_read() {
        // Compaction left few records, so half the sample spans many offsets.
        let heads = BTreeMap::from([(0, Slice { next_offset: 98, end: 100, records: 0 })]);
        assert_eq!(tails(&heads, 10)[&0].next_offset, 98);
    }
}
