//! Live results as lines: one JSON object for each view whose result has changed since its last line.
//!
//! ```text
//! {"view":"by_type","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","digest":"0174…","rows":[{…},…]}
//! {"view":"dropped","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","gone":true}
//! {"view":"typo","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","error":"…"}
//! ```
//!
//! The first line after a file's meaning changed counts how the rows differ from those of the old one at the same offsets:
//! `"swap":{"as_of":{…},"added":1,"removed":0,"changed":2}`. Where the broker had lost the beginning of a partition when
//! the live run started, `"since":{"pokemons":{"0":40}}` is the offset from which the result counts. A line has all that
//! `tallgrass verify --against` needs to replay it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, Write};
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use crate::claim::{Claim, LiveResult, LiveRows};
use crate::line;
use tallgrass_diagnostics::message_of;
use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{Published, Swap, ViewResult};
use tallgrass_sink::SinkError;
use tallgrass_sink::text::json_rows;
use tallgrass_view::results::Digest;

/// Writes lines, and remembers the last one of each view.
#[derive(Debug, Default)]
pub struct ChangeLines {
    last: BTreeMap<Arc<str>, Result<Digest, String>>,
    /// The error of each broken file; its last good result may go on beside it.
    broken: BTreeMap<Arc<str>, String>,
    swaps: BTreeMap<Arc<str>, Swap>,
}

impl ChangeLines {
    /// Writes a line for each view that has changed, and flushes.
    pub fn write(&mut self, out: &mut dyn Write, published: &Published) -> Result<(), SinkError> {
        let exists = |name: &str| published.result(name).is_some() || published.file(name).is_some();
        let known: BTreeSet<Arc<str>> = self.last.keys().chain(self.broken.keys()).cloned().collect();
        for view in known.iter().filter(|view| !exists(view)) {
            write_line(out, view, published, "\"gone\":true")?;
            self.last.remove(view);
            self.broken.remove(view);
        }
        for file in published.files.iter() {
            let error = file.error.as_ref().map(ToString::to_string);
            if self.broken.get(&file.name) == error.as_ref() {
                continue;
            }
            if let Some(error) = error {
                write_line(out, &file.name, published, &line::error_field(&error))?;
                self.broken.insert(Arc::clone(&file.name), error);
            } else {
                // The view's result is written again, so that its last line is not an error.
                self.broken.remove(&file.name);
                self.last.remove(&file.name);
            }
        }
        for view in &published.snapshot.results {
            self.write_result(out, published, view)?;
        }
        Ok(out.flush()?)
    }

    fn write_result(&mut self, out: &mut dyn Write, published: &Published, view: &ViewResult) -> Result<(), SinkError> {
        let result = match &view.rows {
            Ok(rows) => Digest::of(&view.schema, rows).map(|digest| (digest, rows)).map_err(|error| message_of(&error)),
            Err(error) => Err(message_of(error)),
        };
        let swap = published.file(&view.name).and_then(|file| file.swap.as_ref());
        let swap = swap.filter(|swap| self.swaps.get(&view.name) != Some(swap));
        if let Some(swap) = swap {
            self.swaps.insert(Arc::clone(&view.name), swap.clone());
        }
        let digest = result.as_ref().map(|(digest, _)| *digest).map_err(Clone::clone);
        let last = self.last.insert(Arc::clone(&view.name), digest.clone());
        if last == Some(digest) && swap.is_none() {
            return Ok(());
        }
        let fields = match result {
            Ok((digest, rows)) => {
                let rows = json_rows(&view.name, &view.schema, rows)?;
                let swap = swap.map(|swap| format!("{},", line::swap_field(swap))).unwrap_or_default();
                format!("\"digest\":\"{digest}\",{swap}\"rows\":[{}]", rows.join(","))
            }
            Err(error) => line::error_field(&error),
        };
        write_line(out, &view.name, published, &fields)
    }
}

