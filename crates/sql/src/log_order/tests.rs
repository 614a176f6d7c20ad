use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::sql::parser::DFParser;
use tallgrass_relation::{Catalog, KafkaRelation};

use super::*;
use crate::{logical_plan, session};

const SOURCES: &str = "
    CREATE EXTERNAL TABLE s (id BIGINT, x INT) STORED AS KAFKA LOCATION 's';
    CREATE EXTERNAL TABLE r (id BIGINT, y INT) STORED AS KAFKA LOCATION 'r';
    CREATE EXTERNAL TABLE t (id BIGINT, z INT, PRIMARY KEY (id)) STORED AS KAFKA LOCATION 't';";

fn keys(order: &[SortExpr]) -> String {
    let keys = order.iter().map(|key| key.expr.to_string() + if key.asc { "" } else { " desc" });
    keys.collect::<Vec<_>>().join(" ")
}

/// What the function nearest to the result is ordered by.
async fn order(sql: &str) -> String {
    let catalog = Catalog::parse(SOURCES, Path::new("."), Path::new("sources.sql")).unwrap();
    let context = session::batch();
    let empty = |relation: &Arc<KafkaRelation>| -> Arc<dyn TableProvider> {
        Arc::new(MemTable::try_new(Arc::clone(relation.schema()), vec![vec![]]).unwrap())
    };
    assert!(catalog.register(&context, empty).await.is_empty());
    let plan = async |sql: &str| {
        let statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        logical_plan(&context.state(), statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    let view = plan("SELECT id, x FROM s WHERE x > 3").await;
    context.register_table("view", Arc::new(ViewTable::new(view, None))).unwrap();
    let planned = plan(sql).await;
    let frame = context.execute_logical_plan(planned.clone()).await.unwrap();
    frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut found = None;
    planned
        .apply_with_subqueries(|node| {
            match node {
                LogicalPlan::Distinct(Distinct::On(on)) => found = found.take().or(on.sort_expr.as_deref().map(keys)),
                LogicalPlan::Window(window) => {
                    let of = |expr: &Expr| match expr.clone().unalias() {
                        Expr::WindowFunction(function) => Some(keys(&function.params.order_by)),
                        _ => None,
                    };
                    found = found.take().or(window.window_expr.iter().find_map(of));
                }
                LogicalPlan::Aggregate(aggregate) => {
                    let of = |expr: Expr| match expr {
                        Expr::AggregateFunction(function) => Some(keys(&function.params.order_by)),
                        _ => None,
                    };
                    found = found.take().or(find_aggregate_exprs(&aggregate.aggr_expr).into_iter().find_map(of));
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
    found.unwrap_or_default()
}

#[tokio::test]
async fn an_order_that_nobody_named_is_the_logs_wherever_rows_are_records() {
    let mut wrong = Vec::new();
    for (sql, wanted) in [
        ("SELECT array_agg(x) FROM s", "s._partition s._offset"),
        ("SELECT id, string_agg(x::varchar, ',') FROM s AS a WHERE x > 2 GROUP BY id", "a._partition a._offset"),
        ("SELECT first_value(z) + 1 FROM t HAVING count(*) > 1", "t._partition t._offset"),
        ("SELECT any_value(x) FILTER (WHERE x > 1) FROM s", "s._partition s._offset"),
        ("SELECT nth_value(x, 2), last_value(x) FROM s", "s._partition s._offset"),
        ("SELECT x, row_number() OVER () FROM s", "s._partition s._offset"),
        ("SELECT x, lag(x) OVER (PARTITION BY id), sum(x) OVER (ROWS 1 PRECEDING) FROM s", "s._partition s._offset"),
        ("SELECT last_value(x) OVER (RANGE UNBOUNDED PRECEDING) FROM s", "s._partition s._offset"),
        (
            "SELECT count(*) OVER (PARTITION BY id), lag(x) OVER (PARTITION BY id), rank() OVER (PARTITION BY id) FROM s",
            "s._partition s._offset",
        ),
        ("SELECT row_number() OVER (ORDER BY 1) FROM s", "s._partition s._offset"),
        ("SELECT x FROM s QUALIFY row_number() OVER (PARTITION BY id) = 1", "s._partition s._offset"),
        ("SELECT DISTINCT ON (id) id, x FROM s", "s.id s._partition s._offset"),
        ("SELECT DISTINCT ON (_offset) _offset, x FROM s", "s._offset s._partition"),
        (
            "SELECT first_value(x) FROM (SELECT x, _partition FROM s ORDER BY _partition DESC)",
            "s._partition desc __log_order_1",
        ),
        ("SELECT array_agg(x) FROM s JOIN r ON s.id = r.id", "s._partition s._offset r._partition r._offset"),
        ("SELECT array_agg(y) FROM r LEFT JOIN t USING (id)", "r._partition r._offset t._partition t._offset"),
        ("SELECT array_agg(x) FROM s LEFT SEMI JOIN r ON s.id = r.id", "s._partition s._offset"),
        ("SELECT array_agg(x) FROM s WHERE id IN (SELECT id FROM r)", "s._partition s._offset"),
        ("SELECT array_agg(x) FROM (SELECT x FROM s)", "__log_order_1 __log_order_2"),
        ("SELECT array_agg(x) FROM (SELECT x FROM s) AS a", "a.__log_order_1 a.__log_order_2"),
        ("SELECT array_agg(x) FROM (SELECT x, _partition, _offset AS o FROM s) AS a", "a._partition a.o"),
        ("SELECT array_agg(x) FROM (SELECT x FROM s ORDER BY x DESC) AS a", "a.x desc a.__log_order_1 a.__log_order_2"),
        (
            "SELECT array_agg(x) FROM (SELECT x FROM s ORDER BY id + 1 LIMIT 3) AS a",
            "a.__log_order_3 a.__log_order_4 a.__log_order_5",
        ),
        ("WITH a AS (SELECT x FROM s ORDER BY x) SELECT array_agg(x) FROM a", "a.x a.__log_order_1 a.__log_order_2"),
        ("SELECT array_agg(x) FROM view", "view.__log_order_1 view.__log_order_2"),
        (
            "WITH a AS (SELECT x, id FROM s) SELECT array_agg(b.x) FROM a AS b JOIN a AS c USING (id)",
            "b.__log_order_1 b.__log_order_2 c.__log_order_3 c.__log_order_4",
        ),
        (
            "SELECT array_agg(n) FROM (SELECT row_number() OVER (PARTITION BY id ORDER BY x, _offset) AS n FROM s)",
            "__log_order_1 __log_order_2",
        ),
        ("SELECT id, (SELECT array_agg(y) FROM r WHERE r.id = s.id) FROM s", "r._partition r._offset"),
        ("SELECT array_agg(x ORDER BY x) FROM s", "s.x"),
        ("SELECT row_number() OVER (ORDER BY x) FROM s", "s.x"),
        ("SELECT DISTINCT ON (id) id, x FROM s ORDER BY id, x", "s.id s.x"),
        ("SELECT count(*), sum(x), max(x) FROM s", ""),
        ("SELECT count(*) OVER (), rank() OVER (ORDER BY x) FROM s", ""),
        ("EXPLAIN SELECT array_agg(x) FROM s", "s._partition s._offset"),
        // What cannot show.
        ("SELECT array_agg(DISTINCT x) FROM s", "s.x"),
        ("SELECT string_agg(DISTINCT x::varchar, ',') FROM s", "CAST(s.x AS Utf8View)"),
        ("SELECT array_sort(array_agg(n)) FROM (SELECT id, count(*) AS n FROM s GROUP BY id)", "n"),
        ("SELECT array_length(array_agg(n)), 1 FROM (SELECT DISTINCT x AS n FROM s)", "n"),
        ("SELECT array_agg(DISTINCT x), array_agg(DISTINCT id), array_agg(x) FROM s", "s.x"),
        (
            "SELECT string_agg(DISTINCT x::varchar, ','), string_agg(DISTINCT id::varchar, ',') FROM s",
            "CAST(s.x AS Utf8View)",
        ),
        ("SELECT string_agg(x::varchar, ',' ORDER BY id), string_agg(x::varchar, ','), array_agg(x) FROM s", "s.id"),
        // Where rows are no records.
        ("SELECT array_agg(n) FROM (SELECT id, count(*) AS n FROM s GROUP BY id)", ""),
        ("SELECT array_agg(n), array_length(array_agg(n)) FROM (SELECT DISTINCT x AS n FROM s)", ""),
        ("SELECT array_agg(x) FROM (SELECT x FROM s UNION ALL SELECT y FROM r)", ""),
        ("SELECT array_agg(v) FROM (VALUES (1)) AS a(v)", ""),
        ("SELECT row_number() OVER (), id FROM s GROUP BY id", ""),
    ] {
        let found = order(sql).await;
        if found != wanted {
            wrong.push(format!("{sql}\n  wanted {wanted}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
