//! The config file: read, and checked whole against the command line's own description.
//!
//! ```toml
//! brokers = "broker.example.org:9093"   # for every command that has --brokers
//!
//! [properties]                          # -X, for every command that has it
//! security.protocol = "SASL_SSL"
//!
//! [dashboard]                           # for this command, and wins over the values above
//! refresh = "250ms"
//! properties.fetch.wait.max.ms = 10
//! ```

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use tallgrass_diagnostics::{Span, did_you_mean};

use super::error::{ConfigError, Fault, diagnostic};
use super::options::{self, Arity, CommandPath};

/// A config file is at most this long: a device or a wrong file must not fill the memory.
const MAX_BYTES: u64 = 1 << 20;

/// A checked config file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    tables: Vec<ConfigTable>,
}

/// The settings of one command, or of all (its path is empty then).
#[derive(Debug, Default)]
struct ConfigTable {
    command: CommandPath,
    entries: Vec<ConfigEntry>,
    properties: Vec<Property>,
}

/// An option and its values.
#[derive(Debug)]
pub(super) struct ConfigEntry {
    name: String,
    values: Vec<(String, Range<usize>)>,
    /// In the file, from 1
    pub line: usize,
}

impl ConfigEntry {
    pub fn values(&self) -> Vec<String> {
        self.values.iter().map(|(value, _)| value.clone()).collect()
    }
}

/// A librdkafka property.
#[derive(Debug)]
pub(super) struct Property {
    pub key: String,
    pub value: String,
    /// In the file, from 1
    pub line: usize,
}

impl ConfigFile {
    /// Reads a file and checks all of it, whichever command will run.
    pub fn load(path: &Path, program: &Command) -> Result<Self, ConfigError> {
        let text = read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text, program)
    }

    pub(super) fn parse(path: &Path, text: &str, program: &Command) -> Result<Self, ConfigError> {
        let mut reader = Reader { text, program, tables: Vec::new(), faults: Vec::new() };
        match DeTable::parse(text) {
            Ok(document) => {
                reader.table(&[], document.get_ref());
                reader.check_values();
            }
            Err(error) => {
                let bytes = error.span().unwrap_or_default();
                reader.faults.push((bytes, Fault::new(error.message().replace('\n', ", "))));
            }
        }
        if reader.faults.is_empty() {
            return Ok(Self { path: path.to_owned(), tables: reader.tables });
        }
        reader.faults.sort_by_key(|(bytes, _)| bytes.start);
        let shown = reader.faults.into_iter().map(|(bytes, fault)| diagnostic(path, text, &bytes, fault));
        Err(ConfigError::File(shown.collect()))
    }

    /// As it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's entry for an option of a command, and whether it is in the command's own table.
    pub fn entry(&self, command: &[String], option: &Arg) -> Option<(&ConfigEntry, bool)> {
        self.tables_of(command).find_map(|table| {
            let entry = table.entries.iter().find(|entry| entry.name == options::name(option))?;
            Some((entry, !table.command.is_empty()))
        })
    }

    /// The librdkafka properties for a command; of two with one key the later one wins.
    pub fn properties(&self, command: &[String]) -> impl Iterator<Item = &Property> {
        let tables: Vec<&ConfigTable> = self.tables_of(command).collect();
        tables.into_iter().rev().flat_map(|table| &table.properties)
    }

    /// The tables that apply to a command, its own one first.
    fn tables_of(&self, command: &[String]) -> impl Iterator<Item = &ConfigTable> {
        let of = |path: &[String]| self.tables.iter().find(|table| table.command == path);
        of(command).into_iter().chain(of(&[]))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Reads the document into tables, and collects its faults.
struct Reader<'a> {
    text: &'a str,
    program: &'a Command,
    tables: Vec<ConfigTable>,
    faults: Vec<(Range<usize>, Fault)>,
}

