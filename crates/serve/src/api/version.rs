//! What one view said from one moment to another, and how two of these differ.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::moment::Moment;
use super::state::{Broken, State};
use tallgrass_kafka::AsOf;
use tallgrass_pipeline::{Shot, Swap};
use tallgrass_sink::text::json_rows;
use tallgrass_view::results::digest::{Digest, RowEncoder, hash, type_name};
use tallgrass_view::words;

/// Rows that an event carries at most: some 10 MB of JSON. Larger results are better fetched whole, as Arrow.
pub(super) const MAX_EVENT_ROWS: usize = 50_000;

/// What a view says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// Rows.
    Rows(Rows),
    /// More rows than an event carries.
    TooMany,
    /// Why there are none.
    Failed(String),
    /// Nothing yet.
    Waiting,
    /// There is no such view any more.
    Gone,
}

/// A result.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    digest: Digest,
}

/// What a view said, from one moment to another.
#[derive(Debug)]
pub(super) struct Version {
    /// Counts up.
    pub(super) number: u64,
    /// When it said so first.
    pub(super) first: Moment,
    last: Mutex<Moment>,
    /// Where history starts, as offsets.
    pub(super) since: AsOf,
    pub(super) said: Said,
    /// What is wrong with the file, though its rows of before go on.
    pub(super) broken: Option<Broken>,
    /// The file's last change of meaning.
    pub(super) swap: Option<Swap>,
    /// When it was noticed.
    pub(super) taken: Instant,
}

impl Version {
    /// What a shot says of a view. The digest takes a while for large results.
    pub(super) fn of(view: &str, shot: &Shot, queries: &std::path::Path) -> Self {
        let file = shot.file(view);
        let file_error = file.and_then(|file| Broken::of_file(file, queries));
        let (said, broken) = match (shot.result(view).map(|result| (result, &result.rows)), file_error) {
            (Some((result, Ok(rows))), broken) => (Said::of_rows(&result.schema, rows), broken),
            (Some((_, Err(error))), None) => (Said::Failed(Broken::of_words(&words(error), queries).json), None),
            (_, Some(broken)) => (Said::Failed(broken.json), None),
            (None, None) if State::of(shot, view, queries).is_none() => (Said::Gone, None),
            (None, None) => (Said::Waiting, None),
        };
        let first = Moment { as_of: shot.snapshot.as_of.clone(), now_ns: shot.snapshot.now_ns };
        Self {
            number: 0,
            last: Mutex::new(first.clone()),
            first,
            since: shot.status.since(),
            said,
            broken,
            swap: file.and_then(|file| file.swap.clone()),
            taken: Instant::now(),
        }
    }

    /// Until when it has said so, as far as is known.
    pub(super) fn last(&self) -> Moment {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It still says so.
    pub(super) fn lasts_until(&self, moment: Moment) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    /// Whether a client that knows one needs to hear nothing of the other.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let same = match (&self.said, &other.said) {
            (Said::Rows(one), Said::Rows(other)) => one.digest == other.digest,
            (Said::Failed(one), Said::Failed(other)) => one == other,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        same && self.broken == other.broken && self.swap == other.swap
    }

    /// Bytes that its rows keep from being freed.
    pub(super) fn bytes(&self) -> usize {
        match &self.said {
            Said::Rows(rows) => rows.batches.iter().map(RecordBatch::get_array_memory_size).sum(),
            _ => 0,
        }
    }
}

impl Said {
    fn of_rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > MAX_EVENT_ROWS {
            return Self::TooMany;
        }
        match Digest::of(schema, batches) {
            Ok(digest) => Self::Rows(Rows { schema: Arc::clone(schema), batches: batches.to_vec(), digest }),
            Err(error) => Self::Failed(format!("{{\"message\":{}}}", crate::line::text(&error.to_string()))),
        }
    }
}

impl Rows {
    /// The digest of all of them.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// All of them as JSON, separated by commas.
    pub(super) fn json(&self, view: &str) -> Result<String, String> {
        Ok(json_rows(view, &self.schema, &self.batches).map_err(|error| error.to_string())?.join(","))
    }

