//! The differential test: a view fed in micro-batches equals plain DataFusion over all rows so far, to the last bit.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallgrass::relation::{KeyedTable, RelationRows};
use tallgrass::view::cut::Use;
use tallgrass::view::source::{LiveRelation, RelationKind};
use tallgrass::view::{LiveView, Maintenance, Rows, session};

/// `s(k VARCHAR, n BIGINT, x DOUBLE)`, some of each null.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8View, true),
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("at", DataType::Int64, true),
    ]))
}

fn rows(random: &mut ChaCha8Rng, count: usize, first: i64) -> RecordBatch {
    let maybe = |random: &mut ChaCha8Rng| random.random_bool(0.9);
    let k: Vec<Option<String>> =
        (0..count).map(|_| maybe(random).then(|| format!("k{}", random.random_range(0..7)))).collect();
    let n: Vec<Option<i64>> = (0..count).map(|_| maybe(random).then(|| random.random_range(-50..50))).collect();
    let x: Vec<Option<f64>> = (0..count)
        .map(|_| maybe(random).then(|| random.random_range(-1.0..1.0) * 10f64.powi(random.random_range(-9..9))))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter(k)),
        Arc::new(Int64Array::from(n)),
        Arc::new(Float64Array::from(x)),
        Arc::new(Int64Array::from_iter_values(first..first + count as i64)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The rows as records of a table of 40 keys; some delete theirs.
fn keyed(random: &mut ChaCha8Rng, batch: RecordBatch) -> RelationRows {
    let count = batch.num_rows();
    let keys = BinaryArray::from_iter_values((0..count).map(|_| [random.random_range(0..40_u8)]));
    let deletes = (0..count).map(|_| random.random_bool(0.3)).collect();
    RelationRows { batch, keys: Some(keys), deletes: Some(deletes) }
}

fn dex() -> MemTable {
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8View, false),
        Field::new("kind", DataType::Utf8View, false),
    ]));
    let names: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10).map(|i| format!("k{i}"))));
    let kinds: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10).map(|i| format!("kind{}", i % 3))));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![names, kinds]).unwrap();
    MemTable::try_new(schema, vec![vec![batch]]).unwrap()
}

fn register(context: &SessionContext) {
    context.register_table("dex", Arc::new(dex())).unwrap();
}

/// The rows as a sorted list of byte strings: equal lists mean equal multisets of rows, bit by bit.
fn bag(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    let Some(first) = batches.first() else { return Vec::new() };
    let fields = first.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields).unwrap();
    let mut all: Vec<Vec<u8>> = batches
        .iter()
        .flat_map(|batch| {
            let rows = converter.convert_columns(batch.columns()).unwrap();
            rows.iter().map(|row| row.as_ref().to_vec()).collect::<Vec<_>>()
        })
        .collect();
    all.sort();
    all
}

async fn live_equals_batch(sql: &str, seed: u64) -> Maintenance {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let context = session::live();
    register(&context);
    for name in ["s", "r"] {
        context.register_table(name, Arc::new(LiveRelation::new(name, schema(), RelationKind::Stream))).unwrap();
    }
    context.register_table("t", Arc::new(LiveRelation::new("t", schema(), RelationKind::Table))).unwrap();
    let plan = context.state().create_logical_plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut view = LiveView::plan(&context.state(), plan, Use::Result, 1_000_000)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));

    let columns = [0, 1, 2, 3];
    let (mut s, mut r, mut table) = (Vec::new(), Vec::new(), KeyedTable::new(schema()));
    let mut next = 0;
    for step in 0..12 {
        let count = random.random_range(0..60);
        let batch = rows(&mut random, count, next);
        next += count as i64;
        match random.random_range(0..3) {
            0 => {
                view.apply(Rows { relation: "r", columns: &columns, batches: std::slice::from_ref(&batch) })
                    .await
                    .unwrap();
                r.push(batch);
            }
            1 => {
                let (gone, came) = table.apply(keyed(&mut random, batch)).unwrap().gone_and_came();
                view.retract(Rows { relation: "t", columns: &columns, batches: &[gone] }).await.unwrap();
                view.apply(Rows { relation: "t", columns: &columns, batches: &[came] }).await.unwrap();
            }
            _ => {
                view.apply(Rows { relation: "s", columns: &columns, batches: std::slice::from_ref(&batch) })
                    .await
                    .unwrap();
                s.push(batch);
            }
        }
        if step % 3 != 2 {
            continue;
        }
        let t = table.current().unwrap();
        let live = view.evaluate(&[Rows { relation: "t", columns: &columns, batches: &t }], 0).await;
        let live = live.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let batch = session::batch();
        register(&batch);
        for (name, rows) in [("s", &s), ("r", &r), ("t", &t)] {
            let table = MemTable::try_new(schema(), vec![rows.clone()]).unwrap();
            batch.register_table(name, Arc::new(table)).unwrap();
        }
        let expected = batch.sql(sql).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(bag(&live), bag(&expected), "{sql} (seed {seed}, step {step})");
    }
    view.maintenance()
}

