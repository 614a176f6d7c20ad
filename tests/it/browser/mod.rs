//! A real browser for tests of what people see: Chromium without a window, driven over its `DevTools` protocol.
//!
//! ```text
//!   Browser  one process with a profile of its own; ends with the test
//!     BrowserPage  one tab: what a person does (click, type, look) and what the tab did (console, requests)
//!       CdpConnection  one WebSocket; a call waits for its answer and notes the events that arrive meanwhile
//! ```
//!
//! It resolves no name but this machine's own, so a page that loads something from elsewhere fails here as it would
//! without a network; [`BrowserPage::outside_requests`] has the attempts.

// Tests take what they need.
#![allow(dead_code)]

mod cdp;
mod log;
mod page;
mod proof;

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tempfile::TempDir;

use self::cdp::CdpConnection;
pub use self::page::BrowserPage;
use crate::support::{TIME_LIMIT, skip, wait_for};

/// Names of the program, in the order in which they are tried.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Names the program where it is called otherwise.
const NAMED: &str = "TALLGRASS_CHROMIUM";

/// Makes a missing browser a failure: a complete run must not skip.
const REQUIRED: &str = "TALLGRASS_REQUIRE_BROWSER";

const ARGUMENTS: [&str; 16] = [
    "--headless=new",
    "--remote-debugging-port=0",
    // Containers have no user namespaces and little shared memory. It sees pages of these tests only.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--lang=en-US",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/// One at a time: two would share the cores and distort the measurements.
static ONE: Mutex<()> = Mutex::new(());

/// A running browser.
pub struct Browser {
    connection: RefCell<CdpConnection>,
    child: Child,
    profile: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// A browser for this test, or a line that says why there is none.
pub fn browser() -> Option<Browser> {
    let Some(program) = program() else {
        let why = format!("there is no Chromium: install it, or name one with {NAMED}");
        assert!(std::env::var_os(REQUIRED).is_none(), "{why}");
        skip(&why);
        return None;
    };
    Some(Browser::start(&program))
}

fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(NAMED).filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file()))
}

impl Browser {
    fn start(program: &PathBuf) -> Self {
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = TempDir::new().expect("a folder");
        let stderr = fs::File::create(profile.path().join("stderr")).expect("a file");
        let mut child = Command::new(program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        // Written when the port is open: the port, and the path of the browser's own WebSocket.
        let address = profile.path().join("DevToolsActivePort");
        let address = wait_for("browser that listens", || {
            if let Some(ended) = child.try_wait().expect("a child") {
                let stderr = fs::read_to_string(profile.path().join("stderr")).unwrap_or_default();
                panic!("{} ended at once, {ended}: {stderr}", program.display());
            }
            let text = fs::read_to_string(&address).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with("/devtools").then(|| (port.parse::<u16>().expect("a port"), path.trim().to_owned()))
        });
        let connection = RefCell::new(CdpConnection::open(address.0, &address.1));
        Self { connection, child, profile, _alone: alone }
    }

    /// A tab at this address, loaded.
    pub fn open(&self, url: &str) -> BrowserPage<'_> {
        let page = self.blank();
        page.go(url);
        page
    }

    /// A tab at nothing yet, for a test that sets something up before it loads.
    pub fn blank(&self) -> BrowserPage<'_> {
        // In a window of its own it is never in the background, where timers and frames are held back.
        self.target(true)
    }

    /// A tab of the last window at this address, in front of the others there, which are then hidden.
    pub fn open_in_front(&self, url: &str) -> BrowserPage<'_> {
        let page = self.target(false);
        page.go(url);
        page
    }

    fn target(&self, new_window: bool) -> BrowserPage<'_> {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank", "newWindow": new_window }));
        let target = target["targetId"].as_str().expect("a target").to_owned();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        BrowserPage::new(self, target, session)
    }

    /// Calls a method of the browser itself.
    pub fn call(&self, method: &str, parameters: serde_json::Value) -> serde_json::Value {
        self.connection.borrow_mut().call(None, method, parameters)
    }
}

impl Drop for Browser {
    /// Asks it to end, and makes sure that it does.
    fn drop(&mut self) {
        self.connection.get_mut().send(None, "Browser.close", json!({}));
        let deadline = std::time::Instant::now() + TIME_LIMIT / 12;
        while std::time::Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