    /// Whether a row of one can be told from a row of the other by its values alone.
    pub(super) fn has_columns_of(&self, other: &Self) -> bool {
        let columns = |schema: &Schema| -> Vec<(String, String)> {
            schema.fields().iter().map(|field| (field.name().clone(), type_name(field.data_type()))).collect()
        };
        columns(&self.schema) == columns(&other.schema)
    }

    /// Rows that came and rows that went, each as JSON, separated by commas. Results are bags: a row that is there twice
    /// and then once has gone once.
    pub(super) fn difference(&self, old: &Self, view: &str) -> Result<(String, String), String> {
        let text = |error: ArrowError| error.to_string();
        let (came, went) = (self.hashes().map_err(text)?, old.hashes().map_err(text)?);
        let mut weights: HashMap<u128, i64> = HashMap::with_capacity(came.len());
        for hash in &came {
            *weights.entry(*hash).or_default() += 1;
        }
        for hash in &went {
            *weights.entry(*hash).or_default() -= 1;
        }
        let added = self.pick(&came, |hash| take_one(&mut weights, hash, 1)).map_err(text)?;
        let removed = old.pick(&went, |hash| take_one(&mut weights, hash, -1)).map_err(text)?;
        let json = |rows: &Self, batches: &[RecordBatch]| {
            json_rows(view, &rows.schema, batches).map(|rows| rows.join(",")).map_err(|error| error.to_string())
        };
        Ok((json(self, &added)?, json(old, &removed)?))
    }

    fn hashes(&self) -> Result<Vec<u128>, ArrowError> {
        let mut hashes = Vec::new();
        if let Some(first) = self.batches.first() {
            let encoder = RowEncoder::new(&first.schema())?;
            for batch in &self.batches {
                encoder.each(batch, |row| hashes.push(hash(row)))?;
            }
        }
        Ok(hashes)
    }

    /// The rows whose hashes are wanted, in their order.
    fn pick(&self, hashes: &[u128], mut wanted: impl FnMut(u128) -> bool) -> Result<Vec<RecordBatch>, ArrowError> {
        let (mut picked, mut hashes) = (Vec::new(), hashes.iter());
        for batch in &self.batches {
            let of_batch = hashes.by_ref().take(batch.num_rows()).enumerate();
            let rows: Vec<u32> =
                of_batch.filter(|(_, hash)| wanted(**hash)).filter_map(|(row, _)| u32::try_from(row).ok()).collect();
            if !rows.is_empty() {
                picked.push(take_record_batch(batch, &UInt32Array::from(rows))?);
            }
        }
        Ok(picked)
    }
}

/// Takes one of what is left of a row, if anything is on this side.
fn take_one(weights: &mut HashMap<u128, i64>, hash: u128, side: i64) -> bool {
    match weights.get_mut(&hash) {
        Some(weight) if *weight * side > 0 => {
            *weight -= side;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array};

    use super::*;

    fn rows(batches: &[&[i64]]) -> Rows {
        let batch = |values: &&[i64]| {
            let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
            RecordBatch::try_from_iter([("n", column)]).unwrap()
        };
        let batches: Vec<_> = batches.iter().map(batch).collect();
        let schema = batches[0].schema();
        let digest = Digest::of(&schema, &batches).unwrap();
        Rows { schema, batches, digest }
    }

    #[test]
    fn a_difference_counts_repeats_and_knows_no_batches() {
        let (old, new) = (rows(&[&[1, 2, 2], &[3, 3]]), rows(&[&[2], &[3, 3, 3, 4, 1]]));
        let (added, removed) = new.difference(&old, "v").unwrap();
        assert_eq!((&*added, &*removed), (r#"{"n":3},{"n":4}"#, r#"{"n":2}"#));
        let (added, removed) = new.difference(&new, "v").unwrap();
        assert_eq!((added.len(), removed.len()), (0, 0));
    }

    #[test]
    fn other_names_or_types_are_other_columns() {
        let ints = rows(&[&[1]]);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let floats = Rows { schema: batch.schema(), digest: ints.digest, batches: vec![batch] };
        assert!(!ints.has_columns_of(&floats) && ints.has_columns_of(&ints));
    }
}
