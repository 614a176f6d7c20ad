//! `/metrics`, read as a scraper reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::served::Served;
use crate::support::wait_for;

/// An exposition, checked line by line.
#[derive(Debug, Default)]
struct Exposition {
    types: BTreeMap<String, String>,
    units: BTreeMap<String, String>,
    /// By name and labels as written.
    samples: BTreeMap<String, f64>,
}

/// The suffixes that samples of a type have behind the family's name.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("an unknown type: {other}"),
    }
}

impl Exposition {
    /// `OpenMetrics` text. Families must not be mixed, each needs help and type, a unit ends the name, and nothing repeats.
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let (mut helped, mut family, mut ended) = (BTreeSet::new(), String::new(), false);
        for line in text.lines() {
            assert!(!ended, "after the end: {line}");
            if line == "# EOF" {
                ended = true;
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()) && help.len() > 5, "{line}");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(name == family && parsed.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').unwrap();
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
                parsed.units.insert(name.to_owned(), unit.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let kind = &parsed.types[&family];
                assert!(suffixes(kind).iter().any(|suffix| name == format!("{family}{suffix}")), "{family}: {line}");
                assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
                let value: f64 = value.parse().unwrap();
                assert!(kind != "counter" || value >= 0.0, "{line}");
                assert!(parsed.samples.insert(series.to_owned(), value).is_none(), "{line} repeats");
            }
        }
        assert!(ended, "it has no end");
        parsed
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }
}

#[test]
fn every_line_is_open_metrics_and_the_numbers_are_those_of_the_run() {
    let files = [("n", "SELECT count(*) AS n FROM s"), ("typo", "SELECT nope FROM s")];
    let served = Served::verified(&files, Duration::from_millis(50));
    served.produce(&["a", "b", "c"]);
    served.broker.produce(&served.topic, [(Some("9"), Some("{broken"))]);
    wait_for("rows", || (served.get("/api/views/n").json()["rows"][0]["n"] == 3).then_some(()));
    wait_for("a proof", || (served.get("/api/proof").status == 200).then_some(()));
    let topic = &served.topic;
    let exposition = wait_for("all records", || {
        let answer = served.get("/metrics").good();
        assert_eq!(answer.content_type(), "application/openmetrics-text");
        let exposition = Exposition::parse(&answer.text());
        (exposition.samples.get(&format!("tallgrass_records_consumed_total{{topic=\"{topic}\"}}")) == Some(&4.0))
            .then_some(exposition)
    });
    for (series, value) in [
        ("tallgrass_bad_records_total".to_owned(), 1.0),
        ("tallgrass_records_decoded_total".to_owned(), 3.0),
        (format!("tallgrass_consumer_lag_records{{topic=\"{topic}\"}}"), 0.0),
        ("tallgrass_view_result_rows{view=\"n\"}".to_owned(), 1.0),
        ("tallgrass_view_errors{view=\"n\"}".to_owned(), 0.0),
        ("tallgrass_view_errors{view=\"typo\"}".to_owned(), 1.0),
        ("tallgrass_broker_up".to_owned(), 1.0),
        ("tallgrass_caught_up".to_owned(), 1.0),
        ("tallgrass_proof_agrees".to_owned(), 1.0),
        ("tallgrass_rebuilds_total".to_owned(), 0.0),
        (format!("tallgrass_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        assert!((exposition.value(&series) - value).abs() < f64::EPSILON, "{series}: {}", exposition.value(&series));
    }
    assert!(exposition.value("tallgrass_consumed_bytes_total") > 60.0);
    assert!(exposition.value("tallgrass_view_state_bytes{view=\"n\"}") > 0.0);
    assert!(exposition.value("tallgrass_refresh_duration_seconds_count") >= 1.0);
    assert!(exposition.value("process_resident_memory_bytes") > 1e6);
    for (name, kind) in [
        ("tallgrass_refresh_duration_seconds", "histogram"),
        ("tallgrass_consumed_bytes", "counter"),
        ("tallgrass_view_state_bytes", "gauge"),
        ("process_cpu_seconds", "counter"),
        ("process_open_fds", "gauge"),
        ("process_start_time_seconds", "gauge"),
    ] {
        assert_eq!(exposition.types.get(name).map(String::as_str), Some(kind), "{name}");
    }
    assert_eq!(exposition.units["tallgrass_consumer_lag_records"], "records");
    served.save("n", "SELECT count(*) + 1 AS n FROM s");
    wait_for("a rebuild", || {
        (Exposition::parse(&served.get("/metrics").text()).value("tallgrass_rebuilds_total") >= 1.0).then_some(())
    });
}

#[test]
fn an_older_scraper_gets_the_older_text() {
    let served = Served::start(&[("n", "SELECT count(*) AS n FROM s")]);
    let answer = served.ask("GET", "/metrics", &[("accept", "text/plain;version=0.0.4;q=0.5")]).good();
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    assert!(text.contains("# TYPE tallgrass_consumed_bytes_total counter\n"), "{text}");
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
}
