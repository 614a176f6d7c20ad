//! A running dashboard whose files are edited: nothing is lost, nothing pauses, and no result is of two moments.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use tallgrass_pipeline::{BatchLimits, FileState, Live, LiveConfig, Snapshot, Variants};
use tokio_util::sync::CancellationToken;

use crate::support::{Broker, broker, wait_for};

/// One observed refresh.
#[derive(Clone)]
struct Seen {
    snapshot: Snapshot,
    files: Vec<FileState>,
    sources_error: Option<String>,
}

impl Seen {
    /// The one number of a view's one row.
    fn number(&self, view: &str) -> Option<i64> {
        let result = self.snapshot.results.iter().find(|result| *result.name == *view)?;
        let rows = result.rows.as_ref().ok()?;
        Some(rows.first()?.column(0).as_primitive::<Int64Type>().value(0))
    }

    /// Records below the as-of.
    fn records(&self) -> i64 {
        self.snapshot.as_of.iter().map(|(_, _, next_offset)| next_offset).sum()
    }

    fn error(&self, view: &str) -> Option<String> {
        self.file(view)?.error.as_ref().map(ToString::to_string)
    }

    fn file(&self, view: &str) -> Option<&FileState> {
        self.files.iter().find(|file| *file.name == *view)
    }
}

/// A dashboard over one topic whose files are edited.
struct Edited {
    broker: Broker,
    topic: Arc<str>,
    folder: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: CancellationToken,
    live: Option<std::thread::JoinHandle<()>>,
}

impl Edited {
    fn start(files: &[(&str, &str)]) -> Self {
        let broker = broker();
        let topic = broker.topic("edited", 2);
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("dashboard")).unwrap();
        std::fs::write(folder.path().join("names.csv"), "id,name\n0,none\n1,one\n2,two\n").unwrap();
        let edited = Self { broker, topic, folder, seen: Arc::default(), stop: CancellationToken::new(), live: None };
        edited.write("sources.sql", &edited.sources("BIGINT"));
        for (name, sql) in files {
            edited.save(name, sql);
        }
        edited
    }

    fn sources(&self, id_type: &str) -> String {
        let (topic, csv) = (&self.topic, self.folder.path().join("names.csv").display().to_string());
        format!(
            "CREATE EXTERNAL TABLE s (id {id_type}, x DOUBLE, name VARCHAR) STORED AS KAFKA LOCATION '{topic}';
             CREATE EXTERNAL TABLE t (k BIGINT, id BIGINT, x DOUBLE, name VARCHAR, PRIMARY KEY (k))
               STORED AS KAFKA LOCATION '{topic}';
             CREATE EXTERNAL TABLE names (id BIGINT, name VARCHAR) STORED AS CSV LOCATION '{csv}'
               OPTIONS ('has_header' 'true');"
        )
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn save(&self, view: &str, sql: &str) {
        self.write(&format!("dashboard/{view}.sql"), sql);
    }

    fn run(mut self) -> Self {
        let limits = BatchLimits { rows: 50, linger: Duration::from_millis(2), ..BatchLimits::default() };
        let config = LiveConfig {
            kafka: self.broker.config(),
            queries: self.folder.path().to_owned(),
            limits,
            refresh: Duration::from_millis(5),
            max_retained_rows: 100_000,
            bounded: false,
            watch: true,
            variants: Variants::default(),
        };
        let (seen, stop) = (Arc::clone(&self.seen), self.stop.clone());
        self.live = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let mut live = Live::start(config).await.unwrap();
                let show = |live: &Live, snapshot: Snapshot| {
                    let sources_error = live.status().sources_error.clone();
                    seen.lock().unwrap().push(Seen { snapshot, files: live.files().to_vec(), sources_error });
                };
                live.run(&stop, show).await.unwrap();
            });
        }));
        self
    }

    /// Records with ids 0, 1, 2 in turn and keys 0 to 9.
    fn produce(&self, count: usize) {
        let record = |at: usize| {
            let text = format!(r#"{{"id":{},"x":{}.25,"name":"n{}"}}"#, at % 3, at, at % 7);
            ((at % 10).to_string(), text)
        };
        let records: Vec<(String, String)> = (0..count).map(record).collect();
        self.broker.produce(&self.topic, records.iter().map(|(key, value)| (Some(key.as_str()), Some(value.as_str()))));
    }

    fn last(&self) -> Option<Seen> {
        self.seen.lock().unwrap().last().cloned()
    }

    fn wait(&self, what: &str, mut holds: impl FnMut(&Seen) -> bool) -> Seen {
        wait_for(what, || self.last().filter(|seen| holds(seen)))
    }

    /// All observed refreshes.
    fn end(mut self) -> Vec<Seen> {
        self.stop.cancel();
        self.live.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

const COUNT: &str = "SELECT count(*) AS n FROM s";

#[test]
fn an_edit_under_load_shows_the_old_meaning_or_the_new_one_and_never_a_moment_between() {
    let edited = Edited::start(&[("a", COUNT), ("b", COUNT)]).run();
    edited.produce(5_000);
    edited.wait("a start", |seen| seen.number("a") == Some(5_000));
    for factor in [2, 3] {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|_| edited.produce(500)));
            edited.save("a", &format!("SELECT count(*) * {factor} AS n FROM s"));
        });
        edited.wait("the new meaning", |seen| seen.number("a") == Some(factor * seen.records()));
    }
    edited.wait("the end", |seen| seen.number("b") == Some(25_000));
    let seen = edited.end();
    let (mut factor, mut records) = (1, 0);
    for seen in &seen {
        assert!(seen.records() >= records, "time went back");
        records = seen.records();
        assert_eq!(seen.number("b"), Some(records), "the sibling is of another moment");
        let a = seen.number("a").unwrap();
        if a != factor * records {
            factor += 1;
        }
        assert_eq!(a, factor * records, "neither the old meaning nor the new one at {}", seen.snapshot.as_of);
    }
    let swap = seen.last().unwrap().file("a").unwrap().swap.clone().unwrap();
    assert_eq!(swap.changes.unwrap().changed, 1);
}

