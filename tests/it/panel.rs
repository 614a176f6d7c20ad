//! Control panels in the browser: the data of a tab, over HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Running, queries, start};
use crate::support::{Broker, TIME_LIMIT, broker, unique, wait_for};

struct World {
    broker: Broker,
    topic: String,
    queries: tempfile::TempDir,
    dashboard: Running,
    address: String,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl World {
    fn new(topic_exists: bool) -> Self {
        let broker = broker();
        let (topic, users) = (unique("pokemons"), unique("users"));
        if topic_exists {
            broker.create_topic(&topic, 3, false);
        }
        broker.create_topic(&users, 1, true);
        let queries = queries(&topic, &users);
        Self::over(broker, topic, queries)
    }

    /// The dashboard of a folder.
    fn over(broker: Broker, topic: String, queries: tempfile::TempDir) -> Self {
        let listen = free_port().to_string();
        let folder = queries.path().to_str().unwrap().to_owned();
        let args = ["dashboard", "--queries", &folder, "--format", "ndjson", "--listen", &listen];
        let dashboard = start(&broker, &args);
        dashboard.wait_for_log("page at http://");
        Self { broker, topic, queries, dashboard, address: format!("127.0.0.1:{listen}") }
    }

    fn appear(&self, pokemons: &[(&str, f64, f64)]) {
        self.produce(pokemons.iter().map(|(name, lat, lon)| {
            json!({"name": name, "type_1": "Grass", "legendary": name.starts_with('M'), "lat": lat, "lon": lon})
        }));
    }

    fn produce(&self, records: impl Iterator<Item = Value>) {
        let texts: Vec<String> = records.map(|record| record.to_string()).collect();
        self.broker.produce(&self.topic, texts.iter().map(|text| (None, Some(text.as_str()))));
    }

    fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIME_LIMIT))
            .max_redirects(0)
            .build()
            .into();
        let mut answer = agent.get(format!("http://{}{path}", self.address)).call().expect("an answer");
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Follows the events of a panel of the first file.
    fn follow(&self, query: &str) -> Tab {
        self.follow_at("/panel", query)
    }

    /// Follows a panel's events.
    fn follow_at(&self, base: &str, query: &str) -> Tab {
        let url = format!("http://{}{base}/events?{query}", self.address);
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let answer = ureq::get(&url).call().expect("a stream");
            let mut name = String::new();
            for line in BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok) {
                if let Some(event) = line.strip_prefix("event: ") {
                    event.clone_into(&mut name);
                } else if let Some(data) = line.strip_prefix("data: ")
                    && sender.send((name.clone(), serde_json::from_str(data).unwrap())).is_err()
                {
                    return;
                }
            }
        });
        Tab { events, names: Vec::new(), total: 0, state: Value::Null, snapshots: 0 }
    }
}

/// The state of a tab.
struct Tab {
    events: Receiver<(String, Value)>,
    names: Vec<String>,
    total: u64,
    state: Value,
    snapshots: usize,
}

impl Tab {
    /// Takes in events until the tab is in this state.
    fn until(&mut self, what: &str, looks: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + TIME_LIMIT;
        while !looks(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((event, data)) = self.events.recv_timeout(left) else {
                panic!("no {what}: {:?} {} {}", self.names, self.total, self.state)
            };
            if event == "snapshot" {
                self.names.clear();
                self.snapshots += 1;
            }
            if event == "state" {
                self.state = data;
                continue;
            }
            if let Some(state) = data.get("state") {
                self.state = state.clone();
            }
            for row in data["rows"].as_array().unwrap() {
                self.names.push(row["values"][0].as_str().unwrap().to_owned());
            }
            self.total = data["total"].as_u64().unwrap();
        }
    }

