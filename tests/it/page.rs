//! The dashboard's page as a person sees it: the program itself, a broker, and a real browser.
//!
//! Each test ends with [`World::is_quiet`]: no request has left this machine, and the console is empty.

mod edits;
mod hostile;
mod live;
mod looks;
mod near;

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Browser, BrowserPage};
use crate::program::{Running, on, queries, start};
use crate::support::{Broker, TIME_LIMIT, broker, unique, wait_for};

/// A running dashboard, its files and its topic.
struct World {
    broker: Broker,
    topic: Arc<str>,
    folder: TempDir,
    dashboard: Option<Running>,
    /// Where the page is, as `127.0.0.1:41234`
    address: String,
}

impl World {
    /// Over a topic of its own, `s`, with these files.
    fn start(files: &[(&str, &str)]) -> Self {
        let broker = broker();
        let topic = broker.topic("page", 2);
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("dashboard")).unwrap();
        let sources = format!(
            "CREATE EXTERNAL TABLE s (id BIGINT, name VARCHAR, kind VARCHAR, lat DOUBLE, lon DOUBLE)
             STORED AS KAFKA LOCATION '{topic}'"
        );
        fs::write(folder.path().join("sources.sql"), sources).unwrap();
        let mut world = Self { broker, topic, folder, dashboard: None, address: "127.0.0.1:0".to_owned() };
        for (name, sql) in files {
            world.save(name, sql);
        }
        world.run(&[]);
        world
    }

    /// The shipped files, with so many Pokémon and users already there.
    fn shipped(pokemons: u32, users: u32, args: &[&str]) -> Self {
        let broker = broker();
        let (topic, user_topic) = (broker.topic("pokemons", 3), unique("users"));
        broker.create_topic(&user_topic, 1, true);
        let gen_args = ["--rate", "max", "--seed", "1", "--count"];
        let run = |command: &str, topic: &str, count: u32| {
            if count > 0 {
                let count = count.to_string();
                on(&broker, &[&[command, "--topic", topic], &gen_args[..], &[&count]].concat()).good();
            }
        };
        run("pokemon-gen", &topic, pokemons);
        run("user-gen", &user_topic, users);
        let folder = queries(&topic, &user_topic);
        let mut world = Self { broker, topic, folder, dashboard: None, address: "127.0.0.1:0".to_owned() };
        world.run(args);
        world
    }

    /// Starts the program, at the address where it was before if there is one.
    fn run(&mut self, args: &[&str]) {
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let fixed = ["dashboard", "--queries", &folder, "--format", "ndjson", "--listen", &self.address];
        let dashboard = start(&self.broker, &[&fixed, args].concat());
        let address = dashboard.word_after("page at http://");
        address.trim_end_matches('/').clone_into(&mut self.address);
        self.dashboard = Some(dashboard);
    }

    /// Kills the program.
    fn kill(&mut self) {
        self.dashboard = None;
    }

    /// Pauses the program's process, or resumes it.
    fn halt(&self, halt: bool) {
        self.dashboard.as_ref().unwrap().halt(halt);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> String {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIME_LIMIT)).build().into();
        agent.get(self.url(path)).call().expect("an answer").body_mut().read_to_string().expect("a text")
    }

    /// A view's rows by the API; `None` before there are any.
    fn rows(&self, view: &str) -> Vec<Value> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(TIME_LIMIT)).http_status_as_error(false).build().into();
        let mut answer = agent.get(self.url(&format!("/api/views/{view}"))).call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a text");
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        answer["rows"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the API has so many records in the view `total`.
    fn wait_for_total(&self, records: u64) {
        wait_for("records in the total", || (self.rows("total").first()?["n"] == records).then_some(()));
    }

    /// Saves a file of the dashboard.
    fn save(&self, name: &str, sql: &str) {
        fs::write(self.folder.path().join("dashboard").join(name).with_extension("sql"), sql).unwrap();
    }

    fn delete(&self, name: &str) {
        fs::remove_file(self.folder.path().join("dashboard").join(name).with_extension("sql")).unwrap();
    }

    fn produce(&self, records: &[Value]) {
        let texts: Vec<String> = records.iter().map(Value::to_string).collect();
        self.broker.produce(&self.topic, texts.iter().map(|text| (None, Some(text.as_str()))));
    }

    /// Nothing has left this machine, and nothing went wrong in the tab.
    #[track_caller]
    fn is_quiet(&self, page: &BrowserPage) {
        self.is_quiet_but_for(page, &[]);
    }

    /// The same where a test provokes some complaints.
    #[track_caller]
    fn is_quiet_but_for(&self, page: &BrowserPage, expected: &[&str]) {
        let errors: Vec<_> = page
            .errors()
            .into_iter()
            .filter(|line| !expected.iter().any(|expected| line.text.contains(expected)))
            .collect();
        assert_eq!(errors, [], "the console");
        assert_eq!(page.outside_requests(), [], "requests to elsewhere");
        let own = self.url("/");
        assert!(page.requests().iter().any(|request| request.url.starts_with(&own)), "the log has the page itself");
    }
}

/// Records 0 to `count`, with distinct names.
fn numbered(count: usize) -> Vec<Value> {
    (0..count).map(|id| json!({ "id": id, "name": format!("n{id:03}"), "kind": format!("k{}", id % 6) })).collect()
}

/// A JavaScript expression for what is in a tile.
fn in_tile(tile: &str, selector: &str) -> String {
    format!("document.querySelector('[data-testid=\"tile-{tile}\"] {selector}')")
}

/// JavaScript: whether the tile is one number, and this one.
fn shows(tile: &str, number: u64) -> String {
    format!("{}?.value === '{number}'", in_tile(tile, "data.value"))
}

/// Opens the dashboard with a mark that a reload would wipe out.
fn open_marked<'a>(browser: &'a Browser, world: &World) -> BrowserPage<'a> {
    let page = browser.open(&world.url("/"));
    page.eval("void (window.__mark = 'still here')");
    page
}

#[track_caller]
fn assert_not_reloaded(page: &BrowserPage) {
    assert_eq!(page.eval("window.__mark"), "still here", "the page was loaded again");
}
