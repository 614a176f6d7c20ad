//! What can be configured: every option with a long name, of every command.
//!
//! All of it is read from clap's own description of the command line, so a new option can be set in the file and in the
//! environment at once, with the same values and the same messages about wrong ones.

use std::error::Error as _;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use tallgrass_diagnostics::did_you_mean;

use super::error::Fault;
use super::secret::is_secret;

/// The argument that takes librdkafka's properties, which have tables and variables of their own.
pub(super) const PROPERTIES: &str = "properties";

/// The prefix of environment variables.
pub(super) const PREFIX: &str = "TALLGRASS_";

/// The prefix of a variable for a librdkafka property: `TALLGRASS_X_SASL_PASSWORD` is `sasl.password`.
pub(super) const PROPERTY_PREFIX: &str = "TALLGRASS_X_";

/// The separator of several values in one variable: a place has a comma, and a group's name may have a blank.
pub(super) const SEPARATOR: char = ';';

/// The command about settings has no settings itself.
const UNCONFIGURED: &str = "config";

/// The names of a command after the program's name.
pub(super) type CommandPath = Vec<String>;

/// How many values an option has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arity {
    /// None
    Flag,
    /// One
    One,
    /// Any number
    Many,
}

pub(super) fn shape(option: &Arg) -> Arity {
    match option.get_action() {
        ArgAction::Append => Arity::Many,
        ArgAction::Set => Arity::One,
        _ => Arity::Flag,
    }
}

/// The options of a command that can be configured.
pub(super) fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    // A global option locates the settings.
    command.get_arguments().filter(|arg| arg.get_long().is_some() && !arg.is_global_set())
}

/// The option of this long name.
pub(super) fn option<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    options(command).find(|option| self::name(option) == name)
}

/// An option's name in the file.
pub(super) fn name(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
}

/// An option's name in the environment: `radius-km` is `TALLGRASS_RADIUS_KM`.
pub(super) fn variable(option: &Arg) -> String {
    format!("{PREFIX}{}", name(option).to_uppercase().replace('-', "_"))
}

/// Whether a command talks to Kafka with `-X` properties.
pub(super) fn takes_properties(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == PROPERTIES)
}

/// Whether there is anything to configure.
pub(super) fn has_settings(command: &Command) -> bool {
    takes_properties(command) || options(command).next().is_some()
}

/// Every command that runs, with its path, in the order of the help.
pub(super) fn commands(program: &Command) -> Vec<(CommandPath, &Command)> {
    fn add<'a>(path: &[String], command: &'a Command, found: &mut Vec<(CommandPath, &'a Command)>) {
        for command in command.get_subcommands() {
            let path = [path, &[command.get_name().to_owned()]].concat();
            if command.has_subcommands() {
                add(&path, command, found);
            } else {
                found.push((path, command));
            }
        }
    }
    let mut found = Vec::new();
    add(&[], program, &mut found);
    found.retain(|(path, _)| is_configurable(path));
    found
}

/// Whether the file and the environment apply to a command.
pub(super) fn is_configurable(path: &[String]) -> bool {
    path.first().is_some_and(|name| name != UNCONFIGURED)
}

/// The command at a path, if there is one.
pub(super) fn at<'a>(program: &'a Command, path: &[String]) -> Option<&'a Command> {
    path.iter().try_fold(program, |command, name| command.find_subcommand(name))
}

/// Whether an option accepts this value, by clap's own parser; `name` is its name in the layer that it comes from.
pub(super) fn check(option: &Arg, name: &str, value: &str) -> Result<(), Fault> {
    let parser: ValueParser = match shape(option) {
        Arity::Flag => clap::value_parser!(bool),
        _ => option.get_value_parser().clone(),
    };
    // Alone: conflicts and requirements are checked elsewhere.
    let value_alone = Arg::new("value").long("value").require_equals(true).value_parser(parser);
    let probe = Command::new("value").no_binary_name(true).disable_help_flag(true).arg(value_alone);
    match probe.try_get_matches_from([format!("--value={value}")]) {
        Ok(_) => Ok(()),
        Err(_) if is_secret(name) => Err(Fault::new(format!("{name}: this value cannot be used"))),
        Err(error) => Err(explain(&error, name, value)),
    }
}

fn explain(error: &clap::Error, name: &str, value: &str) -> Fault {
    let shown = value.escape_debug();
    let Some(ContextValue::Strings(possible)) = error.get(ContextKind::ValidValue) else {
        let fault = match (error.source(), error.kind()) {
            (Some(reason), _) => format!("{name}: invalid value '{shown}': {reason}"),
            (None, ErrorKind::InvalidValue) if value.is_empty() => format!("{name}: a value is needed"),
            (None, _) => format!("{name}: invalid value '{shown}'"),
        };
        return Fault::new(fault);
    };
    let hint = did_you_mean(value, possible.iter().map(String::as_str));
    let hint = hint.unwrap_or_else(|| format!("use one of {}", possible.join(", ")));
    Fault::new(format!("{name}: invalid value '{shown}'")).with_hint(hint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_option_has_a_variable_of_its_own() {
        let program = Cli::command();
        for (path, command) in commands(&program) {
            let mut names: Vec<String> = options(command).map(variable).collect();
            assert!(names.iter().all(|name| !name.starts_with(PROPERTY_PREFIX)), "{path:?}: {names:?}");
            assert!(!names.contains(&format!("{PREFIX}CONFIG")), "{path:?} has an option --config");
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "{path:?}");
        }
    }

    #[test]
    fn a_value_is_checked_as_the_command_line_would() {
        let program = Cli::command();
        let dashboard = program.find_subcommand("dashboard").unwrap();
        let check = |name: &str, value: &str| {
            check(option(dashboard, name).unwrap(), name, value).map_err(|fault| (fault.message, fault.hint))
        };
        assert_eq!(check("refresh", "250ms"), Ok(()));
        assert_eq!(check("format", "json"), Ok(()));
        assert_eq!(check("queries", "-odd"), Ok(()));
        let (message, _) = check("refresh", "250").unwrap_err();
        assert!(message.starts_with("refresh: invalid value '250': time unit needed"), "{message}");
        let (message, hint) = check("format", "jsn").unwrap_err();
        assert_eq!((message.as_str(), hint.as_deref()), ("format: invalid value 'jsn'", Some("did you mean 'json'?")));
        let (_, hint) = check("format", "xlsx").unwrap_err();
        assert_eq!(hint.as_deref(), Some("use one of table, json, ndjson, csv, markdown"));
        assert!(check("once", "perhaps").is_err());
    }
}
