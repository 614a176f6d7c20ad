//! A topic as a bounded table: which records are read, and that the answers are those of all records.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use tallgrass_kafka::{AsOf, KafkaConfig, KafkaError, Producer, Record};
use tallgrass_relation::{BadRecords, Catalog, KafkaTable, ReadBounds, Until};

use crate::support::{self, Broker, TIME_LIMIT};

/// A broker and what a test does to it.
struct Lab {
    broker: Broker,
    config: KafkaConfig,
    producer: Producer,
}

/// One statement's worth: relations under common bounds.
struct Session {
    context: SessionContext,
    bounds: Arc<ReadBounds>,
    bad: BadRecords,
}

impl Lab {
    fn start() -> Self {
        let broker = support::broker();
        let config = broker.config();
        let producer = Producer::new(&config).unwrap();
        Self { broker, config, producer }
    }

    fn topic(&self, partitions: i32) -> String {
        self.broker.topic("scan", partitions).to_string()
    }

    fn send(&self, topic: &str, partition: i32, key: Option<&str>, value: Option<&[u8]>, timestamp_ms: Option<i64>) {
        let key = key.map(str::as_bytes);
        self.producer.send_record(Record { topic, partition: Some(partition), key, value, timestamp_ms }).unwrap();
    }

    fn flush(&self) {
        self.producer.flush(TIME_LIMIT).unwrap();
        assert_eq!(self.producer.delivered().failed, 0);
    }

    /// `count` records a partition: n counts from 0 in each, the time is n hundredths of a second after `epoch_ms`.
    fn fill(&self, topic: &str, partitions: i32, count: i64) {
        for partition in 0..partitions {
            for n in 0..count {
                let value = format!(r#"{{"n":{n},"name":"number {n}","x":{n}.5}}"#);
                self.send(topic, partition, Some(&n.to_string()), Some(value.as_bytes()), Some(epoch_ms() + n * 10));
            }
        }
        self.flush();
    }

    async fn session(&self, sources: &str) -> Session {
        self.bounded(sources, ReadBounds::new(self.config.clone())).await
    }

    async fn bounded(&self, sources: &str, bounds: ReadBounds) -> Session {
        let catalog = Catalog::parse(sources, Path::new("."), "sources.sql").unwrap();
        let (context, bounds, bad) = (SessionContext::new(), Arc::new(bounds), BadRecords::new());
        let table = |relation: &Arc<_>| -> Arc<dyn datafusion::catalog::TableProvider> {
            Arc::new(KafkaTable::new(Arc::clone(relation), Arc::clone(&bounds), bad.clone()))
        };
        assert!(catalog.register(&context, table).await.is_empty());
        Session { context, bounds, bad }
    }
}

/// When the records' clock starts: an hour ago. Kafka deletes what is a week old, and refuses what is an hour ahead.
fn epoch_ms() -> i64 {
    static EPOCH: OnceLock<i64> = OnceLock::new();
    *EPOCH.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap() - 3_600_000
    })
}

impl Session {
    async fn batches(&self, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        let run = async { tallgrass_planner::sql(&self.context, sql).await?.collect().await };
        tokio::time::timeout(TIME_LIMIT, run).await.expect("a bounded read ends")
    }

    /// The rows, each as text with spaces between.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let batches = self.batches(sql).await.unwrap();
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                rows.push(cells.collect::<Vec<_>>().join(" "));
            }
        }
        rows
    }

    async fn number(&self, sql: &str) -> i64 {
        let batches = self.batches(sql).await.unwrap();
        batches[0].column(0).as_primitive::<Int64Type>().value(0)
    }
}

fn stream(topic: &str) -> String {
    format!("CREATE EXTERNAL TABLE t (n BIGINT, name VARCHAR, x DOUBLE) STORED AS KAFKA LOCATION '{topic}'")
}

