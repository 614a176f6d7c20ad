//! Whether two results are the same rows, bit by bit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// How many rows of each side a message shows.
const SHOWN: usize = 5;

/// A row as bytes, equal iff it is the same to the bit (`-0.0` is not `0.0`), and as text.
type Row = (Vec<u8>, String);

/// How the live rows differ from the other ones: other columns, other rows, or, where they are `ordered`, another order.
pub fn difference(live: &[RecordBatch], batch: &[RecordBatch], ordered: bool) -> Option<String> {
    if let ([live, ..], [batch, ..]) = (live, batch)
        && types(live) != types(batch)
    {
        return Some(format!("live columns {:?}, batch columns {:?}", types(live), types(batch)));
    }
    let (live, batch) = (rows(live), rows(batch));
    let mut weights: BTreeMap<&Row, i64> = BTreeMap::new();
    for row in &live {
        *weights.entry(row).or_default() += 1;
    }
    for row in &batch {
        *weights.entry(row).or_default() -= 1;
    }
    let side = |name: &str, sign: i64| {
        let rows: Vec<_> = weights.iter().filter(|(_, weight)| **weight * sign > 0).collect();
        let mut shown = String::new();
        for ((_, text), weight) in rows.iter().take(SHOWN) {
            write!(shown, "\n  {}x {text}", weight.abs()).unwrap();
        }
        format!("{} rows only {name}:{shown}", rows.len())
    };
    if weights.values().any(|weight| *weight != 0) {
        return Some(format!(
            "{} rows live, {} rows batch\n{}\n{}",
            live.len(),
            batch.len(),
            side("live", 1),
            side("batch", -1)
        ));
    }
    let place = ordered.then(|| live.iter().zip(&batch).position(|(live, batch)| live != batch)).flatten()?;
    Some(format!(
        "the same rows in another order, from row {place} on:\n  live  {}\n  batch {}",
        live[place].1, batch[place].1
    ))
}

/// The columns' types. Which of its two layouts a text has is the optimizer's choice and changes no value.
fn types(batch: &RecordBatch) -> Vec<String> {
    let of = |field: &Arc<Field>| field.data_type().to_string().replace("Utf8View", "Utf8");
    batch.schema().fields().iter().map(of).collect()
}

fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let Some(first) = batches.first() else { return Vec::new() };
    let fields = first.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields).unwrap();
    let convert = |batch: &RecordBatch| {
        let texts = texts(batch);
        if batch.num_columns() == 0 {
            return texts.into_iter().map(|_| (Vec::new(), String::new())).collect::<Vec<_>>();
        }
        let bytes = converter.convert_columns(batch.columns()).unwrap();
        bytes.iter().zip(texts).map(|(row, text)| (row.as_ref().to_vec(), text.join(" | "))).collect()
    };
    batches.iter().flat_map(convert).collect()
}

/// The values of each row as text; an absent one is `NULL`.
pub fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect()
}
