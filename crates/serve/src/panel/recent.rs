//! The newest rows of the stream, kept for panels to come: what is near *now* has appeared before its panel was opened.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{cast, concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::circle::Spot;

/// Rows kept, and read backwards when the hub starts: minutes of a busy stream, hours of a calm one. The oldest
/// micro-batch is dropped as a whole, so up to one more is there.
pub const RECENT_ROWS: usize = 50_000;

/// Bytes kept at most, whatever the rows' size.
const RECENT_BYTES: usize = 128 << 20;

/// Rows of one piece after sorting.
const PIECE_ROWS: usize = 8192;

/// A micro-batch, and where its rows lie.
#[derive(Debug, Clone)]
pub struct LocatedBatch {
    /// The wanted columns.
    pub batch: Arc<RecordBatch>,
    /// Where each row lies; empty where no index asks.
    pub spots: Arc<[Option<Spot>]>,
}

impl LocatedBatch {
    /// From the wanted columns; `location` has the batch's indices of latitude and longitude.
    pub fn new(batch: RecordBatch, location: Option<[usize; 2]>) -> Result<Self, ArrowError> {
        let spots = match location {
            None => Vec::new(),
            Some(location) => {
                let [lat, lon] = location.map(|column| cast(batch.column(column), &DataType::Float64));
                let (lat, lon) = (lat?, lon?);
                let (lat, lon) = (lat.as_primitive::<Float64Type>(), lon.as_primitive::<Float64Type>());
                (0..batch.num_rows())
                    .map(|row| {
                        let known = lat.is_valid(row) && lon.is_valid(row);
                        known.then(|| Spot::new(lat.value(row), lon.value(row))).flatten()
                    })
                    .collect()
            }
        };
        Ok(Self { batch: Arc::new(batch), spots: spots.into() })
    }
}

/// The newest rows, oldest first.
#[derive(Debug, Default)]
pub struct RecentRows {
    pieces: VecDeque<LocatedBatch>,
    rows: usize,
    bytes: usize,
}

impl RecentRows {
    /// Adds new rows; the oldest give way.
    pub fn push(&mut self, piece: LocatedBatch) {
        self.rows += piece.batch.num_rows();
        self.bytes += piece.batch.get_array_memory_size();
        self.pieces.push_back(piece);
        while let Some(oldest) = self.pieces.front() {
            let enough = self.rows - oldest.batch.num_rows() >= RECENT_ROWS;
            if self.pieces.len() == 1 || (!enough && self.bytes <= RECENT_BYTES) {
                break;
            }
            self.rows -= oldest.batch.num_rows();
            self.bytes -= oldest.batch.get_array_memory_size();
            self.pieces.pop_front();
        }
    }

    /// The pieces, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &LocatedBatch> {
        self.pieces.iter().rev()
    }

    /// Rows kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Orders rows of several partitions by the time in this column: a backlog is read partition by partition.
    pub fn sort_by_time(&mut self, column: usize, location: Option<[usize; 2]>) -> Result<(), ArrowError> {
        let Some(first) = self.pieces.front() else { return Ok(()) };
        let all = concat_batches(&first.batch.schema(), self.pieces.iter().map(|piece| piece.batch.as_ref()))?;
        let times = millis(all.column(column))?;
        let times = times.as_primitive::<Int64Type>();
        let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
        let time = |row: &u32| times.is_valid(*row as usize).then(|| times.value(*row as usize));
        order.sort_by_key(time);
        let mut sorted = Self::default();
        for rows in order.chunks(PIECE_ROWS) {
            sorted.push(LocatedBatch::new(take_record_batch(&all, &UInt32Array::from(rows.to_vec()))?, location)?);
        }
        *self = sorted;
        Ok(())
    }
}

/// Moments as milliseconds.
fn millis(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    cast(&cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?, &DataType::Int64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use datafusion::arrow::array::{Float64Array, TimestampMillisecondArray};

    use super::*;

    fn batch(times: Vec<i64>) -> RecordBatch {
        let lat = Float64Array::from_iter_values(times.iter().map(|time| *time as f64 / 1e6));
        let times = TimestampMillisecondArray::from(times);
        RecordBatch::try_from_iter([("lat", Arc::new(lat) as ArrayRef), ("time", Arc::new(times))]).unwrap()
    }

    #[test]
    fn the_oldest_go_and_the_newest_stay() {
        let mut recent = RecentRows::default();
        for start in 0..20 {
            recent.push(
                LocatedBatch::new(batch((start * 10_000..(start + 1) * 10_000).collect()), Some([0, 0])).unwrap(),
            );
        }
        assert_eq!(recent.len(), RECENT_ROWS);
        let newest = recent.newest_first().next().unwrap();
        assert_eq!(newest.batch.column(0).as_primitive::<Float64Type>().value(9_999), 0.199_999);
        assert_eq!(newest.spots.len(), 10_000);
    }

    #[test]
    fn a_backlog_of_several_partitions_is_put_in_order() {
        let mut recent = RecentRows::default();
        recent.push(LocatedBatch::new(batch(vec![1, 4, 7]), None).unwrap());
        recent.push(LocatedBatch::new(batch(vec![2, 5, 6, 9]), None).unwrap());
        recent.sort_by_time(1, None).unwrap();
        let only = recent.newest_first().next().unwrap();
        let times = millis(only.batch.column(1)).unwrap();
        assert_eq!(times.as_primitive::<Int64Type>().values(), &[1, 2, 4, 5, 6, 7, 9]);
    }
}
