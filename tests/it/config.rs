//! Settings from the viewpoint of a user with a `tallgrass.toml`.

use std::fs;

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::program::{Run, tallgrass_in};

const FILE: &str = "\
queries = \"sql\"

[properties]
security.protocol = \"SASL_SSL\"
\"sasl.password\" = \"hunter2\"

[dashboard]
refresh = \"250ms\"
once = true

[check]
queries = \"other\"
";

fn folder(file: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tallgrass.toml"), file).unwrap();
    folder
}

fn run(folder: &TempDir, variables: &[(&str, &str)], args: &[&str]) -> Run {
    tallgrass_in(folder.path(), variables, args)
}

#[test]
fn config_show_says_what_is_in_effect_and_why() {
    let folder = folder(FILE);
    let variables = [("TALLGRASS_LINGER", "10ms"), ("TALLGRASS_BROKERS", "kafka:9092"), ("TALLGRASS_REFESH", "1s")];
    let shown = run(&folder, &variables, &["config", "show", "dashboard", "--", "--batch-rows", "100"]).good();
    assert_snapshot!(shown.stdout);
    assert_eq!(shown.stderr.trim(), "note: TALLGRASS_REFESH is not a setting: did you mean 'TALLGRASS_REFRESH'?");
    let all = run(&folder, &variables, &["config", "show"]).good();
    assert!(!all.stdout.contains("hunter2"), "{}", all.stdout);
    let json = run(&folder, &variables, &["config", "show", "--format", "json"]).good().json();
    let settings = json["settings"].as_array().unwrap();
    let of = |command: &str, name: &str| {
        settings
            .iter()
            .find(|row| row["command"] == command && row["setting"] == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(of("replay", "queries")["value"], "sql");
    assert_eq!(of("replay", "queries")["from"], "tallgrass.toml:1");
    assert_eq!(of("check", "queries")["from"], "tallgrass.toml:12");
    assert_eq!(of("user-gen", "brokers")["from"], "TALLGRASS_BROKERS");
    assert_eq!(of("replay", "-X sasl.password")["value"], "(hidden)");
    assert!(of("replay", "output")["value"].is_null());
}

#[test]
fn a_command_does_what_its_settings_say() {
    let folder = folder(FILE);
    // The folder that each of them looks into tells which value it took.
    let looks_into = |variables: &[(&str, &str)], args: &[&str]| run(&folder, variables, args).stderr;
    let output = looks_into(&[], &["check"]);
    assert!(output.contains("other/sources.sql"), "{output}");
    let output = looks_into(&[], &["explain"]);
    assert!(output.contains("sql/sources.sql"), "{output}");
    let output = looks_into(&[("TALLGRASS_QUERIES", "third")], &["check"]);
    assert!(output.contains("third/sources.sql"), "{output}");
    let output = looks_into(&[("TALLGRASS_QUERIES", "third")], &["check", "--queries", "fourth"]);
    assert!(output.contains("fourth/sources.sql"), "{output}");
    fs::write(folder.path().join("b.toml"), "queries = \"fifth\"").unwrap();
    let output = looks_into(&[], &["check", "--config", "b.toml"]);
    assert!(output.contains("fifth/sources.sql"), "{output}");
    let output = looks_into(&[("TALLGRASS_CONFIG", "b.toml")], &["check"]);
    assert!(output.contains("fifth/sources.sql"), "{output}");
}

#[test]
fn properties_of_the_file_reach_librdkafka() {
    let folder = folder("[properties]\nno.such.property = 1\n");
    let asked = run(&folder, &[], &["topics", "-b", "127.0.0.1:9"]);
    assert!(asked.stderr.contains("no.such.property"), "{}", asked.stderr);
}

#[test]
fn a_wrong_file_and_a_wrong_variable_end_with_usage_and_the_place() {
    let folder = folder("[dashbord]\nrefresh = \"1s\"\n\n[dashboard]\nrefesh = \"1s\"\nonce = 1\n");
    let refused = run(&folder, &[], &["dashboard"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert_snapshot!(refused.stderr);
    // Even for a command that these tables do not apply to: the file is valid or not.
    assert_eq!(run(&folder, &[], &["check"]).code, Some(2));
    assert_eq!(run(&folder, &[], &["dashboard", "--help"]).code, Some(0));
    let refused = run(&folder, &[("TALLGRASS_REFRESH", "1")], &["dashboard", "--config", "/dev/null"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.starts_with("error: TALLGRASS_REFRESH: invalid value '1': "), "{}", refused.stderr);
    let refused = run(&folder, &[], &["check", "--config", "missing.toml"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.starts_with("error: cannot read the config file missing.toml: "), "{}", refused.stderr);
    let refused = run(&folder, &[], &["config", "show", "dashbord", "--config", "/dev/null"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("did you mean 'dashboard'?"), "{}", refused.stderr);
}
