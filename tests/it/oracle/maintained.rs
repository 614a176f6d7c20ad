//! How each kind of query is maintained, and that it is correct: queries written by hand, some of which once were wrong.

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tallgrass_pipeline::{Engine, NamedView};
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::{Fingerprint, LiveView, Maintenance};

use super::data;
use super::executions::{self, TestView, ViewOutcome, check};
use super::history::FeedProgress;

/// Histories that each query runs over.
const SEEDS: std::ops::Range<u64> = 0..6;

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
    "SELECT * FROM s ORDER BY n DESC NULLS LAST, _partition, _offset LIMIT 5",
    "SELECT k, at FROM s ORDER BY _offset DESC, _partition LIMIT 3 OFFSET 2",
    "SELECT * FROM (SELECT k, n, x FROM s ORDER BY n, _partition, _offset LIMIT 4 OFFSET 1) ORDER BY x",
    "SELECT * FROM (SELECT k, n FROM s ORDER BY n, _partition, _offset LIMIT 4 OFFSET 1) ORDER BY n",
    "SELECT kind, count(*) FROM s JOIN dex ON s.k = dex.k GROUP BY kind",
    "SELECT kind, count(*) FROM s LEFT JOIN dex ON s.k = dex.k GROUP BY kind",
    "SELECT k FROM dex WHERE k NOT IN (SELECT k FROM s WHERE k IS NOT NULL)",
    "SELECT k FROM dex WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.k = dex.k)",
    "SELECT dex.k FROM dex LEFT ANTI JOIN s ON s.k = dex.k",
    "SELECT count(*) FROM s WHERE k IN (SELECT k FROM dex WHERE kind = 'red')",
    "SELECT k, c, c * 100.0 / (SELECT count(*) FROM s) AS share FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
    "SELECT a.k, a.c, b.c FROM (SELECT k, count(*) c FROM s GROUP BY k) a FULL JOIN (SELECT k, count(*) c FROM r GROUP BY k) b ON a.k = b.k",
    "SELECT 's', count(*) FROM s UNION ALL SELECT 'r', count(*) FROM r",
    "SELECT k, count(*) FROM (SELECT k FROM s UNION ALL SELECT k FROM r) GROUP BY k",
    "SELECT k, c, rank() OVER (ORDER BY c DESC, k) FROM (SELECT k, count(*) c FROM s GROUP BY k)",
    "SELECT k, array_agg(at ORDER BY _partition, _offset) FROM s GROUP BY k",
    "SELECT k, first_value(n ORDER BY _partition, _offset), last_value(n ORDER BY _partition, _offset) FROM s GROUP BY k",
    // Once merged as if the batches arrived in the order that the rows of each have.
    "SELECT last_value(n ORDER BY _offset DESC, _partition), array_agg(b ORDER BY _offset DESC, _partition) FROM s",
    "SELECT first_value(n ORDER BY _offset DESC, _partition), array_agg(b ORDER BY _offset DESC, _partition) FROM s",
    "SELECT k, last_value(n ORDER BY x, _offset, _partition), array_agg(b ORDER BY x, _offset, _partition) FROM s GROUP BY k",
    // A scalar subquery over a file stands above the aggregate in the physical plan.
    "SELECT k, count(*), sum(n) FROM s WHERE n > (SELECT avg(level) FROM dex) GROUP BY k",
    "SELECT DISTINCT n + (SELECT max(level) FROM dex) FROM s",
    "SELECT k, median(n), approx_distinct(n) FROM s GROUP BY k",
    "SELECT bool_or(n > 40), bool_and(n > -49), bit_xor(n) FROM s",
    "WITH top AS (SELECT k, sum(n) total FROM s GROUP BY k) SELECT * FROM top WHERE total > (SELECT avg(total) FROM top)",
    "SELECT k, max(at) FROM s WHERE k LIKE 'k%' GROUP BY k ORDER BY 2 DESC LIMIT 2",
    "SELECT count(*) FROM s CROSS JOIN dex WHERE dex.kind = 'blue'",
    "SELECT unnest([n, n + 1]) AS u, count(*) FROM s GROUP BY 1",
];

