//! A feed that starts at an as-of.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use tallgrass_kafka::{AsOf, KafkaError, Record};
use tallgrass_pipeline::{BatchLimits, Feed, FeedError, FeedEvent, FeedInput, FeedTopic, FeedUntil, GoOn, InputId};
use tallgrass_relation::{BadRecords, Catalog, Wanted};

use crate::kafka::forget_history;
use crate::support::{Broker, TIME_LIMIT, broker, real_broker, unique};

const PARTITIONS: i32 = 3;

/// A feed of a stream over the topic: its partitions and offsets.
fn feed(broker: &Broker, topic: &Arc<str>, from: AsOf, until: FeedUntil) -> Feed {
    let sources = format!("CREATE EXTERNAL TABLE s (id BIGINT) STORED AS KAFKA LOCATION '{topic}'");
    let catalog = Catalog::parse(&sources, Path::new("."), "sources.sql").unwrap();
    let relation = Arc::clone(catalog.kafka_relations().next().unwrap());
    let columns =
        vec![relation.schema().index_of("_partition").unwrap(), relation.schema().index_of("_offset").unwrap()];
    let inputs = vec![FeedInput { id: InputId::next(), wanted: Wanted { relation, columns } }];
    let topics = vec![FeedTopic { topic: Arc::clone(topic), inputs, later: false }];
    let limits = BatchLimits { rows: 7, linger: Duration::from_millis(5), ..BatchLimits::default() };
    Feed::start(&broker.config(), topics, limits, from, until, &BadRecords::default()).unwrap()
}

fn next(feed: &mut Feed) -> FeedEvent {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let event = runtime.block_on(async { tokio::time::timeout(TIME_LIMIT, feed.next()).await });
    event.expect("an event in time").expect("a feed that goes on")
}

