//! What a config file may contain, and the messages about wrong ones.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use clap::CommandFactory as _;

use super::file::ConfigFile;
use super::options;
use crate::cli::Cli;

fn parse(text: &str) -> Result<ConfigFile, String> {
    ConfigFile::parse(Path::new("tallgrass.toml"), text, &Cli::command()).map_err(|error| error.to_string())
}

#[track_caller]
fn wrong(text: &str) -> String {
    parse(text).unwrap_err()
}

/// The values of `command option`, and whether its own table has them.
fn entry(file: &ConfigFile, command: &str, option: &str) -> Option<(Vec<String>, bool)> {
    let program = Cli::command();
    let path = [command.to_owned()];
    let option = options::option(options::at(&program, &path).unwrap(), option).unwrap();
    file.entry(&path, option).map(|(entry, own)| (entry.values(), own))
}

fn properties(file: &ConfigFile, command: &str) -> Vec<(String, String)> {
    file.properties(&[command.to_owned()]).map(|property| (property.key.clone(), property.value.clone())).collect()
}

#[test]
fn a_commands_table_wins_over_what_holds_for_all() {
    let file = parse("refresh = '1s'\nbatch-rows = 10\n[dashboard]\nrefresh = '2s'\nonce = true\n").unwrap();
    assert_eq!(entry(&file, "dashboard", "refresh"), Some((vec!["2s".to_owned()], true)));
    assert_eq!(entry(&file, "dashboard", "batch-rows"), Some((vec!["10".to_owned()], false)));
    assert_eq!(entry(&file, "dashboard", "once"), Some((vec!["true".to_owned()], true)));
    assert_eq!(entry(&file, "verify", "batch-rows"), Some((vec!["10".to_owned()], false)));
    assert_eq!(entry(&file, "replay", "format"), None);
}

#[test]
fn an_option_that_may_be_given_again_takes_a_list() {
    let file = parse("[pokemon-gen]\nnear = ['1,2', '-3,-4']\nspread-km = 2.5\n[topics]\ngroup = 'audit'").unwrap();
    assert_eq!(entry(&file, "pokemon-gen", "near"), Some((vec!["1,2".to_owned(), "-3,-4".to_owned()], true)));
    assert_eq!(entry(&file, "pokemon-gen", "spread-km"), Some((vec!["2.5".to_owned()], true)));
    assert_eq!(entry(&file, "topics", "group"), Some((vec!["audit".to_owned()], true)));
    assert!(wrong("[pokemon-gen]\nnear = ['1,2', true]").contains("near is a list of texts or numbers"));
    assert!(wrong("brokers = ['a:1', 'b:2']").contains("brokers is a text or a number, found a list"));
}

#[test]
fn properties_may_be_written_with_dots_or_quotes_and_a_commands_own_come_last() {
    let file = parse(
        "[properties]\nsecurity.protocol = 'SSL'\n'linger.ms' = 5\n\
         [dashboard.properties]\n'linger.ms' = 7\nlog.connection.close = true",
    )
    .unwrap();
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(properties(&file, "replay"), of(&[("linger.ms", "5"), ("security.protocol", "SSL")]));
    assert_eq!(
        properties(&file, "dashboard"),
        of(&[("linger.ms", "5"), ("security.protocol", "SSL"), ("linger.ms", "7"), ("log.connection.close", "true")])
    );
    assert!(wrong("[check.properties]\na = 1").contains("there is no command 'properties'"));
    assert!(wrong("properties = 'a=b'").contains("properties is a table"));
    assert!(wrong("[properties]\nsasl.password = ['hunter2']").contains("sasl.password is a text"));
}

#[test]
fn a_command_and_an_option_of_one_name_are_distinguished() {
    let file = parse("verify = '30s'").unwrap();
    assert_eq!(entry(&file, "dashboard", "verify"), Some((vec!["30s".to_owned()], false)));
    let file = parse("[verify]\nqueries = 'a'\n[dashboard]\nverify = '30s'").unwrap();
    assert_eq!(entry(&file, "verify", "queries"), Some((vec!["a".to_owned()], true)));
    assert_eq!(entry(&file, "dashboard", "verify"), Some((vec!["30s".to_owned()], true)));
    assert!(wrong("dashboard = 1").contains("dashboard is a command: its settings are a table"));
}

#[test]
fn a_wrong_file_is_shown_with_every_place_and_a_way_out() {
    let text = "\
broker = \"127.0.0.1:9092\"
queries = true

[dashbord]
refresh = \"1s\"

[dashboard]
refresh = 250
once = \"yes\"
radius-km = 3
format = \"tabel\"

[control-panel]
lat = 95.5
refresh = 1
";
    insta::assert_snapshot!(wrong(text));
}

#[test]
fn a_value_for_all_commands_suits_all_or_is_set_for_some_only() {
    insta::assert_snapshot!(wrong("format = 'csv'\n"));
    assert!(parse("format = 'csv'\n[login-checker]\nformat = 'text'\n[control-panel]\nformat = 'text'").is_ok());
    assert!(parse("format = 'ndjson'").is_ok());
}

#[test]
fn invalid_toml_is_shown_at_its_position() {
    insta::assert_snapshot!(wrong("refresh = 1s\n"));
    insta::assert_snapshot!("twice", wrong("queries = 'a'\nqueries = 'b'\n"));
}

#[test]
fn no_mistake_shows_a_secret() {
    for text in [
        "[properties]\n'sasl.password' = \"hunter2",
        "[properties]\nsasl.password = hunter2",
        "[properties.sasl]\npassword = ['hunter2']",
        "[properties]\nssl.key.pem = '''\nhunter2 \\u0000\n",
        "[properties]\nssl.key.pem = \"\"\"\nhunter2 \\q\n\"\"\"",
        "[dashboard]\nssl.key.password = 'hunter2'",
        "sasl.password = 'hunter2'",
    ] {
        let message = wrong(text);
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_hostile_name_is_shown_as_text() {
    let message = wrong("\"\\u001b[31m\\nx\" = 1");
    assert!(!message.contains('\u{1b}') && message.contains("\\u{1b}[31m"), "{message}");
}
