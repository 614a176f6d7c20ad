//! Views over tables, maintained by weights: existing rows count, and retracted ones leave no trace.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, AsArray, BinaryArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::incremental::cut::Use;
use crate::incremental::source::{LiveRelation, RelationKind};
use crate::{InputRows, LiveView, Maintenance};
use tallgrass_relation::{Delta, KeyedTable, RelationRows};
use tallgrass_sql::session;

/// A row's key, and its columns unless it is deleted.
type KeyedRecord = (u32, Option<TestRow>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct TestRow {
    k: &'static str,
    n: Option<i64>,
    x: Option<f64>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(10, 2), true),
    ]))
}

fn batch(rows: &(impl Iterator<Item = Option<TestRow>> + Clone)) -> RecordBatch {
    let n = || rows.clone().map(|row| row.and_then(|row| row.n));
    let d: Decimal128Array = n().map(|n| n.map(i128::from)).collect();
    let columns: [Arc<dyn Array>; 4] = [
        Arc::new(rows.clone().map(|row| row.map(|row| row.k)).collect::<StringArray>()),
        Arc::new(n().collect::<Int64Array>()),
        Arc::new(rows.clone().map(|row| row.and_then(|row| row.x)).collect::<Float64Array>()),
        Arc::new(d.with_precision_and_scale(10, 2).unwrap()),
    ];
    RecordBatch::try_new(schema(), columns.to_vec()).unwrap()
}

/// A view over the table `t`, the table itself, and the rows that it should hold.
struct FedView {
    view: LiveView,
    sql: &'static str,
    table: KeyedTable,
    model: BTreeMap<u32, TestRow>,
}

impl FedView {
    async fn new(sql: &'static str) -> Self {
        let context = session::live();
        let relation = LiveRelation::new("t", schema(), RelationKind::Table);
        context.register_table("t", Arc::new(relation)).unwrap();
        let plan =
            tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse(sql).unwrap()).await.unwrap();
        let view = LiveView::plan(&context.state(), plan, Use::Result, 0).await.unwrap();
        assert_eq!(view.maintenance(), Maintenance::Incremental, "{sql}");
        assert!(view.reads_deltas_of("t") && !view.reads_rows_of("t"), "{sql}");
        Self { view, sql, table: KeyedTable::new(schema()), model: BTreeMap::new() }
    }

    async fn feed(&mut self, records: &[KeyedRecord]) {
        for (key, row) in records {
            match row {
                Some(row) => _ = self.model.insert(*key, *row),
                None => _ = self.model.remove(key),
            }
        }
        let rows = RelationRows {
            batch: batch(&records.iter().map(|(_, row)| *row)),
            keys: Some(BinaryArray::from_iter_values(records.iter().map(|(key, _)| key.to_be_bytes()))),
            deletes: Some(records.iter().map(|(_, row)| row.is_none()).collect()),
        };
        let columns = [0, 1, 2, 3];
        let Delta { retractions, insertions } = self.table.apply(rows).unwrap();
        self.view.retract(InputRows { relation: "t", columns: &columns, batches: &[retractions] }).await.unwrap();
        self.view.apply(InputRows { relation: "t", columns: &columns, batches: &[insertions] }).await.unwrap();
    }

    async fn result(&mut self) -> Vec<RecordBatch> {
        self.view.evaluate(&[], 0).await.unwrap()
    }

    async fn text(&mut self) -> String {
        let text = pretty_format_batches(&self.result().await).unwrap().to_string();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        lines.map(|line| line.split_whitespace().collect::<String>()).collect::<Vec<_>>().join(" ")
    }

    /// The result of plain DataFusion over the expected rows.
    async fn expected(&self) -> Vec<RecordBatch> {
        let context = session::batch();
        let rows = batch(&self.model.values().map(|row| Some(*row)));
        context.register_table("t", Arc::new(MemTable::try_new(schema(), vec![vec![rows]]).unwrap())).unwrap();
        tallgrass_planner::sql(&context, self.sql).await.unwrap().collect().await.unwrap()
    }

    async fn assert_as_expected(&mut self) {
        let (live, expected) = (self.result().await, self.expected().await);
        let shown = |batches: &[RecordBatch]| pretty_format_batches(batches).unwrap().to_string();
        assert_eq!(shown(&live), shown(&expected), "{}", self.sql);
    }
}

#[allow(clippy::unnecessary_wraps, reason = "a record without a row is None")]
fn row(k: &'static str, n: impl Into<Option<i64>>, x: impl Into<Option<f64>>) -> Option<TestRow> {
    Some(TestRow { k, n: n.into(), x: x.into() })
}

