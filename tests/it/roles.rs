//! The roles of the pipeline, each as its own process.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::program::{Run, on, queries, start};
use crate::support::{Broker, broker, unique, wait_for};

struct World {
    broker: Broker,
    pokemons: String,
    users: String,
    queries: tempfile::TempDir,
}

impl World {
    fn new(partitions: i32) -> Self {
        let broker = broker();
        let (pokemons, users) = (unique("pokemons"), unique("users"));
        broker.create_topic(&pokemons, partitions, false);
        broker.create_topic(&users, partitions, true);
        let queries = queries(&pokemons, &users);
        Self { broker, pokemons, users, queries }
    }

    fn dir(&self) -> &str {
        self.queries.path().to_str().unwrap()
    }

    fn pokemon_gen(&self, count: &str, seed: &str) -> Run {
        let args = ["pokemon-gen", "--topic", &self.pokemons, "--rate", "max", "--count", count, "--seed", seed];
        on(&self.broker, &args).good()
    }

    fn user_gen(&self, count: &str, logoff: &str) -> Run {
        let args =
            ["user-gen", "--topic", &self.users, "--users", "200", "--rate", "max", "--seed", "7", "--count", count];
        on(&self.broker, &[&args[..], &["--logoff", logoff]].concat()).good()
    }

    fn run(&self, args: &[&str]) -> Run {
        on(&self.broker, &[args, &["--queries", self.dir()]].concat())
    }

    fn query(&self, sql: &str) -> Vec<Value> {
        let run = self.run(&["query", sql, "--format", "json"]).good();
        run.json()["query"].as_array().unwrap().clone()
    }
}

/// Rows have an order only where the SQL gives one, and all of ours that do give a total one; so bags are enough.
fn bags(views: &Value) -> Vec<(String, Vec<String>)> {
    let views = views.as_object().unwrap().iter();
    views
        .map(|(name, rows)| {
            let mut rows: Vec<String> = rows.as_array().unwrap().iter().map(Value::to_string).collect();
            rows.sort();
            (name.clone(), rows)
        })
        .collect()
}

#[test]
fn replay_equals_the_live_result_for_every_shipped_file() {
    for (partitions, batch_rows) in [("1", "1"), ("4", "500"), ("12", "8192")] {
        let world = World::new(partitions.parse().unwrap());
        world.pokemon_gen("3000", "1");
        world.user_gen("900", "tombstone");
        let live = world.run(&["dashboard", "--once", "--format", "json", "--batch-rows", batch_rows]).good().json();
        let replay = world.run(&["replay", "--format", "json"]).good().json();
        let shipped = fs::read_dir("queries/dashboard").unwrap().count();
        assert_eq!(live.as_object().unwrap().len(), shipped);
        for ((name, live), (_, replay)) in bags(&live).into_iter().zip(bags(&replay)) {
            assert!(!live.is_empty(), "{name} shows nothing, so this proves nothing");
            assert_eq!(live, replay, "{name}");
        }
        assert_eq!(live["pokemons_seen"], json!([{"pokemons_seen": 3000}]), "{live}");
    }
}

#[test]
fn both_encodings_of_a_logoff_give_the_same_users_online() {
    let online = |logoff| {
        let world = World::new(4);
        world.pokemon_gen("1", "1");
        world.user_gen("777", logoff);
        let live = world.run(&["dashboard", "--once", "--format", "json"]).good().json();
        let ids = world.query("SELECT id FROM users ORDER BY id");
        assert_eq!(live["users_online"][0].as_object().unwrap().values().next().unwrap(), &json!(ids.len()));
        ids
    };
    let tombstones = online("tombstone");
    assert!(!tombstones.is_empty());
    assert_eq!(tombstones, online("action"));
}

