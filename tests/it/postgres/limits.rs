//! Statements that would not end: they do, and the dashboard is not slowed down.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use super::{Served, generate, runtime, state_and_message};

/// Statements that compute forever, each in another way.
const ENDLESS: [(&str, &str); 6] = [
    ("cross join", "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b"),
    (
        "nested loop without a row",
        "SELECT count(*) FROM generate_series(1, 1000000) a(x) JOIN generate_series(1, 1000000) b(y) ON a.x + b.y < 0",
    ),
    (
        "hash join of one key",
        "SELECT count(*) FROM generate_series(1, 1000000) a(x) JOIN generate_series(1, 1000000) b(y) ON x % 1 = y % 1",
    ),
    (
        "hash join of one key without a row",
        "SELECT count(*) FROM generate_series(1, 1000000) a(x) JOIN generate_series(1, 1000000) b(y) \
         ON x % 1 = y % 1 AND x + y < 0",
    ),
    ("recursion", "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"),
    ("of the topic", "SELECT count(*) FROM pokemons a CROSS JOIN pokemons b CROSS JOIN pokemons c"),
];

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[test]
fn a_statement_ends_with_its_time_and_frees_its_thread() {
    let served = Served::start();
    served.run(async |client| {
        client.simple_query("SET statement_timeout = '1s'").await.unwrap();
        let other = served.connect().await;
        for (name, sql) in ENDLESS {
            let started = Instant::now();
            let error = client.simple_query(sql).await.expect_err(name);
            let took = started.elapsed();
            assert_eq!(
                state_and_message(&error),
                (SqlState::QUERY_CANCELED, "canceling statement due to statement timeout".to_owned()),
                "{name}"
            );
            assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(3), "{name}: {took:?}");
            // The thread that ran it is free: nothing of it still runs.
            let started = Instant::now();
            assert_eq!(number(&other, "SELECT count(*) FROM pokedex").await, 1_025);
            assert!(started.elapsed() < Duration::from_secs(2), "after {name}: {:?}", started.elapsed());
        }
    });
}

#[test]
fn a_client_cancels_whatever_runs() {
    let served = Served::start();
    served.run(async |client| {
        for (name, sql) in ENDLESS {
            let token = client.cancel_token();
            let running = client.simple_query(sql);
            tokio::pin!(running);
            // A cancellation that arrives before its statement cancels nothing, so on a busy machine there are more.
            let (answer, cancelled) = loop {
                tokio::select! {
                    answer = &mut running => panic!("{name} ended by itself: {answer:?}"),
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                }
                token.cancel_query(NoTls).await.unwrap();
                let cancelled = Instant::now();
                if let Ok(answer) = tokio::time::timeout(Duration::from_secs(2), &mut running).await {
                    break (answer, cancelled);
                }
            };
            assert_eq!(
                state_and_message(&answer.expect_err(name)),
                (SqlState::QUERY_CANCELED, "canceling statement due to user request".to_owned()),
                "{name}"
            );
            assert!(cancelled.elapsed() < Duration::from_secs(2), "{name}: {:?}", cancelled.elapsed());
        }
        // A cancellation that arrives too late ends nothing.
        client.cancel_token().cancel_query(NoTls).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(number(client, "SELECT 1::bigint").await, 1);
    });
}

#[test]
fn a_client_that_leaves_takes_its_statement_with_it() {
    let served = Served::start();
    for _ in 0..4 {
        runtime().block_on(async {
            let client = served.connect().await;
            let asked = client.simple_query(ENDLESS[1].1);
            tokio::time::timeout(Duration::from_millis(300), asked).await.unwrap_err();
        });
    }
    served.run(async |client| {
        let started = Instant::now();
        assert_eq!(number(client, "SELECT count(*) FROM pokedex").await, 1_025);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    });
}

/// The event count of the live run itself.
fn seen(served: &Served) -> i64 {
    let lines = served.running.lines();
    let line = lines.iter().rev().find(|line| line.contains("\"view\":\"pokemons_seen\"")).expect("a line of the view");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["rows"][0]["pokemons_seen"].as_i64().unwrap()
}

/// How long the slowest of some events takes from the topic into the view, while `going_on`.
fn slowest(served: &Served, going_on: impl Fn(usize) -> bool) -> Duration {
    let (mut slowest, mut round) = (Duration::ZERO, 0);
    while going_on(round) {
        let expected = seen(served) + 100;
        generate(&served.broker, &served.pokemons, 100);
        let produced = Instant::now();
        while seen(served) < expected {
            assert!(produced.elapsed() < Duration::from_secs(20), "the view stays behind");
            std::thread::sleep(Duration::from_millis(5));
        }
        slowest = slowest.max(produced.elapsed());
        round += 1;
    }
    slowest
}

