//! psql and a JDBC driver, as people have them.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{EVENTS, Served, has};

#[test]
fn psql_lists_describes_and_reads() {
    if !has("psql") {
        return;
    }
    let served = Served::start();
    let tables = served.psql_good("\\d");
    for name in ["by_type", "pokemons_seen", "users_online", "pokemons", "pokedex", "users"] {
        assert!(tables.contains(&format!(" {name} ")), "{name} in\n{tables}");
    }
    assert_eq!(served.psql_good("\\dt"), tables);
    let columns = served.psql_good("\\d pokemons");
    assert!(columns.contains("Table \"public.pokemons\""), "{columns}");
    for column in [" name ", " lat ", " legendary ", "double precision", "boolean", "bigint"] {
        assert!(columns.contains(column), "{column} in\n{columns}");
    }
    // As PostgreSQL's own system columns, the metadata are there for those who name them.
    assert!(!columns.contains(" _timestamp "), "{columns}");
    assert_eq!(served.psql_good("\\copy (SELECT 1 AS a, 'x' AS b) TO STDOUT CSV HEADER"), "a,b\n1,x\n");
    let columns = served.psql_good("\\d by_type");
    assert!(columns.contains("mean_total") && columns.contains("double precision"), "{columns}");
    assert!(served.psql(&["-c", "\\d no_such"]).unwrap_err().contains("Did not find any relation named \"no_such\""));
    assert!(served.psql_good("\\l").contains("tallgrass"));
    assert!(served.psql_good("\\conninfo").contains("database \"tallgrass\" as user \"ana\""));
    assert!(served.psql_good("\\dn").contains("public"));
    served.psql_good("\\df");
    served.psql_good("\\du");
    assert!(served.psql_good("\\d+ by_type").contains("mean_total"));
    served.psql_good("\\dt *.*");

    let count = served.psql(&["-At", "-c", "SELECT count(*) FROM pokemons", "-c", "SELECT * FROM pokemons_seen"]);
    assert_eq!(count.unwrap(), format!("{EVENTS}\n{EVENTS}\n"));
    let expanded = served.psql(&["-x", "-c", "SELECT 1 AS one, 'x' AS \"Two\", NULL AS three"]).unwrap();
    assert!(expanded.contains("one   | 1") && expanded.contains("Two   | x"), "{expanded}");
    let timed = served.psql(&["-c", "\\timing on", "-c", "SELECT 1"]).unwrap();
    assert!(timed.contains("Time: "), "{timed}");
    let several = served.psql(&["-At", "-c", "BEGIN; SELECT 1; SELECT ';' ; COMMIT"]).unwrap();
    assert_eq!(several, "BEGIN\n1\n;\nCOMMIT\n");
    let prepared = "PREPARE near (double precision) AS SELECT count(*) FROM pokedex WHERE total > $1; EXECUTE near (600 + 1); \
                    EXECUTE near ('700'); DEALLOCATE near";
    let prepared = served.psql(&["-At", "-c", prepared]).unwrap();
    let counts: Vec<i64> = prepared.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(counts.len() == 2 && counts[0] > counts[1] && counts[1] > 0, "{prepared}");
}

#[test]
fn psql_shows_where_an_error_is() {
    if !has("psql") {
        return;
    }
    let served = Served::start();
    let error =
        served.psql(&["-c", "\\set VERBOSITY verbose", "-c", "SELECT 'é',\n  typ_1 FROM pokemons"]).unwrap_err();
    assert!(error.contains("ERROR:  42703: column 'typ_1' not found"), "{error}");
    assert!(error.contains("LINE 2:   typ_1 FROM pokemons\n          ^"), "{error}");
    assert!(error.contains("HINT:  did you mean 'type_1'?"), "{error}");
}

#[test]
fn ctrl_c_in_psql_ends_the_statement_and_not_the_session() {
    if !has("psql") {
        return;
    }
    let served = Served::start();
    let endless = "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";
    let mut command = Command::new("psql");
    command.args(["-X", "-At", "-h", &served.host, "-p", &served.port.to_string(), "-U", "ana", "-d", "tallgrass"]);
    command.args(["-c", endless, "-c", "SELECT 'goes on'"]).env("PGPASSWORD", "none");
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("psql starts");
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    let interrupted = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("canceling statement due to user request"), "{error}");
    assert!(interrupted.elapsed() < Duration::from_secs(3), "{:?}", interrupted.elapsed());
    assert_eq!(served.psql(&["-At", "-c", "SELECT 1"]).unwrap(), "1\n");
}

#[test]
fn a_jdbc_driver_reads_with_parameters_and_metadata() {
    if !has("mvn") || !has("java") {
        return;
    }
    let served = Served::start();
    let url = format!("jdbc:postgresql://{}:{}/tallgrass?user=ana&sslmode=disable", served.host, served.port);
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-e", "compile", "exec:java", &format!("-Dexec.args={url} {EVENTS}")]);
    let output = maven.current_dir("tests/clients/jdbc").output().expect("mvn starts");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("all is well"), "{out}\n{error}");
}