    fn sorted(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

const MADRID: &str = "lat=40.4168&lon=-3.7038&radius_km=3";

#[test]
fn a_panel_shows_what_is_near_now_and_as_it_appears_and_nothing_else() {
    let world = World::new(true);
    world.appear(&[("Mew", 40.4169, -3.7038), ("Far", 41.0, -3.7), ("Oddish", 40.41, -3.70)]);
    let mut tab = world.follow(MADRID);
    tab.until("what was there before", |tab| tab.names.len() == 2);
    assert_eq!((tab.sorted(), tab.total), (vec!["Mew", "Oddish"], 0));
    assert_eq!(tab.state["phase"], "live");
    let mut elsewhere = world.follow("lat=41&lon=-3.7&radius_km=1");
    elsewhere.until("the other's", |tab| tab.names == ["Far"]);
    world.appear(&[("Tangela", 40.42, -3.70), ("Else", -34.6, -58.4), ("Farther", 41.001, -3.7)]);
    tab.until("what appears", |tab| tab.total == 1);
    assert_eq!(tab.sorted(), ["Mew", "Oddish", "Tangela"]);
    elsewhere.until("the other's next", |tab| tab.total == 1);
    assert_eq!(elsewhere.sorted(), ["Far", "Farther"]);
    // Another tab of the same link gets it all at once.
    let mut again = world.follow(MADRID);
    again.until("a snapshot", |tab| tab.names.len() == 3);
    assert_eq!((again.total, again.snapshots), (1, 1));
    world.dashboard.interrupt();
}

#[test]
fn the_page_has_its_rows_before_any_script_runs_and_event_data_stays_text() {
    let world = World::new(true);
    let hostile = "<img src=x onerror=alert(1)>\u{202e}\"'";
    world.appear(&[(hostile, 40.4168, -3.7038), ("Far", 41.0, -3.7)]);
    let page = wait_for("first row", || {
        let (status, page) = world.get(&format!("/panel?{MADRID}"));
        assert_eq!(status, 200);
        page.contains("onerror").then_some(page)
    });
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;\\u{202e}&quot;'") && !page.contains("<img"), "{page}");
    assert!(!page.contains("Far<") && page.contains("http-equiv=\"refresh\"") && !page.contains(" style="));
    let assets: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "{assets:?}");
    for asset in assets {
        assert_eq!(world.get(asset).0, 200, "{asset}");
    }
    world.dashboard.interrupt();
}

#[test]
fn a_link_that_is_none_says_what_is_wrong_with_it() {
    let world = World::new(true);
    for (query, word) in [
        ("lat=91&lon=0", "lat: 91 is not a latitude"),
        ("lat=0&lon=0&radius_km=-1", "radius_km: -1 is not a radius"),
        ("lat=0&lon=0&colour=red", "colour: pokemons_nearby.sql has no such parameter"),
        ("place=Atlantis", "place: "),
    ] {
        let (status, page) = world.get(&format!("/panel?{query}"));
        assert!(status == 400 && page.contains(word), "{query}: {status} {page}");
        assert_eq!(world.get(&format!("/panel/events?{query}")).0, 400, "{query}");
    }
    // A name, or numbers as one pastes them, lead to the panel's own link.
    assert_eq!(world.get("/panel?place=40.4168%2C+-3.7038&radius_km=2").0, 303);
    world.dashboard.interrupt();
}

#[test]
fn an_edit_takes_effect_and_a_broken_one_is_reported_while_the_old_stays_live() {
    let world = World::new(true);
    world.appear(&[("Mew", 40.4168, -3.7038), ("Oddish", 40.41, -3.70)]);
    let mut tab = world.follow(MADRID);
    tab.until("both", |tab| tab.names.len() == 2);
    let file = world.queries.path().join("panels/pokemons_nearby.sql");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("type_1,", "typ_1,")).unwrap();
    tab.until("the error", |tab| tab.state["sql_error"].is_string());
    let error = tab.state["sql_error"].as_str().unwrap();
    assert!(
        error.contains("pokemons_nearby.sql:11:3") && error.contains("^^^^^") && error.contains("type_1"),
        "{error}"
    );
    world.appear(&[("Tangela", 40.42, -3.70)]);
    tab.until("what appears meanwhile", |tab| tab.total == 1);
    fs::write(&file, format!("{good}  AND legendary\n")).unwrap();
    tab.until("the new meaning", |tab| tab.names == ["Mew"] && tab.state["sql_error"].is_null());
    world.appear(&[("Bulbasaur", 40.42, -3.70), ("Moltres", 40.42, -3.70)]);
    tab.until("what appears then", |tab| tab.names.len() == 2);
    assert_eq!(tab.sorted(), ["Mew", "Moltres"]);
    world.dashboard.interrupt();
}

#[test]
fn a_panel_waits_for_a_topic_that_does_not_exist() {
    let world = World::new(false);
    let mut tab = world.follow(MADRID);
    tab.until("waiting", |tab| tab.state["phase"] == "waiting");
    assert!(tab.state["command"].as_str().unwrap().contains(world.broker.brokers()), "{}", tab.state);
    world.broker.create_topic(&world.topic, 2, false);
    world.appear(&[("Mew", 40.4168, -3.7038)]);
    tab.until("the first", |tab| tab.names == ["Mew"] && tab.state["phase"] == "live");
    world.dashboard.interrupt();
}