fn table(topic: &str) -> String {
    format!("CREATE EXTERNAL TABLE t (n BIGINT, name VARCHAR, PRIMARY KEY (n)) STORED AS KAFKA LOCATION '{topic}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_become_seeks() {
    let lab = Lab::start();
    let topic = lab.topic(3);
    lab.fill(&topic, 3, 100);
    // What a filter keeps, and how many records may be read for it.
    let cases = [
        ("true", 300, 300),
        ("_partition = 1", 100, 100),
        ("_partition <> 1", 200, 200),
        ("_partition IN (0, 2) AND _offset >= 90", 20, 20),
        ("_offset BETWEEN 10 AND 19", 30, 30),
        ("5 > _offset AND _partition = 0", 5, 5),
        ("_offset = 7", 3, 3),
        ("_offset > 97 AND n > 98", 3, 6),
        ("_partition = 0 AND _offset >= 98 OR _partition = 1 AND _offset < 1", 3, 3),
        ("_partition = 7", 0, 0),
        ("_offset > 1000", 0, 0),
        ("_offset < 50 AND _offset > 60", 0, 0),
        ("n >= 95", 15, 300),
    ];
    for (filter, rows, records) in cases {
        let session = lab.session(&stream(&topic)).await;
        assert_eq!(session.number(&format!("SELECT count(*) FROM t WHERE {filter}")).await, rows, "{filter}");
        assert_eq!(session.bounds.progress().records(), records, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_become_seeks_where_the_broker_can_look_them_up() {
    let lab = Lab::start();
    let topic = lab.topic(2);
    lab.fill(&topic, 2, 100);
    let session = lab.session(&stream(&topic)).await;
    let late = format!("SELECT count(*) FROM t WHERE _timestamp >= to_timestamp_millis({})", epoch_ms() + 900);
    assert_eq!(session.number(&late).await, 20);
    let read = session.bounds.progress().records();
    if lab.broker.is_real() {
        assert_eq!(read, 20);
    } else {
        support::skip(&format!("the embedded broker looks no times up, so all {read} records were read"));
    }
    // No seek at the upper end: a producer's clock may run behind.
    lab.send(&topic, 0, None, Some(br#"{"n":-1}"#), Some(epoch_ms()));
    lab.flush();
    let session = lab.session(&stream(&topic)).await;
    let early = format!("SELECT count(*) FROM t WHERE _timestamp < to_timestamp_millis({})", epoch_ms() + 10);
    assert_eq!(session.number(&early).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_projected_columns_are_decoded_and_explain_says_so() {
    let lab = Lab::start();
    let topic = lab.topic(2);
    lab.fill(&topic, 2, 10);
    let session = lab.session(&stream(&topic)).await;
    let plan =
        session.rows("EXPLAIN SELECT name, _offset FROM t WHERE _offset >= 4 AND _partition = 1").await.join("\n");
    assert!(
        plan.contains(&format!("KafkaScan: topic={topic}, columns=[name, _partition, _offset], partitions=[1: 4..10]")),
        "{plan}"
    );
    // An order other than the schema's, a column twice, and undeclared columns first.
    let rows = session
        .rows("SELECT _offset, x, n, name, n AS m FROM t WHERE _partition = 0 ORDER BY _offset DESC LIMIT 2")
        .await;
    assert_eq!(rows, ["9 9.5 9 number 9 9", "8 8.5 8 number 8 8"]);
    let rows = session.rows("SELECT _key, _partition FROM t WHERE n = 3 ORDER BY _partition").await;
    assert_eq!(rows, ["3 0", "3 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partition_and_twelve_give_the_same() {
    let lab = Lab::start();
    for partitions in [1, 12] {
        let topic = lab.topic(partitions);
        for n in 0..1_200_i64 {
            let value = format!(r#"{{"n":{n},"name":"p{}"}}"#, n % 5);
            lab.send(&topic, (n % i64::from(partitions)) as i32, None, Some(value.as_bytes()), None);
        }
        lab.flush();
        let session = lab.session(&stream(&topic)).await;
        let rows = session.rows("SELECT name, count(*), sum(n) FROM t GROUP BY name ORDER BY name").await;
        assert_eq!(rows, ["p0 240 143400", "p1 240 143640", "p2 240 143880", "p3 240 144120", "p4 240 144360"]);
        assert_eq!(session.bounds.progress().offsets_done(), session.bounds.progress().offsets_total());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topic_is_an_empty_table_and_a_missing_one_is_named() {
    let lab = Lab::start();
    let topic = lab.topic(2);
    let session = lab.session(&stream(&topic)).await;
    assert_eq!(session.number("SELECT count(*) FROM t").await, 0);
    let session = lab.session(&table(&topic)).await;
    assert_eq!(session.number("SELECT count(*) FROM t WHERE n = 1").await, 0);
    if !lab.broker.is_real() {
        support::skip("the embedded broker makes every topic that it is asked for");
        return;
    }
    let session = lab.session(&stream("no-such-topic")).await;
    let error = session.batches("SELECT count(*) FROM t").await.unwrap_err();
    assert!(error.to_string().contains("no-such-topic"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_broker_is_an_error_within_the_time_given() {
    let lab = Lab::start();
    let nowhere = ReadBounds::new(KafkaConfig::new("127.0.0.1:1")).connect_timeout(Duration::from_secs(1));
    let session = lab.bounded(&stream("t"), nowhere).await;
    let started = Instant::now();
    let error = session.batches("SELECT count(*) FROM t").await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    let DataFusionError::External(source) = error.find_root() else { panic!("{error}") };
    assert!(matches!(source.downcast_ref::<KafkaError>(), Some(KafkaError::Unreachable { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_encodings_of_a_logoff_leave_the_same_users() {
    let lab = Lab::start();
    let mut online = Vec::new();
    for tombstone in [true, false] {
        let topic = lab.topic(3);
        for step in 0..600_i64 {
            let id = step * 7 % 40;
            let round = step / 40;
            let logoff = (round + id) % 3 == 2;
            let action = if logoff { "logoff" } else { "login" };
            let value = format!(r#"{{"id":{id},"name":"user {id} in round {round}","action":"{action}"}}"#);
            let value = (!(logoff && tombstone)).then_some(value.as_bytes());
            lab.send(&topic, (id % 3) as i32, Some(&id.to_string()), value, None);
        }
        lab.flush();
        let sources = format!(
            "CREATE EXTERNAL TABLE users (id BIGINT, name VARCHAR, action VARCHAR, PRIMARY KEY (id)) STORED AS KAFKA \
             LOCATION '{topic}' OPTIONS ('deleted_when' 'action = ''logoff''')"
        );
        let session = lab.session(&sources).await;
        online.push(session.rows("SELECT id, name FROM users ORDER BY id").await);
        // The columns that a query reads do not change what deletes a row.
        assert_eq!(session.number("SELECT count(*) FROM users").await, online[0].len() as i64);
    }
    assert_eq!(online[0], online[1]);
    assert!(online[0].len() > 10 && online[0].len() < 40, "{}", online[0].len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_record_of_a_key_is_the_row_whatever_the_bounds() {
    let lab = Lab::start();
    let topic = lab.topic(1);
    for offset in 0..100_i64 {
        let value = format!(r#"{{"name":"at {offset}"}}"#);
        lab.send(&topic, 0, Some(&(offset % 10).to_string()), Some(value.as_bytes()), None);
    }
    lab.flush();
    let session = lab.session(&table(&topic)).await;
    assert_eq!(session.number("SELECT count(*) FROM t").await, 10);
    assert_eq!(session.rows("SELECT n, name FROM t WHERE n = 3").await, ["3 at 93"]);
    // An upper bound must not bring an old row back.
    assert_eq!(session.number("SELECT count(*) FROM t WHERE _offset < 50").await, 0);
    // A lower one speaks of newest records, so the read may begin there.
    let session = lab.session(&table(&topic)).await;
    assert_eq!(session.rows("SELECT n FROM t WHERE _offset >= 95 ORDER BY n").await, ["5", "6", "7", "8", "9"]);
    assert_eq!(session.bounds.progress().records(), 5);
    assert_eq!(session.rows("SELECT n FROM t ORDER BY n DESC LIMIT 1").await, ["9"]);
    assert_eq!(
        session.batches("SELECT n FROM t LIMIT 3").await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_declarations_read_one_topic_each_in_its_way() {
    let lab = Lab::start();
    let topic = lab.topic(2);
    lab.fill(&topic, 2, 20);
    lab.send(&topic, 0, Some("x"), Some(br#"{"n":"text","name":"odd"}"#), None);
    lab.flush();
    let sources = format!(
        "CREATE EXTERNAL TABLE numbers (n BIGINT) STORED AS KAFKA LOCATION '{topic}';
         CREATE EXTERNAL TABLE names (name VARCHAR) STORED AS KAFKA LOCATION '{topic}';
         CREATE EXTERNAL TABLE newest (k VARCHAR, name VARCHAR, PRIMARY KEY (k)) STORED AS KAFKA LOCATION '{topic}'"
    );
    let session = lab.session(&sources).await;
    let counts = "SELECT (SELECT count(*) FROM numbers) AS a, (SELECT count(*) FROM names) AS b, (SELECT count(*) FROM newest) AS c";
    // A key in two partitions is two rows: Kafka orders nothing across partitions.
    assert_eq!(session.rows(counts).await, ["40 41 41"]);
    assert_eq!(session.bad.total(), 1);
    assert_eq!(session.rows("SELECT k FROM newest WHERE name = 'odd'").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_is_left_out_alone_and_counted() {
    let lab = Lab::start();
    let topic = lab.topic(1);
    let deep = format!(r#"{{"n":1,"extra":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let bad: [&[u8]; 12] = [
        br#"{"n":1,"name":"cut"#,
        br#"{"n":"one"}"#,
        b"[1,2]",
        b"7",
        br#"{"n":1}{"n":2}"#,
        b"{\"n\":1,\"name\":\"\xff\"}",
        br#"{"n":1,"n":2}"#,
        deep.as_bytes(),
        br#"{"n":123456789012345678901234567890}"#,
        b"",
        b"\xef\xbb\xbf{\"n\":1}",
        br#"{"n":1.5}"#,
    ];
    for (index, record) in bad.iter().enumerate() {
        lab.send(&topic, 0, None, Some(format!(r#"{{"n":{index}}}"#).as_bytes()), None);
        lab.send(&topic, 0, None, Some(record), None);
    }
    lab.send(&topic, 0, None, Some(br#"{"n":12}"#), None);
    lab.flush();
    let session = lab.session(&stream(&topic)).await;
    let rows = session.rows("SELECT n, _offset FROM t ORDER BY _offset").await;
    let expected: Vec<String> = (0..=12).map(|n| format!("{n} {}", 2 * n)).collect();
    assert_eq!(rows, expected);
    let counts = session.bad.counts();
    assert_eq!(session.bad.total(), 12);
    let kinds: Vec<&str> = counts.iter().map(|count| count.kind).collect();
    for kind in
        ["truncated", "wrong_type", "not_an_object", "trailing_data", "invalid_utf8", "duplicate_key", "too_deep"]
    {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    for kind in ["out_of_range", "empty", "byte_order_mark"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    assert!(counts.iter().all(|count| *count.topic == *topic));
    // Counting reads no column, and sees the same rows.
    assert_eq!(session.number("SELECT count(*) FROM t").await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_the_read_early() {
    let lab = Lab::start();
    let topic = lab.topic(1);
    lab.fill(&topic, 1, 20_000);
    let session = lab.session(&stream(&topic)).await;
    let rows = session.rows("SELECT n FROM t LIMIT 5").await;
    assert_eq!(rows, ["0", "1", "2", "3", "4"]);
    assert_eq!(session.bounds.progress().records(), 5);
    let rows = session.rows("SELECT n FROM t WHERE n % 1000 = 999 LIMIT 2").await;
    assert_eq!(rows.len(), 2, "a limit above a filter counts what passes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_query_stops_reading() {
    let lab = Lab::start();
    let topic = lab.topic(1);
    lab.fill(&topic, 1, 100_000);
    let session = lab.session(&stream(&topic)).await;
    let mut stream =
        tallgrass_planner::sql(&session.context, "SELECT n FROM t").await.unwrap().execute_stream().await.unwrap();
    futures::StreamExt::next(&mut stream).await.unwrap().unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let read = session.bounds.progress().records();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(session.bounds.progress().records(), read);
    assert!(read < 100_000, "the channel holds few batches, so the reader waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_scans_of_a_statement_share_one_moment() {
    let lab = Arc::new(Lab::start());
    let topic = lab.topic(3);
    lab.fill(&topic, 3, 10);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (lab, topic, stop) = (Arc::clone(&lab), topic.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                lab.send(&topic, sent % 3, None, Some(br#"{"n":1}"#), None);
                sent += 1;
                if sent % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        })
    };
    let sources = stream(&topic);
    let mut last = 0;
    for _ in 0..5 {
        let session = lab.session(&sources).await;
        let counts = "SELECT (SELECT count(*) FROM t) AS a, (SELECT count(n) FROM t) AS b, (SELECT count(*) FROM t WHERE n >= 0) AS c";
        let rows = session.rows(counts).await;
        let counts: Vec<i64> = rows[0].split(' ').map(|count| count.parse().unwrap()).collect();
        let ends: i64 = session.bounds.as_of().iter().map(|(_, _, next_offset)| next_offset).sum();
        assert!(counts.iter().all(|count| *count == ends), "{counts:?} at {}", session.bounds.as_of());
        assert!(ends >= last);
        last = ends;
        // The same bounds give the same answer later.
        assert_eq!(session.number("SELECT count(*) FROM t").await, ends);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(last > 30, "the writer wrote meanwhile");
    lab.flush();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_exactly_at_the_as_of_that_it_is_given() {
    let lab = Lab::start();
    let topic = lab.topic(3);
    lab.fill(&topic, 3, 50);
    let name: Arc<str> = Arc::from(topic.as_str());
    let mut as_of = AsOf::default();
    as_of.set(&name, 0, 20);
    as_of.set(&name, 2, 0);
    let session =
        lab.bounded(&stream(&topic), ReadBounds::new(lab.config.clone()).until(Until::Result(as_of.clone()))).await;
    assert_eq!(session.number("SELECT count(*) FROM t").await, 20);
    assert_eq!(session.bounds.as_of(), as_of);
    // A bound beyond the end cannot be read: the topic is not the intended one.
    as_of.set(&name, 0, 51);
    let session = lab.bounded(&stream(&topic), ReadBounds::new(lab.config.clone()).until(Until::Offsets(as_of))).await;
    let error = session.batches("SELECT count(*) FROM t").await.unwrap_err();
    let DataFusionError::External(source) = error.find_root() else { panic!("{error}") };
    assert!(
        matches!(source.downcast_ref::<KafkaError>(), Some(KafkaError::BeyondEnd { next_offset: 51, .. })),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_time_moves_streams_and_not_tables() {
    let lab = Lab::start();
    let topic = lab.topic(2);
    lab.fill(&topic, 2, 100);
    // After the start, and yet with an earlier time: it belongs to the later records.
    lab.send(&topic, 0, Some("7"), Some(br#"{"n":7,"name":"late"}"#), Some(epoch_ms()));
    lab.flush();
    let from = |bounds: ReadBounds| bounds.from_timestamp_ms(Some(epoch_ms() + 900));
    let session = lab.bounded(&stream(&topic), from(ReadBounds::new(lab.config.clone()))).await;
    assert_eq!(session.number("SELECT count(*) FROM t").await, 21);
    assert_eq!(session.rows("SELECT min(n) FROM t WHERE _partition = 1").await, ["90"]);
    let session = lab.bounded(&table(&topic), from(ReadBounds::new(lab.config.clone()))).await;
    assert_eq!(session.number("SELECT count(*) FROM t").await, 200);
}
