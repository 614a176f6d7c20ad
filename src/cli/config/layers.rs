//! The layers below the command line, argument by argument, and how they are passed to clap.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tallgrass_diagnostics::did_you_mean;

use super::error::{ConfigError, Fault};
use super::options::{self, Arity, PROPERTY_PREFIX, SEPARATOR};
use super::secret::{HIDDEN, is_secret};
use super::{ConfigRefusal, Configuration, Origin, innermost, loosely, path};

/// A layer's value for an argument.
#[derive(Debug, Clone)]
struct Given {
    values: Vec<String>,
    origin: Origin,
}

/// By the argument's id.
type Layers = BTreeMap<String, Given>;

/// A setting that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its command
    pub command: String,
    /// As in the config file; a property as `-X KEY`
    pub name: String,
    /// As it would be typed, secrets hidden; `None` where it is not set and there is no default
    pub value: Option<String>,
    /// The origin of the value
    pub origin: Origin,
}

impl Configuration {
    /// Parses the command line on top of the layers below it. The properties are those below, in order of precedence.
    pub(super) fn complete(
        &self,
        program: &Command,
        typed: &[OsString],
    ) -> Result<(ArgMatches, Vec<(String, String)>), ConfigRefusal> {
        let loose = loosely(program, typed)?;
        let path = path(&loose);
        let command = options::at(program, &path).unwrap_or(program);
        let layers = self.layers(&path, command, innermost(&loose))?;
        let matches = parse(program, &path, &layers, typed)?;
        let properties = self.properties(&path, command).into_iter().map(|(key, given)| (key, given.values.concat()));
        Ok((matches, properties.collect()))
    }

    /// The settings of every command, in the order of the help, or of one, with `typed` as its arguments.
    ///
    /// An error names a command that does not exist.
    pub fn settings(
        &self,
        program: &Command,
        command: Option<&str>,
        typed: &[OsString],
    ) -> Result<Vec<Setting>, ConfigRefusal> {
        let Some(asked) = command else {
            let commands = options::commands(program);
            let all = commands.iter().map(|(path, command)| self.settings_of(path, command, &ArgMatches::default()));
            return Ok(all.collect::<Result<Vec<_>, _>>()?.concat());
        };
        let path: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        let Some((_, command)) = options::commands(program).into_iter().find(|(known, _)| *known == path) else {
            let commands = options::commands(program);
            let near = did_you_mean(asked, commands.iter().map(|(path, _)| path[0].as_str()));
            let fault = Fault::new(format!("no command '{}' has settings", asked.escape_debug()));
            return Err(ConfigError::outside(fault.with_hint(near)).into());
        };
        let line: Vec<OsString> =
            [program.get_name()].into_iter().chain(path.iter().map(String::as_str)).map(OsString::from).collect();
        let line = [line.as_slice(), typed].concat();
        if !typed.is_empty() {
            // For the error message.
            self.complete(program, &line)?;
        }
        Ok(self.settings_of(&path, command, innermost(&loosely(program, &line)?))?)
    }

    fn settings_of(&self, path: &[String], command: &Command, typed: &ArgMatches) -> Result<Vec<Setting>, ConfigError> {
        let layers = self.layers(path, command, typed)?;
        let setting = |name: String, values: Vec<String>, origin| {
            let value = if is_secret(&name) && !values.is_empty() { HIDDEN.to_owned() } else { values.join(", ") };
            Setting { command: path.join(" "), name, value: (!values.is_empty()).then_some(value), origin }
        };
        let mut settings: Vec<Setting> = options::options(command)
            .map(|option| {
                let Given { values, origin } = in_effect(&layers, typed, option)
                    .unwrap_or_else(|| Given { values: defaults(option), origin: Origin::Default });
                setting(options::name(option).to_owned(), values, origin)
            })
            .collect();
        // The later of two wins, and takes the position of the first.
        let mut properties = BTreeMap::new();
        properties.extend(self.properties(path, command));
        let typed_properties = options::takes_properties(command).then(|| typed_raw(typed, options::PROPERTIES));
        properties.extend(typed_properties.into_iter().flatten().filter_map(|typed| {
            let (key, value) = typed.split_once('=')?;
            Some((key.to_owned(), Given { values: vec![value.to_owned()], origin: Origin::Flag }))
        }));
        settings.extend(
            properties.into_iter().map(|(key, given)| setting(format!("-X {key}"), given.values, given.origin)),
        );
        Ok(settings)
    }

