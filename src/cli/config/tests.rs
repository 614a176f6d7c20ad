//! Which of several values is in effect.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsString;
use std::fs;

use clap::{Arg, ArgAction, Command};
use tempfile::TempDir;

use super::*;
use crate::cli::{Cli, Command as Role, Dashboard};
use tallgrass_sink::Format;

/// A folder with a config file.
struct World {
    folder: TempDir,
    variables: Vec<(OsString, OsString)>,
}

impl World {
    fn new(file: &str, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("t.toml"), file).unwrap();
        let path = folder.path().join("t.toml");
        let named = [(OsString::from("TALLGRASS_CONFIG"), path.into_os_string())];
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Self { folder, variables: named.into_iter().chain(variables).collect() }
    }

    fn read(&self, line: &str) -> Result<Cli, String> {
        let line = std::iter::once("tallgrass").chain(line.split_whitespace()).map(OsString::from);
        let read = super::read(line, self.variables.clone());
        let folder = self.folder.path().display().to_string();
        read.map(|(cli, _)| cli).map_err(|refusal| refusal.to_string().replace(&folder, ""))
    }

    fn dashboard(&self, line: &str) -> Dashboard {
        match self.read(&format!("dashboard {line}")).unwrap().command {
            Role::Dashboard(dashboard) => dashboard,
            other => panic!("{other:?}"),
        }
    }

    /// `NAME=VALUE from ORIGIN` of one command's settings.
    fn settings(&self, command: &str, typed: &[&str]) -> Vec<String> {
        let program = Cli::command();
        let configuration = Configuration::load(None, self.variables.clone(), &program).unwrap();
        let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
        let settings = configuration.settings(&program, Some(command), &typed).unwrap();
        let folder = self.folder.path().display().to_string();
        let shown = |setting: Setting| {
            let value = setting.value.map_or_else(|| "none".to_owned(), |value| format!("'{value}'"));
            format!("{}={value} from {}", setting.name, setting.origin).replace(&folder, "")
        };
        settings.into_iter().map(shown).collect()
    }
}

fn ms(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}

#[test]
fn typed_wins_over_the_environment_over_the_commands_table_over_all_over_the_default() {
    let file = "refresh = '1ms'\nlinger = '1ms'\nbatch-rows = 1\nbatch-bytes = 1\n\
                [dashboard]\nrefresh = '2ms'\nlinger = '2ms'\nbatch-rows = 2";
    let world = World::new(file, &[("TALLGRASS_REFRESH", "3ms"), ("TALLGRASS_LINGER", "3ms")]);
    let dashboard = world.dashboard("--refresh 4ms");
    assert_eq!(dashboard.refresh, ms(4));
    assert_eq!(dashboard.batching.linger, ms(3));
    assert_eq!(dashboard.batching.batch_rows.get(), 2);
    assert_eq!(dashboard.batching.batch_bytes.get(), 1);
    assert_eq!(dashboard.connection.brokers, "127.0.0.1:9092");
    let from: Vec<String> = world.settings("dashboard", &["--refresh", "4ms"]);
    for setting in [
        "refresh='4ms' from flag",
        "linger='3ms' from TALLGRASS_LINGER",
        "batch-rows='2' from /t.toml:8",
        "batch-bytes='1' from /t.toml:4",
        "brokers='127.0.0.1:9092' from default",
        "verify=none from default",
        "once='false' from default",
    ] {
        assert!(from.iter().any(|seen| seen == setting), "{setting}: {from:#?}");
    }
}

#[test]
fn a_required_argument_may_stand_in_the_file() {
    let world = World::new("[control-panel]\nlat = 40.4168\nlon = -3.7038", &[]);
    let Role::ControlPanel(panel) = world.read("control-panel --lat 1").unwrap().command else { panic!() };
    assert_eq!((panel.lat, panel.lon), (1.0, -3.7038));
}

#[test]
fn a_flag_that_is_set_can_be_typed_away() {
    let world = World::new("[dashboard]\nonce = true", &[]);
    assert!(world.dashboard("").once);
    assert!(world.dashboard("--once").once);
    assert!(!world.dashboard("--once=false").once);
    let unset = World::new("[dashboard]\nonce = true", &[("TALLGRASS_ONCE", "no")]);
    assert!(!unset.dashboard("").once);
    assert!(world.settings("dashboard", &["--once=false"]).contains(&"once='false' from flag".to_owned()));
}

