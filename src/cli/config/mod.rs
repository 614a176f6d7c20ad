//! The origins of settings: the command line, the environment, the config file, or the program's own default.
//!
//! ```text
//!   --refresh 1s        the command line                          wins over
//!   TALLGRASS_REFRESH   the environment                           wins over
//!   [dashboard]         the command's own table in the file       wins over
//!   refresh = "1s"      a value for all commands in the file      wins over
//!   [default: 50ms]     the program's default
//! ```
//!
//! All three are passed to clap: a value from the environment or the file becomes the default of its argument, so a command
//! sees one parsed struct, whatever the origin of a value.
//!
//! # Contract
//! A typed argument is never refused because of a setting: a setting that conflicts with it is ignored, and an argument that
//! it requires may come from a setting. Every value is checked by the parser of its own argument before clap sees it, so
//! that a wrong one is reported with its origin.

mod error;
mod file;
#[cfg(test)]
mod file_tests;
mod layers;
mod options;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use tallgrass_diagnostics::{similar, suggestion};

pub use self::error::ConfigError;
use self::error::Fault;
use self::file::ConfigFile;
pub use self::layers::Setting;
use self::options::PREFIX;
use super::Cli;

/// The file that is read by default.
pub const CONFIG_FILE: &str = "tallgrass.toml";

/// The variable that names another file.
const CONFIG_VARIABLE: &str = "TALLGRASS_CONFIG";

/// Variables of the program that are not options.
const OTHER_VARIABLES: [&str; 2] = [CONFIG_VARIABLE, "TALLGRASS_LOG"];

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program itself
    Default,
    /// The config file
    File {
        /// Whether it is in the command's own table
        own: bool,
        /// As it was named
        path: PathBuf,
        /// From 1
        line: usize,
    },
    /// A variable of this name
    Environment(String),
    /// The command line
    Flag,
}

impl Origin {
    /// Its precedence: the greater one wins.
    fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { own, .. } => 1 + u8::from(*own),
            Self::Environment(_) => 3,
            Self::Flag => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Why no command runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigRefusal {
    /// The command line, or a request for help
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The environment or the config file
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

impl ConfigRefusal {
    /// Prints it to the right stream, and returns the exit code.
    pub fn report(&self) -> u8 {
        match self {
            Self::CommandLine(error) => {
                // A closed pipe is not an error.
                error.print().ok();
                u8::try_from(error.exit_code()).unwrap_or(USAGE)
            }
            Self::Settings(error) => {
                eprintln!("{error}");
                USAGE
            }
        }
    }
}

/// The exit code of clap's own errors.
const USAGE: u8 = 2;

/// The settings of the environment and the config file.
#[derive(Debug, Default)]
pub struct Configuration {
    file: Option<ConfigFile>,
    variables: BTreeMap<String, String>,
}

/// Combines the command line, the environment and the config file.
pub fn read(
    typed: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Cli, Configuration), ConfigRefusal> {
    let typed: Vec<OsString> = typed.into_iter().collect();
    let program = Cli::command();
    let loose = match loosely(&program, &typed) {
        Ok(loose) => loose,
        // Help describes the options without the layers.
        Err(help) => return Err(program.try_get_matches_from(typed).err().unwrap_or(help).into()),
    };
    let path = path(&loose);
    // A command that only prints completions must not fail because of a setting that it does not use.
    let unconcerned = options::at(&program, &path).is_none_or(|command| !options::has_settings(command));
    let configuration = if path.is_empty() || unconcerned {
        Configuration::default()
    } else {
        Configuration::load(loose.get_one::<PathBuf>("config").map(PathBuf::as_path), variables, &program)?
    };
    let (mut matches, properties) = configuration.complete(&program, &typed)?;
    let mut cli = Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Cli::command()))?;
    if let Some(connection) = cli.command.connection_mut() {
        // Before the typed ones: the later of two wins.
        connection.properties.splice(..0, properties);
    }
    Ok((cli, configuration))
}

/// The command line as far as it can be parsed: command and arguments. Only a request for help is an error.
fn loosely(program: &Command, typed: &[OsString]) -> Result<ArgMatches, clap::Error> {
    fn all_switchable(command: Command) -> Command {
        command.mut_args(layers::switchable).mut_subcommands(all_switchable)
    }
    all_switchable(program.clone()).ignore_errors(true).try_get_matches_from(typed)
}

/// The command's path.
fn path(matches: &ArgMatches) -> Vec<String> {
    std::iter::successors(matches.subcommand(), |(_, matches)| matches.subcommand())
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The command's own arguments.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    std::iter::successors(Some(matches), |matches| matches.subcommand().map(|(_, below)| below))
        .last()
        .unwrap_or(matches)
}

impl Configuration {
    /// Reads the file that is named by the command line or the environment, else the default one if it exists.
    fn load(
        named: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        program: &Command,
    ) -> Result<Self, ConfigError> {
        let mut configuration = Self { file: None, variables: ours(variables)? };
        let named = named.or(configuration.variables.get(CONFIG_VARIABLE).map(Path::new));
        let path = named.unwrap_or(Path::new(CONFIG_FILE));
        configuration.file = match ConfigFile::load(path, program) {
            Err(ConfigError::Unreadable { source, .. })
                if named.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                None
            }
            loaded => Some(loaded?),
        };
        Ok(configuration)
    }

    /// The config file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(ConfigFile::path)
    }

    /// Variables that look like a misspelt setting, each with a hint.
    pub fn suspicious(&self) -> Vec<(&str, String)> {
        let program = Cli::command();
        let mut known: Vec<String> = options::commands(&program)
            .iter()
            .flat_map(|(_, command)| options::options(command))
            .map(options::variable)
            .collect();
        known.extend(OTHER_VARIABLES.map(str::to_owned));
        let names = self.variables.keys().filter(|name| !name.starts_with(options::PROPERTY_PREFIX));
        let unknown = names.filter(|name| !known.contains(name));
        unknown
            .filter_map(|name| {
                let candidates = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
                let similar = similar(name.strip_prefix(PREFIX)?, candidates).into_iter();
                let hint = suggestion(&similar.map(|near| format!("{PREFIX}{near}")).collect::<Vec<_>>())?;
                Some((name.as_str(), hint))
            })
            .collect()
    }
}

/// The variables with our prefix. An empty one counts as unset.
fn ours(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, ConfigError> {
    let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError::outside(Fault::new(format!("{name}: it is not UTF-8")))),
        })
        .collect()
}
