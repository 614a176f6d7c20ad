//! The promises of reading assigned partitions, on both brokers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tallgrass_kafka::{BatchReader, EmbeddedBroker, HistoryGuard, KafkaError, Producer, Record, Signal, Start};

use crate::support::{
    Broker, POLL, Received, TIME_LIMIT, broker, read_to_end_of, read_to_ends, real_broker, unique, wait_for,
};

fn start(topic: &Arc<str>, partition: i32, next_offset: i64) -> Start {
    Start { topic: Arc::clone(topic), partition, next_offset }
}

/// `count` numbered records, spread over the partitions in turn.
pub fn produce_numbers(broker: &Broker, topic: &str, numbers: std::ops::Range<usize>, partitions: usize) {
    let texts: Vec<String> = numbers.map(|number| number.to_string()).collect();
    broker.produce_records(texts.iter().map(|text| Record {
        topic,
        partition: Some((text.parse::<usize>().expect("a number") % partitions) as i32),
        value: Some(text.as_bytes()),
        ..Record::default()
    }));
}

fn offsets(received: &[Received], partition: i32) -> Vec<i64> {
    received.iter().filter(|message| message.partition == partition).map(|message| message.offset).collect()
}

/// Reads until the reader fails.
fn read_to_failure(reader: &mut BatchReader) -> KafkaError {
    wait_for("failure", || reader.read(1_000, POLL, |_| {}, |_| {}).err())
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.brokers()).create().expect("an admin client")
}

#[test]
fn four_partitions_come_complete_and_each_in_order() {
    let broker = broker();
    let topic = broker.topic("order", 4);
    produce_numbers(&broker, &topic, 0..40_000, 4);
    let starts: Vec<Start> = (0..4).map(|partition| start(&topic, partition, 0)).collect();
    let mut reader = BatchReader::open(&broker.config(), &starts).unwrap();
    let received = read_to_ends(&mut reader, 4);
    assert_eq!(received.len(), 40_000);
    for partition in 0..4 {
        let values: Vec<usize> = received
            .iter()
            .filter(|message| message.partition == partition)
            .map(|message| message.text().parse().unwrap())
            .collect();
        assert_eq!(values, (0..10_000).map(|row| row * 4 + partition as usize).collect::<Vec<_>>());
        assert_eq!(offsets(&received, partition), (0..10_000).collect::<Vec<i64>>());
        assert_eq!(reader.next_offset(0, partition), Some(10_000));
    }
    assert_eq!(reader.topics(), [topic]);
}

#[test]
fn a_batch_holds_at_most_what_was_asked_for() {
    let broker = broker();
    let topic = broker.topic("max", 1);
    produce_numbers(&broker, &topic, 0..100, 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0)]).unwrap();
    let mut offsets = Vec::new();
    wait_for("all records", || {
        let before = offsets.len();
        let count = reader.read(7, POLL, |message| offsets.push(message.offset), |_| {}).unwrap();
        assert!(count <= 7 && count == offsets.len() - before);
        (offsets.len() == 100).then_some(())
    });
    assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
}

#[test]
fn reading_resumes_in_the_midst_of_a_batch() {
    let broker = broker();
    let topic = broker.topic("resume", 1);
    produce_numbers(&broker, &topic, 0..1_000, 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 437)]).unwrap();
    assert_eq!(offsets(&read_to_ends(&mut reader, 1), 0), (437..1_000).collect::<Vec<i64>>());
}

#[test]
fn every_partition_says_where_it_ends_and_says_so_again() {
    let broker = broker();
    let topic = broker.topic("ends", 2);
    produce_numbers(&broker, &topic, 0..3, 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0), start(&topic, 1, 0)]).unwrap();
    let mut ends = BTreeMap::new();
    let mut read = |ends: &mut BTreeMap<i32, i64>| {
        let on_signal = |signal| match signal {
            Signal::End { partition, next_offset, .. } => {
                ends.insert(partition, next_offset);
            }
            Signal::Error(error) => panic!("{error}"),
        };
        reader.read(10, POLL, |_| {}, on_signal).unwrap();
    };
    wait_for("ends", || {
        read(&mut ends);
        (ends.len() == 2).then_some(())
    });
    assert_eq!(ends, BTreeMap::from([(0, 3), (1, 0)]));
    produce_numbers(&broker, &topic, 0..2, 1);
    wait_for("second end", || {
        read(&mut ends);
        (ends.get(&0) == Some(&5)).then_some(())
    });
}

