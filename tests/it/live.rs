//! The live loop while the log changes under it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tallgrass_pipeline::{BatchLimits, Live, LiveConfig, Snapshot, Variants};
use tokio_util::sync::CancellationToken;

use crate::support::{Broker, broker, real_broker, unique, wait_for};

const FILES: [(&str, &str); 2] =
    [("a", "SELECT count(*) AS n FROM s"), ("b", "SELECT count(*) + 0 AS n FROM s WHERE id >= 0")];

fn config(broker: &Broker, topic: &str) -> (LiveConfig, tempfile::TempDir) {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("dashboard")).unwrap();
    let sources = format!("CREATE EXTERNAL TABLE s (id BIGINT) STORED AS KAFKA LOCATION '{topic}'");
    std::fs::write(folder.path().join("sources.sql"), sources).unwrap();
    for (name, sql) in FILES {
        std::fs::write(folder.path().join("dashboard").join(name).with_extension("sql"), sql).unwrap();
    }
    let limits = BatchLimits { linger: Duration::from_millis(5), ..BatchLimits::default() };
    let config = LiveConfig {
        kafka: broker.config(),
        queries: folder.path().to_owned(),
        limits,
        refresh: Duration::from_millis(10),
        max_retained_rows: 1000,
        bounded: false,
        watch: true,
        variants: Variants::default(),
    };
    (config, folder)
}

fn counts(snapshot: &Snapshot) -> Vec<i64> {
    let count = |rows: &[datafusion::arrow::array::RecordBatch]| rows[0].column(0).as_primitive::<Int64Type>().value(0);
    snapshot.results.iter().map(|result| count(result.rows.as_ref().unwrap())).collect()
}

/// Runs a dashboard beside `test`, which can read its last result.
fn with_live(config: LiveConfig, test: impl FnOnce(&dyn Fn() -> Option<Snapshot>)) {
    let last = Arc::new(Mutex::new(None));
    let stop = CancellationToken::new();
    let (seen, stopped) = (Arc::clone(&last), stop.clone());
    let live = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut live = Live::start(config).await.unwrap();
            live.run(&stopped, |_, snapshot| {
                // No result ever mixes two moments.
                let counts = counts(&snapshot);
                assert_eq!(counts[0], counts[1]);
                *seen.lock().unwrap() = Some(snapshot);
            })
            .await
            .unwrap();
        });
    });
    test(&|| last.lock().unwrap().clone());
    stop.cancel();
    live.join().unwrap();
}

fn produce(broker: &Broker, topic: &str, count: usize) {
    broker.produce(topic, (0..count).map(|_| (None, Some(r#"{"id":1}"#))));
}

fn wait_for_count(look: &dyn Fn() -> Option<Snapshot>, count: i64) -> Snapshot {
    wait_for(&format!("a count of {count}"), || look().filter(|snapshot| counts(snapshot)[0] == count))
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.brokers()).create().unwrap()
}

#[test]
fn every_result_says_as_of_which_offsets_it_is() {
    let broker = broker();
    let topic = broker.topic("live", 3);
    let (config, _folder) = config(&broker, &topic);
    with_live(config, |look| {
        let mut total = 0;
        for count in [1, 100, 3000] {
            produce(&broker, &topic, count);
            total += count as i64;
            let snapshot = wait_for_count(look, total);
            let offsets: i64 = snapshot.as_of.iter().map(|(_, _, next_offset)| next_offset).sum();
            assert_eq!(offsets, total, "{}", snapshot.as_of);
        }
    });
}

#[test]
fn a_topic_that_comes_later_is_picked_up() {
    let Some(broker) = real_broker("the embedded broker makes every topic that it is asked for") else { return };
    let topic = unique("late");
    let (config, _folder) = config(&broker, &topic);
    with_live(config, |look| {
        wait_for_count(look, 0);
        broker.create_topic(&topic, 2, false);
        produce(&broker, &topic, 50);
        wait_for_count(look, 50);
    });
}

#[test]
fn partitions_added_later_are_read_from_their_beginning() {
    let Some(broker) = real_broker("the embedded broker adds no partitions") else { return };
    let topic = broker.topic("grows", 1);
    let (config, _folder) = config(&broker, &topic);
    with_live(config, |look| {
        produce(&broker, &topic, 20);
        wait_for_count(look, 20);
        broker.add_partitions(&topic, 4);
        for _ in 0..10 {
            produce(&broker, &topic, 30);
        }
        let snapshot = wait_for_count(look, 320);
        assert_eq!(snapshot.as_of.topic(&topic).unwrap().len(), 4);
    });
}

#[test]
fn a_topic_created_again_is_counted_from_its_start() {
    let Some(broker) = real_broker("the embedded broker deletes no topics") else { return };
    let topic = broker.topic("again", 1);
    let (config, _folder) = config(&broker, &topic);
    with_live(config, |look| {
        produce(&broker, &topic, 100);
        wait_for_count(look, 100);
        block_on(admin(&broker).delete_topics(&[&topic], &AdminOptions::new())).unwrap();
        wait_for("deletion", || broker.cluster().partitions(&topic).err());
        broker.create_topic(&topic, 1, false);
        produce(&broker, &topic, 7);
        wait_for_count(look, 7);
    });
}