#[test]
fn what_is_typed_leaves_out_what_conflicts_with_it() {
    let world = World::new("[dashboard]\nverify = '30s'", &[]);
    let dashboard = world.dashboard("--once");
    assert_eq!((dashboard.once, dashboard.verify), (true, None));
    // The other way around, and across layers.
    let world = World::new("[dashboard]\nonce = true", &[("TALLGRASS_VERIFY", "30s")]);
    let dashboard = world.dashboard("");
    assert_eq!((dashboard.once, dashboard.verify), (false, Some(ms(30_000))));
    let dashboard = world.dashboard("--once");
    assert_eq!((dashboard.once, dashboard.verify), (true, None));
    // clap refuses two that are typed; two in one table are refused here.
    assert!(world.read("dashboard --once --verify 1s").unwrap_err().contains("cannot be used with"));
    let both = World::new("[dashboard]\nonce = true\nverify = '30s'", &[]);
    assert_eq!(
        both.read("dashboard").unwrap_err(),
        "error: verify (/t.toml:3) and once (/t.toml:2) exclude each other, for dashboard"
    );
    assert_eq!(both.dashboard("--once=false").verify, Some(ms(30_000)));
}

#[test]
fn a_setting_requires_nothing_and_meets_what_is_required() {
    let world = World::new("[dashboard]\nformat = 'json'", &[]);
    assert_eq!(world.dashboard("").format, Format::Json);
    let world = World::new("[dashboard]\nonce = true", &[]);
    let dashboard = world.dashboard("--format csv");
    assert_eq!((dashboard.format, dashboard.once), (Format::Csv, true));
    // But a required option without a value is still missing.
    assert!(World::new("", &[]).read("dashboard --format csv").unwrap_err().contains("--once"));
}

#[test]
fn a_required_value_of_a_setting_is_put_before_a_double_dash() {
    let program = Command::new("program").subcommand(
        Command::new("serve")
            .arg(Arg::new("listen").long("listen").value_name("ADDRESS"))
            .arg(Arg::new("tls").long("tls").action(ArgAction::SetTrue).requires("listen"))
            .arg(Arg::new("rest").last(true)),
    );
    let variables = BTreeMap::from([("TALLGRASS_LISTEN".to_owned(), "here:1".to_owned())]);
    let configuration = Configuration { file: None, variables };
    let line = |typed: &[&str]| -> Vec<OsString> { typed.iter().map(OsString::from).collect() };
    let line = line(&["program", "serve", "--tls", "--", "--listen"]);
    let (matches, _) = configuration.complete(&program, &line).unwrap();
    let serve = matches.subcommand_matches("serve").unwrap();
    assert_eq!(serve.get_one::<String>("listen").unwrap(), "here:1");
    assert_eq!(serve.get_one::<String>("rest").unwrap(), "--listen");
    assert!(Configuration::default().complete(&program, &line).is_err());
}