#[test]
fn a_panel_may_have_a_consumer_group_of_its_own() {
    let world = World::new(true);
    world.appear(&[("Old", 40.4168, -3.7038)]);
    let mut tab = world.follow(&format!("{MADRID}&own_group=true"));
    tab.until("its group", |tab| tab.state["phase"] == "live");
    world.appear(&[("Mew", 40.4168, -3.7038), ("Far", 41.0, -3.7)]);
    tab.until("what appears", |tab| tab.total == 1);
    assert_eq!(tab.names, ["Mew"]);
    // There are sixteen, and one is taken.
    let tabs: Vec<Tab> = (0..15).map(|_| world.follow(&format!("{MADRID}&own_group=true"))).collect();
    let full = wait_for("the limit", || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("http://{}/panel/events?{MADRID}&own_group=true", world.address);
        let mut answer = agent.get(url).call().unwrap();
        // One that was still free ends with this answer.
        (answer.status() == 503).then(|| answer.body_mut().read_to_string().unwrap())
    });
    assert!(full.contains("16 panels have a consumer group of their own"), "{full}");
    drop(tabs);
    std::thread::sleep(Duration::from_millis(10));
    world.dashboard.interrupt();
}

const BIKES_NEARBY: &str = "-- @title: Free bikes
-- @x: lng_of_station  @y: latitude
-- @param lat DOUBLE
-- @param lon DOUBLE
-- @param radius_km DOUBLE = 1
-- @param charge INT = 0
SELECT station, latitude, longitude AS lng_of_station, charge,
  haversine_km(latitude, longitude, $lat, $lon) AS distance_km, _timestamp
FROM bikes
WHERE haversine_km(latitude, longitude, $lat, $lon) <= $radius_km AND charge >= $charge
";

/// A dashboard of a fleet of bikes, which has nothing to do with what ships.
fn bikes(panels: &[(&str, &str)]) -> World {
    let (broker, queries) = (broker(), tempfile::TempDir::new().unwrap());
    let topic = broker.topic("bikes", 2).to_string();
    let write = |name: &str, sql: &str| {
        let file = queries.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, sql).unwrap();
    };
    let sources = format!(
        "CREATE EXTERNAL TABLE bikes (station VARCHAR, latitude DOUBLE, longitude DOUBLE, charge BIGINT)
         STORED AS KAFKA LOCATION '{topic}'"
    );
    write("sources.sql", &sources);
    write("dashboard/how_many.sql", "SELECT count(*) AS seen FROM bikes");
    for (name, sql) in panels {
        write(&format!("panels/{name}.sql"), sql);
    }
    World::over(broker, topic, queries)
}

