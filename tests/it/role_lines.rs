//! The output of a login checker and a control panel for programs: one object per line.

use std::io::{BufRead as _, BufReader, Read as _};

use serde_json::Value;

use crate::program::{on, queries, spawn, start};
use crate::support::{Broker, broker, unique, wait_for};

fn keys(row: &Value) -> Vec<&str> {
    row.as_object().unwrap().keys().map(String::as_str).collect()
}

fn objects(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn log_in(broker: &Broker, topic: &str, count: &str) {
    let args = ["user-gen", "--topic", topic, "--rate", "max", "--users", "50", "--logoff", "action", "--count", count];
    on(broker, &args).good();
}

#[test]
fn a_checker_prints_each_login_as_an_object_of_its_files_columns() {
    let broker = broker();
    let (pokemons, users) = (broker.topic("pokemons", 1), broker.topic("users", 3));
    let queries = queries(&pokemons, &users);
    let (folder, group) = (queries.path().to_str().unwrap(), unique("checkers"));
    log_in(&broker, &users, "200");
    let sql = "SELECT id, name, email, _timestamp FROM user_events WHERE action = 'login'";
    let query = on(&broker, &["query", sql, "--format", "ndjson", "--queries", folder]).good();
    let mut expected: Vec<&str> = query.stdout.lines().collect();
    assert!(expected.len() > 50, "{}", expected.len());

    let args = ["login-checker", "--format", "ndjson", "--group", &group, "--queries", folder];
    let checker = start(&broker, &args);
    wait_for("logins", || (checker.lines().len() >= expected.len()).then_some(()));
    let run = checker.interrupt();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let mut printed: Vec<&str> = run.stdout.lines().collect();
    printed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(printed, expected);

    // What was printed is committed: the next one begins behind it.
    log_in(&broker, &users, "1");
    let next = start(&broker, &args);
    wait_for("the next login", || (!next.lines().is_empty()).then_some(()));
    assert_eq!(next.interrupt().stdout.lines().count(), 1);
}

#[test]
fn a_panel_prints_objects_too() {
    let broker = broker();
    let (pokemons, users) = (broker.topic("pokemons", 2), broker.topic("users", 1));
    let queries = queries(&pokemons, &users);
    on(&broker, &["pokemon-gen", "--topic", &pokemons, "--rate", "max", "--count", "300"]).good();
    let folder = ["--queries", queries.path().to_str().unwrap(), "--format", "ndjson"];
    let place = ["--lat", "40.4168", "--lon=-3.7038", "--radius-km", "9", "--id", &unique("panel"), "--from-beginning"];
    let panel = start(&broker, &[&["control-panel"], &place[..], &folder].concat());
    let lines = wait_for("Pokémon", || (panel.lines().len() > 100).then(|| panel.lines()));
    panel.interrupt();
    for row in objects(&lines) {
        let columns = ["_timestamp", "distance_km", "lat", "legendary", "lon", "name", "type_1", "type_2"];
        assert_eq!(keys(&row), columns, "{row}");
        assert!(row["distance_km"].as_f64().is_some_and(|km| km <= 9.0), "{row}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_the_role_quietly() {
    let broker = broker();
    let (pokemons, users) = (broker.topic("pokemons", 1), broker.topic("users", 1));
    let queries = queries(&pokemons, &users);
    log_in(&broker, &users, "20");
    let folder = queries.path().to_str().unwrap();
    let args = ["login-checker", "--format", "ndjson", "--group", &unique("checkers"), "--queries", folder];
    let mut checker = spawn(&broker, &args);
    let mut line = String::new();
    BufReader::new(checker.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(objects(&[line])[0]["email"].is_string());
    // The pipe is closed now, which the next line detects.
    log_in(&broker, &users, "20");
    let status = wait_for("the end", || checker.try_wait().unwrap());
    let mut stderr = String::new();
    checker.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("error"), "{stderr}");
}