    /// The values of the layers below the command line for a command, without those that conflict with typed arguments.
    fn layers(&self, path: &[String], command: &Command, typed: &ArgMatches) -> Result<Layers, ConfigError> {
        let mut layers = Layers::new();
        if !options::is_configurable(path) {
            return Ok(layers);
        }
        for option in options::options(command) {
            let id = option.get_id().as_str();
            // A flag that a layer sets can be typed as --once=false.
            if (!was_typed(typed, id) || options::shape(option) == Arity::Flag)
                && let Some(given) = self.given(path, option)?
            {
                layers.insert(id.to_owned(), given);
            }
        }
        Self::leave_out_rivals(path, command, typed, &mut layers)?;
        Ok(layers)
    }

    fn given(&self, path: &[String], option: &Arg) -> Result<Option<Given>, ConfigError> {
        let name = options::variable(option);
        if let Some(text) = self.variables.get(&name) {
            let values = match options::shape(option) {
                Arity::One => vec![text.clone()],
                Arity::Many => text.split(SEPARATOR).map(|value| value.trim().to_owned()).collect(),
                Arity::Flag => vec![truth(text).unwrap_or(text).to_owned()],
            };
            for value in &values {
                options::check(option, &name, value).map_err(ConfigError::outside)?;
            }
            return Ok(Some(Given { values, origin: Origin::Environment(name) }));
        }
        let Some(file) = &self.file else { return Ok(None) };
        Ok(file.entry(path, option).map(|(entry, own)| Given {
            values: entry.values(),
            origin: Origin::File { own, path: file.path().to_owned(), line: entry.line },
        }))
    }

    /// The librdkafka properties of a command below the command line; the later of two with one key wins.
    fn properties(&self, path: &[String], command: &Command) -> Vec<(String, Given)> {
        if !options::takes_properties(command) {
            return Vec::new();
        }
        let file = self.file.iter().flat_map(|file| {
            file.properties(path).map(|property| {
                // The table no longer matters: they are in order of precedence.
                let origin = Origin::File { own: false, path: file.path().to_owned(), line: property.line };
                (property.key.clone(), Given { values: vec![property.value.clone()], origin })
            })
        });
        let variables = self.variables.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(PROPERTY_PREFIX)?.to_lowercase().replace('_', ".");
            Some((key, Given { values: vec![value.clone()], origin: Origin::Environment(name.clone()) }))
        });
        file.chain(variables).collect()
    }

    /// Of two arguments that exclude each other the one from the higher layer stays.
    fn leave_out_rivals(
        path: &[String],
        command: &Command,
        typed: &ArgMatches,
        layers: &mut Layers,
    ) -> Result<(), ConfigError> {
        let present = |layers: &Layers, option: &Arg| {
            let Given { values, origin } = in_effect(layers, typed, option)?;
            let is_off = options::shape(option) == Arity::Flag && values == ["false"];
            (!is_off).then_some(origin)
        };
        for one in options::options(command) {
            for other in command.get_arg_conflicts_with(one) {
                let (Some(first), Some(second)) = (present(layers, one), present(layers, other)) else { continue };
                if first == Origin::Flag && second == Origin::Flag {
                    // clap reports that.
                    continue;
                }
                let loser = match first.layer().cmp(&second.layer()) {
                    Ordering::Less => one,
                    Ordering::Greater => other,
                    Ordering::Equal => {
                        let message = format!(
                            "{} ({first}) and {} ({second}) exclude each other, for {}",
                            options::name(one),
                            options::name(other),
                            path.join(" ")
                        );
                        return Err(ConfigError::outside(Fault::new(message)));
                    }
                };
                layers.remove(loser.get_id().as_str());
            }
        }
        Ok(())
    }
}

