//! A tab's log: its console, and its requests over the network.

use serde_json::Value;

/// A tab that does more than this is in a loop.
const MAX_ENTRIES: usize = 100_000;

/// A line of the console, an uncaught exception, or a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// `log`, `warning`, `error`, `exception`, `dialog` …
    pub level: String,
    pub text: String,
}

impl ConsoleLine {
    pub fn is_error(&self) -> bool {
        ["error", "assert", "exception", "dialog"].contains(&self.level.as_str())
    }
}

/// A request of a tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    id: String,
    pub method: String,
    pub url: String,
    /// `Document`, `Script`, `Fetch`, `EventSource` …
    pub kind: String,
    /// Of the answer, when there is one
    pub status: Option<u64>,
    /// Of the answer as it was sent, headers and compression included, when it has ended
    pub bytes: Option<u64>,
    /// Why there is no answer
    pub failure: Option<String>,
}

impl Request {
    /// Whether it goes to a machine, rather than to the page itself.
    pub fn is_of_network(&self) -> bool {
        !["data:", "blob:", "about:"].iter().any(|scheme| self.url.starts_with(scheme))
    }
}

/// The log of a tab, in order.
#[derive(Debug, Default)]
pub struct Log {
    pub lines: Vec<ConsoleLine>,
    pub requests: Vec<Request>,
}

impl Log {
    /// Takes an event in.
    pub fn note(&mut self, method: &str, event: &Value) {
        assert!(self.lines.len() + self.requests.len() < MAX_ENTRIES, "more than {MAX_ENTRIES} events of one tab");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match method {
            "Runtime.consoleAPICalled" => {
                let parts = event["args"].as_array().into_iter().flatten().map(shown);
                self.line(text(&event["type"]), parts.collect::<Vec<_>>().join(" "));
            }
            "Runtime.exceptionThrown" => self.line("exception".to_owned(), exception(&event["exceptionDetails"])),
            "Log.entryAdded" => {
                let entry = &event["entry"];
                self.line(text(&entry["level"]), format!("{} ({})", text(&entry["text"]), text(&entry["url"])));
            }
            "Page.javascriptDialogOpening" => self.line("dialog".to_owned(), text(&event["message"])),
            "Network.requestWillBeSent" => self.requests.push(Request {
                id: text(&event["requestId"]),
                method: text(&event["request"]["method"]),
                url: text(&event["request"]["url"]),
                kind: text(&event["type"]),
                status: None,
                bytes: None,
                failure: None,
            }),
            "Network.webSocketCreated" => self.requests.push(Request {
                id: text(&event["requestId"]),
                method: "GET".to_owned(),
                url: text(&event["url"]),
                kind: "WebSocket".to_owned(),
                status: None,
                bytes: None,
                failure: None,
            }),
            "Network.responseReceived" => {
                self.of(event, |request| request.status = event["response"]["status"].as_u64());
            }
            "Network.loadingFinished" => {
                self.of(event, |request| request.bytes = event["encodedDataLength"].as_f64().map(|bytes| bytes as u64));
            }
            "Network.loadingFailed" => self.of(event, |request| request.failure = Some(text(&event["errorText"]))),
            _ => {}
        }
    }

    fn line(&mut self, level: String, text: String) {
        self.lines.push(ConsoleLine { level, text });
    }

    /// A redirected request has one id for all its steps: the last one is meant.
    fn of(&mut self, event: &Value, change: impl FnOnce(&mut Request)) {
        let id = event["requestId"].as_str().unwrap_or_default();
        if let Some(request) = self.requests.iter_mut().rfind(|request| request.id == id) {
            change(request);
        }
    }
}

/// A value as the console shows it.
fn shown(value: &Value) -> String {
    match &value["value"] {
        Value::String(text) => text.clone(),
        Value::Null => value["description"].as_str().unwrap_or("undefined").to_owned(),
        other => other.to_string(),
    }
}

/// The text of an exception.
pub fn exception(details: &Value) -> String {
    let of = |value: &Value| value.as_str().map(str::to_owned);
    of(&details["exception"]["description"])
        .or_else(|| of(&details["exception"]["value"]))
        .or_else(|| of(&details["text"]))
        .unwrap_or_else(|| details.to_string())
}
