//! `tallgrass init`: an undeclared topic becomes SQL, and a dashboard in two commands.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tallgrass_relation::Catalog;

use crate::support::{Broker, broker, real_broker, unique};

/// A run of the program, its stdout and stderr as text.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn init(broker: &Broker, args: &[&str]) -> Run {
    let program = Command::new(env!("CARGO_BIN_EXE_tallgrass"))
        .args(["init", "--brokers", broker.brokers()])
        .args(args)
        .env("RUST_LOG", "off")
        .output();
    let Output { status, stdout, stderr } = program.expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Run { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn orders(count: u32) -> Vec<(String, String)> {
    (0..count)
        .map(|id| {
            let note = if id % 4 == 0 { "null" } else { "\"gift\"" };
            (
                id.to_string(),
                format!(r#"{{"id":{id},"total":{}.5,"placed":"2026-01-31T09:00:{:02}Z","note":{note}}}"#, id, id % 60),
            )
        })
        .collect()
}

fn produce(broker: &Broker, topic: &str, orders: &[(String, String)]) {
    broker.produce(topic, orders.iter().map(|(key, value)| (Some(key.as_str()), Some(value.as_str()))));
}

#[test]
fn a_topic_is_printed_as_ddl() {
    let broker = broker();
    let topic = broker.topic("Orders", 3);
    produce(&broker, &topic, &orders(40));
    let run = init(&broker, &[&topic]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stderr, format!("topic {topic}: 40 records sampled from 3 partitions\n"));
    let name = topic.to_lowercase().replace('-', "_");
    insta::assert_snapshot!(run.stdout.replace(&*topic, "TOPIC").replace(&name, "RELATION"));
}

#[test]
fn long_partitions_are_sampled_at_both_ends_only() {
    let broker = broker();
    let topic = broker.topic("orders", 1);
    // The first, middle and last records differ.
    let records: Vec<_> = (0..300)
        .map(|nth| match nth {
            0..100 => format!("{{\"first\":{nth}}}"),
            100..200 => format!("{{\"middle\":{nth}}}"),
            _ => format!("{{\"last\":{nth}}}"),
        })
        .collect();
    broker.produce(&topic, records.iter().map(|record| (None, Some(record.as_str()))));
    let run = init(&broker, &[&topic, "--sample", "50"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("50 records sampled from 1 partition\n"), "{}", run.stderr);
    assert!(run.stdout.contains("first BIGINT, -- missing in 50%"), "{}", run.stdout);
    assert!(run.stdout.contains("last  BIGINT  -- missing in 50%"), "{}", run.stdout);
    assert!(!run.stdout.contains("middle"), "{}", run.stdout);
}

#[test]
fn a_file_is_written_once_with_a_first_tile() {
    let broker = broker();
    let topic = unique("orders");
    broker.create_topic(&topic, 2, false);
    produce(&broker, &topic, &orders(10));
    broker.produce(&topic, [(Some("3"), None)]);
    let folder = tempfile::tempdir().unwrap();
    let queries = folder.path().join("mine");
    let file = queries.join("sources.sql");
    let path = file.to_str().unwrap();

    let run = init(&broker, &[&topic, "-o", path]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
    let name = topic.replace('-', "_");
    let tile = queries.join(format!("dashboard/{name}_count.sql"));
    let last = format!("next: tallgrass dashboard -b {} --queries {}\n", broker.brokers(), queries.display());
    assert!(run.stderr.contains(&format!("wrote {path}\nwrote {}\n", tile.display())), "{}", run.stderr);
    assert!(run.stderr.ends_with(&last), "{}", run.stderr);

    let catalog = Catalog::parse(&fs::read_to_string(&file).unwrap(), &queries, path).unwrap();
    let relations: Vec<_> =
        catalog.kafka_relations().map(|relation| (relation.name().to_owned(), relation.is_keyed())).collect();
    assert_eq!(relations, [(format!("{name}_events"), false), (name.clone(), true)]);
    assert!(fs::read_to_string(&tile).unwrap().ends_with(&format!("SELECT count(*) AS rows_now FROM {name}\n")));

    // Neither the file nor an existing dashboard is ever changed.
    let before = fs::read_to_string(&file).unwrap();
    let again = init(&broker, &[&topic, "-o", path]);
    assert_eq!(again.code, Some(1));
    assert_eq!(again.stderr, format!("error: {path} exists already: init writes new files only\n"));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    let other = queries.join("other.sql");
    let run = init(&broker, &[&topic, "-o", other.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(files(&queries.join("dashboard")), 1);
    assert!(run.stderr.contains("a dashboard reads sources.sql in its folder"), "{}", run.stderr);
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_mistyped_topic_is_an_error_that_names_the_right_one() {
    let broker = broker();
    let topic = broker.topic("payments", 1);
    let mistyped = topic.replacen("payments", "paymnets", 1);
    let run = init(&broker, &[&topic, &mistyped]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    let expected = format!("error: there is no topic '{mistyped}': did you mean '{topic}'?");
    assert!(run.stderr.starts_with(&expected), "{}", run.stderr);
}

#[test]
fn a_topic_with_nothing_to_declare_is_a_failure_that_writes_no_file() {
    let broker = broker();
    let empty = broker.topic("empty", 2);
    let text = broker.topic("text", 1);
    broker.produce(&text, [(None, Some("not json")), (None, Some("[1]"))]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sources.sql");
    let run = init(&broker, &[&empty, &text, "-o", file.to_str().unwrap()]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.ends_with("nothing written\n"), "{}", run.stderr);
    assert_eq!(files(folder.path()), 0);
    let run = init(&broker, &[&text]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stdout.contains("-- Also 1 value of JSON other than an object, 1 value that is not JSON."),
        "{}",
        run.stdout
    );
}

#[test]
fn a_compacted_topic_becomes_a_keyed_table() {
    let Some(broker) = real_broker("the embedded broker does not compact") else { return };
    let topic = unique("orders");
    broker.create_topic(&topic, 2, true);
    produce(&broker, &topic, &orders(10));
    let run = init(&broker, &[&topic]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains(&format!("-- Topic {topic}, compacted: 10 records sampled")), "{}", run.stdout);
    assert!(run.stdout.contains("  PRIMARY KEY (id)\n"), "{}", run.stdout);
}

#[test]
fn records_with_a_place_get_a_first_panel_that_can_be_used() {
    let broker = broker();
    let topic = broker.topic("bikes", 1);
    let bikes = (0..20).map(|id| format!(r#"{{"station":"S{id}","latitude":52.{id},"longitude":13.{id}}}"#));
    let bikes: Vec<String> = bikes.collect();
    broker.produce(&topic, bikes.iter().map(|bike| (None, Some(bike.as_str()))));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sources.sql");
    let run = init(&broker, &[&topic, "-o", file.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let name = topic.replace('-', "_");
    let panel = folder.path().join(format!("panels/{name}_nearby.sql"));
    assert!(run.stderr.contains(&format!("wrote {}\n", panel.display())), "{}", run.stderr);
    insta::assert_snapshot!(fs::read_to_string(&panel).unwrap().replace(&name, "RELATION"), @r"
    -- @title: RELATION nearby
    -- @param lat DOUBLE
    -- @param lon DOUBLE
    -- @param radius_km DOUBLE = 3
    SELECT
      station,
      latitude,
      longitude,
      haversine_km(latitude, longitude, $lat, $lon) AS distance_km,
      _timestamp
    FROM RELATION
    WHERE haversine_km(latitude, longitude, $lat, $lon) <= $radius_km
    ");
    let check = Command::new(env!("CARGO_BIN_EXE_tallgrass")).arg("check").arg("--queries").arg(folder.path()).output();
    let check = check.expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert!(check.status.success() && err.is_empty() && out.contains("_nearby.sql"), "{out}{err}");
}
