//! Streams of changes: applied in their order they give the view, whatever happened to the connection.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::served::{Event, Events, Served};
use crate::support::wait_for;

/// A table whose rows change often: the last kind of each name, and how often it was seen.
const LAST: &str = "SELECT name, count(*) AS seen, max(id) AS last FROM s GROUP BY name";

/// Batches that arrive while a client listens.
const ROUNDS: usize = 40;

/// Rows as a bag.
#[derive(Debug, Default, Clone, PartialEq)]
struct Bag(BTreeMap<String, i64>);

impl Bag {
    fn of(rows: &Value) -> Self {
        let mut bag = Self::default();
        bag.add(rows, 1);
        bag
    }

    fn add(&mut self, rows: &Value, weight: i64) {
        for row in rows.as_array().expect("rows") {
            let count = self.0.entry(row.to_string()).or_default();
            *count += weight;
            assert!(*count >= 0, "a row went that was not there: {row}");
            if *count == 0 {
                self.0.remove(&row.to_string());
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        match &*event.kind {
            "reset" => *self = Self::of(&event.data["rows"]),
            "change" => {
                self.add(&event.data["removed"], -1);
                self.add(&event.data["added"], 1);
            }
            other => panic!("{other}: {}", event.data),
        }
    }
}

fn records(as_of: &Value) -> i64 {
    let topics = as_of.as_object().unwrap().values();
    topics.flat_map(|partitions| partitions.as_object().unwrap().values()).map(|next| next.as_i64().unwrap()).sum()
}

#[test]
fn a_fresh_stream_begins_with_all_rows_and_continues_with_differences() {
    let served = Served::start(&[("last", LAST)]);
    served.produce(&["a", "b"]);
    wait_for("rows", || (served.get("/api/views/last").json()["rows"].as_array()?.len() == 2).then_some(()));
    let mut events = served.follow("last", None);
    let reset = events.next().unwrap();
    assert_eq!((&*reset.kind, reset.data["rows"].as_array().unwrap().len()), ("reset", 2));
    assert!(reset.data["reason"].is_null());
    let now = served.get("/api/views/last").json();
    assert_eq!((&reset.data["digest"], &reset.data["view"]), (&now["digest"], &now["view"]));
    let id = reset.id.unwrap();
    assert!(id.contains(&format!("{} ", served.topic)) && id.contains('@'), "{id}");
    served.produce(&["c"]);
    let change = events.next().unwrap();
    assert_eq!(change.kind, "change");
    assert_eq!(change.data["added"], serde_json::json!([{"name": "c", "seen": 1, "last": 0}]));
    assert_eq!(change.data["removed"], serde_json::json!([]));
    served.produce(&["c"]);
    let change = events.next().unwrap();
    assert_eq!(change.data["added"], serde_json::json!([{"name": "c", "seen": 2, "last": 0}]));
    assert_eq!(change.data["removed"], serde_json::json!([{"name": "c", "seen": 1, "last": 0}]));
}

#[test]
fn nothing_is_lost_or_doubled_over_broken_connections_while_records_come() {
    let served = Served::start(&[("last", LAST)]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                let names: Vec<String> = (0..20).map(|n| format!("n{}", (round * 7 + n * n) % 40)).collect();
                served.produce(&names.iter().map(String::as_str).collect::<Vec<_>>());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let (mut bag, mut last_id) = (Bag::default(), None::<String>);
        let (mut connections, mut resets, mut went_on) = (0, 0, 0);
        'streams: loop {
            let mut events = served.follow("last", last_id.as_deref());
            connections += 1;
            // Some connections end at once, some after a while; for some the client is away longer than a refresh.
            for nth in 0..=(connections * 3) % 5 {
                let event = events.next().unwrap();
                if event.kind == "reset" {
                    resets += 1;
                    assert!(connections == 1, "it should go on from {last_id:?}: {}", event.data["reason"]);
                } else if nth == 0 {
                    went_on += 1;
                }
                bag.apply(&event);
                last_id = event.id.clone();
                if records(&event.data["as_of"]) == (ROUNDS * 20) as i64 {
                    let view = served.get("/api/views/last").json();
                    assert_eq!(view["as_of"], event.data["as_of"]);
                    assert_eq!(view["digest"], event.data["digest"]);
                    assert_eq!(bag, Bag::of(&view["rows"]));
                    break 'streams;
                }
            }
            drop(events);
            if connections % 4 == 0 {
                std::thread::sleep(Duration::from_millis(60));
            }
        }
        assert_eq!(resets, 1);
        assert!(connections > 5 && went_on > 5, "{connections} connections, {went_on} went on");
    });
}

