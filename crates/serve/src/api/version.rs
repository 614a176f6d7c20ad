//! The versions of one view's result, and how two of them differ.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::moment::Moment;
use super::state::{Broken, ViewState};
use tallgrass_diagnostics::message_of;
use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{Published, Swap};
use tallgrass_proof::line;
use tallgrass_sink::text::json_rows;
use tallgrass_view::results::{Difference, Digest};

/// Rows that an event carries at most: some 10 MB of JSON. Larger results are better fetched whole, as Arrow.
pub(super) const MAX_EVENT_ROWS: usize = 50_000;

/// The content of a version.
#[derive(Debug, Clone)]
pub(super) enum ViewContent {
    /// Rows.
    Rows(ContentRows),
    /// More rows than an event carries.
    TooMany,
    /// The reason why there are none.
    Failed(String),
    /// Nothing yet.
    Waiting,
    /// The view no longer exists.
    Removed,
}

/// A result.
#[derive(Debug, Clone)]
pub(super) struct ContentRows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    digest: Digest,
}

/// A view's result from one moment to another.
#[derive(Debug)]
pub(super) struct ViewVersion {
    /// Counts up.
    pub(super) number: u64,
    /// Its first moment.
    pub(super) first: Moment,
    last: Mutex<Moment>,
    /// Where history starts, as offsets.
    pub(super) since: AsOf,
    pub(super) content: ViewContent,
    /// What is wrong with the file, while the rows before the edit stay up.
    pub(super) broken: Option<Broken>,
    /// The file's last edit.
    pub(super) swap: Option<Swap>,
    /// When it was noticed.
    pub(super) taken: Instant,
}

impl ViewVersion {
    /// The version in a refresh. The digest takes a while for large results.
    pub(super) fn of(view: &str, published: &Published, queries: &std::path::Path) -> Self {
        let file = published.file(view);
        let file_error = file.and_then(|file| Broken::of_file(file, queries));
        let (content, broken) = match (published.result(view).map(|result| (result, &result.rows)), file_error) {
            (Some((result, Ok(rows))), broken) => (ViewContent::of_rows(&result.schema, rows), broken),
            (Some((_, Err(error))), None) => {
                (ViewContent::Failed(Broken::of_message(&message_of(error), queries).json), None)
            }
            (_, Some(broken)) => (ViewContent::Failed(broken.json), None),
            (None, None) if ViewState::of(published, view, queries).is_none() => (ViewContent::Removed, None),
            (None, None) => (ViewContent::Waiting, None),
        };
        let first = Moment { as_of: published.snapshot.as_of.clone(), now_ns: published.snapshot.now_ns };
        Self {
            number: 0,
            last: Mutex::new(first.clone()),
            first,
            since: published.status.since(),
            content,
            broken,
            swap: file.and_then(|file| file.swap.clone()),
            taken: Instant::now(),
        }
    }

    /// Its last moment so far.
    pub(super) fn last(&self) -> Moment {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Extends it to a later moment.
    pub(super) fn lasts_until(&self, moment: Moment) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    /// Whether a client that has one need not be sent the other.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let same = match (&self.content, &other.content) {
            (ViewContent::Rows(one), ViewContent::Rows(other)) => one.digest == other.digest,
            (ViewContent::Failed(one), ViewContent::Failed(other)) => one == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        same && self.broken == other.broken && self.swap == other.swap
    }

    /// Bytes that its rows keep from being freed.
    pub(super) fn bytes(&self) -> usize {
        match &self.content {
            ViewContent::Rows(rows) => rows.batches.iter().map(RecordBatch::get_array_memory_size).sum(),
            _ => 0,
        }
    }
}

impl ViewContent {
    fn of_rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > MAX_EVENT_ROWS {
            return Self::TooMany;
        }
        match Digest::of(schema, batches) {
            Ok(digest) => Self::Rows(ContentRows { schema: Arc::clone(schema), batches: batches.to_vec(), digest }),
            Err(error) => Self::Failed(format!("{{\"message\":{}}}", line::text(&error.to_string()))),
        }
    }
}

impl ContentRows {
    /// The digest of all of them.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// All of them as JSON, separated by commas.
    pub(super) fn json(&self, view: &str) -> Result<String, String> {
        Ok(json_rows(view, &self.schema, &self.batches).map_err(|error| error.to_string())?.join(","))
    }

    /// Rows that were added and rows that were removed, each as JSON, separated by commas; none where the columns are others.
    pub(super) fn difference(&self, old: &Self, view: &str) -> Result<Option<(String, String)>, String> {
        let difference = Difference::between((&old.schema, &old.batches), (&self.schema, &self.batches));
        let difference = difference.map_err(|error| error.to_string())?;
        if difference.columns {
            return Ok(None);
        }
        let json = |rows: &Self, batches: &[RecordBatch]| {
            json_rows(view, &rows.schema, batches).map(|rows| rows.join(",")).map_err(|error| error.to_string())
        };
        Ok(Some((json(self, &difference.added)?, json(old, &difference.removed)?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array};

    use super::*;

    fn rows(batches: &[&[i64]]) -> ContentRows {
        let batch = |values: &&[i64]| {
            let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
            RecordBatch::try_from_iter([("n", column)]).unwrap()
        };
        let batches: Vec<_> = batches.iter().map(batch).collect();
        let schema = batches[0].schema();
        let digest = Digest::of(&schema, &batches).unwrap();
        ContentRows { schema, batches, digest }
    }

    #[test]
    fn a_difference_has_the_rows_of_either_side_and_none_where_the_columns_are_others() {
        let (old, new) = (rows(&[&[1, 2, 2], &[3, 3]]), rows(&[&[2], &[3, 3, 3, 4, 1]]));
        let difference = new.difference(&old, "v").unwrap();
        assert_eq!(difference, Some((r#"{"n":3},{"n":4}"#.to_owned(), r#"{"n":2}"#.to_owned())));
        assert_eq!(new.difference(&new, "v").unwrap(), Some((String::new(), String::new())));
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let doubles = ContentRows { schema: batch.schema(), digest: old.digest, batches: vec![batch] };
        assert_eq!(old.difference(&doubles, "v").unwrap(), None);
    }
}