#[tokio::test]
async fn a_group_vanishes_with_its_last_row_and_comes_back() {
    let mut fed = FedView::new("SELECT k, count(*) AS c, sum(n) AS s FROM t GROUP BY k ORDER BY k").await;
    fed.feed(&[(1, row("a", 5, None)), (2, row("b", 7, None))]).await;
    assert_eq!(fed.text().await, "|a|1|5| |b|1|7|");
    fed.feed(&[(1, row("b", 5, None))]).await;
    assert_eq!(fed.text().await, "|b|2|12|");
    fed.feed(&[(1, None), (2, None)]).await;
    assert_eq!(fed.text().await, "");
    fed.feed(&[(3, row("a", 1, None))]).await;
    assert_eq!(fed.text().await, "|a|1|1|");
    assert_eq!(fed.view.state_size().rows, 1);
}

#[tokio::test]
async fn a_sum_over_no_values_left_is_null_and_not_zero() {
    let sql = "SELECT k, sum(n), sum(x), avg(n), sum(d), sum(n) FILTER (WHERE x > 0), count(n) FROM t GROUP BY k";
    let mut fed = FedView::new(sql).await;
    fed.feed(&[(1, row("a", 5, 1.5)), (2, row("a", None, None))]).await;
    assert_eq!(fed.text().await, "|a|5|1.5|5.0|0.05|5|1|");
    fed.feed(&[(1, row("a", 6, -1.5))]).await;
    assert_eq!(fed.text().await, "|a|6|-1.5|6.0|0.06||1|");
    fed.feed(&[(1, row("a", None, None))]).await;
    assert_eq!(fed.text().await, "|a||||||0|");
    fed.feed(&[(1, row("a", 0, 0.0))]).await;
    assert_eq!(fed.text().await, "|a|0|0.0|0.0|0.00||1|");
}

#[tokio::test]
async fn without_groups_an_emptied_table_is_like_an_empty_one() {
    let mut fed = FedView::new("SELECT count(*), count(n), sum(n), avg(x), sum(d) FROM t").await;
    let empty = fed.text().await;
    assert_eq!(empty, "|0|0||||");
    fed.feed(&[(1, row("a", 5, 2.0)), (2, row("b", 6, None))]).await;
    assert_eq!(fed.text().await, "|2|2|11|2.0|0.11|");
    fed.feed(&[(1, None), (2, None)]).await;
    assert_eq!(fed.text().await, empty);
    assert_eq!(fed.expected().await[0].num_rows(), 1);
}

#[tokio::test]
async fn a_retracted_nan_leaves_no_trace() {
    let mut fed = FedView::new("SELECT k, sum(x), avg(x) FROM t GROUP BY k").await;
    fed.feed(&[(1, row("a", 0, 0.1)), (2, row("a", 0, f64::NAN)), (3, row("a", 0, f64::INFINITY))]).await;
    assert_eq!(fed.text().await, "|a|NaN|NaN|");
    fed.feed(&[(2, row("a", 0, 0.2))]).await;
    assert_eq!(fed.text().await, "|a|inf|inf|");
    fed.feed(&[(1, row("a", 0, f64::NEG_INFINITY))]).await;
    assert_eq!(fed.text().await, "|a|NaN|NaN|");
    fed.feed(&[(3, None), (1, row("a", 0, 1e300))]).await;
    assert_eq!(fed.text().await, "|a|1e300|5e299|");
    fed.feed(&[(1, row("a", 0, 0.1))]).await;
    assert_eq!(fed.text().await, "|a|0.30000000000000004|0.15000000000000002|");
}

#[tokio::test]
async fn a_sum_of_integers_is_right_where_it_fits_and_an_error_elsewhere() {
    let mut fed = FedView::new("SELECT sum(n) FROM t").await;
    // On the way to this sum, another one does not fit.
    fed.feed(&[(1, row("a", i64::MAX, None)), (2, row("a", i64::MAX, None)), (3, row("a", i64::MIN, None))]).await;
    assert_eq!(fed.text().await, "|9223372036854775806|");
    fed.assert_as_expected().await;
    fed.feed(&[(3, None)]).await;
    let error = fed.view.evaluate(&[], 0).await.unwrap_err().to_string();
    assert!(error.contains("sum is out of the range of BIGINT: 18446744073709551614"), "{error}");
    fed.feed(&[(1, None)]).await;
    assert_eq!(fed.text().await, "|9223372036854775807|");
}

