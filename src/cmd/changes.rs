//! Live results as lines: one JSON object for each view whose result is another than its last line said.
//!
//! ```text
//! {"view":"by_type","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","digest":"0174…","rows":[{…},…]}
//! {"view":"dropped","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","gone":true}
//! {"view":"typo","as_of":{"pokemons":{"0":120}},"now":"2026-01-31T09:00:00Z","error":"…"}
//! ```
//!
//! The first line after a file's meaning changed says how the rows differ from those of the old one at the same offsets:
//! `"swap":{"as_of":{…},"added":1,"removed":0,"changed":2}`. Where the broker had lost the beginning of a partition when the live run started, `"since":{"pokemons":{"0":40}}` says
//! from which offset the result counts. A line has all that `tallgrass verify --against` needs to replay it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use serde_json::Value;

use super::proof::{Claim, LiveRows, Said};
use crate::kafka::AsOf;
use crate::pipeline::{Shot, Swap};
use crate::serve::line;
use crate::sink::text::json_rows;
use crate::view::digest::Digest;
use crate::view::words;

/// Writes lines, and remembers what they said.
#[derive(Debug, Default)]
pub struct Changes {
    last: BTreeMap<Arc<str>, Result<Digest, String>>,
    /// The error of each broken file; its last good result may go on beside it.
    broken: BTreeMap<Arc<str>, String>,
    swaps: BTreeMap<Arc<str>, Swap>,
}

impl Changes {
    /// Writes a line for each view that has changed, and flushes.
    pub fn write(&mut self, out: &mut dyn Write, shot: &Shot) -> anyhow::Result<()> {
        let has_result = |name: &Arc<str>| shot.snapshot.results.iter().any(|result| result.name == *name);
        let is_there = |name: &Arc<str>| has_result(name) || shot.files.iter().any(|file| file.name == *name);
        let gone: BTreeSet<Arc<str>> =
            self.last.keys().chain(self.broken.keys()).filter(|name| !is_there(name)).cloned().collect();
        for view in gone {
            write_line(out, &view, shot, "\"gone\":true")?;
            self.last.remove(&view);
            self.broken.remove(&view);
        }
        for file in shot.files.iter() {
            let error = file.error.as_ref().map(ToString::to_string);
            if self.broken.get(&file.name) == error.as_ref() {
                continue;
            }
            if let Some(error) = error {
                write_line(out, &file.name, shot, &line::error_field(&error))?;
                self.broken.insert(Arc::clone(&file.name), error);
            } else {
                // What the view says is written anew, so that its last line is no error.
                self.broken.remove(&file.name);
                self.last.remove(&file.name);
            }
        }
        for result in &shot.snapshot.results {
            let said = result.rows.as_ref().map_err(|error| words(error));
            let said =
                said.and_then(|rows| Ok((Digest::of(&result.schema, rows).map_err(|error| error.to_string())?, rows)));
            let swap = shot.files.iter().find(|file| file.name == result.name).and_then(|file| file.swap.as_ref());
            let swapped = swap.filter(|swap| self.swaps.get(&result.name) != Some(swap));
            if let Some(swap) = swapped {
                self.swaps.insert(Arc::clone(&result.name), swap.clone());
            }
            if !self.is_news(&result.name, &said.as_ref().map(|(digest, _)| *digest).map_err(Clone::clone))
                && swapped.is_none()
            {
                continue;
            }
            let fields = match said {
                Ok((digest, rows)) => {
                    let rows = json_rows(&result.name, &result.schema, rows)?;
                    let swap = swapped.map(|swap| format!("{},", line::swap_field(swap))).unwrap_or_default();
                    format!("\"digest\":\"{digest}\",{swap}\"rows\":[{}]", rows.join(","))
                }
                Err(error) => line::error_field(&error),
            };
            write_line(out, &result.name, shot, &fields)?;
        }
        Ok(out.flush()?)
    }

    fn is_news(&mut self, view: &Arc<str>, said: &Result<Digest, String>) -> bool {
        if self.last.get(view) == Some(said) {
            return false;
        }
        self.last.insert(Arc::clone(view), said.clone());
        true
    }
}

fn write_line(out: &mut dyn Write, view: &str, shot: &Shot, fields: &str) -> anyhow::Result<()> {
    // One write, so that a reader never sees half of a line from another one's.
    let line = format!("{}\n", line::of_shot(view, shot, fields));
    Ok(out.write_all(line.as_bytes())?)
}

/// A line as it is read.
#[derive(Deserialize)]
struct Line {
    view: String,
    as_of: Value,
    #[serde(default)]
    since: Option<Value>,
    now: String,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    rows: Option<Vec<Value>>,
    #[serde(default)]
    error: Option<String>,
}

/// Only the view of a line, and whether it is one no more.
#[derive(Deserialize)]
struct Name {
    view: String,
    #[serde(default)]
    gone: bool,
}

/// The last claim about each view in lines that [`Changes`] wrote; blank lines do not count, nor does a last line that was
/// cut off because its writer was.
pub fn read_claims(lines: impl BufRead) -> anyhow::Result<Vec<Claim>> {
    let mut last: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut torn: Option<anyhow::Error> = None;
    for (index, line) in lines.lines().enumerate() {
        let (number, line) = (index + 1, line.with_context(|| format!("line {}", index + 1))?);
        if line.trim().is_empty() {
            continue;
        }
        if let Some(error) = torn.take() {
            return Err(error);
        }
        match serde_json::from_str(&line) {
            Ok(Name { view, gone: true }) => _ = last.remove(&view),
            Ok(Name { view, gone: false }) => _ = last.insert(view, (number, line)),
            Err(error) => torn = Some(anyhow::Error::new(error).context(format!("line {number}"))),
        }
    }
    match torn {
        Some(error) if last.is_empty() => return Err(error),
        Some(error) => tracing::warn!("the last line is not whole, and left out: {error:#}"),
        None => {}
    }
    let claims = last.into_values().map(|(number, line)| claim(&line).with_context(|| format!("line {number}")));
    claims.collect()
}

