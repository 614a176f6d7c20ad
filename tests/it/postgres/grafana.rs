//! Every statement of the shipped Grafana dashboard, and those that Grafana's Postgres data source sends by itself.

use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;

use super::Served;

/// Grafana's macros, replaced for a time range around now.
fn expand(sql: &str) -> String {
    let mut sql = sql.to_owned();
    while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
        let (column, after) = rest.split_once(')').unwrap();
        sql = format!("{before}{column} BETWEEN '2020-01-31T09:00:00.123Z' AND '2099-01-31T09:00:00Z'{after}");
    }
    assert!(!sql.contains("$__"), "a macro that this test does not know: {sql}");
    sql
}

#[test]
fn every_panel_of_the_shipped_dashboard_has_rows() {
    let served = Served::start();
    let dashboard = std::fs::read_to_string("deploy/grafana/dashboards/tallgrass.json").unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 5);
    served.run(async |client| {
        for panel in panels {
            for target in panel["targets"].as_array().unwrap() {
                let sql = expand(target["rawSql"].as_str().unwrap());
                let answer =
                    client.simple_query(&sql).await.unwrap_or_else(|error| panic!("{}: {error:?}", panel["title"]));
                let rows = answer.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count();
                assert!(rows > 0, "{}: {sql}", panel["title"]);
                // The columns are there by the names that the panel uses, and Grafana prepares nothing but may.
                let columns = client.prepare(&sql).await.unwrap();
                let names: Vec<&str> = columns.columns().iter().map(tokio_postgres::Column::name).collect();
                if target["format"] == "time_series" {
                    assert!(names.contains(&"time"), "{}: {names:?}", panel["title"]);
                }
            }
        }
    });
}

#[test]
fn the_data_source_finds_what_it_asks_for() {
    let served = Served::start();
    served.run(async |client| {
        let first = async |sql: &str| {
            let answer = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            let rows = answer.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                _ => None,
            });
            rows.collect::<Vec<String>>()
        };
        assert_eq!(first("SELECT 1").await, ["1"]);
        assert_eq!(first("SHOW server_version_num").await, ["160006"]);
        assert_eq!(first("SELECT current_setting('server_version_num')::int/100").await, ["1600"]);
        assert_eq!(first("SELECT current_setting('server_version_num')::int/100 as version").await, ["1600"]);
        assert!(first("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").await.is_empty());
        let tables = first(TABLES).await;
        for name in ["by_type", "pokemons"] {
            assert!(tables.iter().any(|table| table == name), "{tables:?}");
            for name in [name.to_owned(), format!("public.{name}")] {
                assert!(!first(&COLUMNS.replace("$TABLE", &name)).await.is_empty(), "{name}");
                assert!(!first(&format!("SELECT * FROM {name} LIMIT 1")).await.is_empty(), "{name}");
            }
        }
        assert_eq!(first(&COLUMNS.replace("$TABLE", "by_type")).await.len(), 4);
    });
}

/// The query builder's list of tables.
const TABLES: &str = r#"SELECT
    CASE WHEN
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )
      THEN quote_ident(table_name)
      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
    END AS "table"
    FROM information_schema.tables
    WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache',
                             '_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config',
                             'timescaledb_information', 'timescaledb_experimental')
    ORDER BY CASE WHEN
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          ) THEN 0 ELSE 1 END, 1"#;

/// The query builder's list of columns.
const COLUMNS: &str = r#"SELECT quote_ident(column_name) AS "column", data_type AS "type"
    FROM information_schema.columns
    WHERE
      CASE WHEN array_length(parse_ident('$TABLE'),1) = 2
        THEN quote_ident(table_schema) = (parse_ident('$TABLE'))[1]
          AND quote_ident(table_name) = (parse_ident('$TABLE'))[2]
        ELSE quote_ident(table_name) = '$TABLE'
          AND
          quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )
      END"#;
