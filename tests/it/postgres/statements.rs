//! What statements see: views, relations, one moment, types, errors.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{EVENTS, Served, generate, generate_at, state_and_message};
use crate::support::TIME_LIMIT;

/// The first column of the rows, as text.
async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    rows.collect()
}

#[test]
fn views_relations_and_files_join() {
    let served = Served::start();
    served.run(async |client| {
        let one = client.query_one("SELECT pokemons_seen FROM pokemons_seen", &[]).await.unwrap();
        assert_eq!(one.get::<_, i64>("pokemons_seen"), EVENTS);
        let one = client.query_one("SELECT count(*) FROM pokemons", &[]).await.unwrap();
        assert_eq!(one.get::<_, i64>(0), EVENTS);
        let rows = client
            .query(
                "SELECT b.type_1, b.seen, count(d.number) AS species, r.n
                 FROM by_type b
                 JOIN pokedex d ON d.type_1 = b.type_1
                 JOIN (SELECT type_1, count(*) AS n FROM pokemons GROUP BY type_1) r ON r.type_1 = b.type_1
                 GROUP BY b.type_1, b.seen, r.n",
                &[],
            )
            .await
            .unwrap();
        assert!(rows.len() > 10, "{}", rows.len());
        for row in rows {
            assert_eq!(row.get::<_, i64>("seen"), row.get::<_, i64>("n"), "{}", row.get::<_, &str>("type_1"));
            assert!(row.get::<_, i64>("species") > 0);
        }
        let near = "SELECT count(*) FROM recent_sightings WHERE haversine_km(lat, lon, 40.4168, -3.7038) <= 25";
        assert!(client.query_one(near, &[]).await.unwrap().get::<_, i64>(0) > 0);
    });
}

#[test]
fn all_views_of_a_statement_are_of_one_moment() {
    let served = Served::start();
    let (broker, topic) = (&served.broker, &served.pokemons);
    std::thread::scope(|scope| {
        // No more than the embedded broker keeps of a partition.
        let producing = scope.spawn(move || generate_at(broker, topic, 40_000, "10000"));
        let mut moments = std::collections::BTreeSet::new();
        served.run(async |client| {
            let statement = "SELECT (SELECT pokemons_seen FROM pokemons_seen), \
                 CAST((SELECT sum(seen) FROM by_type) AS BIGINT), (SELECT count(*) FROM pokemons)";
            while !producing.is_finished() {
                let row = client.query_one(statement, &[]).await.unwrap();
                let (all, by_type) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
                assert_eq!((all, all), (by_type, row.get::<_, i64>(2)), "views, and a relation beside them");
                moments.insert(all);
            }
        });
        producing.join().unwrap();
        assert!(moments.len() > 2, "the rows must move while they are read: {moments:?}");
    });
    // A prepared statement shows the newest rows each time.
    served.run(async |client| {
        let statement = client.prepare("SELECT pokemons_seen FROM pokemons_seen").await.unwrap();
        let before: i64 = client.query_one(&statement, &[]).await.unwrap().get(0);
        generate(&served.broker, &served.pokemons, 10);
        let deadline = Instant::now() + TIME_LIMIT;
        while client.query_one(&statement, &[]).await.unwrap().get::<_, i64>(0) == before {
            assert!(Instant::now() < deadline, "the prepared statement stays at {before}");
        }
    });
}

