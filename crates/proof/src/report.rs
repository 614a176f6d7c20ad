//! What a proof found, as data; it reads as lines for people, too.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use serde::{Serialize, Serializer};

use tallgrass_kafka::AsOf;
use tallgrass_sink::cells::Cells;
use tallgrass_sink::sanitize::sanitize;
use tallgrass_sink::terminal::ProofNote;
use tallgrass_view::results::Digest;

/// Rows of each side that a verdict shows.
const MAX_SHOWN: usize = 5;

/// All views of one refresh, proved.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// When it began.
    #[serde(serialize_with = "as_text")]
    pub at: jiff::Timestamp,
    /// The same by a clock that never jumps.
    #[serde(skip)]
    pub began: Instant,
    /// Seconds that it took.
    pub took_s: f64,
    /// What was replayed.
    #[serde(serialize_with = "as_json")]
    pub as_of: AsOf,
    /// The finding of all views together.
    pub verdict: Outcome,
    /// Why there are no views: the replay itself failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Each view that had a result.
    pub views: Vec<ViewProof>,
}

/// One view, proved.
#[derive(Debug, Clone, Serialize)]
pub struct ViewProof {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub view: Arc<str>,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The finding of several views together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Of those that could be replayed, all agree.
    Agrees,
    /// One differs.
    Differs,
    /// One could not be compared, since something failed.
    Failed,
    /// None could be replayed.
    NotReplayable,
}

impl Outcome {
    /// The gravest finding counts.
    pub fn of(views: &[ViewProof]) -> Self {
        let any = |is: fn(&Verdict) -> bool| views.iter().any(|view| is(&view.verdict));
        if any(|verdict| matches!(verdict, Verdict::Differs { .. })) {
            Self::Differs
        } else if any(|verdict| matches!(verdict, Verdict::Failed { .. })) {
            Self::Failed
        } else if any(|verdict| matches!(verdict, Verdict::Agrees { .. })) {
            Self::Agrees
        } else {
            Self::NotReplayable
        }
    }

    /// Whether nothing speaks against a live result.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Agrees | Self::NotReplayable)
    }
}

impl Proof {
    /// The fact for the line on top of a dashboard.
    pub fn note(&self) -> ProofNote {
        let text = match self.verdict {
            Outcome::Differs => {
                let differ = self.views.iter().filter(|view| matches!(view.verdict, Verdict::Differs { .. }));
                format!("DIFFERS: {}", differ.map(|view| &*view.view).collect::<Vec<_>>().join(", "))
            }
            Outcome::Failed => "not verified".to_owned(),
            Outcome::NotReplayable => "cannot be replayed".to_owned(),
            Outcome::Agrees => match self.began.elapsed().as_secs() {
                seconds @ 0..120 => format!("live = replay, {seconds} s ago"),
                seconds => format!("live = replay, {} min ago", seconds / 60),
            },
        };
        ProofNote { text, good: self.verdict == Outcome::Agrees }
    }
}

/// What the comparison of one view found.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The same rows.
    Agrees {
        /// How many.
        rows: usize,
        /// Of the live result.
        #[serde(serialize_with = "as_text")]
        digest: Digest,
    },
    /// Not the same result.
    Differs {
        /// The live result.
        live: Side,
        /// The replay's.
        replay: Side,
    },
    /// The broker no longer has what the live result counted, so no replay can give it.
    NotReplayable {
        /// Where history starts now.
        reason: String,
    },
    /// The live view or the replay failed.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One of two results that differ.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// How many rows it has.
    pub rows: usize,
    /// Their digest.
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    /// Rows that the other side does not have. A changed row counts on both.
    pub unmatched: usize,
    /// The first of those.
    pub first: Vec<RowText>,
}

/// A row, column by column; its values as exact text, or null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowText(Vec<(String, Option<String>)>);

impl Side {
    pub(crate) fn new(rows: usize, digest: Digest, unmatched: &[RecordBatch]) -> Result<Self, ArrowError> {
        let mut first = Vec::new();
        for batch in unmatched {
            let shown = batch.slice(0, batch.num_rows().min(MAX_SHOWN - first.len()));
            let cells = shown.columns().iter().map(|column| Cells::new(column)).collect::<Result<Vec<_>, _>>()?;
            let names = batch.schema();
            let names = || names.fields().iter().map(|field| field.name().clone());
            let row = |row| RowText(names().zip(cells.iter().map(|cells| cells.raw(row))).collect());
            first.extend((0..shown.num_rows()).map(row));
        }
        let unmatched = unmatched.iter().map(RecordBatch::num_rows).sum();
        Ok(Self { rows, digest, unmatched, first })
    }
}

impl Verdict {
    /// The first of the rows that differ, a line each.
    pub fn rows(&self) -> Vec<String> {
        let Self::Differs { live, replay } = self else { return Vec::new() };
        let mut lines = Vec::new();
        for (mark, side) in [("- only live", live), ("+ only replay", replay)] {
            lines.extend(side.first.iter().map(|row| format!("{mark}: {row}")));
            if side.unmatched > side.first.len() {
                lines.push(format!("{mark}: … and {} more", side.unmatched - side.first.len()));
            }
        }
        lines
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = |rows: usize| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        match self {
            Self::Agrees { rows: count, digest } => {
                write!(f, "live and replay agree, {}, digest {digest}", rows(*count))
            }
            Self::Differs { live, replay } if live.unmatched + replay.unmatched == 0 => {
                f.write_str("DIFFERS: the rows read the same, but not the digest: a type or a hidden digit is another")
            }
            Self::Differs { live, replay } => {
                write!(f, "DIFFERS: {} only live, {} only in the replay", rows(live.unmatched), rows(replay.unmatched))
            }
            Self::NotReplayable { reason } => write!(f, "cannot be replayed: {reason}"),
            Self::Failed { reason } => write!(f, "FAILED: {reason}"),
        }
    }
}

/// `type_1 = Water, seen = 538`
impl fmt::Display for RowText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (column, value)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} = {}", sanitize(column), sanitize(value.as_deref().unwrap_or("NULL")))?;
        }
        Ok(())
    }
}

impl Serialize for RowText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(column, value)| (column, value)))
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_json<S: Serializer>(as_of: &AsOf, serializer: S) -> Result<S::Ok, S::Error> {
    as_of.to_json().serialize(serializer)
}