fn claim(line: &str) -> anyhow::Result<Claim> {
    let line: Line = serde_json::from_str(line)?;
    let now: jiff::Timestamp = line.now.parse().with_context(|| format!("\"now\":\"{}\"", line.now.escape_debug()))?;
    let said = match (line.error, line.digest, line.rows) {
        (Some(error), _, _) => Err(format!("the live view had no result: {error}")),
        (None, Some(digest), Some(rows)) => Ok(Said { digest: digest.parse()?, rows: LiveRows::Json(rows) }),
        _ => return Err(anyhow!("it has neither \"digest\" and \"rows\" nor an \"error\"")),
    };
    Ok(Claim {
        view: line.view.into(),
        as_of: AsOf::from_json(&line.as_of)?,
        since: line.since.as_ref().map(AsOf::from_json).transpose()?.unwrap_or_default(),
        now_ns: i64::try_from(now.as_nanosecond())?,
        said,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::error::DataFusionError;

    use super::*;
    use crate::kafka::HistoryStart;
    use crate::pipeline::{Cost, Snapshot, ViewResult};

    fn shot(offset: i64, results: &[(&str, Result<i64, &str>)]) -> Shot {
        let mut as_of = AsOf::default();
        as_of.set(&"t".into(), 0, offset);
        let results = results.iter().map(|(name, said)| {
            let n: ArrayRef = Arc::new(Int64Array::from(vec![said.unwrap_or_default()]));
            let batch = RecordBatch::try_from_iter([("n", n)]).unwrap();
            ViewResult {
                name: (*name).into(),
                schema: batch.schema(),
                description: None,
                cost: Cost::default(),
                rows: said.map(|_| vec![batch]).map_err(|e| Arc::new(DataFusionError::Execution(e.to_owned()))),
            }
        });
        let snapshot = Snapshot { as_of, now_ns: 1_767_268_980_000_000_007, results: results.collect() };
        Shot { snapshot, ..Shot::default() }
    }

    fn written(shots: &[Shot]) -> Vec<String> {
        let (mut changes, mut out) = (Changes::default(), Vec::new());
        for shot in shots {
            changes.write(&mut out, shot).unwrap();
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_has_changed_is_written_and_an_error_once() {
        let lines = written(&[
            shot(1, &[("a", Ok(1)), ("b", Err("no\nsuch \u{202e}thing"))]),
            shot(2, &[("a", Ok(1)), ("b", Err("no\nsuch \u{202e}thing"))]),
            shot(3, &[("a", Ok(2)), ("b", Ok(7))]),
            shot(4, &[("a", Ok(1)), ("b", Ok(7))]),
        ]);
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_last_line_of_each_view_reads_back() {
        let mut shots = [shot(1, &[("a", Ok(1)), ("b", Ok(1))]), shot(5, &[("a", Ok(2)), ("b", Err("gone"))])];
        shots[1].status.history = vec![HistoryStart { topic: "t".into(), partition: 0, first_offset: 3 }];
        let claims = read_claims(written(&shots).join("\n\n").as_bytes()).unwrap();
        let [a, b] = &claims[..] else { unreachable!("two views") };
        assert_eq!((&*a.view, a.as_of.to_string(), a.since.to_string()), ("a", "t 0:5".into(), "t 0:3".into()));
        assert_eq!(a.now_ns, shots[1].snapshot.now_ns);
        let said = a.said.as_ref().unwrap();
        let batches = shots[1].snapshot.results[0].rows.as_ref().unwrap();
        assert_eq!(said.digest, Digest::of(&batches[0].schema(), batches).unwrap());
        assert!(b.said.as_ref().unwrap_err().ends_with("gone"));
    }

    #[test]
    fn a_view_that_is_gone_claims_nothing_and_a_torn_last_line_is_left_out() {
        let lines = written(&[shot(1, &[("a", Ok(1)), ("b", Ok(1))]), shot(2, &[("a", Ok(1))])]);
        assert!(lines[2].contains("\"view\":\"b\"") && lines[2].contains("\"gone\":true"), "{lines:?}");
        let torn = format!("{}\n{}", lines.join("\n"), &lines[0][..40]);
        let claims = read_claims(torn.as_bytes()).unwrap();
        assert_eq!(claims.iter().map(|claim| &*claim.view).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = written(&[shot(1, &[("a", Ok(1))])]).remove(0);
        for (text, says) in [
            (format!("{}\n{good}", &good[..40]), "line 1"),
            (good[..40].to_owned(), "line 1"),
            ("7".to_owned(), "line 1"),
            (good.replace("\"t\"", "7"), "line 1"),
            (good.replace("\"0\":1", "\"0\":-1"), "no offset"),
            (good.replace("\"digest\":\"", "\"digest\":\"x"), "no digest"),
            (good.replace("\"rows\"", "\"lines\""), "neither"),
            (good.replace("\"now\":\"2", "\"now\":\"x"), "now"),
        ] {
            let error = format!("{:#}", read_claims(text.as_bytes()).unwrap_err());
            assert!(error.contains("line") && error.contains(says), "{text}: {error}");
        }
    }
}
