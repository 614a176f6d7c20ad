//! The warnings about results that are not exactly defined, and none about the others.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::prelude::SessionContext;

use super::shipped_tests::queries;
use tallgrass_relation::Catalog;
use tallgrass_sql::session;

use super::{SqlFile, Workspace, lint, live_view, plan};
use crate::incremental::cut::Use;
use crate::incremental::source::{LiveRelation, RelationKind};
use crate::results::tolerance::{Tolerance, tolerance};

fn live() -> SessionContext {
    let column = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let declared = [column("k", DataType::Utf8), column("n", DataType::Int64), column("x", DataType::Float64)];
    let metadata = [
        column("_key", DataType::Utf8),
        column("_partition", DataType::Int32),
        column("_offset", DataType::Int64),
        column("_timestamp", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ];
    let dex = Arc::new(Schema::new(declared.to_vec()));
    let all = Arc::new(Schema::new(declared.into_iter().chain(metadata).collect::<Vec<_>>()));
    let context = session::live();
    for (name, kind, key) in
        [("s", RelationKind::Stream, None), ("r", RelationKind::Stream, None), ("t", RelationKind::Table, Some("n"))]
    {
        let relation = LiveRelation::new(name, Arc::clone(&all), kind).with_key(key);
        context.register_table(name, Arc::new(relation)).unwrap();
    }
    context.register_table("dex", Arc::new(MemTable::try_new(dex, vec![vec![]]).unwrap())).unwrap();
    let topic = |name: &str, key: &str| {
        format!("CREATE EXTERNAL TABLE {name} (k VARCHAR, n BIGINT, x DOUBLE{key}) STORED AS KAFKA LOCATION '{name}';")
    };
    let sources = topic("s", "") + &topic("r", "") + &topic("t", ", PRIMARY KEY (n)");
    let catalog = Catalog::parse(&sources, Path::new("."), Path::new("sources.sql")).unwrap();
    context.state_ref().write().config_mut().set_extension(Arc::new(catalog));
    context
}

fn file(sql: &str) -> SqlFile {
    SqlFile::parse("a", "a.sql", sql).unwrap_or_else(|error| panic!("{error}"))
}

/// All that `check` shows about a file.
async fn shown(context: &SessionContext, sql: &str) -> String {
    let file = file(sql);
    let plan = plan(context, &file).await.unwrap_or_else(|error| panic!("{error}"));
    let warnings = lint::warnings(&file, &plan).unwrap();
    let mut shown: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    shown.extend(live_view(context, &file, plan, Use::Result, 10).await.err().map(|error| error.to_string()));
    shown.join("\n")
}

#[tokio::test]
async fn what_is_not_exactly_defined_is_shown_with_its_place_and_a_way_out() {
    let context = live();
    let mut all = String::new();
    for sql in [
        "SELECT array_agg(c) FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
        "SELECT k, array_agg(n ORDER BY n),\n  first_value(n) AS one FROM (SELECT DISTINCT k, n FROM s) GROUP BY k",
        "SELECT string_agg(k, ',') FROM dex",
        "SELECT any_value(k) FROM (SELECT k FROM s UNION ALL SELECT k FROM r)",
        "SELECT k, row_number() OVER (PARTITION BY k) FROM dex",
        "SELECT k, first_value(c) OVER (PARTITION BY k) FROM (SELECT k, n, count(*) AS c FROM s GROUP BY k, n)",
        "SELECT c, sum(c) OVER (ROWS 1 PRECEDING) FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
        "SELECT DISTINCT ON (k) k, n FROM dex",
        "SELECT random() AS r, k FROM s",
        "SELECT k FROM s LIMIT 10",
        "SELECT k FROM dex OFFSET 2",
        "SELECT k, count(*) AS c FROM s GROUP BY k ORDER BY c DESC LIMIT 10",
        "SELECT date_trunc('hour', _timestamp) AS hour, k, count(*) AS c FROM s GROUP BY hour, k ORDER BY c LIMIT 3",
        "SELECT * FROM s ORDER BY _timestamp DESC, _partition LIMIT 10",
        "SELECT k FROM t ORDER BY _timestamp LIMIT 5",
        "SELECT k, n FROM (SELECT k, n, x FROM s UNION ALL SELECT k, n, x FROM r) ORDER BY n LIMIT 5",
        "SELECT s.k, r.n FROM s JOIN r ON s.k = r.k ORDER BY s._partition, s._offset LIMIT 5",
        "SELECT minute FROM (SELECT n AS minute, count(*) AS c FROM s GROUP BY n ORDER BY c LIMIT 60) ORDER BY minute",
        "SELECT k, stddev(x), corr(x, n) FROM s GROUP BY k",
        "SELECT var_samp(x) OVER (ORDER BY c) FROM (SELECT k, sum(x) AS x, count(*) AS c FROM s GROUP BY k)",
        "SELECT approx_percentile_cont(x, 0.9), approx_median(n) FROM s",
    ] {
        let one = shown(&context, sql).await;
        assert!(!one.is_empty(), "nothing is shown of {sql}");
        all.extend(["-- ", &sql.replace('\n', " "), "\n", &one, "\n\n"]);
    }
    insta::assert_snapshot!("not_exactly_defined", all);
}

#[tokio::test]
async fn orders_that_are_total_have_no_warning() {
    let context = live();
    for sql in [
        "SELECT k, count(*) AS c FROM s GROUP BY k ORDER BY c DESC, k LIMIT 10",
        "SELECT k AS name, n, count(*) AS c FROM s GROUP BY k, n ORDER BY c DESC, name, n LIMIT 10",
        "SELECT k, n FROM s ORDER BY n, k LIMIT 10",
        "SELECT k FROM s ORDER BY k LIMIT 10",
        "SELECT x FROM s ORDER BY _timestamp DESC, _partition, _offset DESC LIMIT 10",
        "SELECT k, x FROM t ORDER BY _timestamp DESC, n LIMIT 10",
        "SELECT x FROM t ORDER BY _key LIMIT 10",
        "SELECT count(*) FROM s LIMIT 1",
        "SELECT * FROM dex ORDER BY x LIMIT 3",
        "SELECT s.x, a.c FROM s JOIN (SELECT k, count(*) AS c FROM r GROUP BY k) a ON s.k = a.k ORDER BY s._partition, s._offset LIMIT 3",
        "SELECT dex.x FROM s JOIN dex ON s.k = dex.k ORDER BY s._partition, s._offset LIMIT 3",
        "SELECT k FROM s WHERE n NOT IN (SELECT n FROM r) ORDER BY n, _partition, _offset LIMIT 3",
        "SELECT sum(x), avg(n), count(DISTINCT k), approx_distinct(k), median(x) FROM s",
        "SELECT k, first_value(n ORDER BY _partition, _offset), array_agg(n ORDER BY n) FROM s GROUP BY k",
        "SELECT k, c, rank() OVER (ORDER BY c), sum(c) OVER () FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
        "SELECT k, n, count(*) AS c FROM s GROUP BY ROLLUP(k, n) ORDER BY c, k, n LIMIT 3",
    ] {
        assert_eq!(shown(&context, sql).await, "", "{sql}");
    }
}

#[tokio::test]
async fn an_order_that_nobody_named_is_said_and_not_refused() {
    let context = live();
    let mut all = String::new();
    for sql in [
        "SELECT k, array_agg(n), any_value(x) FROM s GROUP BY k",
        "SELECT array_agg(k ORDER BY n, k), string_agg(k, ',') FROM t",
        "SELECT k,\n  row_number() OVER (PARTITION BY k) FROM s",
        "SELECT array_agg(DISTINCT n), array_sort(array_agg(x)) FROM s GROUP BY k",
        "SELECT array_sort(array_agg(n)) FROM (SELECT DISTINCT n FROM s)",
        "SELECT DISTINCT ON (k) k, n FROM s",
        "SELECT sum(n) OVER (ROWS 1 PRECEDING) FROM s",
        "SELECT first_value(n ORDER BY x, _partition, _offset) FROM s",
    ] {
        assert_eq!(shown(&context, sql).await, "", "{sql}");
        let file = file(sql);
        let notes = lint::notes(&file, &plan(&context, &file).await.unwrap()).unwrap();
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        all.extend(["-- ", &sql.replace('\n', " "), "\n", &notes.join("\n"), "\n\n"]);
    }
    insta::assert_snapshot!("goes_by_the_log", all);
}

#[tokio::test]
async fn what_another_file_hides_is_refused_too() {
    let context = live();
    let inner = plan(&context, &file("SELECT k, last_value(n) AS n FROM dex GROUP BY k")).await.unwrap();
    context.register_table("inner_view", Arc::new(ViewTable::new(inner, None))).unwrap();
    let shown = shown(&context, "SELECT count(*) FROM inner_view").await;
    assert!(shown.starts_with("a.sql: error: last_value() without an ORDER BY inside"), "{shown}");
}

#[tokio::test]
async fn the_files_that_ship_have_no_warning() {
    let workspace = Workspace::load(queries()).unwrap();
    let context = workspace.live_session().await.unwrap();
    let files: Vec<SqlFile> = workspace.dashboard().into_iter().map(Result::unwrap).collect();
    for (file, plan) in files.iter().zip(workspace.plan_dashboard(&context, &files).await) {
        let plan = plan.unwrap();
        assert_eq!(lint::warnings(file, &plan).unwrap(), [], "{}", file.name());
        assert!(tolerance(&plan).unwrap().iter().all(|one| *one == Tolerance::Exact), "{}", file.name());
    }
}

#[tokio::test]
async fn a_tolerance_follows_the_value_wherever_it_flows() {
    use Tolerance::{Exact, Relative};
    let (digits, percent) = (Relative(1e-9), Relative(0.05));
    let context = live();
    let variances = plan(&context, &file("SELECT k, var(x) AS v, count(*) AS c FROM s GROUP BY k")).await.unwrap();
    context.register_table("variances", Arc::new(ViewTable::new(variances, None))).unwrap();
    for (sql, expected) in [
        ("SELECT k, count(*), sum(x), avg(x) FROM s GROUP BY k", vec![Exact; 4]),
        ("SELECT k, stddev(x), count(*) FROM s GROUP BY k", vec![Exact, digits, Exact]),
        (
            "SELECT round(var_pop(x), 2) + 1 AS v, approx_median(x), approx_distinct(x) FROM s",
            vec![digits, percent, Exact],
        ),
        (
            "SELECT a.k, c, sd FROM (SELECT k, stddev(x) AS sd, count(*) AS c FROM s GROUP BY k) a JOIN dex ON dex.k = a.k",
            vec![Exact, Exact, digits],
        ),
        (
            "SELECT max(sd), count(*), max(p) + max(sd) FROM (SELECT k, stddev(x) AS sd, approx_percentile_cont(x, 0.5) AS p FROM s GROUP BY k)",
            vec![digits, Exact, percent],
        ),
        (
            "SELECT k, c, c > (SELECT stddev(n) FROM r) AS high FROM (SELECT k, count(*) AS c FROM s GROUP BY k)",
            vec![Exact, Exact, digits],
        ),
        ("SELECT c, v FROM variances ORDER BY c, k LIMIT 3", vec![Exact, digits]),
        ("SELECT v, count(*) FROM variances GROUP BY v", vec![digits, digits]),
        ("SELECT k, v FROM variances UNION ALL SELECT k, x FROM dex", vec![Exact, digits]),
        ("SELECT k, rank() OVER (ORDER BY v), sum(c) OVER (ORDER BY c) FROM variances", vec![Exact, digits, Exact]),
        ("SELECT k, unnest([v, 1.0]) FROM variances", vec![Exact, digits]),
        ("SELECT DISTINCT k, v FROM variances WHERE v > 1", vec![Exact, digits]),
        ("SELECT k FROM dex WHERE k IN (SELECT k FROM variances)", vec![Exact]),
    ] {
        let plan = tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse(sql).unwrap())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(tolerance(&plan).unwrap(), expected, "{sql}");
        let optimized = context.state().optimize(&plan).unwrap();
        assert_eq!(tolerance(&optimized).unwrap(), expected, "{sql}, optimized");
    }
}

#[test]
fn a_tolerance_is_of_the_larger_magnitude_and_nothing_is_near_a_nan() {
    let digits = Tolerance::Relative(1e-9);
    assert!(digits.allows(1e20, 1e20 + 1e10) && !digits.allows(1.0, 1.0 + 1e-8));
    assert!(digits.allows(0.0, -0.0) && !digits.allows(0.0, 1e-300));
    assert!(digits.allows(f64::NAN, -f64::NAN) && digits.allows(f64::INFINITY, f64::INFINITY));
    assert!(!digits.allows(f64::INFINITY, f64::MAX) && !digits.allows(f64::NAN, 0.0));
    assert!(Tolerance::Exact.allows(0.5, 0.5) && !Tolerance::Exact.allows(0.5, 0.500_000_000_000_000_1));
}
