//! `tallgrass topics`: the topics, and how far groups are.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{on, queries, start, start_at};
use crate::support::{broker, real_broker, unique, wait_for};

fn rows(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn total(rows: &[Value], column: &str) -> i64 {
    rows.iter().map(|row| row[column].as_i64().unwrap()).sum()
}

#[test]
fn a_topic_says_what_it_holds_who_reads_it_and_what_a_group_has_left() {
    let broker = broker();
    let (pokemons, users) = (broker.topic("pokemons", 2), broker.topic("users", 3));
    let queries = queries(&pokemons, &users);
    let (folder, group) = (queries.path().to_str().unwrap(), unique("checkers"));
    let produce = |count| {
        let args = ["user-gen", "--topic", &*users, "--rate", "max", "--count", count, "--logoff", "action"];
        on(&broker, &args).good();
    };
    let topics = |more: &[&str]| {
        let args = ["topics", &*users, "--queries", folder, "--group", &group, "--format", "ndjson"];
        rows(&on(&broker, &[&args[..], more].concat()).good().stdout)
    };

    produce("60");
    let relations = "user_events, users";
    let nothing = json!({"topic": *users, "partitions": 3, "records": 60, "relations": relations,
        "group": null, "committed": null, "lag": null});
    assert_eq!(topics(&[]), [nothing]);

    let checker = start(&broker, &["login-checker", "--group", &group, "--queries", folder]);
    wait_for("commits", || topics(&[])[0]["lag"].as_i64().filter(|lag| *lag == 0));
    assert_eq!(checker.interrupt().code, Some(130));
    produce("17");
    let behind = json!({"topic": *users, "partitions": 3, "records": 77, "relations": relations,
        "group": group, "committed": 60, "lag": 17});
    assert_eq!(topics(&[]), [behind]);

    let partitions = topics(&["--partitions"]);
    assert_eq!(partitions.len(), 3);
    assert_eq!((total(&partitions, "records"), total(&partitions, "next_offset")), (77, 77));
    assert_eq!((total(&partitions, "committed"), total(&partitions, "lag")), (60, 17));
    assert!(partitions.iter().all(|row| row["first_offset"] == 0 && row["group"] == *group), "{partitions:?}");
}

#[test]
fn without_a_folder_and_a_name_all_topics_are_shown_all_the_same() {
    let broker = broker();
    let wanted: BTreeSet<String> = (0..3).map(|_| broker.topic("any", 1).to_string()).collect();
    let run = on(&broker, &["topics", "--queries", "no/such/folder", "--format", "ndjson"]).good();
    assert!(run.stderr.contains("note: no no/such/folder/sources.sql"), "{}", run.stderr);
    let shown: BTreeSet<String> =
        rows(&run.stdout).iter().map(|row| row["topic"].as_str().unwrap().to_owned()).collect();
    assert!(shown.is_superset(&wanted), "{shown:?}");
}

#[test]
fn groups_of_ours_are_found_by_themselves() {
    let Some(broker) = real_broker("the embedded broker lists no groups") else { return };
    let (pokemons, users) = (broker.topic("pokemons", 2), broker.topic("users", 1));
    let (queries, id) = (queries(&pokemons, &users), unique("panel"));
    let folder = queries.path().to_str().unwrap();
    on(&broker, &["pokemon-gen", "--topic", &pokemons, "--rate", "max", "--count", "300"]).good();
    let place = ["--lat", "40.4168", "--lon=-3.7038", "--radius-km", "5", "--from-beginning"];
    let panel = start(&broker, &[&["control-panel", "--id", &id, "--queries", folder], &place[..]].concat());
    let group = format!("control-panel-{id}");
    let found = wait_for("commits", || {
        let run = on(&broker, &["topics", &pokemons, "--queries", folder, "--format", "ndjson"]).good();
        rows(&run.stdout).into_iter().find(|row| row["group"] == *group && row["lag"] == 0)
    });
    assert_eq!((&found["committed"], &found["relations"]), (&json!(300), &json!("pokemons")));
    panel.interrupt();
}

#[test]
fn a_mistyped_topic_is_reported_and_not_created() {
    let broker = broker();
    let topic = broker.topic("orders", 1);
    let run = on(&broker, &["topics", &topic.replacen("orders", "ordres", 1)]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains(&format!("did you mean '{topic}'?")), "{}", run.stderr);
}

#[test]
fn an_interrupt_needs_no_answer_of_the_broker() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = start_at(&silent.local_addr().unwrap().to_string(), &["topics"]);
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    assert_eq!(running.interrupt().code, Some(130));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