#[test]
fn the_dashboard_follows_its_topic_while_statements_run_away() {
    let served = Served::with_events(2_000, &[]);
    let alone = slowest(&served, |round| round < 10);
    std::thread::scope(|scope| {
        let runaways: Vec<_> = (0..2)
            .map(|which| {
                let served = &served;
                scope.spawn(move || {
                    served.run(async |client| {
                        client.simple_query("SET statement_timeout = '6s'").await.unwrap();
                        let error = client.simple_query(ENDLESS[which].1).await.unwrap_err();
                        assert_eq!(state_and_message(&error).0, SqlState::QUERY_CANCELED);
                    });
                })
            })
            .collect();
        let beside = slowest(&served, |_| !runaways.iter().all(std::thread::ScopedJoinHandle::is_finished));
        eprintln!("an event is seen after {alone:?} at most, beside statements that run away after {beside:?}");
        assert!(beside < 3 * alone + Duration::from_millis(500), "{beside:?} instead of {alone:?}");
    });
}

#[test]
fn a_statement_that_wants_all_memory_ends_and_others_continue() {
    let served = Served::start();
    served.run(async |client| {
        let greedy = [
            "SELECT a.value % 7 AS k, array_agg(a.value || repeat('x', 200)) FROM generate_series(1, 10000000) a GROUP BY k",
            "SELECT value FROM (SELECT value || repeat('x', 200) AS value FROM generate_series(1, 10000000)) ORDER BY value",
            "SELECT count(*) FROM (SELECT DISTINCT value || repeat('x', 200) FROM generate_series(1, 10000000))",
        ];
        for sql in greedy {
            let error = client.simple_query(sql).await.expect_err(sql);
            let (state, message) = state_and_message(&error);
            assert!(state == SqlState::OUT_OF_MEMORY, "{sql}: {state:?} {message}");
        }
        assert_eq!(number(client, "SELECT count(*) FROM pokedex").await, 1_025);
    });
}

#[test]
fn a_limit_ends_the_reading_of_a_topic() {
    let events = 60_000;
    let served = Served::with_events(events, &[]);
    served.run(async |client| {
        let started = Instant::now();
        let rows = client.query("SELECT * FROM pokemons LIMIT 5", &[]).await.unwrap();
        assert_eq!(rows.len(), 5);
        let limited = started.elapsed();
        let started = Instant::now();
        assert_eq!(number(client, "SELECT count(name) FROM pokemons").await, events);
        let whole = started.elapsed();
        eprintln!("LIMIT 5: {limited:?}, all {events}: {whole:?}");
        let plan = client.query("EXPLAIN ANALYZE SELECT * FROM pokemons LIMIT 5", &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get::<_, String>(1)).collect();
        let plan = plan.join("\n");
        let read = plan.split_once("records_read=").expect("a count of records").1;
        let read = read.split(|c: char| c != '.' && !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        assert!(read.parse::<f64>().is_ok_and(|read| read <= 20.0), "{plan}");
        assert!(plan.contains("limit=5"), "{plan}");
    });
}

#[test]
fn a_large_result_waits_for_its_reader() {
    let served = Served::start();
    served.run(async |client| {
        use futures::StreamExt as _;
        let rows =
            client.query_raw("SELECT value, repeat('x', 1000) FROM generate_series(1, 300000)", Vec::<i32>::new());
        let rows = rows.await.unwrap();
        futures::pin_mut!(rows);
        let mut count = 0;
        while let Some(row) = rows.next().await {
            row.unwrap();
            count += 1;
            if count == 1_000 {
                // The client reads the first page; meanwhile few rows are produced.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        assert_eq!(count, 300_000);
    });
}

#[test]
fn a_function_that_would_burst_the_memory_is_refused() {
    let served = Served::start();
    served.run(async |client| {
        for sql in [
            "SELECT repeat('x', 2000000000)",
            "SELECT range(1, 10000000000)",
            "SELECT lpad(name, 2000000000) FROM pokedex",
        ] {
            let error = client.simple_query(sql).await.expect_err(sql);
            assert_eq!(state_and_message(&error).0, SqlState::OUT_OF_MEMORY, "{sql}: {error:?}");
        }
        assert_eq!(number(client, "SELECT length(repeat('x', 1000))::bigint").await, 1_000);
    });
}
