//! A tab: the actions of a person in it, and its visible state.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Browser;
use super::log::{ConsoleLine, Request, exception};
use crate::support::TIME_LIMIT;

/// Time between two checks of a page that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// How much of a page a failure shows.
const SHOWN_CHARS: usize = 2_000;

/// A tab of a browser.
pub struct BrowserPage<'a> {
    browser: &'a Browser,
    target: String,
    session: String,
}

impl<'a> BrowserPage<'a> {
    pub(super) fn new(browser: &'a Browser, target: String, session: String) -> Self {
        let page = Self { browser, target, session };
        for domain in ["Page", "Runtime", "Log", "Network", "Performance"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Calls a method of the `DevTools` protocol for this tab.
    #[track_caller]
    pub fn call(&self, method: &str, parameters: Value) -> Value {
        self.browser.connection.borrow_mut().call(Some(&self.session), method, parameters)
    }

    /// Goes to an address and waits until it is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        let navigated = self.call("Page.navigate", json!({ "url": url }));
        assert!(navigated["errorText"].is_null(), "{url}: {}", navigated["errorText"]);
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// Brings the tab to the front; the others are hidden.
    pub fn bring_to_front(&self) {
        self.call("Page.bringToFront", json!({}));
    }

    /// Reloads the page.
    #[track_caller]
    pub fn reload(&self) {
        self.eval("void (window.__before_reload = true)");
        self.call("Page.reload", json!({}));
        self.wait_until("document.readyState === 'complete' && !window.__before_reload");
    }

    /// The value of a JavaScript expression; promises are awaited. An exception fails the test.
    #[track_caller]
    pub fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    #[track_caller]
    fn try_eval(&self, expression: &str) -> Result<Value, String> {
        let parameters =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let mut connection = self.browser.connection.borrow_mut();
        let mut answer = connection.try_call(Some(&self.session), "Runtime.evaluate", parameters)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(exception(details)),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until a JavaScript expression is true.
    #[track_caller]
    pub fn wait_until(&self, expression: &str) {
        self.wait_until_within(TIME_LIMIT, expression);
    }

    /// The same with a limit of its own; returns the time that it took.
    #[track_caller]
    pub fn wait_until_within(&self, limit: Duration, expression: &str) -> Duration {
        let started = Instant::now();
        let mut last;
        loop {
            // A page that is just being left has no answer.
            last = self.try_eval(&format!("Boolean({expression})"));
            if last == Ok(Value::Bool(true)) {
                return started.elapsed();
            }
            if started.elapsed() > limit {
                break;
            }
            self.listen(LOOK);
        }
        let text: String = self.text("body").chars().take(SHOWN_CHARS).collect();
        let lines = self.console();
        panic!("not within {limit:?}: {expression} (now {last:?})\nconsole: {lines:#?}\nthe page reads:\n{text}");
    }

    /// The visible text of an element; empty where there is no such element.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({})?.innerText", quoted(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements there are.
    #[track_caller]
    pub fn count(&self, selector: &str) -> u64 {
        self.eval(&format!("document.querySelectorAll({}).length", quoted(selector))).as_u64().expect("a number")
    }

    /// Lets the page run for a while.
    pub fn listen(&self, time: Duration) {
        self.browser.connection.borrow_mut().listen(time);
    }
}

/// What a person does.
impl BrowserPage<'_> {
    /// Brings an element into view and gives its centre; fails where something else is in front of it.
    #[track_caller]
    pub fn centre(&self, selector: &str) -> (f64, f64) {
        let selector = quoted(selector);
        let place = self.eval(&format!(
            "(() => {{
               const element = document.querySelector({selector});
               if (!element) return 'there is no such element';
               element.scrollIntoView({{ block: 'center', inline: 'center', behavior: 'instant' }});
               const box = element.getBoundingClientRect();
               const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
               const front = document.elementFromPoint(x, y);
               return element.contains(front) || front?.contains(element) ? [x, y] : 'covered by ' + front?.outerHTML;
             }})()"
        ));
        match (place[0].as_f64(), place[1].as_f64()) {
            (Some(x), Some(y)) => (x, y),
            _ => panic!("{selector}: {place}"),
        }
    }

    /// Moves the mouse to an element.
    #[track_caller]
    pub fn hover(&self, selector: &str) {
        let (x, y) = self.centre(selector);
        self.hover_at(x, y);
    }

    /// Moves the mouse to a place in the window.
    #[track_caller]
    pub fn hover_at(&self, x: f64, y: f64) {
        self.mouse("mouseMoved", x, y, json!({}));
    }

    /// Clicks the centre of an element.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let (x, y) = self.centre(selector);
        self.click_at(x, y);
    }

    /// Clicks at a place in the window.
    #[track_caller]
    pub fn click_at(&self, x: f64, y: f64) {
        self.drag((x, y), (x, y));
    }

    /// Presses the mouse button at one place and releases it at another.
    #[track_caller]
    pub fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        self.hover_at(from.0, from.1);
        self.mouse("mousePressed", from.0, from.1, json!({ "button": "left", "buttons": 1, "clickCount": 1 }));
        if from != to {
            for step in 1..=4 {
                let share = f64::from(step) / 4.0;
                let (x, y) = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
                self.mouse("mouseMoved", x, y, json!({ "button": "left", "buttons": 1 }));
            }
        }
        self.mouse("mouseReleased", to.0, to.1, json!({ "button": "left", "clickCount": 1 }));
    }

    /// Turns the wheel at a place; positive is downwards.
    #[track_caller]
    pub fn wheel(&self, x: f64, y: f64, pixels: f64) {
        self.mouse("mouseWheel", x, y, json!({ "deltaX": 0, "deltaY": pixels }));
    }

    #[track_caller]
    fn mouse(&self, kind: &str, x: f64, y: f64, mut parameters: Value) {
        parameters["type"] = kind.into();
        parameters["x"] = x.into();
        parameters["y"] = y.into();
        self.call("Input.dispatchMouseEvent", parameters);
    }

    /// Types into whatever has the focus.
    #[track_caller]
    pub fn type_text(&self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key by its name in the DOM, as `Enter`, `a`, `?` or `Shift+Tab`.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let (modifiers, key) = match key.rsplit_once('+') {
            Some((modifiers, key)) if !key.is_empty() => (modifiers, key),
            _ => ("", key),
        };
        let modifiers: u8 = modifiers
            .split('+')
            .map(|name| match name {
                "" => 0,
                "Alt" => 1,
                "Control" => 2,
                "Meta" => 4,
                "Shift" => 8,
                other => panic!("no modifier {other}"),
            })
            .sum();
        let (code, number, text) = known_key(key);
        let mut down = json!({
            "type": if text.is_empty() { "rawKeyDown" } else { "keyDown" },
            "key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers,
        });
        if !text.is_empty() {
            down["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({ "type": "keyUp", "key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers });
        self.call("Input.dispatchKeyEvent", up);
    }
}

