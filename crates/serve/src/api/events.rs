//! The events of a stream of changes, as bytes.
//!
//! | event | data | when |
//! |---|---|---|
//! | `reset` | the view's object with all rows, and a `reason` where somebody wanted to go on | at first, after other columns, after a failure |
//! | `change` | `added` and `removed` rows; `swap` where the file means something else now | the rows are others |
//! | `error` | what is wrong | the file is broken (rows of before may go on, marked `broken`), or there are no rows |
//! | `gone` | | the file was deleted |
//!
//! Applied in their order to a bag of rows, `reset` and `change` give the view's rows at each event's as-of.

use std::sync::Arc;

use axum::body::Bytes;

use super::moment::Moment;
use super::version::{MAX_EVENT_ROWS, Said, Version};
use crate::line::{self, Head};

/// What a client is sent at once.
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

fn head<'a>(view: &'a str, moment: &'a Moment, version: &'a Version) -> Head<'a> {
    Head { view, as_of: &moment.as_of, since: &version.since, now_ns: moment.now_ns }
}

fn broken_field(version: &Version) -> String {
    version.broken.as_ref().map(|broken| format!("\"broken\":{},", broken.json)).unwrap_or_default()
}

/// An error in plain words.
pub(super) fn error(view: &str, version: &Version, words: &str) -> String {
    error_json(view, version, &format!("{{\"message\":{}}}", line::text(words)))
}

fn error_json(view: &str, version: &Version, json: &str) -> String {
    let moment = version.last();
    event("error", &moment, &head(view, &moment, version).object(&format!("\"error\":{json}")))
}

/// All rows.
pub(super) fn reset(view: &str, version: &Version, rows: Bytes, reason: Option<&str>) -> Events {
    let Said::Rows(said) = &version.said else { return without_rows(view, version) };
    let moment = version.last();
    let reason = reason.map(|reason| format!("\"reason\":{},", line::text(reason))).unwrap_or_default();
    let open = head(view, &moment, version).open();
    let (digest, broken) = (said.digest(), broken_field(version));
    let begin = format!("event: reset\nid: {moment}\ndata: {open}{reason}\"digest\":\"{digest}\",{broken}\"rows\":[");
    Events::Bytes(vec![begin.into(), rows, Bytes::from_static(b"]}\n\n")])
}

/// What there is to say of a version that has no rows to send.
pub(super) fn without_rows(view: &str, version: &Version) -> Events {
    let moment = version.last();
    match &version.said {
        Said::Failed(json) => Events::of(error_json(view, version, json)),
        Said::TooMany => {
            let words = format!("more than {MAX_EVENT_ROWS} rows, which is more than a stream carries: fetch the view");
            Events::of(error(view, version, &words))
        }
        Said::Gone => Events::of(event("gone", &moment, &head(view, &moment, version).object("\"gone\":true"))),
        Said::Waiting | Said::Rows(_) => Events::Bytes(vec![Bytes::from_static(b": no rows yet\n\n")]),
    }
}

/// What leads from one version to another.
pub(super) fn change(view: &str, from: &Version, to: &Version) -> Events {
    let (old, new) = match (&from.said, &to.said) {
        (Said::Rows(old), Said::Rows(new)) => (old, new),
        (_, Said::Rows(_)) => return Events::Reset("the view has rows again".into()),
        _ => return without_rows(view, to),
    };
    if !new.has_columns_of(old) {
        return Events::Reset("the view has other columns".into());
    }
    let (added, removed) = match new.difference(old, view) {
        Ok(difference) => difference,
        Err(words) => return Events::of(error(view, to, &words)),
    };
    let moment = &to.first;
    let swap = to.swap.as_ref().filter(|swap| from.swap.as_ref() != Some(swap));
    let swap = swap.map(|swap| format!("{},", line::swap_field(swap))).unwrap_or_default();
    let mut events = String::new();
    if let Some(broken) = to.broken.as_ref().filter(|broken| from.broken.as_ref() != Some(broken)) {
        // Without an id: whoever loses the connection between the two gets both again.
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