#[test]
fn an_unknown_id_starts_over_and_gives_the_reason() {
    let served = Served::start(&[("last", LAST)]);
    served.produce(&["a"]);
    let id = served.follow("last", None).next_of("reset").id.unwrap();
    for (id, why) in [
        ("nonsense", "not that of an event"),
        ("@1", "no longer kept"),
        (&*format!("{} 0:999999 @{}", served.topic, id.rsplit_once('@').unwrap().1), "no longer kept"),
    ] {
        let event = served.follow("last", Some(id)).next().unwrap();
        assert_eq!(event.kind, "reset");
        assert!(event.data["reason"].as_str().unwrap().contains(why), "{id}: {}", event.data);
    }
    // As part of the address, for clients that cannot set a header.
    let asked = format!("/api/views/last/changes?last_event_id={}", id.replace(' ', "%20").replace(',', "%2C"));
    let mut stream = std::net::TcpStream::connect(served.address()).unwrap();
    write!(stream, "GET {asked} HTTP/1.1\r\nHost: {}\r\n\r\n", served.address()).unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    while !text.contains("nothing has changed since") {
        let read = stream.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        assert!(read > 0 && !text.contains("event: reset"), "{text}");
    }
}

#[test]
fn an_edit_says_what_it_changed_and_a_broken_one_what_is_wrong() {
    let served = Served::start(&[("last", "SELECT name, count(*) AS seen FROM s GROUP BY name")]);
    served.produce(&["a", "b", "b"]);
    wait_for("rows", || (served.get("/api/views/last").json()["rows"].as_array()?.len() == 2).then_some(()));
    let mut events = served.follow("last", None);
    let mut bag = Bag::default();
    bag.apply(&events.next_of("reset"));
    served.save("last", "SELECT name, count(*) * 10 AS seen FROM s GROUP BY name");
    let swapped = loop {
        let event = events.next_of("change");
        bag.apply(&event);
        if event.data["swap"].is_object() {
            break event;
        }
    };
    assert_eq!(swapped.data["swap"]["changed"], 2, "{}", swapped.data);
    assert_eq!(bag, Bag::of(&served.get("/api/views/last").json()["rows"]));

    served.save("last", "SELECT nam FROM s");
    let error = events.next_of("error");
    assert_eq!((error.data["error"]["line"].as_u64(), error.data["error"]["column"].as_u64()), (Some(1), Some(8)));
    // Its rows from before stay up.
    served.produce(&["c"]);
    let change = loop {
        let event = events.next_of("change");
        bag.apply(&event);
        if !event.data["added"].as_array().unwrap().is_empty() {
            break event;
        }
    };
    assert_eq!(change.data["broken"]["line"], 1, "{}", change.data);

    served.save("last", "SELECT name, count(*) AS seen, 1 AS one FROM s GROUP BY name");
    let reset = events.next_of("reset");
    assert_eq!(reset.data["reason"], "the view has other columns");
    assert!(reset.data["broken"].is_null() && reset.data["rows"][0]["one"] == 1, "{}", reset.data);

    std::fs::remove_file(served.file("last")).unwrap();
    assert_eq!(events.next_of("gone").data["gone"], true);
    assert_eq!(served.get("/api/views/last/changes").status, 404);
    served.save("last", "SELECT count(*) AS n FROM s");
    assert_eq!(events.next_of("reset").data["rows"][0]["n"], 4);
}

#[test]
fn a_client_that_does_not_read_gets_the_newest_and_no_queue() {
    // Every row changes with every record, so a difference is some megabytes.
    let wide =
        "SELECT value AS id, (SELECT count(*) FROM s) AS n, repeat('x', 100) AS pad FROM generate_series(1, 20000)";
    let served = Served::start(&[("wide", wide), ("n", "SELECT count(*) AS n FROM s")]);
    let mut events = served.follow("wide", None);
    let mut bag = Bag::default();
    let rounds = 40;
    for round in 1..=rounds {
        served.produce(&["a"]);
        // Ingestion does not wait for a client that does not read.
        wait_for("progress", || (served.get("/api/views/n").json()["rows"][0]["n"] == round).then_some(()));
    }
    let mut got = 0;
    loop {
        let event = events.next().unwrap();
        bag.apply(&event);
        got += 1;
        if records(&event.data["as_of"]) == rounds && bag == Bag::of(&served.get("/api/views/wide").json()["rows"]) {
            break;
        }
    }
    assert!(got < rounds, "{got} events");
}

#[test]
fn streams_end_with_the_server() {
    let mut served = Served::start(&[("last", LAST)]);
    served.produce(&["a"]);
    let mut streams: Vec<Events> = (0..5).map(|_| served.follow("last", None)).collect();
    for events in &mut streams {
        events.next_of("reset");
    }
    let started = std::time::Instant::now();
    served.stop_server();
    assert!(started.elapsed() < Duration::from_secs(5));
    for events in &mut streams {
        while events.next().is_some() {}
    }
}
