//! A live run with its server, and clients of it.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tallgrass_pipeline::{BatchLimits, Live, LiveConfig, Newest, Published, Snapshot, Variants};
use tallgrass_proof::Verifier;
use tallgrass_serve::{App, HttpServer, bind};
use tokio_util::sync::CancellationToken;

use crate::support::{Broker, TIME_LIMIT, broker, wait_for};

/// A live run over one topic of `{"id":…,"name":…}`, as the stream `s` and, by its Kafka key, as the table `t`; and a file
/// with the kinds of two names, as `dex`.
pub struct Served {
    pub broker: Broker,
    pub topic: Arc<str>,
    folder: tempfile::TempDir,
    /// Behind a link, so that the live run does not see its edits.
    elsewhere: tempfile::TempDir,
    server: Option<HttpServer>,
    address: SocketAddr,
    stop: CancellationToken,
    live: Option<std::thread::JoinHandle<()>>,
    verifier: Option<Verifier>,
}

impl Served {
    pub fn start(files: &[(&str, &str)]) -> Self {
        Self::with_proofs(files, None)
    }

    /// The same, verified this often.
    pub fn verified(files: &[(&str, &str)], interval: Duration) -> Self {
        Self::with_proofs(files, Some(interval))
    }

    fn with_proofs(files: &[(&str, &str)], interval: Option<Duration>) -> Self {
        let broker = broker();
        let topic = broker.topic("api", 2);
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("dashboard")).unwrap();
        let elsewhere = tempfile::TempDir::new().unwrap();
        let dex = folder.path().join("dex.csv");
        std::fs::write(elsewhere.path().join("dex.csv"), "name,kind\na,even\nc,odd\n").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("dex.csv"), &dex).unwrap();
        let sources = format!(
            "CREATE EXTERNAL TABLE s (id BIGINT, name VARCHAR) STORED AS KAFKA LOCATION '{topic}';
             CREATE EXTERNAL TABLE t (k BIGINT, id BIGINT, name VARCHAR, PRIMARY KEY (k)) STORED AS KAFKA LOCATION '{topic}';
             CREATE EXTERNAL TABLE dex (name VARCHAR, kind VARCHAR) STORED AS CSV LOCATION '{}' OPTIONS ('has_header' 'true')",
            dex.display()
        );
        std::fs::write(folder.path().join("sources.sql"), sources).unwrap();
        let variants = Variants::default();
        let config = LiveConfig {
            kafka: broker.config(),
            queries: folder.path().to_owned(),
            limits: BatchLimits { linger: Duration::from_millis(2), ..BatchLimits::default() },
            refresh: Duration::from_millis(5),
            max_retained_rows: 100_000,
            bounded: false,
            watch: true,
            variants: variants.clone(),
        };
        for (name, sql) in files {
            std::fs::write(folder.path().join("dashboard").join(name).with_extension("sql"), sql).unwrap();
        }
        let (newest, stop) = (Newest::default(), CancellationToken::new());
        let verifier = interval.map(|interval| Verifier::start(interval, broker.config(), &newest).unwrap());
        let app = App {
            name: "a test".to_owned(),
            kafka: broker.config(),
            queries: folder.path().to_owned(),
            newest: newest.subscribe(),
            variants,
            proofs: verifier.as_ref().map(|verifier| Arc::clone(verifier.proofs())),
        };
        let server = HttpServer::start(bind("127.0.0.1:0".parse().unwrap(), false).unwrap(), app, Vec::new()).unwrap();
        let stopped = stop.clone();
        let live = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let mut live = Live::start(config).await.unwrap();
                let show = |live: &Live, snapshot: Snapshot| {
                    newest.send_replace(Some(Arc::new(Published::of(live, snapshot))));
                };
                live.run(&stopped, show).await.unwrap();
            });
        });
        let address = server.address();
        let served =
            Self { broker, topic, folder, elsewhere, server: Some(server), address, stop, live: Some(live), verifier };
        wait_for("ready", || (served.get("/readyz").status == 200).then_some(()));
        served
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("dashboard").join(name).with_extension("sql")
    }

    pub fn save(&self, name: &str, sql: &str) {
        std::fs::write(self.file(name), sql).unwrap();
    }

    /// Edits the static file so that the edit is not noticed: its length and time stay.
    pub fn edit_unseen(&self, from: &str, to: &str) {
        let dex = self.elsewhere.path().join("dex.csv");
        let time = std::fs::metadata(&dex).unwrap().modified().unwrap();
        let new = dex.with_extension("new");
        std::fs::write(&new, std::fs::read_to_string(&dex).unwrap().replace(from, to)).unwrap();
        std::fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        std::fs::rename(new, dex).unwrap();
    }

    pub fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    pub fn produce(&self, names: &[&str]) {
        let records = names.iter().enumerate().map(|(id, name)| {
            let value = serde_json::json!({"id": id, "name": name}).to_string();
            (Some(format!("{id}")), Some(value))
        });
        let records: Vec<_> = records.collect();
        self.broker.produce(&self.topic, records.iter().map(|(key, value)| (key.as_deref(), value.as_deref())));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIME_LIMIT)).build();
        let agent: ureq::Agent = config.into();
        let url = format!("http://{}{path}", self.address);
        let mut request = if method == "HEAD" { agent.head(&url) } else { agent.get(&url) };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = request.call().unwrap();
        let headers = answer.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Answer {
            status: answer.status().as_u16(),
            headers: headers.collect(),
            body: answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap(),
        }
    }

    /// A stream of a view's changes, which resumes from an event if one is given.
    pub fn follow(&self, view: &str, last_id: Option<&str>) -> Events {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.get(format!("http://{}/api/views/{view}/changes", self.address));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.call().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events { reader: BufReader::new(Box::new(answer.into_body().into_reader())) }
    }

    /// Ends the live run, not the server.
    pub fn end_live(&mut self) {
        self.stop.cancel();
        if let Some(live) = self.live.take() {
            live.join().unwrap();
        }
    }

    /// Ends the server.
    pub fn stop_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        self.stop_server();
        if let Some(live) = self.live.take() {
            drop(live.join());
        }
        if let Some(verifier) = self.verifier.take() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            runtime.block_on(verifier.finish());
        }
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| &**value).unwrap_or_default()
    }

    /// Without parameters.
    pub fn content_type(&self) -> &str {
        self.header("content-type").split(';').next().unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// An event of a stream.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: String,
    pub id: Option<String>,
    pub data: Value,
}

/// A stream that is being read.
pub struct Events {
    reader: BufReader<Box<dyn Read>>,
}

impl Events {
    /// The next event; comments are skipped. `None` at the end.
    pub fn next(&mut self) -> Option<Event> {
        let (mut kind, mut id, mut data) = (None, None, None);
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end_matches('\n');
            match line.split_once(": ").unwrap_or((line, "")) {
                ("", "") => {
                    if let (Some(kind), Some(data)) = (kind.take(), data.take()) {
                        return Some(Event { kind, id, data });
                    }
                }
                ("event", value) => kind = Some(value.to_owned()),
                ("id", value) => id = Some(value.to_owned()),
                ("data", value) => data = Some(serde_json::from_str(value).unwrap()),
                _ => {}
            }
        }
    }

    /// The next one of a kind.
    #[track_caller]
    pub fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().expect("the stream goes on");
            if event.kind == kind {
                return event;
            }
        }
    }
}