/// The page's surroundings.
impl BrowserPage<'_> {
    /// The size of the window's inside in CSS pixels.
    #[track_caller]
    pub fn set_viewport(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// The same as a phone with a touch screen.
    #[track_caller]
    pub fn set_phone(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true });
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": true }));
    }

    /// What the system prefers, as `("prefers-color-scheme", "dark")` or `("prefers-reduced-motion", "reduce")`.
    #[track_caller]
    pub fn set_preferences(&self, preferences: &[(&str, &str)]) {
        let features: Vec<Value> =
            preferences.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Whether the page's scripts run, from the next load on.
    #[track_caller]
    pub fn set_scripts(&self, run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !run }));
    }

    /// Cuts the tab off from every server, or connects it again. Streams that are open stay so.
    #[track_caller]
    pub fn set_offline(&self, offline: bool) {
        let conditions = json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.call("Network.emulateNetworkConditions", conditions);
    }

    /// Lets requests to these addresses fail, `*` standing for anything.
    #[track_caller]
    pub fn block(&self, patterns: &[&str]) {
        self.call("Network.setBlockedURLs", json!({ "urls": patterns }));
    }

    /// Writes what is to be seen into a PNG file: the window, or the whole page however long it is.
    #[track_caller]
    pub fn screenshot(&self, file: &Path, whole: bool) {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": whole }));
        let picture = base64(picture["data"].as_str().expect("a picture"));
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).expect("a folder");
        }
        fs::write(file, picture).expect("a picture is written");
    }
}