#[test]
fn a_broken_file_keeps_its_last_good_result_and_says_where_it_is_wrong() {
    let edited = Edited::start(&[("a", COUNT), ("b", COUNT)]).run();
    edited.produce(100);
    edited.wait("a start", |seen| seen.number("a") == Some(100));
    edited.save("a", "SELECT count(*) AS n\nFROM nowhere");
    let seen = edited.wait("an error", |seen| seen.error("a").is_some());
    assert!(seen.error("a").unwrap().contains("a.sql:2:6: error: "), "{:?}", seen.error("a"));
    assert!(seen.error("b").is_none());
    edited.produce(50);
    edited.wait("both go on", |seen| seen.number("a") == Some(150) && seen.number("b") == Some(150));
    edited.save("a", "SELECT count(*) + 1 AS n FROM s");
    edited.wait("the mended file", |seen| seen.number("a") == Some(151) && seen.error("a").is_none());
    edited.end();
}

#[test]
fn files_come_go_and_change_their_names() {
    let edited = Edited::start(&[("a", COUNT)]).run();
    edited.produce(100);
    edited.wait("a start", |seen| seen.number("a") == Some(100));
    edited.save("b", "SELECT count(*) + 7 AS n FROM s");
    edited.wait("a new file", |seen| seen.number("b") == Some(107));
    std::fs::rename(edited.path("dashboard/b.sql"), edited.path("dashboard/c.sql")).unwrap();
    let seen = edited.wait("a new name", |seen| seen.number("c") == Some(107) && seen.number("b").is_none());
    // The view itself continued: it was not built again.
    assert!(seen.file("b").is_none() && seen.file("c").unwrap().swap.as_ref().unwrap().changes.is_none());
    std::fs::remove_file(edited.path("dashboard/a.sql")).unwrap();
    edited.wait("one file less", |seen| seen.files.len() == 1 && seen.snapshot.results.len() == 1);
    edited.produce(10);
    edited.wait("what is left goes on", |seen| seen.number("c") == Some(117));
    edited.end();
}

