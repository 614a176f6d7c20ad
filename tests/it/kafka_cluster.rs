//! The promises of metadata and producing, on both brokers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tallgrass_kafka::{Cluster, EmbeddedBroker, KafkaConfig, KafkaError, Producer, Record};

use crate::kafka::produce_numbers;
use crate::support::{TIME_LIMIT, broker, real_broker, unique};

#[test]
fn an_absent_broker_is_reported_in_time_and_in_a_sentence() {
    let began = Instant::now();
    let error = Cluster::connect(&KafkaConfig::new("127.0.0.1:9"), Duration::from_secs(1)).err().unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(
        error.to_string(),
        "no broker answers at 127.0.0.1:9 after 1 s (connection refused): is Kafka running? \
         -b HOST:PORT names another; `tallgrass demo` brings its own"
    );
}

#[test]
fn a_bad_property_is_an_error_that_names_it() {
    let broker = broker();
    let bad = broker.config_with(&[("fetch.wait.max.mss", "5")]);
    let error = Cluster::connect(&bad, TIME_LIMIT).err().unwrap();
    assert!(matches!(error, KafkaError::Property { .. }), "{error:?}");
    assert_eq!(error.to_string(), "-X fetch.wait.max.mss=5: No such configuration property: \"fetch.wait.max.mss\"");
}

#[test]
fn a_cluster_knows_its_topics_and_asking_for_one_does_not_make_it() {
    let broker = broker();
    let topic = broker.topic("known", 12);
    let cluster = broker.cluster();
    assert_eq!(cluster.partitions(&topic).unwrap(), (0..12).collect::<Vec<i32>>());
    assert!(cluster.topics().unwrap().contains(&topic.to_string()));
    let absent = unique("absent");
    for _ in 0..2 {
        assert!(matches!(cluster.partitions(&absent), Err(KafkaError::TopicMissing { topic }) if topic == absent));
        assert!(matches!(cluster.watermarks(&absent), Err(KafkaError::TopicMissing { .. })));
    }
    assert!(!cluster.topics().unwrap().contains(&absent));
    produce_numbers(&broker, &topic, 0..24, 12);
    let watermarks = cluster.watermarks(&topic).unwrap();
    assert_eq!(watermarks.len(), 12);
    assert!(watermarks.values().all(|marks| (marks.low, marks.high) == (0, 2)), "{watermarks:?}");
}

#[test]
fn a_missing_topic_is_made_and_an_existing_one_left_alone() {
    let broker = broker();
    let (cluster, topic) = (broker.cluster(), unique("ensured"));
    cluster.ensure_topic(&topic, 3, true).unwrap();
    let partitions = cluster.partitions(&topic).unwrap();
    if broker.is_real() {
        assert_eq!(partitions.len(), 3);
        assert!(cluster.is_compacted(&topic).unwrap());
        assert!(!cluster.is_compacted(&broker.topic("plain", 1)).unwrap());
    } else {
        assert!(!partitions.is_empty());
        assert!(!cluster.is_compacted(&topic).unwrap(), "it cannot say");
    }
    cluster.ensure_topic(&topic, 7, false).unwrap();
    assert_eq!(cluster.partitions(&topic).unwrap(), partitions);
}

#[test]
fn the_embedded_broker_is_not_trusted_with_times() {
    let embedded = EmbeddedBroker::start().unwrap();
    embedded.create_topic("times", 2).unwrap();
    let cluster = Cluster::connect(&embedded.config(), TIME_LIMIT).unwrap();
    // Nothing is there, so the end is the right answer.
    assert_eq!(cluster.offsets_for_time("times", 5).unwrap(), Some(BTreeMap::from([(0, 0), (1, 0)])));
    let producer = Producer::new(&embedded.config()).unwrap();
    producer
        .send_record(Record { topic: "times", partition: Some(1), value: Some(b"x"), ..Record::default() })
        .unwrap();
    producer.flush(TIME_LIMIT).unwrap();
    assert_eq!(cluster.offsets_for_time("times", 5).unwrap(), None);
}

#[test]
fn a_time_is_looked_up_in_every_partition() {
    let Some(broker) = real_broker("the embedded broker has no time index") else { return };
    let topic = broker.topic("lookup", 3);
    let base = 1_700_000_000_000;
    broker.produce_records((0..20).map(|row| Record {
        topic: &topic,
        partition: Some(row % 2),
        value: Some(b"x"),
        timestamp_ms: Some(base + i64::from(row) * 1_000),
        ..Record::default()
    }));
    let cluster = broker.cluster();
    let at = |time| cluster.offsets_for_time(&topic, time).unwrap().unwrap();
    assert_eq!(at(-5), BTreeMap::from([(0, 0), (1, 0), (2, 0)]));
    assert_eq!(at(base + 7_000), BTreeMap::from([(0, 4), (1, 3), (2, 0)]));
    assert_eq!(at(base + 7_001), BTreeMap::from([(0, 4), (1, 4), (2, 0)]));
    assert_eq!(at(base + 18_001), BTreeMap::from([(0, 10), (1, 9), (2, 0)]));
    assert_eq!(at(base + 99_000), BTreeMap::from([(0, 10), (1, 10), (2, 0)]));
}

#[test]
fn a_full_queue_waits_and_every_record_is_counted() {
    let broker = broker();
    let topic = broker.topic("full", 2);
    let config = broker.config_with(&[("queue.buffering.max.messages", "50"), ("linger.ms", "5")]);
    let producer = Producer::new(&config).unwrap();
    for number in 0..5_000 {
        producer.send(&topic, None, Some(format!("{number}").as_bytes())).unwrap();
    }
    producer.flush(TIME_LIMIT).unwrap();
    let delivered = producer.delivered();
    assert_eq!((delivered.ok, delivered.failed, delivered.first_error), (5_000, 0, None));
    assert_eq!(producer.outstanding(), 0);
    let mut numbers: Vec<u32> = broker.read_all(&topic).iter().map(|message| message.text().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..5_000).collect::<Vec<u32>>());
}

#[test]
fn undeliverable_records_are_counted_as_failed() {
    let config = KafkaConfig::new("127.0.0.1:9").with_properties([("message.timeout.ms".to_owned(), "500".to_owned())]);
    let producer = Producer::new(&config).unwrap();
    for _ in 0..3 {
        producer.send("topic", None, Some(b"x")).unwrap();
    }
    let error = producer.flush(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, KafkaError::Flush { outstanding: 3, .. }), "{error:?}");
    producer.flush(TIME_LIMIT).unwrap();
    let delivered = producer.delivered();
    assert_eq!((delivered.ok, delivered.failed), (0, 3));
    assert!(delivered.first_error.unwrap().contains("timed out"));
}

#[test]
fn a_record_that_is_too_large_is_refused_with_its_topic() {
    let broker = broker();
    let topic = broker.topic("large", 1);
    let producer = Producer::new(&broker.config()).unwrap();
    let error = producer.send(&topic, None, Some(&vec![b'x'; 3_000_000])).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot produce to '{topic}'"));
    assert!(!error.is_transient());
}