const RECOMPUTED: &[&str] = &[
    "SELECT * FROM s",
    "SELECT k, n * 2 FROM s WHERE n > 10",
    "SELECT k, n, sum(n) OVER (PARTITION BY k ORDER BY _partition, _offset) FROM s",
    "SELECT s.k, r.n FROM s JOIN r ON s.k = r.k AND s.n = r.n",
    "SELECT s.k, u.n FROM s JOIN u ON s.k = u.k WHERE u.n > 20",
    "SELECT count(*) FROM s WHERE n > (SELECT avg(n) FROM s)",
    "SELECT k, n FROM s ORDER BY _offset, _partition",
];

/// Tables are in their sources; how, is left open.
const OVER_TABLES: &[&str] = &[
    "SELECT count(*) FROM u",
    "SELECT k, count(*), sum(x) FROM u GROUP BY k",
    "SELECT * FROM u WHERE n > 0",
    "SELECT k, max(n), min(x), count(DISTINCT n) FROM u GROUP BY k",
    "SELECT u.id, e.c FROM u LEFT JOIN (SELECT id, count(*) AS c FROM u_events GROUP BY id) e ON e.id = u.id",
    "SELECT k, t.c FROM (SELECT k, count(*) AS c FROM u GROUP BY k) t WHERE c > (SELECT count(*) FROM s) / 50",
    "SELECT count(*) FROM u_events WHERE id NOT IN (SELECT id FROM u WHERE id IS NOT NULL)",
    "SELECT code, n FROM v ORDER BY n DESC NULLS LAST, _partition, _offset LIMIT 4",
];

#[tokio::test]
async fn live_equals_batch_and_is_maintained_as_declared() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = data::workspace(dir.path());
    for (queries, expected) in [
        (INCREMENTAL, Some(Maintenance::Incremental)),
        (RECOMPUTED, Some(Maintenance::Recomputed)),
        (OVER_TABLES, None),
    ] {
        let view = |(index, sql): (usize, &&str)| TestView {
            name: format!("q{index}"),
            sql: (*sql).to_owned(),
            ordered: false,
        };
        let views: Vec<TestView> = queries.iter().enumerate().map(view).collect();
        if let Some(expected) = expected {
            let engine = executions::engine(&workspace, &executions::files(&views)).await;
            for (view, maintenance) in views.iter().zip(executions::maintenance(&engine)) {
                assert_eq!(maintenance, Some(expected), "{}", view.sql);
            }
        }
        for seed in SEEDS {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let history = data::history(&workspace, &mut random).await;
            let steps = history.steps(&mut random, 20, 0.3);
            for (view, verdict) in views.iter().zip(check(&workspace, &views, &history, &steps).await) {
                assert_eq!(verdict, ViewOutcome::Agree, "{} (seed {seed})", view.sql);
            }
        }
    }
}

#[tokio::test]
async fn functions_that_no_replay_can_repeat_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let context = data::workspace(dir.path()).live_session().await.unwrap();
    let plan = tallgrass_planner::logical_plan(
        &context.state(),
        tallgrass_planner::parse("SELECT count(*) FROM s WHERE x < random()").unwrap(),
    )
    .await
    .unwrap();
    let error = LiveView::plan(&context.state(), plan, Use::Result, 10).await.unwrap_err();
    assert!(error.to_string().contains("random() gives another value each time"), "{error}");
}

#[tokio::test]
async fn a_view_that_must_keep_too_many_rows_fails_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = data::workspace(dir.path());
    let context = workspace.live_session().await.unwrap();
    let plan = tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse("SELECT k FROM s").unwrap())
        .await
        .unwrap();
    let view = LiveView::plan(&context.state(), plan, Use::Result, 10).await.map_err(Arc::new);
    let mut engine = Engine::new(workspace.catalog(), vec![NamedView::new("q", Fingerprint::default(), view)]).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let history = data::history(&workspace, &mut random).await;
    let topics = engine.topics().clone();
    let mut fed = FeedProgress::start(&history, &mut engine);
    for step in history.steps(&mut random, 10, 0.0) {
        engine.apply(fed.take(&step, &topics)).await.unwrap();
    }
    assert!(fed.rows[0].len() > 10, "the stream has rows enough");
    let snapshot = engine.refresh().await.unwrap();
    let error = snapshot.results[0].rows.as_ref().unwrap_err().to_string();
    assert!(error.contains("more than 10 have arrived"), "{error}");
}