#[test]
fn a_file_changes_together_with_those_that_read_it() {
    let edited = Edited::start(&[("a", COUNT), ("b", "SELECT n * 10 AS n FROM a"), ("c", "SELECT n + 1 AS n FROM b")]);
    let edited = edited.run();
    edited.produce(100);
    edited.wait("a start", |seen| seen.number("c") == Some(1001));
    edited.save("a", "SELECT count(*) * 2 AS n FROM s");
    edited.wait("the new meaning", |seen| seen.number("c") == Some(2001));
    for seen in edited.end().iter().filter(|seen| seen.number("c").is_some()) {
        let numbers = (seen.number("a").unwrap(), seen.number("b").unwrap(), seen.number("c").unwrap());
        assert_eq!(numbers, (numbers.0, numbers.0 * 10, numbers.0 * 10 + 1));
    }
}

#[test]
fn looks_are_seen_at_once_and_rebuild_nothing() {
    let edited = Edited::start(&[("a", COUNT)]).run();
    edited.produce(10);
    edited.wait("a start", |seen| seen.number("a") == Some(10));
    edited.save("a", &format!("-- @title: Ours\n-- a comment\n{COUNT}"));
    let title = |seen: &Seen| seen.file("a").and_then(|file| Some(file.file.as_ref()?.title().to_owned()));
    let seen = edited.wait("the title", |seen| title(seen).as_deref() == Some("Ours"));
    assert!(seen.file("a").unwrap().swap.is_none());
    edited.end();
}

#[test]
fn declarations_and_static_files_are_watched_too() {
    let joined = "SELECT count(*) AS n FROM s JOIN names ON s.id = names.id";
    let edited = Edited::start(&[("a", joined), ("b", "SELECT count(id) AS n FROM s")]).run();
    edited.produce(300);
    edited.wait("a start", |seen| seen.number("a") == Some(300));
    // A file of its own beside, then renamed: as many editors save.
    edited.write("names.csv.new", "id,name\n1,one\n");
    std::fs::rename(edited.path("names.csv.new"), edited.path("names.csv")).unwrap();
    edited.wait("the new static rows", |seen| seen.number("a") == Some(100) && seen.number("b") == Some(300));
    edited.write("sources.sql", "CREATE EXTERNAL");
    edited.wait("an error", |seen| seen.sources_error.as_ref().is_some_and(|error| error.contains("sources.sql:1:")));
    edited.produce(30);
    edited.wait("the old relations go on", |seen| seen.number("b") == Some(330));
    // No record is one of this declaration any more.
    edited.write("sources.sql", &edited.sources("DOUBLE[]"));
    edited.save("a", "SELECT count(*) AS n FROM s");
    edited.wait("the new declaration", |seen| seen.sources_error.is_none() && seen.number("a") == Some(0));
    edited.end();
}

#[test]
fn tables_keep_their_rows_when_an_edit_reads_other_columns() {
    let edited = Edited::start(&[("a", "SELECT count(*) AS n FROM t"), ("b", "SELECT max(id) AS n FROM t")]).run();
    edited.produce(200);
    edited.wait("a start", |seen| seen.number("a") == Some(10) && seen.number("b") == Some(2));
    edited.save("a", "SELECT sum(CAST(x AS BIGINT)) AS n FROM t");
    edited.wait("the sum", |seen| seen.number("a") == Some((190..200).sum()));
    edited.produce(10);
    edited.wait("an update", |seen| seen.number("a") == Some((0..10).sum()) && seen.number("b") == Some(2));
    edited.broker.produce(&edited.topic, (0..10).map(|_| (Some("3"), None)));
    edited.wait("a deletion", |seen| seen.number("a") == Some((0..10).sum::<i64>() - 3));
    edited.end();
}