#[test]
fn a_panel_sees_exactly_what_is_near_and_continues_where_it_stopped() {
    let world = World::new(4);
    world.pokemon_gen("2000", "3");
    let near = |(): ()| -> BTreeSet<String> {
        // A plain computation over the raw records: the haversine formula on the mean sphere.
        let topic = world.pokemons.as_str().into();
        let messages = world.broker.read_all(&topic);
        let places = messages.iter().map(|message| {
            let row: Value = serde_json::from_str(message.text()).unwrap();
            let (lat, lon) = (row["lat"].as_f64().unwrap().to_radians(), row["lon"].as_f64().unwrap().to_radians());
            let (lat0, lon0) = (40.4168_f64.to_radians(), (-3.7038_f64).to_radians());
            let h = ((lat - lat0) / 2.0).sin().powi(2) + lat.cos() * lat0.cos() * ((lon - lon0) / 2.0).sin().powi(2);
            (2.0 * 6371.0088 * h.sqrt().asin(), format!("{}@{}", message.partition, message.offset))
        });
        places.filter(|(km, _)| *km <= 2.0).map(|(_, place)| place).collect()
    };
    // The same file with the coordinates in front, so that the test can tell records apart.
    let file = world.queries.path().join("panels/pokemons_nearby.sql");
    let sql = fs::read_to_string(&file).unwrap();
    fs::write(&file, sql.replacen("  name,\n", "  concat(_partition, '@', _offset) AS place,\n  name,\n", 1)).unwrap();
    let id = unique("panel");
    let args = [
        "control-panel",
        "--lat",
        "40.4168",
        "--lon=-3.7038",
        "--radius-km",
        "2",
        "--id",
        &id,
        "--queries",
        world.dir(),
    ];
    let places = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split("place ").nth(1).unwrap().split(',').next().unwrap().to_owned()).collect()
    };

    let expected = near(());
    assert!(expected.len() > 50, "{}", expected.len());
    let panel = start(&world.broker, &[&args[..], &["--from-beginning"]].concat());
    wait_for("the near ones", || (panel.lines().len() >= expected.len()).then_some(()));
    let run = panel.interrupt();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let first = places(&run.stdout.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(first.len(), expected.len());
    assert_eq!(first.into_iter().collect::<BTreeSet<_>>(), expected);

    // While it is away, more appear; it shows those, and none a second time.
    world.pokemon_gen("1000", "4");
    let later: BTreeSet<String> = near(()).difference(&expected).cloned().collect();
    assert!(later.len() > 20);
    let panel = start(&world.broker, &args);
    wait_for("the later ones", || (panel.lines().len() >= later.len()).then_some(()));
    let run = panel.interrupt();
    let second = places(&run.stdout.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(second.len(), later.len());
    assert_eq!(second.into_iter().collect::<BTreeSet<_>>(), later);
}

#[test]
fn no_login_is_missed_while_checkers_join_and_leave() {
    let world = World::new(6);
    fs::write(
        world.queries.path().join("login_checker.sql"),
        "SELECT name, email, _partition AS p, _offset AS o FROM user_events WHERE action = 'login'",
    )
    .unwrap();
    let group = unique("checkers");
    let args = ["login-checker", "--group", &group, "--queries", world.dir()];
    let mut printed = String::new();
    let mut stop = |checker: crate::program::Running| {
        let run = checker.interrupt();
        assert_eq!(run.code, Some(130), "{}", run.stderr);
        printed.push_str(&run.stdout);
        printed.push('\n');
    };

    let first = start(&world.broker, &args);
    let users = world.users.clone();
    let generator =
        start(&world.broker, &["user-gen", "--topic", &users, "--users", "500", "--rate", "150/s", "--seed", "5"]);
    wait_for("logins", || (first.lines().len() > 100).then_some(()));
    let second = start(&world.broker, &args);
    second.wait_for_log("reads");
    let third = start(&world.broker, &args);
    third.wait_for_log("reads");
    stop(first);
    wait_for("the third's logins", || (third.lines().len() > 50).then_some(()));
    stop(second);
    let generated = generator.interrupt();
    assert_eq!(generated.code, Some(130), "{}", generated.stderr);
    assert!(generated.stderr.contains("delivered"), "{}", generated.stderr);
    let logins: BTreeSet<String> = world
        .query("SELECT concat('p ', _partition, ', o ', _offset) AS at FROM user_events WHERE action = 'login'")
        .iter()
        .map(|row| row["at"].as_str().unwrap().to_owned())
        .collect();
    assert!(logins.len() > 200, "{}", logins.len());
    // The last one takes over what the others had, from where they committed.
    let fourth = start(&world.broker, &args);
    stop(third);
    let so_far = |printed: &str| -> BTreeSet<String> {
        let at = |line: &str| Some(line.rsplit_once('(')?.1.trim_end_matches(')').to_owned());
        printed.lines().filter_map(at).collect()
    };
    wait_for("every login", || {
        let all = so_far(&format!("{printed}{}", fourth.lines().join("\n")));
        logins.is_subset(&all).then_some(())
    });
    drop(fourth);
}

#[test]
fn bad_records_stop_nothing_and_both_executions_leave_out_the_same() {
    let world = World::new(1);
    let good = |name: &str| {
        format!(
            r#"{{"number":1,"name":"{name}","type_1":"Grass","type_2":null,"total":318,"hp":45,"attack":49,"defense":49,"sp_attack":65,"sp_defense":65,"speed":45,"generation":1,"legendary":false,"lat":40.4,"lon":-3.7}}"#
        )
    };
    let bad: [&[u8]; 11] = [
        br#"{"number":1,"name":"Bulb"#,
        br#"{"number":"one","name":"x"}"#,
        b"[1,2]",
        br#"{"number":1} {"number":2}"#,
        b"{\"name\":\"\xff\xfe\"}",
        br#"{"number":1,"number":2}"#,
        b"",
        b"\xef\xbb\xbf{\"number\":1}",
        br#"{"number":99999999999999999999999999}"#,
        br#"{"number":3.5}"#,
        b"not json",
    ];
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let producer = tallgrass_kafka::Producer::new(&world.broker.config()).unwrap();
    let mut sent = 0;
    for record in bad.iter().copied().chain([deep.as_bytes()]) {
        producer.send(&world.pokemons, None, Some(good(&format!("before {sent}")).as_bytes())).unwrap();
        producer.send(&world.pokemons, None, Some(record)).unwrap();
        sent += 1;
    }
    producer.send(&world.pokemons, None, Some(good("last").as_bytes())).unwrap();
    producer.flush(std::time::Duration::from_secs(10)).unwrap();
    world.user_gen("10", "tombstone");
    let live = world.run(&["dashboard", "--once", "--format", "json"]).good();
    let replay = world.run(&["replay", "--format", "json"]).good();
    assert_eq!(bags(&live.json()), bags(&replay.json()));
    assert_eq!(live.json()["pokemons_seen"], json!([{"pokemons_seen": sent + 1}]));
    let named = format!("{}[0] offset", world.pokemons);
    let alike = format!("{}/0 offset", world.pokemons);
    assert!(live.stderr.contains(&named) || live.stderr.contains(&alike), "{}", live.stderr);
    let names = world.query("SELECT name FROM pokemons ORDER BY _offset");
    assert_eq!(names.len(), sent + 1);
    assert_eq!(names[sent], json!({"name": "last"}));
}

#[test]
fn empty_topics_give_empty_tallies() {
    let world = World::new(3);
    let live = world.run(&["dashboard", "--once", "--format", "json"]).good().json();
    let replay = world.run(&["replay", "--format", "json"]).good().json();
    assert_eq!(bags(&live), bags(&replay));
    assert_eq!(live["pokemons_seen"], json!([{"pokemons_seen": 0}]));
    assert_eq!(live["by_type"], json!([]));
}

#[test]
fn a_view_may_read_a_view_and_a_circle_names_its_files() {
    let world = World::new(2);
    world.pokemon_gen("500", "9");
    world.user_gen("10", "tombstone");
    let dashboard = world.queries.path().join("dashboard");
    fs::write(dashboard.join("most.sql"), "SELECT max(seen) AS most FROM by_type").unwrap();
    let live = world.run(&["dashboard", "--once", "--format", "json"]).good().json();
    let replay = world.run(&["replay", "most", "--format", "json"]).good().json();
    assert_eq!(live["most"], replay["most"]);
    assert_eq!(live["most"][0]["most"], live["by_type"][0]["seen"]);

    fs::write(dashboard.join("ping.sql"), "SELECT * FROM pong").unwrap();
    fs::write(dashboard.join("pong.sql"), "SELECT * FROM ping").unwrap();
    let run = world.run(&["replay", "ping"]);
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.contains("reads itself: ping.sql → pong.sql → ping.sql"), "{}", run.stderr);
    // The others are shown all the same.
    let live = world.run(&["dashboard", "--once", "--format", "json"]);
    assert_eq!(live.code, Some(3));
    assert_eq!(live.json()["pokemons_seen"], json!([{"pokemons_seen": 500}]));
}
