//! Settings, transactions, logins.

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::{Served, connect, has, refused_at, runtime, state_and_message};

async fn text(client: &tokio_postgres::Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let found = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    found.unwrap_or_default()
}

#[test]
fn a_session_has_settings_and_transactions_that_promise_nothing() {
    let served = Served::start();
    served.run(async |client| {
        assert_eq!(text(client, "SHOW statement_timeout").await, "30s");
        client.simple_query("SET statement_timeout = '5s'").await.unwrap();
        assert_eq!(text(client, "SHOW statement_timeout").await, "5s");
        assert_eq!(text(client, "SELECT current_setting('statement_timeout')").await, "5s");
        client
            .simple_query("RESET statement_timeout; SET application_name TO 'a test'; SET TIME ZONE 'Europe/Madrid'")
            .await
            .unwrap();
        assert_eq!(text(client, "SHOW application_name").await, "a test");
        assert_eq!(text(client, "SHOW TIME ZONE").await, "Europe/Madrid");
        assert_eq!(text(client, "SHOW transaction_isolation").await, "read committed");
        assert_eq!(text(client, "SHOW server_version_num").await, "160006");
        assert!(text(client, "SELECT version()").await.starts_with("PostgreSQL 16.6 (Tallgrass"));
        assert_eq!(text(client, "SELECT current_database()").await, "tallgrass");
        assert_eq!(text(client, "SELECT current_schema()").await, "public");
        assert!(!text(client, "SHOW ALL").await.is_empty());
        assert_eq!(text(client, "SHOW TABLES").await, "by_type");
        client.simple_query("BEGIN; SELECT 1; SAVEPOINT s; COMMIT").await.unwrap();
        // What follows an error waits for the end of the block.
        client.simple_query("BEGIN").await.unwrap();
        client.simple_query("SELECT nothing_such").await.unwrap_err();
        let error = client.simple_query("SELECT 1").await.unwrap_err();
        assert_eq!(state_and_message(&error).0, SqlState::IN_FAILED_SQL_TRANSACTION);
        client.simple_query("ROLLBACK").await.unwrap();
        assert_eq!(text(client, "SELECT 1").await, "1");
        assert!(client.simple_query("").await.is_ok());
        assert!(client.simple_query(" ; -- nothing").await.is_ok());
    });
}

#[test]
fn beyond_loopback_a_login_needs_the_password() {
    let refused = refused_at("0.0.0.0:0", None);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("needs a password"), "{}", refused.stderr);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "short\n").unwrap();
    assert_eq!(refused_at("0.0.0.0:0", Some(&file)).code, Some(2));

    std::fs::write(&file, "correct horse 'battery'\n").unwrap();
    let path = file.display().to_string();
    let broker = crate::support::broker();
    let (pokemons, users) = (broker.topic("pokemons", 1).to_string(), broker.topic("users", 1).to_string());
    let queries = crate::program::queries(&pokemons, &users);
    let served = Served::on(broker, pokemons, queries, &["--pg", "0.0.0.0:0", "--pg-password-file", &path]);
    runtime().block_on(async {
        let mut config = served.config();
        let error = connect(&config).await.unwrap_err();
        assert!(format!("{error:?}").contains("password missing"), "{error:?}");
        config.password("wrong");
        let (state, message) = state_and_message(&connect(&config).await.unwrap_err());
        assert_eq!(state, SqlState::INVALID_PASSWORD);
        assert_eq!(message, "password authentication failed for user \"ana\"");
        config.password("correct horse 'battery'");
        let client = connect(&config).await.unwrap();
        assert_eq!(text(&client, "SELECT 1").await, "1");
    });
    if has("psql") {
        let error = served.psql(&["-c", "SELECT 1"]).unwrap_err();
        assert!(error.contains("password authentication failed for user \"ana\""), "{error}");
    }
}

#[test]
fn the_seventeenth_client_waits_outside() {
    let served = Served::start();
    runtime().block_on(async {
        let mut clients = Vec::new();
        for _ in 0..16 {
            clients.push(served.connect().await);
        }
        let (state, message) = state_and_message(&connect(&served.config()).await.unwrap_err());
        assert_eq!(state, SqlState::TOO_MANY_CONNECTIONS, "{message}");
        // A slot is free once a client leaves.
        clients.pop();
        let mut tries = 0;
        while connect(&served.config()).await.is_err() {
            tries += 1;
            assert!(tries < 100, "no place becomes free");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(text(&clients[0], "SELECT 1").await, "1");
    });
}

#[test]
fn a_connection_that_is_not_a_client_is_closed() {
    use std::io::{Read as _, Write as _};
    let served = Served::start();
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: localhost:5433\r\n\r\n"[..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3], &[0xff; 64]]
    {
        let mut socket = std::net::TcpStream::connect((served.host.as_str(), served.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // It ends, however it does.
        let ended = socket.read_to_end(&mut answer);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
        assert!(answer.len() < 1_000, "{answer:?}");
    }
    served.run(async |client| assert_eq!(text(client, "SELECT 1").await, "1"));
}

#[test]
fn a_program_that_ends_tells_its_clients() {
    let served = Served::start();
    let runtime = runtime();
    let client = runtime.block_on(served.connect());
    let started = std::time::Instant::now();
    let run = served.running.interrupt();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let error = runtime.block_on(client.simple_query("SELECT 1")).unwrap_err();
    assert!(error.is_closed() || error.code() == Some(&SqlState::ADMIN_SHUTDOWN), "{error:?}");
}