fn write_line(out: &mut dyn Write, view: &str, published: &Published, fields: &str) -> Result<(), SinkError> {
    // One write, so that a reader never sees half of a line from another one's.
    let line = format!("{}\n", line::of_published(view, published, fields));
    Ok(out.write_all(line.as_bytes())?)
}

/// Lines that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadLines {
    /// They end in the middle.
    #[error("line {line}")]
    Read {
        /// Counted from 1.
        line: usize,
        /// The system's message.
        source: io::Error,
    },
    /// A line is not one that [`ChangeLines`] writes.
    #[error("line {line}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it, and where in the line.
        source: serde_json::Error,
    },
}

/// A line as it is read.
#[derive(Deserialize)]
struct Line {
    view: String,
    #[serde(deserialize_with = "as_of")]
    as_of: AsOf,
    #[serde(default, deserialize_with = "as_of")]
    since: AsOf,
    #[serde(deserialize_with = "now_ns")]
    now: i64,
    #[serde(default, deserialize_with = "some_digest")]
    digest: Option<Digest>,
    #[serde(default)]
    rows: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    error: Option<String>,
}

/// Only the view of a line, and whether the view still exists.
#[derive(Deserialize)]
struct Name {
    view: String,
    #[serde(default)]
    gone: bool,
}

/// The last claim about each view in lines that [`ChangeLines`] wrote; blank lines do not count, nor does a last line that
/// was cut off because its writer was.
pub fn read_claims(lines: impl BufRead) -> Result<Vec<Claim>, BadLines> {
    let mut last: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut torn: Option<(usize, serde_json::Error)> = None;
    for (line, text) in (1..).zip(lines.lines()) {
        let text = text.map_err(|source| BadLines::Read { line, source })?;
        if text.trim().is_empty() {
            continue;
        }
        if let Some((line, source)) = torn.take() {
            return Err(BadLines::Line { line, source });
        }
        match serde_json::from_str(&text) {
            Ok(Name { view, gone: true }) => _ = last.remove(&view),
            Ok(Name { view, gone: false }) => _ = last.insert(view, (line, text)),
            Err(error) => torn = Some((line, error)),
        }
    }
    match torn {
        Some((line, source)) if last.is_empty() => return Err(BadLines::Line { line, source }),
        Some((line, error)) => tracing::warn!("line {line}, the last one, is not whole, and left out: {error}"),
        None => {}
    }
    let claims = last.into_values();
    claims.map(|(line, text)| claim(&text).map_err(|source| BadLines::Line { line, source })).collect()
}

fn claim(line: &str) -> serde_json::Result<Claim> {
    let line: Line = serde_json::from_str(line)?;
    let result = match (line.error, line.digest, line.rows) {
        (Some(error), _, _) => Err(format!("the live view had no result: {error}")),
        (None, Some(digest), Some(rows)) => Ok(LiveResult { digest, rows: LiveRows::Json(rows) }),
        _ => return Err(serde_json::Error::custom("it has neither \"digest\" and \"rows\" nor an \"error\"")),
    };
    Ok(Claim { view: line.view.into(), as_of: line.as_of, since: line.since, now_ns: line.now, result })
}

fn as_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AsOf, D::Error> {
    AsOf::from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn some_digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}