/// What the tab did.
impl BrowserPage<'_> {
    /// Events come in order: those before an answer have been noted with it.
    fn catch_up(&self) {
        self.try_eval("0").ok();
    }

    /// The console so far, with exceptions and dialogs.
    pub fn console(&self) -> Vec<ConsoleLine> {
        self.catch_up();
        self.browser.connection.borrow_mut().log(&self.session).lines.clone()
    }

    /// The errors and warnings among them.
    pub fn errors(&self) -> Vec<ConsoleLine> {
        self.console().into_iter().filter(ConsoleLine::is_error).collect()
    }

    /// Its requests over the network so far.
    pub fn requests(&self) -> Vec<Request> {
        self.catch_up();
        self.browser.connection.borrow_mut().log(&self.session).requests.clone()
    }

    /// Those to other machines.
    pub fn outside_requests(&self) -> Vec<Request> {
        let here = ["http://127.0.0.1:", "ws://127.0.0.1:", "http://localhost:"];
        let is_outside =
            |request: &Request| request.is_of_network() && !here.iter().any(|address| request.url.starts_with(address));
        self.requests().into_iter().filter(is_outside).collect()
    }

    /// Chromium's own figures, as `TaskDuration` (seconds of the main thread) or `JSHeapUsedSize`.
    #[track_caller]
    pub fn metrics(&self) -> HashMap<String, f64> {
        let metrics = self.call("Performance.getMetrics", json!({}));
        let metrics = metrics["metrics"].as_array().expect("metrics").iter();
        metrics.filter_map(|metric| Some((metric["name"].as_str()?.to_owned(), metric["value"].as_f64()?))).collect()
    }

    /// Which share of the time, 0 to 1, the tab's main thread is busy.
    #[track_caller]
    pub fn main_thread_share(&self, time: Duration) -> f64 {
        let before = self.metrics();
        self.listen(time);
        let after = self.metrics();
        let spent = |name: &str| after[name] - before[name];
        spent("TaskDuration") / spent("Timestamp")
    }
}

impl Drop for BrowserPage<'_> {
    /// Closes the tab.
    fn drop(&mut self) {
        let close = json!({ "targetId": self.target });
        self.browser.connection.borrow_mut().send(None, "Target.closeTarget", close);
    }
}

/// A text as JavaScript writes it.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Code, number and text of a key.
fn known_key(key: &str) -> (String, u32, &str) {
    let named = |number, text| (key.to_owned(), number, text);
    match key {
        "Enter" => named(13, "\r"),
        "Tab" => named(9, ""),
        "Escape" => named(27, ""),
        "Backspace" => named(8, ""),
        "Delete" => named(46, ""),
        "Home" => named(36, ""),
        "End" => named(35, ""),
        "PageUp" => named(33, ""),
        "PageDown" => named(34, ""),
        "ArrowLeft" => named(37, ""),
        "ArrowUp" => named(38, ""),
        "ArrowRight" => named(39, ""),
        "ArrowDown" => named(40, ""),
        " " => ("Space".to_owned(), 32, " "),
        _ => match key.chars().collect::<Vec<_>>()[..] {
            [c] if c.is_ascii_alphabetic() => {
                (format!("Key{}", c.to_ascii_uppercase()), u32::from(c.to_ascii_uppercase()), key)
            }
            [c] if c.is_ascii_digit() => (format!("Digit{c}"), u32::from(c), key),
            [_] => (String::new(), 0, key),
            _ => panic!("no key {key}"),
        },
    }
}

/// The bytes of a Base64 text (RFC 4648, section 4).
fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is not Base64"),
    };
    let text = text.trim_end_matches('=').as_bytes();
    text.chunks(4)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0, |bits, c| bits << 6 | digit(*c)) << (6 * (4 - chunk.len()));
            bits.to_be_bytes()[1..chunk.len()].to_vec()
        })
        .collect()
}
