//! A view's result at one moment, as a JSON object: one shape for lines of `dashboard --format ndjson`, for the API and
//! for its events.
//!
//! ```text
//! {"view":"by_type","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","digest":"0174…","rows":[{…},…]}
//! ```
//!
//! Where the broker had lost the beginning of a partition when the live run started, `"since":{"pokemons":{"0":40}}`
//! behind the as-of is the offset from which the result counts. The object has all that a replay needs.

use serde_json::Value;

use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{Published, Swap};
use tallgrass_sink::sanitize::escape_json;
use tallgrass_view::results::ChangeCounts;

/// What begins every object: whose rows, of which moment.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The view's name.
    pub view: &'a str,
    /// Everything below these offsets is in the rows.
    pub as_of: &'a AsOf,
    /// Where history starts, for partitions that have lost their beginning.
    pub since: &'a AsOf,
    /// What `now()` was, in nanoseconds since 1970 UTC.
    pub now_ns: i64,
}

impl Head<'_> {
    /// The object with these fields behind the head.
    pub fn object(&self, fields: &str) -> String {
        format!("{}{fields}}}", self.open())
    }

    /// The object's beginning, up to and with the comma before its own fields.
    pub fn open(&self) -> String {
        let view = text(self.view);
        let as_of = self.as_of.to_json();
        let since = match self.since.iter().next() {
            None => String::new(),
            Some(_) => format!("\"since\":{},", self.since.to_json()),
        };
        format!("{{\"view\":{view},\"as_of\":{as_of},{since}\"now\":\"{}\",", moment(self.now_ns))
    }
}

/// A view of a refresh.
pub fn of_published(view: &str, published: &Published, fields: &str) -> String {
    let (as_of, since, now_ns) = (&published.snapshot.as_of, &published.status.since(), published.snapshot.now_ns);
    Head { view, as_of, since, now_ns }.object(fields)
}

/// A moment, to the nanosecond.
pub fn moment(ns: i64) -> jiff::Timestamp {
    // Nanoseconds in 64 bits end in 2262, long before timestamps do.
    jiff::Timestamp::from_nanosecond(ns.into()).unwrap_or_default()
}

/// A string of JSON that is harmless on a terminal, too.
pub fn text(text: &str) -> String {
    escape_json(&Value::from(text).to_string()).into_owned()
}

/// `"error":"…"`
pub fn error_field(error: &str) -> String {
    format!("\"error\":{}", text(error))
}

/// How the file's new meaning differs from its old one, where both were results: `"swap":{…}`.
pub fn swap_field(swap: &Swap) -> String {
    let as_of = swap.as_of.to_json();
    match swap.changes {
        Some(ChangeCounts { added, removed, changed, .. }) => {
            format!("\"swap\":{{\"as_of\":{as_of},\"added\":{added},\"removed\":{removed},\"changed\":{changed}}}")
        }
        None => format!("\"swap\":{{\"as_of\":{as_of}}}"),
    }
}
