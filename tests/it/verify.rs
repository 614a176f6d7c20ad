//! Offsets are the clock: a live run's claims can be replayed exactly, and a wrong number is found.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tallgrass_kafka::Record;
use tempfile::TempDir;

use crate::program::{Run, on, start};
use crate::support::{Broker, broker, real_broker, unique, wait_for};

/// A stream, a keyed table, a file, and a view of each kind.
struct World {
    broker: Broker,
    stream: String,
    table: String,
    folder: TempDir,
    /// Behind a link, so that a running dashboard does not see its edits.
    elsewhere: TempDir,
}

const FILES: [(&str, &str); 4] = [
    ("tally", "SELECT name, count(*) AS n, sum(x) AS total FROM s GROUP BY name"),
    ("current", "SELECT id, name FROM t"),
    ("clock", "SELECT now() AS at, count(*) AS n, count(*) FILTER (WHERE _timestamp < now()) AS past FROM s"),
    ("kinds", "SELECT kind, count(*) AS n FROM s JOIN dex ON s.name = dex.name GROUP BY kind"),
];

impl World {
    fn new(broker: Broker) -> Self {
        let (stream, table) = (unique("stream"), unique("table"));
        broker.create_topic(&stream, 3, false);
        broker.create_topic(&table, 1, true);
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("dashboard")).unwrap();
        let elsewhere = TempDir::new().unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("dex.csv"), folder.path().join("dex.csv")).unwrap();
        let world = Self { broker, stream, table, folder, elsewhere };
        world.dex("even");
        let sources = format!(
            "CREATE EXTERNAL TABLE s (name VARCHAR, x DOUBLE) STORED AS KAFKA LOCATION '{}';
             CREATE EXTERNAL TABLE t (id BIGINT, name VARCHAR, PRIMARY KEY (id)) STORED AS KAFKA LOCATION '{}';
             CREATE EXTERNAL TABLE dex (name VARCHAR, kind VARCHAR) STORED AS CSV LOCATION '{}'
               OPTIONS ('has_header' 'true');",
            world.stream,
            world.table,
            world.folder.path().join("dex.csv").display()
        );
        fs::write(world.folder.path().join("sources.sql"), sources).unwrap();
        for (name, sql) in FILES {
            world.file(name, sql);
        }
        world
    }

    /// The same with some rows everywhere.
    fn filled() -> Self {
        let world = Self::new(broker());
        world.fill(0..300);
        world.users(0..40);
        world
    }

    fn dex(&self, kind: &str) {
        fs::write(self.elsewhere.path().join("dex.csv"), format!("name,kind\nn0,{kind}\nn1,odd\n")).unwrap();
    }

    /// The same by a file of the same length and time, so that the edit is not noticed.
    fn dex_unseen(&self, kind: &str) {
        let dex = self.elsewhere.path().join("dex.csv");
        let time = fs::metadata(&dex).unwrap().modified().unwrap();
        let new = dex.with_extension("new");
        fs::write(&new, format!("name,kind\nn0,{kind}\nn1,odd\n")).unwrap();
        fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(new, dex).unwrap();
    }

    fn file(&self, name: &str, sql: &str) {
        fs::write(self.folder.path().join("dashboard").join(name).with_extension("sql"), sql).unwrap();
    }

    fn fill(&self, rows: std::ops::Range<i32>) {
        let rows: Vec<(i32, String)> =
            rows.map(|n| (n % 3, format!(r#"{{"name":"n{}","x":{}}}"#, n % 4, f64::from(n) * 0.1))).collect();
        self.broker.produce_records(rows.iter().map(|(partition, row)| Record {
            topic: &self.stream,
            partition: Some(*partition),
            value: Some(row.as_bytes()),
            ..Record::default()
        }));
    }

    /// Logs users in; every third one off again.
    fn users(&self, ids: std::ops::Range<i32>) {
        let rows: Vec<(String, Option<String>)> = ids
            .flat_map(|id| {
                let row = format!(r#"{{"id":{id},"name":"user {id}"}}"#);
                let off = (id % 3 == 0).then(|| (id.to_string(), None));
                std::iter::once((id.to_string(), Some(row))).chain(off)
            })
            .collect();
        self.broker.produce(&self.table, rows.iter().map(|(key, row)| (Some(key.as_str()), row.as_deref())));
    }

    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--queries", self.folder.path().to_str().unwrap()]].concat()
    }

    fn run(&self, args: &[&str]) -> Run {
        on(&self.broker, &self.args(args))
    }

    /// One line for each view, at the current ends.
    fn lines(&self) -> Vec<Value> {
        parse(&self.run(&["dashboard", "--once", "--format", "ndjson"]).good().stdout)
    }

    fn against(&self, lines: &[Value]) -> Run {
        let text = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let path = self.folder.path().join("lines.ndjson");
        fs::write(&path, text).unwrap();
        self.run(&["verify", "--against", path.to_str().unwrap()])
    }

    fn count_until(&self, until: &str) -> Value {
        let run = self.run(&["replay", "count", "--format", "json", "--until", until]).good();
        run.json()["count"][0]["n"].clone()
    }
}

fn parse(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(lines: &'a [Value], view: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["view"] == view).collect()
}

fn bag(rows: &Value) -> Vec<String> {
    let mut rows: Vec<String> = rows.as_array().unwrap().iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

#[test]
fn every_kind_of_view_is_verified_and_lines_can_be_verified_later() {
    let world = World::filled();
    let run = world.run(&["verify"]).good();
    assert_eq!(run.stdout.matches("live and replay agree").count(), FILES.len(), "{}", run.stdout);
    let run = world.run(&["verify", "clock", "--batch-rows", "1"]).good();
    assert!(run.stdout.starts_with("clock: live and replay agree, 1 row, digest "), "{}", run.stdout);

    let lines = world.lines();
    assert_eq!(lines.len(), FILES.len());
    world.fill(300..400);
    world.users(20..60);
    // Time has passed, and yet now() is the same.
    let run = world.against(&lines).good();
    assert_eq!(run.stdout.matches("live and replay agree").count(), FILES.len(), "{}", run.stdout);
    for line in &lines {
        assert!(run.stdout.contains(line["digest"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn a_line_of_a_running_dashboard_replayed_up_to_its_as_of_gives_its_rows() {
    let world = World::filled();
    let live = start(&world.broker, &world.args(&["dashboard", "--format", "ndjson", "--refresh", "20ms"]));
    for step in 0..8 {
        let seen = |n: i32| live.lines().iter().any(|line| line.contains(&format!("\"n\":{n},\"past\"")));
        wait_for("the rows so far", || seen(300 + step * 20).then_some(()));
        world.fill(300 + step * 20..320 + step * 20);
        world.users(step * 10..step * 10 + 20);
    }
    wait_for("the last rows", || live.lines().iter().any(|line| line.contains("\"n\":460,\"past\"")).then_some(()));
    let run = live.interrupt();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let lines = parse(&run.stdout);
    let tallies = of(&lines, "tally");
    assert!(tallies.len() > 5, "{}", tallies.len());
    // The first line may be written before anything is known of the topics.
    for tally in tallies.iter().skip(1).step_by(3) {
        let replay = world.run(&["replay", "tally", "--until", &tally["as_of"].to_string(), "--format", "json"]).good();
        assert_eq!(bag(&replay.json()["tally"]), bag(&tally["rows"]), "{tally}");
    }
    // Of each view an early line, and its last one.
    let early: Vec<Value> = FILES.iter().map(|(view, _)| of(&lines, view)[1].clone()).collect();
    world.against(&early).good();
    world.against(&lines).good();
}

#[test]
fn a_view_is_written_when_its_result_has_changed_and_an_error_once() {
    let world = World::filled();
    world.file("clock", "SELECT count(*) AS n FROM t");
    world.file("broken", "SELECT nam FROM s");
    world.file("syntax", "SELECT (");
    let live = start(&world.broker, &world.args(&["dashboard", "--format", "ndjson", "--refresh", "20ms"]));
    for step in 1..6 {
        world.fill(300 + step..301 + step);
        wait_for("the new row", || {
            let rows = live.lines().iter().filter(|line| line.contains("\"tally\"")).count();
            (rows >= usize::try_from(step).unwrap()).then_some(())
        });
    }
    let run = live.interrupt();
    let lines = parse(&run.stdout);
    for (view, _) in FILES {
        let digests: Vec<&Value> = of(&lines, view).iter().map(|line| &line["digest"]).collect();
        assert!(digests.windows(2).all(|pair| pair[0] != pair[1]), "{view}: {digests:?}");
    }
    for view in ["broken", "syntax"] {
        let [line] = of(&lines, view)[..] else { panic!("{view}: {}", run.stdout) };
        assert!(line["error"].as_str().unwrap().contains(view), "{line}");
        assert!(line.get("rows").is_none() && line["as_of"].is_object(), "{line}");
    }
    // The table's topic did not change; at most its first records were spread over several refreshes.
    let current = of(&lines, "current").len();
    assert!(current <= 3 && current < of(&lines, "tally").len(), "{}", run.stdout);
    // A line for a view without a result cannot be verified.
    let run = world.against(&lines);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("broken: FAILED: the live view had no result"), "{}", run.stdout);
    let once = world.run(&["dashboard", "--once", "--format", "ndjson"]);
    assert_eq!(once.code, Some(3), "{}", once.stderr);
    assert_eq!(parse(&once.stdout).len(), FILES.len() + 2);
}

#[test]
fn what_was_changed_by_hand_is_found_and_shown() {
    let world = World::filled();
    let good = world.lines();
    let place = good.iter().position(|line| line["view"] == "tally").unwrap();
    let n0 = good[place]["rows"].as_array().unwrap().iter().position(|row| row["name"] == "n0").unwrap();

    let mut row = good.clone();
    row[place]["rows"][n0]["n"] = json!(74);
    let run = world.against(&row);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert!(run.stdout.contains("tally: DIFFERS: 1 row only live, 1 row only in the replay"), "{}", run.stdout);
    assert!(run.stdout.contains("  - only live: n = 74, name = \"n0\""), "{}", run.stdout);
    assert!(run.stdout.contains("  + only replay: n = 75, name = \"n0\""), "{}", run.stdout);
    assert_eq!(run.stdout.matches("agree").count(), FILES.len() - 1, "{}", run.stdout);

    let mut missing = good.clone();
    missing[place]["rows"].as_array_mut().unwrap().remove(n0);
    let run = world.against(&missing);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("0 rows only live, 1 row only in the replay"), "{}", run.stdout);

    let mut digest = good.clone();
    digest[place]["digest"] = json!("0".repeat(32));
    let run = world.against(&digest);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("tally: DIFFERS: the rows read the same, but not the digest"), "{}", run.stdout);

    // Another as-of, and another moment.
    let mut as_of = good.clone();
    as_of[place]["as_of"][&world.stream]["0"] = json!(99);
    assert_eq!(world.against(&as_of).code, Some(1));
    let clock = good.iter().position(|line| line["view"] == "clock").unwrap();
    let mut now = good.clone();
    now[clock]["now"] = json!("2026-01-01T00:00:00Z");
    let run = world.against(&now);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("clock: DIFFERS"), "{}", run.stdout);

    // Another SQL than that of the lines.
    world.file("tally", "SELECT name, count(*) + 1 AS n, sum(x) AS total FROM s GROUP BY name");
    let run = world.against(&good);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("tally: DIFFERS: 4 rows only live, 4 rows only in the replay"), "{}", run.stdout);
}

#[test]
fn last_digits_that_depend_on_the_order_of_reading_are_forgiven_in_their_column_alone() {
    let world = World::filled();
    world.file("spread", "SELECT name, sum(x) AS total, stddev(x) AS sd FROM s GROUP BY name");
    let run = world.run(&["verify", "spread", "--batch-rows", "1"]).good();
    assert!(run.stdout.starts_with("spread: live and replay agree, 4 rows"), "{}", run.stdout);

    let good = world.lines();
    let place = good.iter().position(|line| line["view"] == "spread").unwrap();
    let times = |column: &str, factor: f64| {
        let mut lines = good.clone();
        let value = &mut lines[place]["rows"][0][column];
        *value = json!(value.as_f64().unwrap() * factor);
        world.against(&lines)
    };
    let run = times("sd", 1.0 + 1e-12).good();
    assert!(run.stdout.contains("spread: live and replay agree"), "{}", run.stdout);
    assert!(times("sd", 1.0 + 1e-6).stdout.contains("spread: DIFFERS: 1 row only live"));
    assert!(times("total", 1.0 + 1e-12).stdout.contains("spread: DIFFERS: 1 row only live"));
}

#[test]
fn a_replay_stops_exactly_at_its_bound_while_more_arrives() {
    let world = World::filled();
    world.file("count", "SELECT count(*) AS n FROM s");
    let (stream, table) = (&world.stream, &world.table);
    std::thread::scope(|scope| {
        let more = scope.spawn(|| (0..10).for_each(|step| world.fill(300 + step * 30..330 + step * 30)));
        assert_eq!(world.count_until(&format!("{stream} 0:7 1:0 2:100")), json!(107));
        // A partition that is not named is not read, and a topic that no view reads may be named.
        assert_eq!(world.count_until(&format!("{stream} 1:5, other 0:1")), json!(5));
        assert_eq!(world.count_until(&json!({stream.as_str(): {"0": 1, "2": 1}}).to_string()), json!(2));
        more.join().unwrap();
    });
    // The first records of the table: users 0 (on, off), 1, 2 and 3 (on).
    let until = format!("{table} 0:5");
    let run = world.run(&["replay", "current", "--until", &until, "--format", "json"]).good();
    let ids: BTreeSet<i64> =
        run.json()["current"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from([1, 2, 3]));

    for (until, says) in [
        (format!("{table} 0:5"), format!("topic '{stream}' is read, but the offsets to read up to do not name it")),
        (format!("{stream} 0:5 1:1000"), format!("{stream}[1] ends at offset 200, so nothing can be read up to 1000")),
        (format!("{stream} 0:5 7:1"), format!("{stream}[7] ends at offset 0, so nothing can be read up to 1")),
    ] {
        let run = world.run(&["replay", "count", "--until", &until]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{until}");
        assert!(run.stderr.contains(&says), "{until}: {}", run.stderr);
    }
    if !world.broker.is_real() {
        let run = world.run(&["replay", "count", "--until", "@2026-01-31T09:00:00Z"]);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains("the broker cannot look up times"), "{}", run.stderr);
    }
}

#[test]
fn a_replay_up_to_a_time_leaves_out_what_is_of_that_time_or_later() {
    let Some(broker) = real_broker("the embedded broker has no time index") else { return };
    let world = World::new(broker);
    world.file("count", "SELECT count(*) AS n FROM s");
    // Recent enough for the broker not to delete the records again.
    let start_ms = jiff::Timestamp::now().as_second() * 1000 - 3_600_000;
    let record = |offset: i64| Record {
        topic: &world.stream,
        partition: Some((offset % 2) as i32),
        value: Some(br#"{"name":"n0","x":1}"#),
        timestamp_ms: Some(start_ms + offset * 1000),
        ..Record::default()
    };
    world.broker.produce_records((0..100).map(record));
    for (seconds, count) in [(0, 0), (1, 1), (50, 50), (99, 99), (100, 100), (100_000, 100)] {
        let until = format!("@{}", start_ms + seconds * 1000);
        assert_eq!(world.count_until(&until), json!(count), "{until}");
    }
    let tenth = jiff::Timestamp::from_millisecond(start_ms + 10_000).unwrap();
    assert_eq!(world.count_until(&format!("@{tenth}")), json!(10));
}

#[test]
fn a_dashboard_that_verifies_itself_finds_a_difference_and_continues() {
    let world = World::filled();
    let args = ["dashboard", "--format", "ndjson", "--refresh", "20ms", "--verify", "300ms"];
    let live = start(&world.broker, &world.args(&args));
    live.wait_for_log("live = replay: 4 views, as of");
    // A file has no offsets, and this one hides that it has changed.
    world.dex_unseen("EVEN");
    live.wait_for_log("kinds: DIFFERS: 1 row only live, 1 row only in the replay, as of");
    live.wait_for_log("kinds: - only live: kind = even");
    live.wait_for_log("kinds: + only replay: kind = EVEN");
    // The live run does not stop for it.
    world.fill(300..340);
    wait_for("later rows", || live.lines().iter().any(|line| line.contains("\"n\":340,\"past\"")).then_some(()));
    let run = live.interrupt();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(!run.stderr.contains("tally: DIFFERS"), "{}", run.stderr);

    let plain = start(&world.broker, &world.args(&["dashboard", "--verify", "300ms"]));
    wait_for("the strip", || plain.lines().iter().any(|line| line.contains(" · live = replay, ")).then_some(()));
    world.dex_unseen("even");
    wait_for("the strip", || plain.lines().iter().any(|line| line.contains(" · DIFFERS: kinds · ")).then_some(()));
    assert_eq!(plain.interrupt().code, Some(1));
}

#[test]
fn a_file_that_is_saved_while_proofs_run_is_not_a_difference() {
    let world = World::filled();
    let live = start(&world.broker, &world.args(&["dashboard", "--format", "ndjson", "--verify", "100ms"]));
    live.wait_for_log("live = replay: 4 views, as of");
    for kind in ["another", "a third", "even"] {
        world.dex(kind);
        wait_for("the new rows", || live.lines().iter().any(|line| line.contains(kind)).then_some(()));
    }
    let run = live.interrupt();
    assert!(!run.stderr.contains("DIFFERS"), "{}", run.stderr);
    assert_eq!(run.code, Some(130), "{}", run.stderr);
}

#[test]
fn a_reader_that_goes_away_ends_the_dashboard_quietly() {
    let world = World::filled();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tallgrass"))
        .args(world.args(&[
            "dashboard",
            "--format",
            "ndjson",
            "--refresh",
            "20ms",
            "--listen",
            "off",
            "-b",
            world.broker.brokers(),
        ]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(child.stdout.take());
    let status = wait_for("the end", || child.try_wait().unwrap());
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn lines_come_from_stdin_too_and_wrong_ones_are_named() {
    let world = World::filled();
    let lines = world.lines();
    let verify = |text: String, args: &[&str]| {
        let all = [&["verify", "--against", "-", "-b", world.broker.brokers()], args].concat();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tallgrass"))
            .args(world.args(&all))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    let text = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
    let run = verify(text.clone(), &["tally"]).good();
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    for (text, says) in [
        (String::new(), "- has no lines of `tallgrass dashboard --format ndjson`"),
        (format!("{{\"view\":\n{text}"), "cannot read -: line 1"),
        (text.replace("\"view\":\"tally\"", "\"view\":\"current\""), "there is no line about 'tally'"),
    ] {
        let run = verify(text, &["tally"]);
        assert_eq!(run.code, Some(1), "{says}: {}", run.stdout);
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
    let removed = text.replace("\"view\":\"tally\"", "\"view\":\"removed\"");
    let run = verify(removed, &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("removed: FAILED: there is no file of this name"), "{}", run.stdout);
}

#[test]
fn history_lost_to_retention_cannot_be_replayed_and_is_not_a_difference() {
    let Some(broker) = real_broker("the embedded broker deletes no records") else { return };
    let world = World::new(broker);
    world.fill(0..300);
    world.users(0..40);
    let whole = world.lines();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", world.broker.brokers()).create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&world.stream, 1, Offset::Offset(40)).unwrap();
    block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();

    let run = world.against(&whole).good();
    let verdict = format!("tally: cannot be replayed: {}[1] counts from offset 40", world.stream);
    assert!(run.stdout.contains(&verdict), "{}", run.stdout);
    assert!(run.stdout.contains("current: live and replay agree"), "{}", run.stdout);
    // A run that began after the loss counts from there, and so does its replay.
    let rest = world.lines();
    assert_eq!(of(&rest, "tally")[0]["since"], json!({world.stream.as_str(): {"1": 40}}));
    for run in [world.against(&rest).good(), world.run(&["verify"]).good()] {
        assert_eq!(run.stdout.matches("live and replay agree").count(), FILES.len(), "{}", run.stdout);
    }
    // Where nothing can be compared, nothing is proved.
    let tally: Vec<Value> = of(&whole, "tally").into_iter().cloned().collect();
    let run = world.against(&tally);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("nothing could be compared"), "{}", run.stderr);
}