#[tokio::test]
async fn distinct_rows_are_those_that_are_there() {
    let mut fed = FedView::new("SELECT k, count(DISTINCT n) AS c FROM t GROUP BY k ORDER BY k").await;
    fed.feed(&[(1, row("a", 1, None)), (2, row("a", 1, None)), (3, row("a", 2, None)), (4, row("b", 1, None))]).await;
    assert_eq!(fed.text().await, "|a|2| |b|1|");
    fed.feed(&[(1, None), (4, row("b", None, None))]).await;
    assert_eq!(fed.text().await, "|a|2| |b|0|");
    fed.feed(&[(2, None)]).await;
    assert_eq!(fed.text().await, "|a|1| |b|0|");
}

#[tokio::test]
async fn a_count_that_the_query_asks_for_is_not_kept_twice() {
    let twice = FedView::new("SELECT k, count(*) AS c, sum(n) AS s, count(n) FROM t GROUP BY k").await;
    let hidden = FedView::new("SELECT k, sum(n) AS s FROM t GROUP BY k").await;
    assert_eq!(twice.view.slot_widths(), [4]);
    assert_eq!(hidden.view.slot_widths(), [4]);
    assert_eq!(FedView::new("SELECT count(*), avg(x) FROM t").await.view.slot_widths(), [2]);
}

/// Updates and deletions of up to 60 keys, values of very different size among them.
fn random_records(random: &mut ChaCha8Rng, count: usize) -> Vec<KeyedRecord> {
    let one = |random: &mut ChaCha8Rng| {
        let key = random.random_range(0..60);
        let row = random.random_bool(0.85).then(|| TestRow {
            k: ["a", "b", "c", "d", "e"][random.random_range(0..5)],
            n: random.random_bool(0.8).then(|| random.random_range(-1000..1000)),
            x: random
                .random_bool(0.9)
                .then(|| random.random_range(-1.0..1.0) * 10_f64.powi(random.random_range(-200..200))),
        });
        (key, row)
    };
    (0..count).map(|_| one(random)).collect()
}

#[tokio::test]
async fn ten_thousand_random_updates_leave_what_a_fresh_batch_gives_to_the_bit() {
    for seed in 0..3 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let sql = "SELECT k, sum(x), avg(x), sum(n), sum(d), count(x) FROM t GROUP BY k ORDER BY k";
        let mut fed = FedView::new(sql).await;
        let mut left = 10_000_usize;
        while left > 0 {
            let count = random.random_range(1..200).min(left);
            left -= count;
            fed.feed(&random_records(&mut random, count)).await;
        }
        let (live, expected) = (fed.result().await, fed.expected().await);
        assert_eq!(live.len(), 1);
        for column in 1..=2 {
            let bits = |batches: &[RecordBatch]| -> Vec<Option<u64>> {
                let values = batches[0].column(column).as_primitive::<Float64Type>();
                values.iter().map(|value| value.map(f64::to_bits)).collect()
            };
            assert_eq!(bits(&live), bits(&expected), "seed {seed}, column {column}");
        }
        assert_eq!(live[0].columns(), expected[0].columns(), "seed {seed}");
    }
}

#[tokio::test]
async fn the_state_follows_the_groups_that_are_there_and_not_the_history() {
    let mut fed = FedView::new("SELECT n, count(*) AS c, sum(x) FROM t GROUP BY n").await;
    let (mut most, mut next) = (0, 0);
    for _ in 0..1_000 {
        // 100 keys, each update to a new group.
        let records: Vec<KeyedRecord> = (0..100).map(|key| (key, row("a", next + i64::from(key), 0.5))).collect();
        next += 100;
        fed.feed(&records).await;
        most = most.max(fed.view.state_size().rows);
    }
    assert!(most <= 400, "{most} rows of state for 100 groups");
    assert!(fed.view.state_size().bytes < 200_000, "{:?}", fed.view.state_size());
    let groups = fed.result().await;
    assert_eq!(groups.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    let counts = groups.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec());
    assert!(counts.into_iter().all(|count| count == 1));
    let records: Vec<KeyedRecord> = (0..100).map(|key| (key, None)).collect();
    fed.feed(&records).await;
    assert_eq!(fed.view.state_size().rows, 0);
}

#[tokio::test]
async fn updates_one_by_one_keep_the_state_small_too() {
    let mut fed = FedView::new("SELECT n, count(*) FROM t GROUP BY n").await;
    let mut most = 0;
    for step in 0..3_000_u32 {
        fed.feed(&[(step % 100, row("a", i64::from(step), None))]).await;
        most = most.max(fed.view.state_size().rows);
    }
    assert!(most <= 300, "{most} rows of state for 100 groups");
}