/// Parses with the layers as the arguments' defaults.
fn parse(program: &Command, path: &[String], layers: &Layers, typed: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let completed = with_defaults(program.clone(), path, layers);
    match completed.clone().try_get_matches_from(typed) {
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
            // clap does not count a default as present. A required argument is present if a layer sets it.
            let required: &[String] = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(required)) => required,
                _ => &[],
            };
            // clap assigns its own name of an argument only once the command is built.
            let mut built = completed.clone();
            built.build();
            let arguments = options::at(&built, path).into_iter().flat_map(Command::get_arguments);
            let given: Vec<OsString> = arguments
                .filter(|option| required.contains(&option.to_string()))
                .filter_map(|option| Some((option, layers.get(option.get_id().as_str())?)))
                .flat_map(|(option, given)| as_typed(option, given))
                .collect();
            if given.is_empty() {
                return Err(error);
            }
            let mut typed = typed.to_vec();
            // What follows -- is not an option.
            let end = typed.iter().position(|word| word == "--").unwrap_or(typed.len());
            typed.splice(end..end, given);
            completed.try_get_matches_from(typed)
        }
        parsed => parsed,
    }
}

/// The program with the layers as the defaults of one command's arguments.
fn with_defaults(program: Command, path: &[String], layers: &Layers) -> Command {
    match path {
        [] => program.mut_args(|arg| match layers.get(arg.get_id().as_str()) {
            Some(given) => with_default(arg, given),
            None => arg,
        }),
        [name, below @ ..] => program.mut_subcommands(|command| {
            if command.get_name() == name { with_defaults(command, below, layers) } else { command }
        }),
    }
}

fn with_default(arg: Arg, given: &Given) -> Arg {
    // Clap keeps defaults for as long as the program runs. There are as many as settings, once.
    let values: Vec<&'static str> = given.values.iter().map(|value| &*value.clone().leak()).collect();
    switchable(arg).required(false).default_values(values)
}

/// A flag that can also be typed as `--once=false`, which is how to switch off what a setting switches on.
pub(super) fn switchable(arg: Arg) -> Arg {
    match options::shape(&arg) {
        Arity::Flag => arg
            .action(ArgAction::Set)
            .value_parser(clap::value_parser!(bool))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Arity::One | Arity::Many => arg,
    }
}

/// The values of an option other than its default.
fn in_effect(layers: &Layers, typed: &ArgMatches, option: &Arg) -> Option<Given> {
    let id = option.get_id().as_str();
    if was_typed(typed, id) {
        return Some(Given { values: typed_raw(typed, id), origin: Origin::Flag });
    }
    layers.get(id).cloned()
}

/// The equivalent command line.
fn as_typed(option: &Arg, given: &Given) -> Vec<OsString> {
    given.values.iter().map(|value| format!("--{}={value}", options::name(option)).into()).collect()
}

fn was_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.try_contains_id(id).unwrap_or(false) && matches.value_source(id) == Some(ValueSource::CommandLine)
}

fn typed_raw(matches: &ArgMatches, id: &str) -> Vec<String> {
    let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
    values.map(|value| value.to_string_lossy().into_owned()).collect()
}

fn defaults(option: &Arg) -> Vec<String> {
    match options::shape(option) {
        Arity::Flag => vec!["false".to_owned()],
        _ => option.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect(),
    }
}

/// The meaning of an environment variable's value for a flag.
fn truth(text: &str) -> Option<&'static str> {
    match text.to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some("true"),
        "0" | "false" | "no" | "off" => Some("false"),
        _ => None,
    }
}
