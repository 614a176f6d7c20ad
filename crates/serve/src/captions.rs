//! The captions of a view beside its rows, for people: on the page and in the terminal.

use std::time::Duration;

use tallgrass_kafka::KafkaConfig;
use tallgrass_pipeline::{Cost, Status, ViewResult};
use tallgrass_sink::cells::group_digits;
use tallgrass_sink::sanitize::sanitize;
use tallgrass_sink::terminal::show_duration;
use tallgrass_view::Maintenance;

/// How far the view's rebuild is, if it has one.
pub fn rebuilding(status: &Status, view: &str) -> Option<String> {
    let (names, rebuild) = status.rebuild.as_ref()?;
    if !names.iter().any(|rebuilt| **rebuilt == *view) {
        return None;
    }
    let rate = group_digits(&format!("{:.0}", rebuild.records_per_s));
    let left = rebuild.left.map(|left| format!(", {} left", show_duration(left))).unwrap_or_default();
    Some(format!("rebuilding: {:.0}% at {rate} records/s{left}", (rebuild.progress * 100.0).floor()))
}

/// The progress of reading the records that existed at the start, and the time left at the rate so far.
pub fn catching_up(status: &Status) -> String {
    let (share, elapsed) = (status.progress(), status.started.elapsed());
    // The first moments are not representative.
    let left = (share > 0.02 && share < 1.0).then(|| show_duration(elapsed.mul_f64((1.0 - share) / share)));
    let left = left.map(|left| format!(", {left} left")).unwrap_or_default();
    format!("catching up: {:.0}%{left}", (share * 100.0).floor())
}

/// The topics that do not exist yet, if any.
pub fn waits_for(status: &Status) -> Option<String> {
    let topics: Vec<&str> = status.missing.iter().map(AsRef::as_ref).collect();
    (!topics.is_empty()).then(|| format!("waiting for topic {}", topics.join(", ")))
}

/// A command that writes its input to a topic, one record per line.
pub fn feeder(kafka: &KafkaConfig, topic: &str) -> String {
    format!("kcat -P -b {} -t {}", kafka.brokers(), sanitize(topic))
}

/// The offset from which the results count, where the broker had lost the beginning.
pub fn counts_from(status: &Status) -> Option<String> {
    let first = status.history.first()?;
    let counts = format!("counts from offset {} of {}[{}]", first.first_offset, first.topic, first.partition);
    Some(match status.history.len() {
        1 => counts,
        more => format!("{counts} (and {} more partitions): older records are lost", more - 1),
    })
}

/// How it is maintained, and the cost of that.
pub fn foot(result: &ViewResult) -> String {
    let Cost { rows, reducing, refresh, state } = result.cost;
    let Some(maintenance) = result.description.as_ref().map(|described| described.maintenance) else {
        return String::new();
    };
    let mut parts = vec![maintenance.to_string()];
    if state.rows > 0 {
        let what = match (maintenance, state.rows) {
            (Maintenance::Recomputed, 1) => "row",
            (Maintenance::Recomputed, _) => "rows",
            (_, 1) => "group",
            (_, _) => "groups",
        };
        parts.push(format!("{} {what}, {}", group_digits(&state.rows.to_string()), show_bytes(state.bytes)));
    }
    parts.push(format!("refresh {}", show_time(refresh)));
    if rows > 0 {
        parts.push(format!("{} per 1,000 events", show_time(reducing.div_f64(rows as f64 / 1e3))));
    }
    parts.join(" · ")
}

/// A short time, for people.
pub fn show_time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 0.1 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// A size, for people.
pub fn show_bytes(bytes: usize) -> String {
    match bytes as f64 {
        bytes if bytes < 1e3 => format!("{bytes} B"),
        bytes if bytes < 1e6 => format!("{:.0} kB", bytes / 1e3),
        bytes => format!("{:.1} MB", bytes / 1e6),
    }
}
