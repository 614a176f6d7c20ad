use std::path::Path;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::sql::parser::DFParser;

use tallgrass_relation::{Catalog, KafkaRelation};

use crate::{logical_plan, session};

const SOURCES: &str = "
    CREATE EXTERNAL TABLE s (id BIGINT, x INT) STORED AS KAFKA LOCATION 's';
    CREATE EXTERNAL TABLE r (id BIGINT, y INT, \"Mixed\" INT) STORED AS KAFKA LOCATION 'r';
    CREATE EXTERNAL TABLE one (id BIGINT) STORED AS KAFKA LOCATION 'one';";

async fn columns(sql: &str) -> Result<String> {
    let catalog = Catalog::parse(SOURCES, Path::new("."), Path::new("sources.sql")).unwrap();
    let context = session::batch();
    let empty = |relation: &Arc<KafkaRelation>| -> Arc<dyn datafusion::catalog::TableProvider> {
        Arc::new(MemTable::try_new(Arc::clone(relation.schema()), vec![vec![]]).unwrap())
    };
    assert!(catalog.register(&context, empty).await.is_empty());
    let plan = async |sql: &str| {
        let statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        logical_plan(&context.state(), statement).await
    };
    let selects_one = plan("SELECT *, _offset FROM s").await?;
    context.register_table("by_name", Arc::new(ViewTable::new(selects_one, None)))?;
    context.register_table(
        "plain",
        Arc::new(MemTable::try_new(Arc::clone(catalog.kafka_relations().next().unwrap().schema()), vec![vec![]])?),
    )?;
    let plan = context.state().optimize(&plan(sql).await?)?;
    let schema = plan.schema();
    Ok(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn a_star_is_what_was_declared_in_every_clause() {
    let mut wrong = Vec::new();
    for (sql, wanted) in [
        ("SELECT * FROM s", "id x"),
        ("select * from PUBLIC.S", "id x"),
        ("SELECT s.* FROM s", "id x"),
        ("SELECT public.s.* FROM public.s", "id x"),
        ("SELECT a.* FROM s AS a WHERE _offset > 3 ORDER BY _timestamp", "id x"),
        ("SELECT *, _offset FROM s", "id x _offset"),
        ("SELECT _partition, s.*, _offset FROM s", "_partition id x _offset"),
        ("SELECT * FROM s WHERE _offset > 3 ORDER BY _partition, _offset LIMIT 3", "id x"),
        ("SELECT * EXCLUDE (x) FROM s", "id"),
        ("SELECT * EXCEPT (x, _offset) FROM s", "id"),
        ("SELECT * EXCLUDE _offset FROM s", "id x"),
        ("SELECT * REPLACE (x + 1 AS x) FROM s", "id x"),
        ("SELECT DISTINCT * FROM s", "id x"),
        ("SELECT * FROM s UNION SELECT 1, 2", "id x"),
        ("SELECT * FROM s EXCEPT SELECT * FROM (SELECT id, y FROM r)", "id x"),
        ("SELECT * FROM one INTERSECT SELECT id FROM s", "id"),
        ("SELECT id FROM s WHERE id IN (SELECT * FROM one)", "id"),
        ("SELECT id FROM s WHERE EXISTS (SELECT * FROM one WHERE one.id = s.id)", "id"),
        ("SELECT (SELECT * FROM one LIMIT 1) AS v FROM s", "v"),
        ("SELECT count(*) AS n FROM s", "n"),
        ("SELECT * FROM s, r", "id x id y Mixed"),
        ("SELECT s.*, y FROM s JOIN r ON s.id = r.id", "id x y"),
        ("SELECT * FROM s JOIN r ON s.id = r.id WHERE s._offset > 3", "id x id y Mixed"),
        ("SELECT *, s._offset FROM s JOIN r ON s.id = r.id", "id x id y Mixed _offset"),
        ("SELECT *, s._offset AS a, r._offset AS b FROM s JOIN r ON s.id = r.id", "id x id y Mixed a b"),
        ("SELECT r.*, s.* FROM s JOIN r ON s._offset = r._offset", "id y Mixed id x"),
        ("SELECT * FROM s JOIN r ON s._offset = r._offset AND s._partition = r._partition", "id x id y Mixed"),
        ("SELECT * FROM r JOIN s USING (id)", "id y Mixed x"),
        ("SELECT * FROM r JOIN s USING (_key)", "id y Mixed _key id x"),
        ("SELECT * FROM r NATURAL JOIN s", "id y Mixed x"),
        ("SELECT x, s._offset FROM s NATURAL JOIN r WHERE r._partition = 1", "x _offset"),
        ("SELECT * EXCLUDE (y) FROM r JOIN s USING (id)", "id Mixed x"),
        ("SELECT * FROM public.s JOIN public.r ON public.s.id = public.r.id", "id x id y Mixed"),
        ("SELECT public.s._key, public.r.* FROM public.s NATURAL JOIN public.r", "_key id y Mixed"),
        ("SELECT * FROM s JOIN (SELECT _offset, id FROM r) AS t USING (id)", "id x _offset"),
        ("SELECT * FROM s JOIN (SELECT max(_offset) AS _offset FROM r) AS d ON d._offset = x", "id x _offset"),
        ("SELECT * FROM s LEFT SEMI JOIN r ON s.id = r.id AND r._offset > 3", "id x"),
        ("SELECT * FROM r JOIN s USING (id) WHERE x IN (SELECT id FROM one WHERE _offset > 3)", "id y Mixed x"),
        ("SELECT * FROM one JOIN (s CROSS JOIN r) ON one.id = r.id", "id id x id y Mixed"),
        ("SELECT * FROM (SELECT * FROM s)", "id x"),
        ("SELECT * FROM (SELECT x, _offset FROM s)", "x _offset"),
        ("SELECT * FROM (SELECT *, _offset FROM s) AS a JOIN r USING (id)", "id x _offset y Mixed"),
        ("SELECT * FROM by_name", "id x _offset"),
        ("SELECT * FROM by_name JOIN r USING (id)", "id x _offset y Mixed"),
        ("SELECT * FROM plain", "id x _key _partition _offset _timestamp"),
        ("WITH s AS (SELECT 1 AS _offset) SELECT * FROM s", "_offset"),
        ("WITH s AS (SELECT * FROM s) SELECT * FROM s", "id x"),
        ("WITH s AS (SELECT x, _offset FROM s) SELECT * FROM s JOIN r ON x = y", "x _offset id y Mixed"),
        ("WITH a AS (SELECT * FROM s), s AS (SELECT 2 AS _key) SELECT * FROM a, s", "id x _key"),
        ("WITH s AS (SELECT _key FROM r), b AS (SELECT * FROM s) SELECT * FROM b", "_key"),
        (
            "WITH a AS (SELECT 1 AS one) SELECT * FROM s WHERE x IN (WITH s AS (SELECT 1 AS _key) SELECT * FROM s)",
            "id x",
        ),
        ("WITH RECURSIVE s AS (SELECT 1 AS _key UNION ALL SELECT * FROM s WHERE _key < 3) SELECT * FROM s", "_key"),
        ("SELECT * FROM s AS a(b, c)", "b c"),
        ("SELECT b, _offset FROM s AS a(b)", "b _offset"),
        ("SELECT * FROM s AS a(b, c, k, p, o, t)", "b c k p o t"),
        ("SELECT * FROM s CROSS JOIN LATERAL (SELECT s._offset + 1 AS next) AS l", "id x next"),
        ("SELECT * FROM s, unnest([1, 2]) AS u(v)", "id x v"),
        (
            "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY x ORDER BY _partition, _offset) AS n FROM s) WHERE n = 1",
            "id x n",
        ),
        ("EXPLAIN SELECT * FROM s", "plan_type plan"),
        ("VALUES (1)", "column1"),
    ] {
        let found = columns(sql).await.unwrap_or_else(|error| error.to_string());
        if found != wanted {
            wrong.push(format!("{sql}\n  wanted {wanted}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_would_be_ambiguous_is_refused_with_what_to_write() {
    for (sql, wanted) in [
        ("SELECT s._offset, r._offset FROM s NATURAL JOIN r", "name the columns of the join, JOIN … USING (…)"),
        ("SELECT *, s._offset AS a, r._offset AS b FROM s JOIN r USING (id)", "write t.* for each"),
    ] {
        let error = columns(sql).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{sql}: {error}");
    }
}