#[test]
fn parameters_have_types_and_values() {
    let served = Served::start();
    served.run(async |client| {
        let statement = client.prepare("SELECT name, total FROM pokedex WHERE number = $1 OR name = $2").await.unwrap();
        assert_eq!(statement.params(), [Type::INT8, Type::TEXT]);
        let columns: Vec<(&str, Type)> =
            statement.columns().iter().map(|column| (column.name(), column.type_().clone())).collect();
        assert_eq!(columns, [("name", Type::TEXT), ("total", Type::INT8)]);
        let rows = client.query(&statement, &[&25_i64, &"Mew"]).await.unwrap();
        let mut names: Vec<&str> = rows.iter().map(|row| row.get("name")).collect();
        names.sort_unstable();
        assert_eq!(names, ["Mew", "Pikachu"]);
        let hostile = "x' OR 1 = 1; DROP TABLE pokedex --";
        assert!(client.query(&statement, &[&-1_i64, &hostile]).await.unwrap().is_empty());
        let row = client.query_one("SELECT upper($1) AS loud, $2::bigint + 1 AS more", &[&"é", &41_i64]).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, i64>(1)), ("É", 42));
        let row = client.query_one("SELECT count(*) FROM (SELECT * FROM pokemons LIMIT $1)", &[&7_i64]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 7);
        let row = client.query_typed("SELECT $1 AS given", &[(&5_i32, Type::INT4)]).await.unwrap();
        assert_eq!(row[0].get::<_, i32>(0), 5);
        let typed = async |sql: &str, value: &(dyn ToSql + Sync), of: Type| {
            let rows = client.query_typed(sql, &[(value, of)]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            rows[0].get::<_, f64>(0).to_string()
        };
        // A client's typed value is not cut to the type that it is compared with.
        assert_eq!(typed("SELECT $1 + 1", &1.5, Type::FLOAT8).await, "2.5");
        let among = "SELECT CAST(count(*) AS DOUBLE) FROM pokedex WHERE number";
        assert_eq!(typed(&format!("{among} IN ($1)"), &2.7, Type::FLOAT8).await, "0");
        assert_eq!(typed(&format!("{among} < $1"), &2.7, Type::FLOAT8).await, "2");
        assert_eq!(typed(&format!("{among} = ANY($1)"), &vec![1_i64, 4], Type::INT8_ARRAY).await, "2");
        let limited = "SELECT CAST(count(*) AS DOUBLE) FROM (SELECT 1 FROM pokedex LIMIT $1)";
        assert_eq!(typed(limited, &7_i16, Type::INT2).await, "7");
        let null: Option<&str> = None;
        let row = client.query_one("SELECT count(*) FROM pokedex WHERE name = $1", &[&null]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    });
}