#[test]
fn a_typed_list_takes_the_place_of_the_files() {
    let world = World::new("[pokemon-gen]\nnear = ['1,2', '3,4']", &[]);
    let near = |world: &World, line: &str| match world.read(line).unwrap().command {
        Role::PokemonGen(args) => args.near.iter().map(|place| place.lat).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(near(&world, "pokemon-gen"), [1.0, 3.0]);
    assert_eq!(near(&world, "pokemon-gen --near=-5,6"), [-5.0]);
    let world = World::new("[pokemon-gen]\nnear = ['1,2']", &[("TALLGRASS_NEAR", "-7,8; 9,10")]);
    assert_eq!(near(&world, "pokemon-gen"), [-7.0, 9.0]);
}

#[test]
fn properties_of_all_layers_come_together_and_the_highest_last() {
    let file =
        "[properties]\na.a = 1\nb.b = 1\nc.c = 1\nsasl.password = 'hunter2'\n[dashboard.properties]\nb.b = 2\nc.c = 2";
    let world = World::new(file, &[("TALLGRASS_X_C_C", "3"), ("TALLGRASS_X_D_D", "3")]);
    let Dashboard { connection, .. } = world.dashboard("-X d.d=4");
    let mut last = BTreeMap::new();
    last.extend(connection.properties);
    let last: Vec<(&str, &str)> = last.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(last, [("a.a", "1"), ("b.b", "2"), ("c.c", "3"), ("d.d", "4"), ("sasl.password", "hunter2")]);
    let shown = world.settings("dashboard", &["-X", "d.d=4"]);
    let shown: Vec<&str> = shown.iter().map(String::as_str).filter(|setting| setting.starts_with("-X")).collect();
    assert_eq!(
        shown,
        [
            "-X a.a='1' from /t.toml:2",
            "-X b.b='2' from /t.toml:7",
            "-X c.c='3' from TALLGRASS_X_C_C",
            "-X d.d='4' from flag",
            "-X sasl.password='(hidden)' from /t.toml:5",
        ]
    );
    assert!(world.settings("check", &[]).iter().all(|setting| !setting.starts_with("-X")));
}

#[test]
fn a_wrong_variable_is_reported_by_its_name() {
    let reported = |name: &str, value: &str, line: &str| World::new("", &[(name, value)]).read(line).unwrap_err();
    assert_eq!(
        reported("TALLGRASS_FORMAT", "jsn", "dashboard"),
        "error: TALLGRASS_FORMAT: invalid value 'jsn'\nhelp: did you mean 'json'?"
    );
    assert!(
        reported("TALLGRASS_REFRESH", "1", "dashboard").starts_with("error: TALLGRASS_REFRESH: invalid value '1': ")
    );
    assert!(reported("TALLGRASS_ONCE", "perhaps", "dashboard").contains("TALLGRASS_ONCE: invalid value 'perhaps'"));
    // It does not matter for other commands, nor where a value is typed instead. An empty variable counts as unset.
    let wrong = World::new("", &[("TALLGRASS_REFRESH", "1"), ("TALLGRASS_BROKERS", "")]);
    assert!(wrong.read("check").is_ok());
    assert_eq!(wrong.dashboard("--refresh 1s").connection.brokers, "127.0.0.1:9092");
}

#[test]
fn a_file_that_is_named_must_be_there_and_a_broken_one_stops_no_help() {
    let world = World::new("nonsense", &[]);
    assert!(world.read("dashboard").unwrap_err().starts_with("/t.toml:1:9: error: "));
    assert!(
        world.read("dashboard --config no/such.toml").unwrap_err().contains("cannot read the config file no/such.toml")
    );
    assert!(world.read("--config no/such.toml dashboard").unwrap_err().contains("no/such.toml"));
    assert!(world.read("dashboard --help").unwrap_err().contains("Usage: tallgrass dashboard"));
    assert!(world.read("completions bash").is_ok());
    assert!(world.read("man").is_ok());
    assert!(world.read("").unwrap_err().contains("Usage: tallgrass"));
    assert!(world.read("config show").is_err());
}

#[test]
fn settings_say_nothing_to_the_command_that_shows_them() {
    let world = World::new("format = 'ndjson'", &[("TALLGRASS_FORMAT", "ndjson")]);
    let Role::Config(config) = world.read("config show").unwrap().command else { panic!() };
    let crate::cli::ConfigCommand::Show(show) = config.command;
    assert_eq!(show.format, Format::Table);
}

#[test]
fn every_command_shows_all_its_options() {
    let program = Cli::command();
    let settings = Configuration::default().settings(&program, None, &[]).unwrap();
    for command in program.get_subcommands() {
        for option in options::options(command).filter(|_| command.get_name() != "config") {
            let found = settings
                .iter()
                .filter(|setting| setting.command == command.get_name() && setting.name == options::name(option));
            assert_eq!(found.count(), 1, "{} {option}", command.get_name());
        }
    }
    let unknown = Configuration::default().settings(&program, Some("dashbord"), &[]).unwrap_err().to_string();
    assert!(unknown.ends_with("help: did you mean 'dashboard'?"), "{unknown}");
}

#[test]
fn a_misspelt_variable_is_suspicious_and_one_of_another_purpose_is_not() {
    let names = ["TALLGRASS_REFESH", "TALLGRASS_LOG", "TALLGRASS_TEST_BROKERS", "TALLGRASS_X_A", "TALLGRASS_LAT"];
    let world = World::new("", &names.map(|name| (name, "1")));
    let configuration = Configuration::load(None, world.variables.clone(), &Cli::command()).unwrap();
    assert_eq!(configuration.suspicious(), [("TALLGRASS_REFESH", "did you mean 'TALLGRASS_REFRESH'?".to_owned())]);
}