/// The output of a feed up to its ends: where its partitions start, the offsets of the rows by partition, and its own
/// next offsets.
fn read_to_end(feed: &mut Feed) -> (AsOf, BTreeMap<i32, Vec<i64>>, AsOf) {
    let (mut starts, mut rows, mut as_of) = (AsOf::default(), BTreeMap::<i32, Vec<i64>>::new(), AsOf::default());
    loop {
        match next(feed) {
            FeedEvent::Starts { next_offsets, .. } => {
                starts = next_offsets.clone();
                as_of = next_offsets;
            }
            FeedEvent::Batch(batch) => {
                for (topic, partition, next_offset) in batch.next_offsets.iter() {
                    as_of.set(topic, partition, next_offset);
                }
                for (_, decoded) in batch.rows {
                    let partitions = decoded.batch.column(0).as_primitive::<Int32Type>().values();
                    let offsets = decoded.batch.column(1).as_primitive::<Int64Type>().values();
                    for (partition, offset) in partitions.iter().zip(offsets) {
                        rows.entry(*partition).or_default().push(*offset);
                    }
                }
            }
            FeedEvent::Ended => return (starts, rows, as_of),
            FeedEvent::Trouble(_) | FeedEvent::Recovered | FeedEvent::Ends { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn failure(feed: &mut Feed) -> KafkaError {
    loop {
        match next(feed) {
            FeedEvent::Failed(FeedError::Kafka(error)) => return error,
            FeedEvent::Trouble(_) | FeedEvent::Recovered => {}
            other => panic!("{other:?}"),
        }
    }
}

fn produce(broker: &Broker, topic: &str, count: usize) {
    let record =
        |partition| Record { topic, partition: Some(partition), value: Some(br#"{"id":1}"#), ..Record::default() };
    broker.produce_records((0..PARTITIONS).flat_map(|partition| (0..count).map(move |_| record(partition))));
}

fn as_of(topic: &Arc<str>, next_offsets: &[i64]) -> AsOf {
    let mut as_of = AsOf::default();
    for (partition, next_offset) in (0..).zip(next_offsets) {
        as_of.set(topic, partition, *next_offset);
    }
    as_of
}

#[test]
fn a_feed_that_starts_at_an_as_of_delivers_exactly_the_records_from_there() {
    let broker = broker();
    let topic = broker.topic("feed", PARTITIONS);
    produce(&broker, &topic, 100);
    // One partition in the middle, one at its end, one that the as-of does not name. Other topics do not matter.
    let mut from = as_of(&topic, &[40, 100]);
    from.set(&Arc::from("another"), 0, 7);
    let mut feed = feed(&broker, &topic, from, FeedUntil::Ends);
    let (starts, rows, stands) = read_to_end(&mut feed);
    assert_eq!(starts, as_of(&topic, &[40, 100, 0]));
    assert_eq!(rows, BTreeMap::from([(0, (40..100).collect()), (2, (0..100).collect())]));
    assert_eq!(stands, as_of(&topic, &[100, 100, 100]));

    produce(&broker, &topic, 10);
    feed.go_on(GoOn::UpTo(as_of(&topic, &[110, 105])));
    let (_, rows, stands) = read_to_end(&mut feed);
    assert_eq!(rows, BTreeMap::from([(0, (100..110).collect()), (1, (100..105).collect())]));
    assert_eq!((stands.next_offset(&topic, 0), stands.next_offset(&topic, 1)), (Some(110), Some(105)));
}

#[test]
fn two_feeds_that_meet_at_an_as_of_deliver_each_record_once() {
    let broker = broker();
    let topic = broker.topic("feed", PARTITIONS);
    produce(&broker, &topic, 50);
    let (_, first, met) = read_to_end(&mut feed(&broker, &topic, AsOf::default(), FeedUntil::Ends));
    produce(&broker, &topic, 50);
    let (_, second, _) = read_to_end(&mut feed(&broker, &topic, met, FeedUntil::Ends));
    for partition in 0..PARTITIONS {
        let both: Vec<i64> = first[&partition].iter().chain(&second[&partition]).copied().collect();
        assert_eq!(both, (0..100).collect::<Vec<i64>>());
    }
}

#[test]
fn an_as_of_that_the_log_does_not_have_is_refused_with_its_coordinates() {
    let broker = broker();
    let topic = broker.topic("feed", PARTITIONS);
    produce(&broker, &topic, 10);
    for until in [FeedUntil::Stopped, FeedUntil::Ends, FeedUntil::EndsOfKnownTopics] {
        match failure(&mut feed(&broker, &topic, as_of(&topic, &[10, 11]), until)) {
            KafkaError::OffsetOutOfRange { topic: of, partition: 1, next_offset: 11, low: 0, high: 10 } => {
                assert_eq!(*of, *topic);
            }
            other => panic!("{other:?}"),
        }
        match failure(&mut feed(&broker, &topic, as_of(&topic, &[0, 0, 0, 0]), until)) {
            KafkaError::PartitionMissing { topic: of, partition: 3 } => assert_eq!(*of, *topic),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_as_of_of_a_topic_that_is_missing_is_refused() {
    let Some(broker) = real_broker("the embedded broker makes every topic that it is asked for") else { return };
    let topic: Arc<str> = unique("missing").into();
    match failure(&mut feed(&broker, &topic, as_of(&topic, &[5]), FeedUntil::Stopped)) {
        KafkaError::TopicMissing { topic: of } => assert_eq!(*of, *topic),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_as_of_below_what_retention_left_is_refused() {
    let broker = broker();
    let topic = broker.topic("retained", PARTITIONS);
    let lowest = forget_history(&broker, &topic);
    match failure(&mut feed(&broker, &topic, as_of(&topic, &[lowest - 1]), FeedUntil::Stopped)) {
        KafkaError::OffsetOutOfRange { topic: of, partition: 0, next_offset, low, .. } => {
            assert_eq!((&*of, next_offset, low), (&*topic, lowest - 1, lowest));
        }
        other => panic!("{other:?}"),
    }
    let (starts, ..) = read_to_end(&mut feed(&broker, &topic, as_of(&topic, &[lowest]), FeedUntil::Ends));
    assert_eq!(starts, as_of(&topic, &[lowest, 0, 0]));
}