#[test]
fn editors_that_save_in_two_steps_show_no_error() {
    let edited = Edited::start(&[("a", COUNT), ("b", "SELECT n FROM a")]).run();
    edited.produce(10);
    edited.wait("a start", |seen| seen.number("a") == Some(10));
    let file = edited.path("dashboard/a.sql");
    for factor in 2..6 {
        let text = format!("SELECT count(*) * {factor} AS n FROM s");
        save_in_steps(&file, &text, factor % 2 == 0);
        edited.wait("the new meaning", |seen| seen.number("b") == Some(10 * factor));
    }
    for seen in edited.end() {
        assert_eq!(seen.error("a").or(seen.error("b")), None);
        assert_eq!(seen.files.len(), 2);
    }
}

#[test]
fn a_static_file_that_cannot_be_read_holds_up_its_readers_only() {
    let joined = "SELECT count(*) AS n FROM s JOIN names ON s.id = names.id";
    let edited = Edited::start(&[("a", joined), ("b", COUNT)]).run();
    edited.produce(30);
    edited.wait("a start", |seen| seen.number("a") == Some(30));
    edited.write("names.csv", "id,name\nno number,x\n");
    let seen = edited.wait("an error", |seen| seen.error("a").is_some());
    assert!(seen.error("a").unwrap().contains("names.csv"), "{:?}", seen.error("a"));
    edited.save("b", "SELECT count(*) * 2 AS n FROM s");
    edited.wait("the edit of another file", |seen| seen.number("b") == Some(60) && seen.number("a") == Some(30));
    edited.write("names.csv", "id,name\n2,two\n");
    edited.wait("the mended file", |seen| seen.number("a") == Some(10) && seen.error("a").is_none());
    edited.end();
}

#[test]
fn a_static_file_that_is_missing_holds_up_its_readers_only() {
    let joined = "SELECT count(*) AS n FROM s JOIN names ON s.id = names.id";
    let edited = Edited::start(&[("a", joined), ("b", COUNT), ("c", "SELECT n + 1 AS n FROM a")]);
    let (here, away) = (edited.path("names.csv"), edited.path("names.csv.away"));
    std::fs::rename(&here, &away).unwrap();
    let edited = edited.run();
    edited.produce(30);
    let missing = |seen: &Seen| {
        assert_eq!((&seen.sources_error, seen.error("b")), (&None, None));
        let says = |view: &str| seen.error(view).is_some_and(|error| error.contains("no such file: /"));
        says("a") && says("c") && seen.error("a").unwrap().contains("/names.csv\n")
    };
    let seen = edited.wait("a start without the file", |seen| seen.number("b") == Some(30) && missing(seen));
    assert_eq!((seen.number("a"), seen.number("c")), (None, None));
    std::fs::rename(&away, &here).unwrap();
    let mended = |seen: &Seen| seen.error("a").or(seen.error("c")).is_none();
    edited.wait("the file", |seen| seen.number("a") == Some(30) && seen.number("c") == Some(31) && mended(seen));
    std::fs::remove_file(&here).unwrap();
    edited.wait("an error", missing);
    edited.produce(30);
    edited.wait("the last good rows go on", |seen| seen.number("a") == Some(60) && seen.number("b") == Some(60));
    edited.write("names.csv", "id,name\n2,two\n");
    edited.wait("the file again", |seen| seen.number("a") == Some(20) && seen.number("c") == Some(21) && mended(seen));
    let lost = |seen: &Seen| seen.number("a") == Some(0);
    assert!(
        !edited.end().iter().skip_while(|seen| seen.number("a") != Some(30)).any(lost),
        "an empty result was shown"
    );
}