const INCREMENTAL: &[&str] = &[
    "SELECT count(*) FROM s",
    "SELECT count(*), count(n), sum(n), avg(n), min(n), max(n), sum(x), avg(x) FROM s",
    "SELECT k, count(*), sum(n), min(x), max(x) FROM s GROUP BY k",
    "SELECT k, sum(x), avg(x) FROM s GROUP BY k",
    "SELECT k, count(*) AS c FROM s WHERE n > 0 GROUP BY k HAVING count(*) > 2 ORDER BY c DESC, k",
    "SELECT k, count(*) FILTER (WHERE n > 0), sum(n) FILTER (WHERE x < 0) FROM s GROUP BY k",
    "SELECT k, count(DISTINCT n) FROM s GROUP BY k",
    "SELECT count(DISTINCT k), count(DISTINCT n), sum(n) FROM s",
    "SELECT DISTINCT k FROM s",
    "SELECT DISTINCT k, n FROM s WHERE n < 0",
    "SELECT k, n % 3, count(*) FROM s GROUP BY ROLLUP(k, n % 3)",
    "SELECT k, n % 3, sum(n) FROM s GROUP BY CUBE(k, n % 3)",
    "SELECT k, n % 3, sum(n) FROM s GROUP BY GROUPING SETS ((k), (n % 3), ())",
    "SELECT * FROM s ORDER BY n DESC NULLS LAST, at LIMIT 5",
    "SELECT k, at FROM s ORDER BY at DESC LIMIT 3 OFFSET 2",
    "SELECT kind, count(*) FROM s JOIN dex ON s.k = dex.k GROUP BY kind",
    "SELECT kind, count(*) FROM s LEFT JOIN dex ON s.k = dex.k GROUP BY kind",
    "SELECT k FROM dex WHERE k NOT IN (SELECT k FROM s WHERE k IS NOT NULL)",
    "SELECT k FROM dex WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = dex.k)",
    "SELECT dex.k FROM dex LEFT ANTI JOIN s ON s.k = dex.k",
    "SELECT count(*) FROM s WHERE k IN (SELECT k FROM dex WHERE kind = 'kind1')",
    "SELECT k, c, c * 100.0 / (SELECT count(*) FROM s) AS share FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
    "SELECT a.k, a.c, b.c FROM (SELECT k, count(*) c FROM s GROUP BY k) a FULL JOIN (SELECT k, count(*) c FROM r GROUP BY k) b ON a.k = b.k",
    "SELECT 's', count(*) FROM s UNION ALL SELECT 'r', count(*) FROM r",
    "SELECT k, count(*) FROM (SELECT k FROM s UNION ALL SELECT k FROM r) GROUP BY k",
    "SELECT k, c, rank() OVER (ORDER BY c DESC, k) FROM (SELECT k, count(*) c FROM s GROUP BY k)",
    "SELECT k, array_agg(at ORDER BY at) FROM s GROUP BY k",
    "SELECT k, first_value(n ORDER BY at), last_value(n ORDER BY at) FROM s GROUP BY k",
    "SELECT k, median(n), approx_distinct(n) FROM s GROUP BY k",
    "SELECT bool_or(n > 40), bool_and(n > -49), bit_xor(n) FROM s",
    "WITH top AS (SELECT k, sum(n) total FROM s GROUP BY k) SELECT * FROM top WHERE total > (SELECT avg(total) FROM top)",
    "SELECT k, max(at) FROM s WHERE k LIKE 'k%' GROUP BY k ORDER BY 2 DESC LIMIT 2",
    "SELECT count(*) FROM s CROSS JOIN dex WHERE dex.kind = 'kind2'",
    "SELECT unnest([n, n + 1]) AS u, count(*) FROM s GROUP BY 1",
    "SELECT k, t.c FROM (SELECT k, count(*) AS c FROM t GROUP BY k) t WHERE c > (SELECT count(*) FROM s) / 50",
];

const RECOMPUTED: &[&str] = &[
    "SELECT * FROM s",
    "SELECT k, n * 2 FROM s WHERE n > 10",
    "SELECT k, n, sum(n) OVER (PARTITION BY k ORDER BY at) FROM s",
    "SELECT s.k, r.n FROM s JOIN r ON s.k = r.k AND s.n = r.n",
    "SELECT s.k, t.n FROM s JOIN t ON s.k = t.k WHERE t.n > 20",
    "SELECT count(*) FROM s WHERE n > (SELECT avg(n) FROM s)",
    "SELECT k, n FROM s ORDER BY at",
    "SELECT k, n FROM s UNION ALL SELECT k, n FROM t",
    "SELECT k, max(n), min(n) FROM (SELECT k, n FROM s UNION ALL SELECT k, n FROM t) GROUP BY k",
];

