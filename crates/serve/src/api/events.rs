//! The events of a stream of changes, as bytes.
//!
//! | event | data | when |
//! |---|---|---|
//! | `reset` | the view's object with all rows, and a `reason` where a client wanted to resume | at first, after other columns, after a failure |
//! | `change` | `added` and `removed` rows; `swap` where the file was edited | the rows have changed |
//! | `error` | what is wrong | the file is broken (rows from before may stay up, marked `broken`), or there are no rows |
//! | `gone` | | the file was deleted |
//!
//! Applied in their order to a bag of rows, `reset` and `change` give the view's rows at each event's as-of.

use std::sync::Arc;

use axum::body::Bytes;

use super::moment::Moment;
use super::version::{MAX_EVENT_ROWS, ViewContent, ViewVersion};
use tallgrass_proof::line::{self, Head};

/// What a client is sent in one step.
#[derive(Debug, Clone)]
pub(super) enum Events {
    /// These bytes, one after the other. They are shared among clients.
    Bytes(Vec<Bytes>),
    /// All rows, for this reason.
    Reset(Arc<str>),
}

impl Events {
    pub(super) fn of(event: String) -> Self {
        Self::Bytes(vec![event.into()])
    }
}

/// One event with data of one line.
fn event(kind: &str, id: &Moment, data: &str) -> String {
    format!("event: {kind}\nid: {id}\ndata: {data}\n\n")
}

fn head<'a>(view: &'a str, moment: &'a Moment, version: &'a ViewVersion) -> Head<'a> {
    Head { view, as_of: &moment.as_of, since: &version.since, now_ns: moment.now_ns }
}

fn broken_field(version: &ViewVersion) -> String {
    version.broken.as_ref().map(|broken| format!("\"broken\":{},", broken.json)).unwrap_or_default()
}

/// An error with its message.
pub(super) fn error(view: &str, version: &ViewVersion, message: &str) -> String {
    error_json(view, version, &format!("{{\"message\":{}}}", line::text(message)))
}

fn error_json(view: &str, version: &ViewVersion, json: &str) -> String {
    let moment = version.last();
    event("error", &moment, &head(view, &moment, version).object(&format!("\"error\":{json}")))
}

/// All rows.
pub(super) fn reset(view: &str, version: &ViewVersion, rows: Bytes, reason: Option<&str>) -> Events {
    let ViewContent::Rows(content) = &version.content else { return without_rows(view, version) };
    let moment = version.last();
    let reason = reason.map(|reason| format!("\"reason\":{},", line::text(reason))).unwrap_or_default();
    let open = head(view, &moment, version).open();
    let (digest, broken) = (content.digest(), broken_field(version));
    let begin = format!("event: reset\nid: {moment}\ndata: {open}{reason}\"digest\":\"{digest}\",{broken}\"rows\":[");
    Events::Bytes(vec![begin.into(), rows, Bytes::from_static(b"]}\n\n")])
}

/// The events of a version that has no rows to send.
pub(super) fn without_rows(view: &str, version: &ViewVersion) -> Events {
    let moment = version.last();
    match &version.content {
        ViewContent::Failed(json) => Events::of(error_json(view, version, json)),
        ViewContent::TooMany => {
            let message = format!("more than {MAX_EVENT_ROWS} rows, which is the limit of a stream: fetch the view");
            Events::of(error(view, version, &message))
        }
        ViewContent::Removed => {
            Events::of(event("gone", &moment, &head(view, &moment, version).object("\"gone\":true")))
        }
        ViewContent::Waiting | ViewContent::Rows(_) => Events::Bytes(vec![Bytes::from_static(b": no rows yet\n\n")]),
    }
}

/// The events from one version to another.
pub(super) fn change(view: &str, from: &ViewVersion, to: &ViewVersion) -> Events {
    let (old, new) = match (&from.content, &to.content) {
        (ViewContent::Rows(old), ViewContent::Rows(new)) => (old, new),
        (_, ViewContent::Rows(_)) => return Events::Reset("the view has rows again".into()),
        _ => return without_rows(view, to),
    };
    let (added, removed) = match new.difference(old, view) {
        Ok(Some(difference)) => difference,
        Ok(None) => return Events::Reset("the view has other columns".into()),
        Err(message) => return Events::of(error(view, to, &message)),
    };
    let moment = &to.first;
    let swap = to.swap.as_ref().filter(|swap| from.swap.as_ref() != Some(swap));
    let swap = swap.map(|swap| format!("{},", line::swap_field(swap))).unwrap_or_default();
    let mut events = String::new();
    if let Some(broken) = to.broken.as_ref().filter(|broken| from.broken.as_ref() != Some(broken)) {
        // Without an id: a client that loses the connection between the two gets both again.
        let data = head(view, moment, to).object(&format!("\"error\":{}", broken.json));
        events = format!("event: error\ndata: {data}\n\n");
    }
    let fields = format!(
        "\"digest\":\"{}\",{}{swap}\"added\":[{added}],\"removed\":[{removed}]",
        new.digest(),
        broken_field(to)
    );
    events.push_str(&event("change", moment, &head(view, moment, to).object(&fields)));
    Events::of(events)
}