#[test]
fn every_type_arrives_as_text_and_in_binary() {
    let served = Served::start();
    served.run(async |client| {
        let shown = [
            ("SELECT 1::smallint", "1"),
            ("SELECT 1.5::double", "1.5"),
            ("SELECT 0.1::real", "0.1"),
            ("SELECT true", "t"),
            ("SELECT 'é ♀'", "é ♀"),
            ("SELECT DATE '2026-01-31'", "2026-01-31"),
            ("SELECT TIMESTAMP '2026-01-31T09:00:00'", "2026-01-31 09:00:00.000000"),
            (
                "SELECT arrow_cast('2026-01-31T09:00:00Z', 'Timestamp(Millisecond, Some(\"+00:00\"))')",
                "2026-01-31 09:00:00.000000+00",
            ),
            ("SELECT 12.50::decimal(10, 2)", "12.50"),
            ("SELECT make_array(1, 2, NULL)", "{1,2,NULL}"),
            ("SELECT make_array('a b', 'c')", "{\"a b\",c}"),
            ("SELECT make_array(make_array(1), make_array(2))", "[[1], [2]]"),
            ("SELECT named_struct('a', 1, 'b', 'x')", "{a: 1, b: x}"),
            ("SELECT MAP {'a': 1}", "{a: 1}"),
            ("SELECT arrow_cast('x', 'Dictionary(Int32, Utf8)')", "x"),
            ("SELECT arrow_cast('x', 'Utf8View')", "x"),
            ("SELECT arrow_cast('x', 'LargeUtf8')", "x"),
            ("SELECT INTERVAL '1 day 2 hours'", "1 day 02:00:00"),
            ("SELECT NULL", "NULL"),
            ("SELECT arrow_cast(18446744073709551615, 'UInt64')", "18446744073709551615"),
            ("SELECT X'00ff'", "\\x00ff"),
            ("SELECT arrow_cast(12.5, 'Decimal256(50, 2)')", "12.50"),
        ];
        let mut wrong = Vec::new();
        for (sql, text) in shown {
            let got = texts(client, sql).await;
            if got != [text] {
                wrong.push(format!("{sql}: {got:?} instead of {text}"));
            }
            // tokio-postgres asks for binary.
            if let Err(error) = client.query(sql, &[]).await {
                wrong.push(format!("{sql} in binary: {error:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let row = client
            .query_one("SELECT make_array('a', 'b'), 2.5::double, arrow_cast('x', 'Dictionary(Int32, Utf8)')", &[]);
        let row = row.await.unwrap();
        assert_eq!(row.get::<_, Vec<String>>(0), ["a", "b"]);
        assert_eq!((row.get::<_, f64>(1), row.get::<_, &str>(2)), (2.5, "x"));
        let row = client
            .query_one("SELECT name, lat, legendary, _key, _partition, _offset FROM pokemons LIMIT 1", &[])
            .await
            .unwrap();
        assert!(!row.get::<_, &str>("name").is_empty());
        assert!(row.get::<_, f64>("lat").abs() <= 90.0);
        assert!(row.get::<_, i64>("_offset") >= 0);
    });
}

#[test]
fn errors_say_their_condition_a_way_out_and_the_place() {
    let served = Served::start();
    served.run(async |client| {
        let cases = [
            (
                "SELECT * FROM pokemon",
                SqlState::UNDEFINED_TABLE,
                "table 'pokemon' not found",
                Some("did you mean 'pokemons'?"),
            ),
            (
                "SELECT typ_1 FROM pokemons",
                SqlState::UNDEFINED_COLUMN,
                "column 'typ_1' not found",
                Some("did you mean 'type_1'?"),
            ),
            ("SELECT 1 +", SqlState::SYNTAX_ERROR, "", None),
            ("SELECT frob(1)", SqlState::UNDEFINED_FUNCTION, "there is no function 'frob'", None),
            ("SELECT name, count(*) FROM pokedex", SqlState::GROUPING_ERROR, "column 'name' is neither", None),
            ("SELECT 1 / 0", SqlState::DIVISION_BY_ZERO, "", None),
            ("SELECT CAST('x' AS INT)", SqlState::INVALID_TEXT_REPRESENTATION, "", None),
            ("SHOW no_such_setting", SqlState::UNDEFINED_OBJECT, "unrecognized configuration parameter", None),
            ("EXECUTE nothing", SqlState::INVALID_SQL_STATEMENT_NAME, "does not exist", None),
        ];
        for (sql, state, message, hint) in cases {
            let error = client.simple_query(sql).await.expect_err(sql);
            assert_eq!(state_and_message(&error).0, state, "{sql}: {error:?}");
            assert!(state_and_message(&error).1.contains(message), "{sql}: {error:?}");
            if let Some(hint) = hint {
                assert_eq!(error.as_db_error().unwrap().hint(), Some(hint), "{sql}");
            }
            // The same where it is prepared.
            if !sql.starts_with("SHOW") && !sql.starts_with("EXEC") {
                let error = match client.prepare(sql).await {
                    Ok(statement) => client.query(&statement, &[]).await.expect_err(sql),
                    Err(error) => error,
                };
                assert_eq!(state_and_message(&error).0, state, "{sql}, prepared: {error:?}");
            }
        }
        let error = client.simple_query("SELECT 1;\nSELECT 'é', typ_1 FROM pokemons").await.unwrap_err();
        let position = error.as_db_error().unwrap().position().cloned();
        assert_eq!(position, Some(tokio_postgres::error::ErrorPosition::Original(23)));
        assert_eq!(texts(client, "SELECT 'goes on'").await, ["goes on"]);
    });
}

#[test]
fn copy_sends_what_a_select_gives() {
    let served = Served::start();
    served.run(async |client| {
        let copied = async |sql: &str| {
            let lines = client.copy_out(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            let lines: Vec<_> = lines.try_collect().await.unwrap();
            lines.concat()
        };
        let csv = "COPY (SELECT 1 AS a, NULL AS b, 'x,y' AS c) TO STDOUT WITH (FORMAT csv, HEADER)";
        assert_eq!(copied(csv).await, b"a,b,c\n1,,\"x,y\"\n");
        let text = "COPY (SELECT 1.5, 'a\tb', CAST('Infinity' AS DOUBLE), -1 * CAST(0 AS DOUBLE)) TO STDOUT";
        assert_eq!(copied(text).await, b"1.5\ta\\tb\tInfinity\t-0\n");
        let binary = copied("COPY (SELECT CAST(7 AS INT)) TO STDOUT (FORMAT binary)").await;
        assert_eq!(binary[..11], *b"PGCOPY\n\xff\r\n\0");
        assert_eq!(binary[19..], *b"\0\x01\0\0\0\x04\0\0\0\x07\xff\xff");
        assert_eq!(texts(client, "SELECT 'goes on'").await, ["goes on"]);
    });
}

#[test]
fn nothing_is_written_and_no_file_is_read() {
    let served = Served::start();
    served.run(async |client| {
        let read_only = [
            "INSERT INTO users VALUES (1)",
            "UPDATE users SET name = 'x'",
            "DELETE FROM users",
            "CREATE TABLE t (a INT)",
            "CREATE TABLE t AS SELECT 1",
            "CREATE VIEW v AS SELECT 1",
            "CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION '/etc/passwd'",
            "DROP TABLE users",
            "TRUNCATE users",
            "ALTER TABLE users ADD COLUMN a INT",
            "COPY users TO '/tmp/users.csv'",
            "COPY (SELECT 1) TO '/tmp/users.csv'",
            "WITH t AS (SELECT 1) INSERT INTO users SELECT * FROM t",
            "EXPLAIN INSERT INTO users SELECT * FROM users",
            "EXPLAIN ANALYZE DELETE FROM users",
            "SELECT * INTO t FROM users",
            "/* SELECT */ DROP TABLE users",
            "SET default_transaction_read_only = off",
        ];
        for sql in read_only {
            let error = client.simple_query(sql).await.expect_err(sql);
            assert_eq!(state_and_message(&error).0, SqlState::READ_ONLY_SQL_TRANSACTION, "{sql}: {error:?}");
        }
        for sql in
            ["SET datafusion.execution.batch_size = 1", "SET datafusion.catalog.default_schema = 'x'", "SET ROLE x"]
        {
            let error = client.simple_query(sql).await.expect_err(sql);
            assert_eq!(state_and_message(&error).0, SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {error:?}");
        }
        for sql in ["SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\"", "SELECT * FROM 'data/pokemon.csv'"]
        {
            let error = client.simple_query(sql).await.expect_err(sql);
            assert_eq!(state_and_message(&error).0, SqlState::UNDEFINED_TABLE, "{sql}: {error:?}");
        }
        let deep = format!("SELECT 1{}", " + 1".repeat(5_000));
        let long = format!("SELECT '{}'", "x".repeat(300_000));
        for sql in [deep, long] {
            let error = client.simple_query(&sql).await.unwrap_err();
            assert_eq!(state_and_message(&error).0, SqlState::STATEMENT_TOO_COMPLEX);
        }
        assert_eq!(texts(client, "SELECT count(*) > 0 FROM users").await, ["t"]);
    });
}

type Answer = Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>;

#[test]
fn views_come_change_break_and_go_with_their_files() {
    let served = Served::start();
    let file = served.folder.path().join("dashboard/fresh.sql");
    let until = |sql: &'static str, good: &dyn Fn(&Answer) -> bool| {
        served.run(async |client| {
            let deadline = Instant::now() + TIME_LIMIT;
            loop {
                let answer = client.simple_query(sql).await;
                if good(&answer) {
                    return;
                }
                assert!(Instant::now() < deadline, "{sql}: {answer:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    };
    let has_state = |state: SqlState| {
        move |answer: &Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>| {
            answer.as_ref().is_err_and(|error| error.as_db_error().is_some_and(|error| *error.code() == state))
        }
    };
    until("SELECT * FROM fresh", &has_state(SqlState::UNDEFINED_TABLE));
    std::fs::write(&file, "SELECT count(*) AS n FROM pokemons").unwrap();
    until("SELECT n FROM fresh", &Result::is_ok);
    // Another meaning, other columns.
    std::fs::write(&file, "SELECT max(total) AS best FROM pokemons").unwrap();
    until("SELECT best FROM fresh", &Result::is_ok);
    // Broken: its last good result, as on the dashboard, with a warning.
    std::fs::write(&file, "SELECT max(totl) AS best FROM pokemons").unwrap();
    let broken = served.folder.path().join("dashboard/never_good.sql");
    std::fs::write(&broken, "SELECT\n  totl FROM pokemons").unwrap();
    until("SELECT * FROM never_good", &has_state(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
    served.run(async |client| {
        let error = client.simple_query("SELECT * FROM never_good").await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.message(), "view \"never_good\" is broken: column 'totl' not found");
        assert!(error.detail().unwrap().contains("never_good.sql:2:3: error"), "{error:?}");
        assert!(!client.simple_query("SELECT best FROM fresh").await.unwrap().is_empty());
        // A broken file does not make the list of tables fail.
        let names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
        let names = texts(client, names).await;
        assert!(
            names.iter().any(|name| name == "never_good") && names.iter().any(|name| name == "by_type"),
            "{names:?}"
        );
    });
    if super::has("psql") {
        let warned = served.psql(&["-c", "SELECT best FROM fresh"]).unwrap_err();
        assert!(warned.contains("WARNING:  view \"fresh\" shows its last good result"), "{warned}");
    }
    std::fs::remove_file(&file).unwrap();
    until("SELECT * FROM fresh", &has_state(SqlState::UNDEFINED_TABLE));
    // A relation appears with its declaration.
    let sources = served.folder.path().join("sources.sql");
    let sql = std::fs::read_to_string(&sources).unwrap();
    let more = format!(
        "{sql}\nCREATE EXTERNAL TABLE names_only (name VARCHAR) STORED AS KAFKA LOCATION '{}';\n",
        served.pokemons
    );
    std::fs::write(&sources, more).unwrap();
    until("SELECT name FROM names_only LIMIT 1", &Result::is_ok);
}