/// Over a table, by weights: also incremental.
const WEIGHTED: &[&str] = &[
    "SELECT count(*) FROM t",
    "SELECT count(*), count(n), sum(n), avg(n), sum(x), avg(x) FROM t",
    "SELECT sum(n) FROM t WHERE n > 45",
    "SELECT k, count(*), sum(x) FROM t GROUP BY k",
    "SELECT k, sum(n), avg(n), sum(x), avg(x) FROM t GROUP BY k",
    "SELECT k, n % 3 AS m, sum(n) + 1 AS s, count(n) FROM t GROUP BY k, m HAVING sum(n) > 10 ORDER BY s, k, m",
    "SELECT k, sum(n) FILTER (WHERE x < 0), count(*) FILTER (WHERE n > 0), avg(x) FILTER (WHERE n > 0) FROM t GROUP BY k",
    "SELECT k, sum(CAST(n AS DECIMAL(12, 2))), sum(CAST(n + 50 AS BIGINT UNSIGNED)) FROM t GROUP BY k",
    "SELECT sum(n * 9000000000000000000) FROM t",
    "SELECT DISTINCT k, n FROM t WHERE n < 20",
    "SELECT k, count(DISTINCT n) FROM t GROUP BY k",
    "SELECT count(DISTINCT n), sum(n) FROM t",
    "SELECT n, k FROM t GROUP BY k, n",
    "SELECT kind, count(*), sum(n) FROM t JOIN dex ON t.k = dex.k GROUP BY kind",
    "SELECT kind, count(*) FROM t LEFT JOIN dex ON t.k = dex.k GROUP BY kind",
    "SELECT k, count(*), sum(n) FROM (SELECT k, n FROM s UNION ALL SELECT k, n FROM t) GROUP BY k",
    "SELECT DISTINCT k FROM (SELECT k FROM s UNION ALL SELECT k FROM t)",
    "SELECT unnest([n, n + 1]) AS u, count(*) FROM t GROUP BY 1",
    "SELECT a.k, a.c, b.c FROM (SELECT k, count(*) c FROM s GROUP BY k) a FULL JOIN (SELECT k, sum(n) c FROM t GROUP BY k) b ON a.k = b.k",
    "SELECT k, c * 100.0 / (SELECT count(*) FROM t) AS share FROM (SELECT k, count(*) AS c FROM t GROUP BY k)",
    "SELECT k FROM dex WHERE (SELECT count(*) FROM t) > 10",
];

const FROM_TABLES: &[&str] = &[
    "SELECT * FROM t WHERE n > 0",
    "SELECT k, min(n), max(x), count(*) FROM t GROUP BY k",
    "SELECT * FROM t ORDER BY at DESC LIMIT 5",
    "SELECT k, n % 3, count(*) FROM t GROUP BY ROLLUP(k, n % 3)",
    "SELECT k, array_agg(at ORDER BY at) FROM t GROUP BY k",
    "SELECT count(DISTINCT k), count(DISTINCT n) FROM t",
    "SELECT k, count(*) FROM t WHERE n > (SELECT avg(n) FROM t) GROUP BY k",
    "SELECT t.k, t.n, c FROM t JOIN (SELECT k, count(*) AS c FROM t GROUP BY k) a ON a.k = t.k",
    "SELECT s.c, t.at FROM t JOIN (SELECT k, count(*) AS c FROM s GROUP BY k) s ON s.k = t.k",
];

#[tokio::test]
async fn live_equals_batch_and_is_maintained_as_said() {
    for (queries, maintenance) in [
        (INCREMENTAL, Maintenance::Incremental),
        (WEIGHTED, Maintenance::Incremental),
        (RECOMPUTED, Maintenance::Recomputed),
        (FROM_TABLES, Maintenance::FromTables),
    ] {
        for sql in queries {
            for seed in 0..6 {
                assert_eq!(live_equals_batch(sql, seed).await, maintenance, "{sql}");
            }
        }
    }
}

#[tokio::test]
async fn functions_that_no_replay_can_repeat_are_refused() {
    let context = session::live();
    context.register_table("s", Arc::new(LiveRelation::new("s", schema(), RelationKind::Stream))).unwrap();
    let plan = context.state().create_logical_plan("SELECT count(*) FROM s WHERE x < random()").await.unwrap();
    let error = LiveView::plan(&context.state(), plan, Use::Result, 10).await.unwrap_err();
    assert!(error.to_string().contains("random() gives another value each time"), "{error}");
}

#[tokio::test]
async fn a_view_that_must_keep_too_many_rows_fails_and_says_why() {
    let context = session::live();
    context.register_table("s", Arc::new(LiveRelation::new("s", schema(), RelationKind::Stream))).unwrap();
    let plan = context.state().create_logical_plan("SELECT k FROM s").await.unwrap();
    let mut view = LiveView::plan(&context.state(), plan, Use::Result, 10).await.unwrap();
    let batch = rows(&mut ChaCha8Rng::seed_from_u64(1), 11, 0);
    let error = view.apply(Rows { relation: "s", columns: &[0, 1, 2, 3], batches: &[batch] }).await.unwrap_err();
    assert!(error.to_string().contains("more than 10 have come"), "{error}");
}
