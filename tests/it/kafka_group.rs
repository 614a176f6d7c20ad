//! The promises of a consumer group while members join and leave, on both brokers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tallgrass_kafka::{
    AsOf, GroupEvent, GroupReader, GroupStart, KafkaConfig, KafkaError, Message, Producer, Record, Start,
};

use crate::support::{Broker, POLL, TIME_LIMIT, broker, real_broker, unique, wait_for};

/// A member that acts on what it reads and commits only when it must: before partitions are revoked, and at its end.
struct Member {
    stop: Arc<AtomicBool>,
    owned: Arc<Mutex<BTreeSet<i32>>>,
    /// How many commits before a revocation were refused.
    thread: JoinHandle<usize>,
}

/// (partition, offset) → how often it was acted on.
type Acted = Arc<Mutex<BTreeMap<(i32, i64), usize>>>;

impl Member {
    fn start(config: KafkaConfig, group: &str, topic: &Arc<str>, acted: &Acted) -> Self {
        let (stop, owned) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (group, topic, acted) = (group.to_owned(), Arc::clone(topic), Arc::clone(acted));
        let (stopped, shown): (_, Arc<Mutex<BTreeSet<i32>>>) = (Arc::clone(&stop), Arc::clone(&owned));
        let thread = std::thread::spawn(move || {
            let reader = GroupReader::join(&config, &group, &[Arc::clone(&topic)], GroupStart::Earliest).unwrap();
            let (mut done, mut refused) = (AsOf::default(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let mut batch = Vec::new();
                let read = reader.read(
                    50,
                    POLL,
                    |message| batch.push((message.partition, message.offset)),
                    |event| match event {
                        GroupEvent::Revoking { lost, .. } => {
                            assert!(!lost, "no member was silent");
                            if let Err(error) = reader.commit(&done) {
                                assert!(error.is_transient(), "{error:?}");
                                refused += 1;
                            }
                        }
                        GroupEvent::Assigned(_) => {}
                        GroupEvent::Error(error) => assert!(error.is_transient(), "{error:?}"),
                    },
                );
                read.unwrap();
                let mut acted = acted.lock().unwrap();
                for (partition, offset) in batch {
                    *acted.entry((partition, offset)).or_insert(0) += 1;
                    done.set(&topic, partition, offset + 1);
                }
                drop(acted);
                *shown.lock().unwrap() = reader.partitions().into_iter().map(|(_, partition)| partition).collect();
            }
            reader.leave(&done, TIME_LIMIT).unwrap();
            refused
        });
        Self { stop, owned, thread }
    }

    fn owns(&self) -> BTreeSet<i32> {
        self.owned.lock().unwrap().clone()
    }

    fn leave(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Whether the members share six partitions evenly, without gap or overlap.
fn shared_evenly(members: &[&Member]) -> Option<()> {
    let owned: Vec<BTreeSet<i32>> = members.iter().map(|member| member.owns()).collect();
    let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
    (all.len() == 6 && owned.iter().all(|partitions| partitions.len() == 6 / members.len())).then_some(())
}

#[test]
fn members_that_join_and_leave_miss_nothing_and_repeat_nothing() {
    let broker = broker();
    let topic = broker.topic("shared", 6);
    let (group, acted) = (unique("group"), Acted::default());
    let feeding = Arc::new(AtomicBool::new(true));
    let feeder = {
        let (config, topic, feeding) = (broker.config(), Arc::clone(&topic), Arc::clone(&feeding));
        std::thread::spawn(move || {
            let producer = Producer::new(&config).unwrap();
            let mut sent = 0;
            while feeding.load(Ordering::Relaxed) {
                for partition in 0..6 {
                    let record = Record { partition: Some(partition), value: Some(b"x"), ..Record::default() };
                    producer.send_record(Record { topic: &topic, ..record }).unwrap();
                }
                sent += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            producer.flush(TIME_LIMIT).unwrap();
            assert_eq!(producer.delivered().ok, 6 * sent as u64);
            i64::from(sent)
        })
    };
    let join = || Member::start(broker.config(), &group, &topic, &acted);
    let first = join();
    wait_for("first member", || shared_evenly(&[&first]));
    let second = join();
    wait_for("second member", || shared_evenly(&[&first, &second]));
    let third = join();
    wait_for("third member", || shared_evenly(&[&first, &second, &third]));
    let mut refused = second.leave();
    let fourth = join();
    refused += first.leave();
    wait_for("two members", || shared_evenly(&[&third, &fourth]));
    feeding.store(false, Ordering::Relaxed);
    let sent = feeder.join().unwrap();
    let expected = 6 * sent as usize;
    wait_for("every record", || (acted.lock().unwrap().len() >= expected).then_some(()));
    refused += third.leave() + fourth.leave();
    let acted = acted.lock().unwrap();
    let missed: Vec<(i32, i64)> = (0..6)
        .flat_map(|partition| (0..sent).map(move |offset| (partition, offset)))
        .filter(|at| !acted.contains_key(at))
        .collect();
    assert_eq!((acted.len(), missed), (expected, vec![]));
    let repeated: Vec<_> = acted.iter().filter(|(_, times)| **times > 1).collect();
    if broker.is_real() {
        assert_eq!(refused, 0, "a real Kafka takes commits before partitions leave");
    }
    if refused == 0 {
        assert_eq!(repeated, vec![], "orderly leaving repeats nothing");
    }
}

fn fill(broker: &Broker, topic: &str, count: usize) {
    broker.produce_records((0..count).map(|_| Record {
        topic,
        partition: Some(0),
        value: Some(b"x"),
        ..Record::default()
    }));
}

fn join(broker: &Broker, group: &str, topic: &Arc<str>, start: GroupStart) -> GroupReader {
    GroupReader::join(&broker.config(), group, &[Arc::clone(topic)], start).unwrap()
}

/// What a member received until it had partitions.
struct Assignment {
    starts: Vec<Start>,
    errors: Vec<String>,
    /// The offset of a first message that arrived with them.
    first: Option<i64>,
}

/// Reads until partitions come.
fn await_assignment(reader: &GroupReader) -> Assignment {
    let (starts, errors) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let mut first = None;
    wait_for("assignment", || {
        let on_event = |event: GroupEvent<'_>| match event {
            GroupEvent::Assigned(assigned) => starts.borrow_mut().extend_from_slice(assigned),
            GroupEvent::Error(KafkaError::Broker { .. }) | GroupEvent::Revoking { .. } => {}
            GroupEvent::Error(error) => errors.borrow_mut().push(error.to_string()),
        };
        let on_message = |message: Message<'_>| {
            assert!(!starts.borrow().is_empty(), "a message before its partition");
            first = Some(message.offset);
        };
        reader.read(1, Duration::ZERO, on_message, on_event).ok()?;
        (!starts.borrow().is_empty()).then_some(())
    });
    Assignment { starts: starts.into_inner(), errors: errors.into_inner(), first }
}

/// The offsets of so many messages, beginning with the one that arrived with the partitions.
fn read_some(reader: &GroupReader, first: Option<i64>, count: usize) -> Vec<i64> {
    let mut offsets: Vec<i64> = first.into_iter().collect();
    wait_for("messages", || {
        let missing = count - offsets.len();
        reader.read(missing, POLL, |message| offsets.push(message.offset), |_| {}).unwrap();
        (offsets.len() == count).then_some(())
    });
    offsets
}

fn as_of(topic: &Arc<str>, next_offset: i64) -> AsOf {
    let mut as_of = AsOf::default();
    as_of.set(topic, 0, next_offset);
    as_of
}

#[test]
fn what_was_committed_does_not_come_again_and_the_rest_does() {
    let broker = broker();
    let topic = broker.topic("committed", 1);
    fill(&broker, &topic, 100);
    let group = unique("group");
    let reader = join(&broker, &group, &topic, GroupStart::Earliest);
    let assigned = await_assignment(&reader);
    assert_eq!(assigned.starts, [Start { topic: Arc::clone(&topic), partition: 0, next_offset: 0 }]);
    assert_eq!(read_some(&reader, assigned.first, 30), (0..30).collect::<Vec<i64>>());
    reader.commit(&as_of(&topic, 20)).unwrap();
    // Another member's: left out, not committed.
    let mut foreign = AsOf::default();
    foreign.set(&topic, 7, 5);
    reader.commit(&foreign).unwrap();
    let left = Instant::now();
    drop(reader);
    let reader = join(&broker, &group, &topic, GroupStart::Earliest);
    let assigned = await_assignment(&reader);
    assert_eq!(assigned.starts[0].next_offset, 20);
    assert!(left.elapsed() < Duration::from_secs(20), "leaving took {:?}", left.elapsed());
    assert_eq!(read_some(&reader, assigned.first, 80), (20..100).collect::<Vec<i64>>());
}

#[test]
fn a_group_that_starts_at_the_end_continues_there_after_a_restart() {
    let broker = broker();
    let topic = broker.topic("latest", 1);
    fill(&broker, &topic, 10);
    let group = unique("group");
    let reader = join(&broker, &group, &topic, GroupStart::Latest);
    let Assignment { starts, .. } = await_assignment(&reader);
    assert_eq!(starts[0].next_offset, 10);
    // It has seen nothing, and commits to continue here.
    reader.commit(&as_of(&topic, starts[0].next_offset)).unwrap();
    drop(reader);
    fill(&broker, &topic, 5);
    let reader = join(&broker, &group, &topic, GroupStart::Latest);
    let assigned = await_assignment(&reader);
    assert_eq!(assigned.starts[0].next_offset, 10);
    assert_eq!(read_some(&reader, assigned.first, 5), (10..15).collect::<Vec<i64>>());
}

#[test]
fn partitions_younger_than_a_member_that_starts_at_the_end_are_read_from_their_beginning() {
    let Some(broker) = real_broker("the embedded broker adds no partitions") else { return };
    let topic = broker.topic("younger", 1);
    fill(&broker, &topic, 10);
    let reader = join(&broker, &unique("group"), &topic, GroupStart::Latest);
    assert_eq!(await_assignment(&reader).starts[0].next_offset, 10);
    broker.add_partitions(&topic, 3);
    // Created before the member is assigned the partitions.
    broker.produce_records([1, 2].map(|partition| Record {
        topic: &topic,
        partition: Some(partition),
        value: Some(b"{}"),
        ..Record::default()
    }));
    let mut read = BTreeSet::new();
    wait_for("the first records", || {
        reader.read(10, POLL, |message| _ = read.insert((message.partition, message.offset)), |_| {}).unwrap();
        (read.len() == 2).then_some(())
    });
    assert_eq!(read, BTreeSet::from([(1, 0), (2, 0)]));
}

#[test]
fn a_committed_offset_out_of_range_is_reported_and_reading_continues() {
    let broker = broker();
    let topic = broker.topic("expired", 1);
    fill(&broker, &topic, 10);
    let group = unique("group");
    let reader = join(&broker, &group, &topic, GroupStart::Latest);
    await_assignment(&reader);
    reader.commit(&as_of(&topic, 999)).unwrap();
    drop(reader);
    let reader = join(&broker, &group, &topic, GroupStart::Latest);
    let Assignment { starts, errors, first } = await_assignment(&reader);
    assert_eq!(starts[0].next_offset, 0);
    assert_eq!(errors, [format!("{topic}[0] no longer has offset 999: the broker has 0 to 10")]);
    assert_eq!(read_some(&reader, first, 10), (0..10).collect::<Vec<i64>>());
}