#[test]
fn a_lone_message_does_not_wait_for_a_full_batch() {
    let broker = broker();
    let topic = broker.topic("latency", 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0)]).unwrap();
    read_to_ends(&mut reader, 1);
    let (config, name) = (broker.config_with(&[("linger.ms", "0")]), topic.to_string());
    let sender = std::thread::spawn(move || {
        let producer = Producer::new(&config).unwrap();
        producer.send(&name, None, Some(b"now")).unwrap();
        producer.flush(TIME_LIMIT).unwrap();
    });
    let began = Instant::now();
    let mut seen = 0;
    while seen == 0 && began.elapsed() < TIME_LIMIT {
        seen += reader.read(8_192, TIME_LIMIT, |_| {}, |_| {}).unwrap();
    }
    assert_eq!(seen, 1);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    sender.join().unwrap();
}

#[test]
fn an_offset_beyond_the_end_is_out_of_range_and_the_other_partitions_continue() {
    let broker = broker();
    let topic = broker.topic("beyond", 2);
    produce_numbers(&broker, &topic, 0..10, 2);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 999), start(&topic, 1, 0)]).unwrap();
    let (mut rest, mut failure) = (0, None);
    wait_for("failure and the other partition", || {
        match reader.read(1_000, POLL, |message| rest += usize::from(message.partition == 1), |_| {}) {
            Ok(_) => {}
            Err(error) => assert!(failure.replace(error).is_none(), "reported once"),
        }
        (rest == 5 && failure.is_some()).then_some(())
    });
    match failure {
        Some(KafkaError::OffsetOutOfRange { topic: named, partition: 0, next_offset: 999, low: 0, high: 5 }) => {
            assert_eq!(*named, *topic);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((reader.next_offset(0, 0), reader.next_offset(0, 1)), (None, Some(5)));
    reader.add(&[start(&topic, 0, 0)]).unwrap();
    assert_eq!(offsets(&read_to_end_of(&mut reader, 0), 0), (0..5).collect::<Vec<i64>>());
}

/// Makes the broker forget the beginning of partition 0; returns its low watermark.
pub fn forget_history(broker: &Broker, topic: &str) -> i64 {
    if broker.is_real() {
        produce_numbers(broker, topic, 0..50, 1);
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(20)).unwrap();
        block_on(admin(broker).delete_records(&list, &AdminOptions::new())).unwrap();
    } else {
        // 5 MiB a partition: 12 MiB that do not compress.
        let noise = |seed: u64| -> Vec<u8> {
            let mut state = seed + 1;
            let step = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            (0..10_000).map(step).collect()
        };
        let values: Vec<Vec<u8>> = (0..1_200).map(noise).collect();
        broker.produce_records(values.iter().map(|value| Record {
            topic,
            partition: Some(0),
            value: Some(value),
            ..Record::default()
        }));
    }
    broker.cluster().watermarks(topic).unwrap()[&0].low
}

#[test]
fn lost_history_is_an_error_and_the_guard_reports_where_it_counts_from() {
    let broker = broker();
    let topic = broker.topic("expired", 1);
    let (cluster, mut guard) = (broker.cluster(), HistoryGuard::default());
    assert_eq!(guard.poll(&cluster, &[Arc::clone(&topic)]).unwrap(), []);
    let first_offset = forget_history(&broker, &topic);
    assert!(first_offset > 0);
    let reported = guard.poll(&cluster, &[Arc::clone(&topic)]).unwrap();
    assert_eq!((reported.len(), reported[0].first_offset), (1, first_offset));
    assert_eq!(guard.poll(&cluster, &[Arc::clone(&topic)]).unwrap(), []);

    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 3)]).unwrap();
    match read_to_failure(&mut reader) {
        KafkaError::OffsetOutOfRange { partition: 0, next_offset: 3, low, .. } => assert_eq!(low, first_offset),
        other => panic!("{other:?}"),
    }
    reader.add(&[start(&topic, 0, first_offset)]).unwrap();
    assert_eq!(read_to_ends(&mut reader, 1)[0].offset, first_offset);
}

#[test]
fn a_partition_added_later_is_read_and_disturbs_no_other() {
    let broker = broker();
    let topic = broker.topic("added", if broker.is_real() { 1 } else { 3 });
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0)]).unwrap();
    produce_numbers(&broker, &topic, 0..30_000, 1);
    let mut received = Vec::new();
    wait_for("first records", || {
        (reader.read(500, POLL, |message| received.push(Received::from(message)), |_| {}).unwrap() > 0).then_some(())
    });
    if broker.is_real() {
        let more = NewPartitions::new(&topic, 3);
        block_on(admin(&broker).create_partitions([&more], &AdminOptions::new())).unwrap();
        wait_for("new partitions", || (broker.cluster().partitions(&topic).unwrap().len() == 3).then_some(()));
    }
    reader.add(&[start(&topic, 1, 0), start(&topic, 2, 0)]).unwrap();
    produce_numbers(&broker, &topic, 0..30_000, 3);
    wait_for("all records", || {
        reader.read(500, POLL, |message| received.push(Received::from(message)), |_| {}).unwrap();
        (received.len() >= 60_000).then_some(())
    });
    assert_eq!(offsets(&received, 0), (0..40_000).collect::<Vec<i64>>());
    for partition in 1..3 {
        assert_eq!(offsets(&received, partition), (0..10_000).collect::<Vec<i64>>());
    }
}