fn now_ns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bad = |error: &dyn fmt::Display| D::Error::custom(format!("\"now\":\"{}\": {error}", text.escape_debug()));
    let now = jiff::Timestamp::from_str(&text).map_err(|error| bad(&error))?;
    i64::try_from(now.as_nanosecond()).map_err(|error| bad(&error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::error::DataFusionError;

    use super::*;
    use tallgrass_kafka::HistoryStart;
    use tallgrass_pipeline::{Cost, Snapshot};

    fn published(offset: i64, results: &[(&str, Result<i64, &str>)]) -> Published {
        let mut as_of = AsOf::default();
        as_of.set(&"t".into(), 0, offset);
        let results = results.iter().map(|(name, result)| {
            let n: ArrayRef = Arc::new(Int64Array::from(vec![result.unwrap_or_default()]));
            let batch = RecordBatch::try_from_iter([("n", n)]).unwrap();
            ViewResult {
                name: (*name).into(),
                schema: batch.schema(),
                description: None,
                cost: Cost::default(),
                rows: result.map(|_| vec![batch]).map_err(|e| Arc::new(DataFusionError::External(e.into()))),
            }
        });
        let snapshot = Snapshot { as_of, now_ns: 1_767_268_980_000_000_007, results: results.collect() };
        Published { snapshot, ..Published::default() }
    }

    fn written(refreshes: &[Published]) -> Vec<String> {
        let (mut changes, mut out) = (ChangeLines::default(), Vec::new());
        for published in refreshes {
            changes.write(&mut out, published).unwrap();
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_has_changed_is_written_and_an_error_once() {
        let lines = written(&[
            published(1, &[("a", Ok(1)), ("b", Err("no\nsuch \u{202e}thing"))]),
            published(2, &[("a", Ok(1)), ("b", Err("no\nsuch \u{202e}thing"))]),
            published(3, &[("a", Ok(2)), ("b", Ok(7))]),
            published(4, &[("a", Ok(1)), ("b", Ok(7))]),
        ]);
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_last_line_of_each_view_reads_back() {
        let mut refreshes =
            [published(1, &[("a", Ok(1)), ("b", Ok(1))]), published(5, &[("a", Ok(2)), ("b", Err("lost"))])];
        refreshes[1].status.history = vec![HistoryStart { topic: "t".into(), partition: 0, first_offset: 3 }];
        let claims = read_claims(written(&refreshes).join("\n\n").as_bytes()).unwrap();
        let [a, b] = &claims[..] else { unreachable!("two views") };
        assert_eq!((&*a.view, a.as_of.to_string(), a.since.to_string()), ("a", "t 0:5".into(), "t 0:3".into()));
        assert_eq!(a.now_ns, refreshes[1].snapshot.now_ns);
        let live = a.result.as_ref().unwrap();
        let batches = refreshes[1].snapshot.results[0].rows.as_ref().unwrap();
        assert_eq!(live.digest, Digest::of(&batches[0].schema(), batches).unwrap());
        assert!(b.result.as_ref().unwrap_err().ends_with("lost"));
    }

    #[test]
    fn a_deleted_view_claims_nothing_and_a_torn_last_line_is_left_out() {
        let lines = written(&[published(1, &[("a", Ok(1)), ("b", Ok(1))]), published(2, &[("a", Ok(1))])]);
        assert!(lines[2].contains("\"view\":\"b\"") && lines[2].contains("\"gone\":true"), "{lines:?}");
        let torn = format!("{}\n{}", lines.join("\n"), &lines[0][..40]);
        let claims = read_claims(torn.as_bytes()).unwrap();
        assert_eq!(claims.iter().map(|claim| &*claim.view).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = written(&[published(1, &[("a", Ok(1))])]).remove(0);
        for (text, message) in [
            (format!("{}\n{good}", &good[..40]), "line 1"),
            (good[..40].to_owned(), "line 1"),
            ("7".to_owned(), "line 1"),
            (good.replace("\"t\"", "7"), "line 1"),
            (good.replace("\"0\":1", "\"0\":-1"), "not an offset"),
            (good.replace("\"digest\":\"", "\"digest\":\"x"), "not a digest"),
            (good.replace("\"rows\"", "\"lines\""), "neither"),
            (good.replace("\"now\":\"2", "\"now\":\"x"), "now"),
        ] {
            let error = message_of(&read_claims(text.as_bytes()).unwrap_err());
            assert!(error.contains("line") && error.contains(message), "{text}: {error}");
        }
    }
}