impl Reader<'_> {
    fn wrong(&mut self, bytes: Range<usize>, fault: Fault) {
        self.faults.push((bytes, fault));
    }

    /// The settings of all commands, or of the one at `path`.
    fn table(&mut self, path: &[String], table: &DeTable<'_>) {
        let mut read = ConfigTable { command: path.to_vec(), ..ConfigTable::default() };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let below = [path, &[name.to_owned()]].concat();
            let is_command = options::commands(self.program).iter().any(|(command, _)| command.starts_with(&below));
            match value.get_ref() {
                DeValue::Table(properties) if name == options::PROPERTIES && self.take_properties(path) => {
                    self.properties(&mut read.properties, "", properties);
                }
                DeValue::Table(table) if is_command => self.table(&below, table),
                _ if name == options::PROPERTIES && self.take_properties(path) => {
                    self.wrong(value.span(), Fault::new("properties is a table of KEY = VALUE"));
                }
                _ => match self.option(path, name) {
                    Some(option) => {
                        let (shape, values) = (options::shape(option), values(option, value));
                        match values {
                            Ok(values) => read.entries.push(ConfigEntry {
                                name: name.to_owned(),
                                values,
                                line: Span::of_bytes(self.text, &key.span()).line,
                            }),
                            Err(bytes) => self.wrong(bytes, wrong_type(name, shape, value.get_ref())),
                        }
                    }
                    None if is_command => {
                        self.wrong(key.span(), Fault::new(format!("{name} is a command: its settings are a table")));
                    }
                    None => self.wrong(key.span(), self.unknown(path, name, value.get_ref())),
                },
            }
        }
        self.tables.push(read);
    }

    fn take_properties(&self, path: &[String]) -> bool {
        self.commands(path).any(|(_, command)| options::takes_properties(command))
    }

    /// The command at a path, or all of them where it is empty.
    fn commands(&self, path: &[String]) -> impl Iterator<Item = (CommandPath, &Command)> {
        let all = path.is_empty();
        options::commands(self.program).into_iter().filter(move |(command, _)| all || command == path)
    }

    fn option(&self, path: &[String], name: &str) -> Option<&Arg> {
        let commands = options::commands(self.program).into_iter();
        commands
            .filter(|(command, _)| path.is_empty() || command == path)
            .find_map(|(_, command)| options::option(command, name))
    }

    /// Nested tables are keys with dots: `sasl.password = …` is the same as `"sasl.password" = …`.
    fn properties(&mut self, found: &mut Vec<Property>, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            if let DeValue::Table(table) = value.get_ref() {
                self.properties(found, &format!("{name}."), table);
            } else if let Some(value) = text(value.get_ref()) {
                found.push(Property { key: name, value, line: Span::of_bytes(self.text, &key.span()).line });
            } else {
                let message = format!("{name} is a text, a number, true or false, found {}", kind(value.get_ref()));
                self.wrong(value.span(), Fault::new(message));
            }
        }
    }

    /// The fault of a key without a meaning in its table.
    fn unknown(&self, path: &[String], name: &str, value: &DeValue<'_>) -> Fault {
        let shown = name.escape_debug();
        let known = options::commands(self.program);
        let here = known.iter().filter(|(command, _)| path.is_empty() || command == path);
        let names = here.flat_map(|(_, command)| options::options(command)).map(options::name);
        let tables = known.iter().filter(|_| path.is_empty()).map(|(command, _)| command[0].as_str());
        let tables = tables.chain([options::PROPERTIES]);
        if matches!(value, DeValue::Table(_)) {
            return Fault::new(format!("there is no command '{shown}'")).with_hint(did_you_mean(name, tables));
        }
        if path.is_empty() {
            let near = did_you_mean(name, names.chain(tables));
            return Fault::new(format!("no command has a setting '{shown}'")).with_hint(near);
        }
        let owners: Vec<String> = known
            .iter()
            .filter(|(_, command)| options::option(command, name).is_some())
            .map(|(command, _)| command.join(" "))
            .collect();
        let elsewhere = || (!owners.is_empty()).then(|| format!("it is a setting of {}", owners.join(", ")));
        let hint = did_you_mean(name, names).or_else(elsewhere);
        Fault::new(format!("{} has no setting '{shown}'", path.join(" "))).with_hint(hint)
    }

    /// Each value by the parser of each command that it is for.
    ///
    /// A value for all commands must suit every one that has the option, unless the command's own table overrides it: so
    /// whether a file is valid does not depend on the command.
    fn check_values(&mut self) {
        let mut wrong: Vec<(Range<usize>, Fault)> = Vec::new();
        for table in &self.tables {
            for entry in &table.entries {
                let commands = self.commands(&table.command);
                let concerned: Vec<(CommandPath, &Arg)> = commands
                    .filter_map(|(path, command)| Some((path, options::option(command, &entry.name)?)))
                    .filter(|(path, _)| !table.command.is_empty() || !self.has_own(path, &entry.name))
                    .collect();
                wrong.extend(entry.values.iter().filter_map(|(value, bytes)| refusal(&concerned, entry, value, bytes)));
            }
        }
        self.faults.extend(wrong);
    }

    fn has_own(&self, path: &[String], name: &str) -> bool {
        let own = self.tables.iter().find(|table| table.command == path);
        own.is_some_and(|table| table.entries.iter().any(|entry| entry.name == name))
    }
}

/// Why a value cannot be used by the commands that it applies to.
fn refusal(
    commands: &[(CommandPath, &Arg)],
    entry: &ConfigEntry,
    value: &str,
    bytes: &Range<usize>,
) -> Option<(Range<usize>, Fault)> {
    let checked = commands.iter().map(|(path, option)| (path, options::check(option, &entry.name, value)));
    let (good, bad): (Vec<_>, Vec<_>) = checked.partition(|(_, checked)| checked.is_ok());
    let (path, fault) = bad.into_iter().find_map(|(path, checked)| Some((path, checked.err()?)))?;
    let fault = match good.first() {
        None => fault,
        Some((good, _)) => Fault::new(format!("{}, for {}", fault.message, path.join(" ")))
            .with_hint(format!("a command's own table, as [{}], sets it for that command alone", good.join("."))),
    };
    Some((bytes.clone(), fault))
}

/// The values of an option as on the command line, or the part with the wrong type.
fn values(option: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<(String, Range<usize>)>, Range<usize>> {
    let one = |value: &Spanned<DeValue<'_>>| match (options::shape(option), value.get_ref()) {
        (Arity::Flag, DeValue::Boolean(on)) => Ok((on.to_string(), value.span())),
        (Arity::One | Arity::Many, DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_)) => {
            Ok((text(value.get_ref()).unwrap_or_default(), value.span()))
        }
        _ => Err(value.span()),
    };
    match value.get_ref() {
        DeValue::Array(values) if options::shape(option) == Arity::Many => values.iter().map(one).collect(),
        _ => Ok(vec![one(value)?]),
    }
}

fn wrong_type(name: &str, shape: Arity, found: &DeValue<'_>) -> Fault {
    let wanted = match shape {
        Arity::Flag => "true or false",
        Arity::One => "a text or a number",
        Arity::Many => "a list of texts or numbers",
    };
    Fault::new(format!("{name} is {wanted}, found {}", kind(found)))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time: write it as a text",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A single value as on the command line.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