#[test]
fn a_partition_that_was_let_go_is_silent_and_disturbs_no_other() {
    let broker = broker();
    let topic = broker.topic("removed", 2);
    produce_numbers(&broker, &topic, 0..40_000, 2);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0), start(&topic, 1, 0)]).unwrap();
    let mut received = Vec::new();
    wait_for("records of both", || {
        reader.read(100, POLL, |message| received.push(Received::from(message)), |_| {}).unwrap();
        (!offsets(&received, 0).is_empty() && !offsets(&received, 1).is_empty()).then_some(())
    });
    reader.remove(&topic, 1).unwrap();
    let before = offsets(&received, 1);
    received.extend(read_to_end_of(&mut reader, 0));
    assert_eq!(offsets(&received, 0), (0..20_000).collect::<Vec<i64>>());
    assert_eq!(offsets(&received, 1), before);
    // And it can be added again, from any offset.
    reader.add(&[start(&topic, 1, 5)]).unwrap();
    assert_eq!(offsets(&read_to_end_of(&mut reader, 1), 1), (5..20_000).collect::<Vec<i64>>());
}

#[test]
fn a_callback_that_panics_loses_nothing_behind_its_message() {
    let broker = broker();
    let topic = broker.topic("panic", 1);
    produce_numbers(&broker, &topic, 0..1_000, 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0)]).unwrap();
    let mut seen = 0;
    wait_for("a panic", || {
        let read = catch_unwind(AssertUnwindSafe(|| {
            let on_message = |_: tallgrass_kafka::Message<'_>| {
                seen += 1;
                assert!(seen < 10, "as intended");
            };
            reader.read(1_000, POLL, on_message, |_| {})
        }));
        read.is_err().then_some(())
    });
    // The tenth was handed over; the rest of its batch has to be fetched again.
    assert_eq!(reader.next_offset(0, 0), Some(10));
    assert_eq!(offsets(&read_to_ends(&mut reader, 1), 0), (10..1_000).collect::<Vec<i64>>());
}

#[test]
fn a_broker_that_goes_away_is_a_signal_and_not_the_end() {
    let embedded = EmbeddedBroker::start().unwrap();
    embedded.create_topic("topic", 1).unwrap();
    let topic: Arc<str> = Arc::from("topic");
    let mut reader = BatchReader::open(&embedded.config(), &[start(&topic, 0, 0)]).unwrap();
    read_to_ends(&mut reader, 1);
    drop(embedded);
    let error = wait_for("signal", || {
        let mut seen = None;
        let on_signal = |signal| {
            if let Signal::Error(error) = signal {
                seen = Some(error);
            }
        };
        reader.read(10, POLL, |_| {}, on_signal).unwrap();
        seen
    });
    assert!(error.is_transient(), "{error:?}");
}

#[test]
fn a_topic_that_is_not_there_fails_its_reader() {
    let broker = broker();
    let absent: Arc<str> = Arc::from(unique("absent"));
    let mut reader = BatchReader::open(&broker.config(), &[start(&absent, 0, 0)]).unwrap();
    let error = read_to_failure(&mut reader);
    assert!(matches!(&error, KafkaError::TopicMissing { topic } if **topic == *absent), "{error:?}");
}

#[test]
fn a_partition_that_is_not_there_fails_alone() {
    let broker = broker();
    let topic = broker.topic("partition", 1);
    produce_numbers(&broker, &topic, 0..3, 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0), start(&topic, 5, 0)]).unwrap();
    match read_to_failure(&mut reader) {
        KafkaError::PartitionMissing { topic: failed, partition: 5 } => assert_eq!(*failed, *topic),
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.next_offset(0, 5), None);
    assert!(reader.next_offset(0, 0).is_some());
}

