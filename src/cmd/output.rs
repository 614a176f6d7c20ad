//! The output of a bounded run: its destination and format.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::path::Path;

use super::batch::{flush, stdout};
use tallgrass_relation::PlannedQuery;
use tallgrass_sink::columns::{ColumnsWriter, Destination};
use tallgrass_sink::files::PendingFile;
use tallgrass_sink::text::ViewsWriter;
use tallgrass_sink::{ColumnFormat, Format, ResultFormat};

/// Arguments that conflict in a way that only a running program can detect; this decides the exit code.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// stdout, or a file that appears when it is complete.
pub enum Output {
    /// stdout, and whether it is a terminal.
    Stdout(BufWriter<Stdout>, bool),
    /// A file that is being written.
    File(PendingFile),
}

/// The requested format, or else that of the file's name, or else a table.
///
/// An error where the file's name has another extension, and where a binary format would go to a terminal.
pub fn encoding(asked: Option<ResultFormat>, file: Option<&Path>) -> Result<ResultFormat, Usage> {
    let named = asked.or_else(|| file.and_then(ResultFormat::of_file));
    if let (None, Some(extension)) = (named, regular(file).and_then(Path::extension)) {
        let known = ResultFormat::ALL.map(ResultFormat::extension).join(", .");
        let extension = extension.display();
        return Err(Usage(format!("-o: .{extension} is not a known format: use .{known}, or --format")));
    }
    let encoding = named.unwrap_or(ResultFormat::Text(Format::Table));
    refuse_terminal(encoding, regular(file).is_none() && io::stdout().is_terminal())?;
    Ok(encoding)
}

/// The file, unless its name means stdout: a new file must not replace the one that a shell has opened.
fn regular(file: Option<&Path>) -> Option<&Path> {
    file.filter(|path| !["-", "/dev/stdout"].iter().any(|name| *path == Path::new(name)))
}

/// An error where a binary format would go to a terminal.
fn refuse_terminal(encoding: ResultFormat, terminal: bool) -> Result<(), Usage> {
    match encoding {
        ResultFormat::Columns(_) if terminal => Err(Usage(format!(
            "{encoding} is not a format for a terminal: write it to a file, or pipe it into a program"
        ))),
        _ => Ok(()),
    }
}

impl Output {
    /// Opens it; the file appears at [`finish`](Self::finish).
    pub fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = regular(file) {
            return Ok(Self::File(PendingFile::at(path)?));
        }
        let (out, terminal) = stdout();
        Ok(Self::Stdout(out, terminal))
    }

    /// Whether a person reads it directly.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout(_, true))
    }

    /// Runs one view and writes all of it.
    pub async fn write_view(&mut self, encoding: ResultFormat, name: &str, view: PlannedQuery) -> anyhow::Result<()> {
        let destination = match self {
            Self::Stdout(..) => Destination::Pipe,
            Self::File(_) => Destination::File,
        };
        match encoding {
            ResultFormat::Text(format) => {
                let terminal = self.is_terminal();
                let mut writer = ViewsWriter::new(self, format).with_terminal(terminal);
                write_text(&mut writer, name, view).await?;
                Ok(writer.finish()?)
            }
            ResultFormat::Columns(format) => write_columns(self, format, destination, name, view).await,
        }
    }

    /// Flushes, and gives a file its name.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(out, _) => flush(out),
            Self::File(file) => Ok(file.commit().map(|_| ())?),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out, _) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out, _) => out.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// Runs a view and writes its rows as text.
pub async fn write_text(writer: &mut ViewsWriter<'_>, name: &str, view: PlannedQuery) -> anyhow::Result<()> {
    // A view that fails before its first row leaves nothing in the output.
    let (schema, mut begun) = (view.schema(), false);
    view.run(|batch| {
        if !std::mem::replace(&mut begun, true) {
            writer.begin(name, &schema)?;
        }
        anyhow::Ok(writer.write(batch)?)
    })
    .await?;
    if !begun {
        writer.begin(name, &schema)?;
    }
    Ok(writer.end()?)
}

/// Runs a view and writes its rows by column.
async fn write_columns(
    out: &mut (impl Write + Send),
    format: ColumnFormat,
    destination: Destination,
    name: &str,
    view: PlannedQuery,
) -> anyhow::Result<()> {
    let mut writer = ColumnsWriter::new(out, format, destination, name, &view.schema())?;
    view.run(|batch| anyhow::Ok(writer.write(batch)?)).await?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_columns_are_kept_from_a_terminal() {
        let table = ResultFormat::Text(Format::Table);
        for (encoding, terminal, good) in [
            (table, true, true),
            (ResultFormat::Columns(ColumnFormat::Arrow), true, false),
            (ResultFormat::Columns(ColumnFormat::Parquet), true, false),
            (ResultFormat::Columns(ColumnFormat::Parquet), false, true),
        ] {
            assert_eq!(refuse_terminal(encoding, terminal).is_ok(), good, "{encoding} {terminal}");
        }
    }

    #[test]
    fn some_names_stand_for_stdout() {
        let stays = ["-", "/dev/stdout", "out.csv", "./-"].map(|name| regular(Some(Path::new(name))).is_some());
        assert_eq!(stays, [false, false, true, true]);
        assert_eq!(regular(None), None);
    }

    #[test]
    fn a_files_name_gives_the_format_by_default() {
        let of = |asked, file| encoding(asked, Some(Path::new(file))).ok();
        assert_eq!(of(None, "a.parquet"), Some(ResultFormat::Columns(ColumnFormat::Parquet)));
        assert_eq!(of(None, "table"), Some(ResultFormat::Text(Format::Table)));
        assert_eq!(of(None, "a.xyz"), None);
        assert_eq!(of(Some(ResultFormat::Text(Format::Table)), "a.xyz"), Some(ResultFormat::Text(Format::Table)));
        assert_eq!(of(Some(ResultFormat::Text(Format::Csv)), "a.parquet"), Some(ResultFormat::Text(Format::Csv)));
    }
}
