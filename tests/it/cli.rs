//! The program's messages and exit codes when it is used wrongly.

use std::fs;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::program::{Run, tallgrass};
use crate::support::skip;

/// Nothing listens there.
const NO_BROKER: &str = "127.0.0.1:9";

fn seen(run: &Run) -> String {
    format!(
        "exit {:?}\n── stdout\n{}\n── stderr\n{}",
        run.code.unwrap_or(-1),
        run.stdout.trim_end(),
        run.stderr.trim_end()
    )
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("dashboard")).unwrap();
    let sources = "CREATE EXTERNAL TABLE s (id BIGINT, name VARCHAR, x DOUBLE) STORED AS KAFKA LOCATION 's';\n\
                   CREATE EXTERNAL TABLE t (id BIGINT, name VARCHAR, PRIMARY KEY (id)) STORED AS KAFKA LOCATION 't';";
    fs::write(folder.path().join("sources.sql"), sources).unwrap();
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).unwrap();
    }
    folder
}

/// Runs `check` and takes the temporary folder's name out.
fn check(folder: &TempDir) -> String {
    let path = folder.path().display().to_string();
    seen(&tallgrass(&["check", "--queries", &path])).replace(&path, "DIR")
}

#[test]
fn check_says_how_each_shipped_file_is_maintained() {
    assert_snapshot!(seen(&tallgrass(&["check"])));
}

#[test]
fn explain_shows_what_runs_when() {
    assert_snapshot!(seen(&tallgrass(&["explain", "by_type", "users_online"])));
}

#[test]
fn check_points_at_the_place() {
    let folder = folder(&[
        ("dashboard/good.sql", "SELECT name, count(*) AS n FROM s GROUP BY name"),
        ("dashboard/column.sql", "-- @title: A typo\nSELECT nam, count(*)\nFROM s GROUP BY nam"),
        ("dashboard/syntax.sql", "SELECT count(* FROM s"),
        ("dashboard/random.sql", "SELECT count(*) FROM s WHERE x < random()"),
        ("dashboard/two.sql", "SELECT 1; SELECT 2"),
        ("login_checker.sql", "SELECT name, count(*) FROM s GROUP BY name"),
    ]);
    assert_snapshot!(check(&folder));
}

#[test]
fn check_says_what_a_panel_lacks_and_where() {
    let folder = folder(&[]);
    fs::create_dir(folder.path().join("panels")).unwrap();
    let params = "-- @param lat DOUBLE\n-- @param lon DOUBLE\n-- @param radius_km DOUBLE = 3\n";
    let near = "WHERE haversine_km(x, x, $lat, $lon) <= $radius_km";
    for (name, sql) in [
        ("good", format!("{params}-- @x: x  @y: x\nSELECT name, x FROM s {near}")),
        ("no_map", format!("{params}SELECT name FROM s {near}")),
        (
            "no_radius",
            "-- @param lat DOUBLE\n-- @param lon DOUBLE\nSELECT name FROM s WHERE x < $lat + $lon".to_owned(),
        ),
        ("whole", format!("{}SELECT x AS lat, x AS lon FROM s {near}", params.replace("lon DOUBLE", "lon BIGINT"))),
        ("counts", format!("{params}SELECT count(*) AS n FROM s {near}")),
        ("keyed", format!("{params}SELECT id AS lat, id AS lon FROM t WHERE id < $radius_km + $lat + $lon")),
        ("misspelt", format!("{params}-- @x: xx  @y: x\nSELECT name, x FROM s {near}")),
    ] {
        fs::write(folder.path().join(format!("panels/{name}.sql")), sql).unwrap();
    }
    let seen = check(&folder);
    for words in [
        "exit 3",
        "DIR/panels/good.sql",
        "DIR/panels/no_map.sql:4:1: warning: no column says where a row lies, so the map stays empty",
        "DIR/panels/no_radius.sql:3:1: error: a panel needs the parameter 'radius_km'",
        "DIR/panels/whole.sql:2:11: error: 'lon' cannot be BIGINT",
        "DIR/panels/counts.sql:4:1: error: rows can be passed on",
        "DIR/panels/keyed.sql:4:1: error: rows can be passed on",
        "DIR/panels/misspelt.sql:4:8: warning: the result has no column 'xx'",
        "4 of the SQL files cannot be used",
    ] {
        assert!(seen.contains(words), "{words}: {seen}");
    }
    assert!(!seen.contains("good.sql:"), "{seen}");
}

#[test]
fn check_explains_wrong_declarations() {
    let folder = folder(&[]);
    fs::write(
        folder.path().join("sources.sql"),
        "CREATE EXTERNAL TABLE s (\n  id BIGINT,\n  name VARCHARR\n) STORED AS KAFKA LOCATION 's'",
    )
    .unwrap();
    assert_snapshot!(check(&folder));
}

#[test]
fn a_folder_without_sources_says_how_to_get_one() {
    let folder = TempDir::new().unwrap();
    assert_snapshot!(check(&folder));
}

#[test]
fn nothing_but_reading_is_allowed() {
    for sql in [
        "INSERT INTO pokemons VALUES (1)",
        "CREATE TABLE x AS SELECT 1",
        "COPY pokedex TO '/tmp/x.csv'",
        "SET a = 1",
        "DROP TABLE pokedex",
    ] {
        let run = tallgrass(&["query", sql, "-b", NO_BROKER]);
        assert_eq!(run.code, Some(3), "{sql}: {}", run.stderr);
        assert!(run.stderr.contains("only SELECT, EXPLAIN"), "{sql}: {}", run.stderr);
    }
}