fn parked(bikes: &[(&'static str, f64, f64, i64)]) -> impl Iterator<Item = Value> {
    bikes.iter().map(|(station, latitude, longitude, charge)| {
        json!({"station": station, "latitude": latitude, "longitude": longitude, "charge": charge})
    })
}

#[test]
fn a_fleet_of_bikes_has_panels_too_with_parameters_and_columns_of_its_own() {
    let flat = BIKES_NEARBY.replace("Free bikes", "Flat bikes").replace("charge >= $charge", "charge <= $charge");
    let world = bikes(&[("bikes_nearby", BIKES_NEARBY), ("flat_bikes", &flat)]);
    let berlin = "lat=52.52&lon=13.405&radius_km=2";
    world.produce(parked(&[("Alex", 52.521, 13.41, 80), ("Museum", 52.519, 13.4, 5), ("Far", 48.1, 11.6, 90)]));
    let mut all = world.follow_at("/panel/bikes_nearby", berlin);
    all.until("both", |tab| tab.names.len() == 2);
    assert_eq!(all.sorted(), ["Alex", "Museum"]);
    let mut charged = world.follow_at("/panel/bikes_nearby", &format!("{berlin}&charge=50"));
    charged.until("the charged one", |tab| tab.names == ["Alex"]);
    let mut flat = world.follow_at("/panel/flat_bikes", &format!("{berlin}&charge=10"));
    flat.until("the flat one", |tab| tab.names == ["Museum"]);
    // Without a name it is the first file.
    let mut first = world.follow(berlin);
    first.until("both", |tab| tab.names.len() == 2);
    let mut own = world.follow_at("/panel/bikes_nearby", &format!("{berlin}&charge=50&own_group=true"));
    own.until("its group", |tab| tab.state["phase"] == "live");
    world.produce(parked(&[("Dom", 52.519, 13.401, 70), ("Tacheles", 52.525, 13.39, 3)]));
    all.until("what appears", |tab| tab.total == 2);
    charged.until("what appears", |tab| tab.total == 1);
    flat.until("what appears", |tab| tab.total == 1);
    own.until("what appears", |tab| tab.total == 1);
    assert_eq!(
        (charged.sorted(), flat.sorted(), own.sorted()),
        (vec!["Alex", "Dom"], vec!["Museum", "Tacheles"], vec!["Dom"])
    );

    let (status, page) = world.get(&format!("/panel/bikes_nearby?{berlin}&charge=50"));
    assert!(status == 200 && page.contains("<h1 id=\"title\">Free bikes</h1>"), "{status} {page}");
    assert!(page.contains("<bdi>Alex</bdi>") && !page.contains("<bdi>Museum</bdi>"), "{page}");
    assert!(page.contains("name=\"charge\"") && page.contains("value=\"50\""), "{page}");
    assert_eq!(page.matches("class=\"mark\"").count(), 2, "each on the map: {page}");
    assert!(!page.to_lowercase().contains("pok"), "{page}");
    let (_, dashboard) = world.get("/");
    for (name, title) in [("bikes_nearby", "Free bikes"), ("flat_bikes", "Flat bikes")] {
        assert!(dashboard.contains(&format!("href=\"/panel/{name}\"")) && dashboard.contains(title), "{dashboard}");
    }
    for (path, status, word) in [
        (
            "/panel/bikes_nearby?colour=red",
            400,
            "colour: bikes_nearby.sql has no such parameter; it has lat, lon, radius_km, charge",
        ),
        ("/panel/bikes_nearby?charge=much", 400, "charge: &#39;much&#39; is not a value of type Int32"),
        ("/panel/scooters", 404, "The panels are bikes_nearby, flat_bikes."),
        ("/panel/..%2Fsources", 404, "The panels are"),
    ] {
        let (found, page) = world.get(path);
        assert!(found == status && page.replace('\'', "&#39;").contains(word), "{path}: {found} {page}");
    }

    let folder = world.queries.path().to_str().unwrap();
    let args = ["control-panel", "--panel", "bikes_nearby", "--lat", "52.52", "--lon", "13.405", "--from-beginning"];
    let command = start(&world.broker, &[&args[..], &["--radius-km", "2", "--queries", folder]].concat());
    let lines = wait_for("bikes", || (command.lines().len() == 4).then(|| command.lines()));
    assert!(
        lines.iter().any(|line| line.contains(" km  Alex  latitude 52.521, lng_of_station 13.41, charge 80")),
        "{lines:?}"
    );
    command.interrupt();
    world.dashboard.interrupt();
}

#[test]
fn a_saved_file_is_a_panel_at_once_and_a_folder_without_any_says_so() {
    let world = bikes(&[]);
    assert!(!world.get("/").1.contains("/panel"), "there is no link");
    let (status, page) = world.get("/panel?lat=52.52&lon=13.405");
    assert!(status == 404 && page.contains("has no file in panels/"), "{status} {page}");
    fs::create_dir(world.queries.path().join("panels")).unwrap();
    let file = world.queries.path().join("panels/bikes_nearby.sql");
    fs::write(&file, BIKES_NEARBY.replace("-- @param charge INT = 0\n", "")).unwrap();
    assert!(world.get("/").1.contains("href=\"/panel/bikes_nearby\""));
    let mut tab = world.follow("lat=52.52&lon=13.405");
    tab.until("the error", |tab| tab.state["sql_error"].is_string());
    let error = tab.state["sql_error"].as_str().unwrap();
    assert!(error.contains("bikes_nearby.sql:9:") && error.contains("charge"), "{error}");
    world.produce(parked(&[("Alex", 52.521, 13.41, 80)]));
    fs::write(&file, BIKES_NEARBY).unwrap();
    tab.until("the first", |tab| tab.names == ["Alex"] && tab.state["sql_error"].is_null());
    world.dashboard.interrupt();
}

#[test]
fn a_panel_with_a_group_of_its_own_follows_edits_too() {
    let world = bikes(&[("bikes_nearby", BIKES_NEARBY)]);
    let mut tab = world.follow("lat=52.52&lon=13.405&own_group=true");
    tab.until("its group", |tab| tab.state["phase"] == "live");
    let file = world.queries.path().join("panels/bikes_nearby.sql");
    fs::write(&file, BIKES_NEARBY.replace("SELECT station,", "SELECT statoin,")).unwrap();
    tab.until("the error", |tab| tab.state["sql_error"].is_string());
    world.produce(parked(&[("Alex", 52.521, 13.41, 80)]));
    tab.until("what appears meanwhile", |tab| tab.names == ["Alex"]);
    fs::write(&file, BIKES_NEARBY.replace("SELECT station,", "SELECT upper(station) AS station,")).unwrap();
    tab.until("a new round", |tab| tab.state["phase"] == "starting");
    tab.until("its group again", |tab| tab.state["phase"] == "live");
    world.produce(parked(&[("Dom", 52.519, 13.401, 70)]));
    tab.until("what appears then", |tab| tab.names.contains(&"DOM".to_owned()));
    world.dashboard.interrupt();
}