#[test]
fn a_folder_put_in_the_place_of_another_is_followed() {
    let edited = Edited::start(&[("a", COUNT)]).run();
    edited.produce(10);
    edited.wait("a start", |seen| seen.number("a") == Some(10));
    // As a deployment does it, and later an edit there.
    let (new, old) = (edited.path("dashboard.new"), edited.path("dashboard.old"));
    std::fs::create_dir(&new).unwrap();
    std::fs::write(new.join("a.sql"), "SELECT count(*) * 2 AS n FROM s").unwrap();
    std::fs::rename(edited.path("dashboard"), &old).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    std::fs::rename(&new, edited.path("dashboard")).unwrap();
    edited.wait("the new folder", |seen| seen.number("a") == Some(20));
    std::thread::sleep(Duration::from_millis(2500));
    edited.save("a", "SELECT count(*) * 3 AS n FROM s");
    edited.wait("an edit in it", |seen| seen.number("a") == Some(30));
    for seen in edited.end() {
        assert_eq!(seen.files.len(), 1, "a folder that is missing for a moment removes no tile");
    }
}

#[cfg(unix)]
#[test]
fn what_a_link_points_at_is_followed() {
    let edited = Edited::start(&[("a", COUNT)]);
    edited.write("elsewhere.sql", "SELECT count(*) + 1 AS n FROM s");
    std::os::unix::fs::symlink(edited.path("elsewhere.sql"), edited.path("dashboard/b.sql")).unwrap();
    let edited = edited.run();
    edited.produce(10);
    edited.wait("a start", |seen| seen.number("b") == Some(11));
    std::thread::sleep(Duration::from_millis(1100));
    edited.write("elsewhere.sql", "SELECT count(*) + 22 AS n FROM s");
    edited.wait("an edit behind the link", |seen| seen.number("b") == Some(32));
    edited.end();
}

#[test]
fn a_folder_that_never_rests_keeps_no_edit_from_showing() {
    let edited = Edited::start(&[("a", COUNT), ("b", COUNT)]).run();
    edited.produce(3_000);
    edited.wait("a start", |seen| seen.number("a") == Some(3_000));
    let busy = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0;
            while busy.load(std::sync::atomic::Ordering::Relaxed) {
                edited.save("b", &format!("-- save {at}\n{COUNT}"));
                edited.write("dashboard/.a.sql.swp", "an editor's own");
                std::thread::sleep(Duration::from_millis(20));
                at += 1;
            }
        });
        edited.save("a", "SELECT count(*) * 2 AS n FROM s");
        edited.wait("the edit", |seen| seen.number("a") == Some(6_000));
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    edited.end();
}

#[test]
fn a_statement_too_deep_for_any_stack_is_refused() {
    let edited = Edited::start(&[("a", COUNT)]).run();
    edited.produce(10);
    edited.wait("a start", |seen| seen.number("a") == Some(10));
    for (name, sql) in [
        ("sums", format!("SELECT 0{} AS n FROM s", "+id".repeat(20_000))),
        ("ors", format!("SELECT count(*) AS n FROM s WHERE id = 0{}", " OR id = 1".repeat(20_000))),
        ("unions", format!("{COUNT}{}", format!(" UNION ALL {COUNT}").repeat(2_000))),
    ] {
        edited.save(name, &sql);
        let seen = edited.wait("an error", |seen| seen.error(name).is_some());
        assert!(seen.error(name).unwrap().contains("more than 2000 operators"), "{name}");
    }
    edited.end();
}

fn save_in_steps(file: &Path, text: &str, by_rename: bool) {
    if by_rename {
        let backup = file.with_extension("sql~");
        std::fs::rename(file, &backup).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        std::fs::write(file, text).unwrap();
        std::fs::remove_file(backup).unwrap();
    } else {
        std::fs::write(file, "").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        std::fs::write(file, text).unwrap();
    }
}