#[test]
fn static_relations_need_no_broker() {
    let run = tallgrass(&[
        "query",
        "SELECT name FROM pokedex WHERE number IN (29, 669) ORDER BY number",
        "--format",
        "csv",
        "-b",
        NO_BROKER,
    ]);
    assert_eq!(seen(&run), "exit 0\n── stdout\nname\nNidoran♀\nFlabe\u{301}be\u{301}\n── stderr\n");
}

#[test]
fn an_absent_broker_is_reported_soon_by_every_command() {
    let commands: [&[&str]; 10] = [
        &["dashboard"],
        &["dashboard", "--once"],
        &["dashboard", "--format", "ndjson"],
        &["verify"],
        &["replay"],
        &["query", "SELECT count(*) FROM pokemons"],
        &["login-checker"],
        &["control-panel", "--lat", "1", "--lon", "1"],
        &["pokemon-gen", "--count", "1"],
        &["topics"],
    ];
    std::thread::scope(|scope| {
        for command in commands {
            scope.spawn(move || {
                let started = Instant::now();
                let run = tallgrass(&[command, &["-b", NO_BROKER]].concat());
                assert_eq!(run.code, Some(4), "{command:?}: {}", run.stderr);
                assert!(run.stderr.contains("no broker answers at 127.0.0.1:9"), "{command:?}: {}", run.stderr);
                assert!(started.elapsed() < Duration::from_secs(15), "{command:?} took {:?}", started.elapsed());
            });
        }
    });
}

#[test]
fn wrong_arguments_are_explained() {
    let wrong: [&[&str]; 20] = [
        &["pokemon-gen", "--rate", "0/s"],
        &["pokemon-gen", "--near", "100,0"],
        &["user-gen", "--users", "0"],
        &["control-panel", "--lat", "40"],
        &["replay", "--from", "yesterday"],
        &["replay", "by_typ"],
        &["replay", "--format", "ndjson"],
        &["replay", "--format", "parquet"],
        &["query", "SELECT 1", "--format", "xlsx"],
        &["dashboard", "-X", "nonsense"],
        &["dashboard", "--format", "json"],
        &["dashboard", "--format", "table"],
        &["dashboard", "--once", "--verify", "30s"],
        &["dashboard", "--verify", "0s"],
        &["demo", "--verify", "often"],
        &["replay", "--until", "pokemons"],
        &["replay", "--until", ""],
        &["replay", "--until", "@noon"],
        &["verify", "by_typ"],
        &["verify", "--against", "no/such/file"],
    ];
    let messages: Vec<String> = wrong
        .iter()
        .map(|args| {
            let run = tallgrass(args);
            format!("$ tallgrass {}\n{}", args.join(" "), seen(&run))
        })
        .collect();
    assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn help_shows_every_command_with_examples() {
    assert_snapshot!(seen(&tallgrass(&["--help"])));
    for command in [
        "demo",
        "pokemon-gen",
        "user-gen",
        "dashboard",
        "login-checker",
        "control-panel",
        "replay",
        "query",
        "verify",
        "check",
        "init",
        "topics",
        "config",
        "completions",
        "man",
    ] {
        let run = tallgrass(&[command, "--help"]);
        assert_eq!(run.code, Some(0));
        assert!(run.stdout.contains("Examples:"), "{command}: {}", run.stdout);
    }
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("man1");
    assert_eq!(seen(&tallgrass(&["man", dir.to_str().unwrap()])), "exit 0\n── stdout\n\n── stderr\n");
    let mut names: Vec<String> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_snapshot!(names.join("\n"));
    for name in names.iter().filter(|name| *name != "tallgrass.1") {
        let page = fs::read_to_string(dir.join(name)).unwrap();
        assert!(page.contains("Examples:"), "{name}: {page}");
    }
    let page = tallgrass(&["man"]).good().stdout;
    assert_eq!(page, fs::read_to_string(dir.join("tallgrass.1")).unwrap());
    assert!(page.contains("tallgrass\\-replay(1)"), "{page}");
}

#[test]
fn a_tab_completes_commands_options_and_formats() {
    let shells = ["bash", "elvish", "fish", "powershell", "zsh"];
    for shell in shells {
        let script = tallgrass(&["completions", shell]).good().stdout;
        for word in ["replay", "control-panel", "until", "parquet"] {
            assert!(script.contains(word), "{shell} knows no {word}");
        }
    }
    assert_eq!(tallgrass(&["completions", "cmd"]).code, Some(2));
    let complete = |args: &[&str]| {
        let script = tallgrass(&["completions", "bash"]).good().stdout;
        let (line, last) = (args.join(" "), args.len() - 1);
        let script = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD={last}\n\
             _tallgrass tallgrass \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        std::process::Command::new("bash").args(["--norc", "-c", &script]).output()
    };
    let Ok(output) = complete(&["tallgrass", "rep"]) else { return skip("there is no bash") };
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "replay");
    let output = complete(&["tallgrass", "query", "--format", "pa"]).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "parquet");
}

#[test]
fn help_says_how_to_prove_a_number() {
    for command in ["verify", "dashboard", "replay"] {
        assert_snapshot!(format!("help_of_{command}"), seen(&tallgrass(&[command, "--help"])));
    }
}

#[test]
fn the_demo_ends_by_itself_and_proves_its_numbers() {
    let run = tallgrass(&["demo", "--duration", "5s", "--seed", "11", "--verify", "1s"]);
    assert_eq!(run.code, Some(0), "{}\n{}", run.stdout, run.stderr);
    let shipped = fs::read_dir("queries/dashboard").unwrap().count();
    assert_eq!(run.stdout.matches("live and replay agree").count(), shipped, "{}", run.stdout);
    assert!(run.stdout.contains("Users online"), "{}", run.stdout);
    // While it ran, too.
    assert!(run.stderr.contains(&format!("live = replay: {shipped} views")), "{}", run.stderr);
}