#[test]
fn nothing_is_not_empty_in_keys_and_values() {
    let broker = broker();
    let topic = broker.topic("nulls", 1);
    let (none, empty, text) = (None, Some(""), Some("x"));
    let records = [(none, none), (none, empty), (empty, none), (empty, empty), (text, none), (text, text)];
    broker.produce_records(records.iter().map(|(key, value)| Record {
        topic: &topic,
        partition: Some(0),
        key: key.map(str::as_bytes),
        value: value.map(str::as_bytes),
        ..Record::default()
    }));
    let received = broker.read_all(&topic);
    let seen: Vec<_> = received.iter().map(|message| (message.key.as_deref(), message.value.as_deref())).collect();
    let expected: Vec<_> =
        records.iter().map(|(key, value)| (key.map(str::as_bytes), value.map(str::as_bytes))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn timestamps_are_the_producers() {
    let broker = broker();
    let topic = broker.topic("times", 1);
    let times = [1_700_000_000_000, 1_700_000_000_001, 1_600_000_000_000];
    broker.produce_records(times.iter().map(|&time| Record {
        topic: &topic,
        partition: Some(0),
        value: Some(b"x"),
        timestamp_ms: Some(time),
        ..Record::default()
    }));
    let received = broker.read_all(&topic);
    assert_eq!(received.iter().map(|message| message.timestamp_ms).collect::<Vec<_>>(), times.map(Some));
}

/// A topic with a configuration of its own, on a real Kafka.
fn configured_topic(broker: &Broker, prefix: &str, config: &[(&str, &str)]) -> Arc<str> {
    let name = unique(prefix);
    let mut topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    for result in block_on(admin(broker).create_topics([&topic], &AdminOptions::new())).unwrap() {
        result.unwrap();
    }
    wait_for("new topic", || broker.cluster().watermarks(&name).ok());
    Arc::from(name)
}

#[test]
fn offsets_that_compaction_took_are_not_waited_for() {
    let Some(broker) = real_broker("the embedded broker does not compact") else { return };
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
        ("delete.retention.ms", "0"),
    ];
    let topic = configured_topic(&broker, "compacted", &settings);
    assert!(broker.cluster().is_compacted(&topic).unwrap());
    let missing = wait_for("compaction", || {
        // Each round also closes the segment of the one before.
        broker.produce(&topic, [(Some("a"), Some("1")), (Some("b"), Some("2")), (Some("a"), None)]);
        std::thread::sleep(Duration::from_millis(500));
        let marks = broker.cluster().watermarks(&topic).unwrap()[&0];
        let present = offsets(&broker.read_all(&topic), 0);
        (marks.low..marks.high).find(|offset| !present.contains(offset))
    });
    // A reader may start at an offset that does not exist.
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, missing)]).unwrap();
    let received = read_to_ends(&mut reader, 1);
    assert!(received[0].offset > missing, "{missing} {received:?}");
}

#[test]
fn transaction_markers_and_aborted_records_are_not_waited_for() {
    let Some(broker) = real_broker("the embedded broker does not read committed") else { return };
    let topic = broker.topic("transactions", 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.brokers())
        .set("transactional.id", unique("transaction"))
        .create()
        .unwrap();
    producer.init_transactions(TIME_LIMIT).unwrap();
    for (text, commit) in [("kept", true), ("aborted", false), ("kept too", true), ("aborted at the end", false)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<(), str>::to(&topic).payload(text)).map_err(|(error, _)| error).unwrap();
        if commit {
            producer.commit_transaction(TIME_LIMIT).unwrap();
        } else {
            producer.flush(TIME_LIMIT).unwrap();
            producer.abort_transaction(TIME_LIMIT).unwrap();
        }
    }
    let watermarks = broker.cluster().watermarks(&topic).unwrap()[&0];
    assert_eq!((watermarks.low, watermarks.high), (0, 8), "four records and four markers");
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0)]).unwrap();
    let received = read_to_ends(&mut reader, 1);
    assert_eq!(received.iter().map(Received::text).collect::<Vec<_>>(), ["kept", "kept too"]);
    assert_eq!(reader.next_offset(0, 0), Some(8));
}

#[test]
fn a_topic_deleted_and_created_again_is_not_read_on_silently() {
    let Some(broker) = real_broker("the embedded broker deletes no topics") else { return };
    let topic = broker.topic("again", 1);
    produce_numbers(&broker, &topic, 0..100, 1);
    let mut reader = BatchReader::open(&broker.config(), &[start(&topic, 0, 0)]).unwrap();
    assert_eq!(read_to_ends(&mut reader, 1).len(), 100);
    block_on(admin(&broker).delete_topics(&[&topic], &AdminOptions::new())).unwrap();
    wait_for("deletion", || broker.cluster().partitions(&topic).err());
    broker.create_topic(&topic, 1, false);
    produce_numbers(&broker, &topic, 0..5, 1);
    match read_to_failure(&mut reader) {
        KafkaError::OffsetOutOfRange { next_offset: 100, low: 0, high: 5, .. } | KafkaError::TopicMissing { .. } => {}
        other => panic!("{other:?}"),
    }
}
