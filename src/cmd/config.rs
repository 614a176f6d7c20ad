//! `tallgrass config show`: every setting that is in effect, and where it comes from.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use clap::CommandFactory as _;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::Exit;
use super::batch::{flush, stdout};
use crate::cli::config::{CONFIG_FILE, Configuration, Setting};
use crate::cli::{Cli, Config, ConfigCommand, ConfigShow};
use tallgrass_sink::Format;
use tallgrass_sink::text::ViewsWriter;

/// The name of the rows where a format has one.
const NAME: &str = "settings";

/// Runs the command.
pub fn run(args: Config, configuration: &Configuration) -> anyhow::Result<Exit> {
    let ConfigCommand::Show(ConfigShow { command, args, format }) = args.command;
    let settings = configuration.settings(&Cli::command(), command.as_deref(), &args)?;
    if std::io::stderr().is_terminal() {
        match configuration.file() {
            Some(file) => eprintln!("the config file is {}", file.display()),
            None => eprintln!("there is no config file: no {CONFIG_FILE} here, and none is given"),
        }
    }
    for (variable, hint) in configuration.suspicious() {
        eprintln!("note: {variable} is not a setting: {hint}");
    }
    write(format, &rows(&settings)?)?;
    Ok(Exit::Done)
}

fn rows(settings: &[Setting]) -> anyhow::Result<RecordBatch> {
    let column = |of: &dyn Fn(&Setting) -> Option<String>| -> ArrayRef {
        Arc::new(settings.iter().map(of).collect::<StringArray>())
    };
    let columns = [
        ("command", column(&|setting| Some(setting.command.clone())), false),
        ("setting", column(&|setting| Some(setting.name.clone())), false),
        ("value", column(&|setting| setting.value.clone()), true),
        ("from", column(&|setting| Some(setting.origin.to_string())), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn write(format: Format, rows: &RecordBatch) -> anyhow::Result<()> {
    let (mut out, terminal) = stdout();
    let mut writer = ViewsWriter::new(&mut out, format).with_terminal(terminal);
    writer.view(NAME, &rows.schema(), std::slice::from_ref(rows))?;
    writer.finish().context("cannot write the settings")?;
    flush(out)
}
