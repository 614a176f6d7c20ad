//! The formats: their names for clap, and their file extensions.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// How rows are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    Table,
    /// One object, {"view": [rows…], …}
    Json,
    /// One row per line
    Ndjson,
    /// Comma-separated values with a header
    Csv,
    /// A Markdown table
    Markdown,
}

/// How rows are written by column, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColumnFormat {
    /// Compressed columns with statistics
    Parquet,
    /// Arrow IPC: the file format in a file, the stream format in a pipe
    Arrow,
}

/// How a bounded result is written: as text, or by column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultFormat {
    /// As text
    Text(Format),
    /// By column
    Columns(ColumnFormat),
}

impl Format {
    /// The file extension of this format.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Table => "txt",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Markdown => "md",
        }
    }
}

impl ResultFormat {
    /// Every one, in the order of `--help`.
    pub const ALL: [Self; 7] = [
        Self::Text(Format::Table),
        Self::Text(Format::Json),
        Self::Text(Format::Ndjson),
        Self::Text(Format::Csv),
        Self::Text(Format::Markdown),
        Self::Columns(ColumnFormat::Parquet),
        Self::Columns(ColumnFormat::Arrow),
    ];

    /// Its file extension.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Text(format) => format.extension(),
            Self::Columns(ColumnFormat::Parquet) => "parquet",
            Self::Columns(ColumnFormat::Arrow) => "arrow",
        }
    }

    /// The format that a file's name implies.
    pub fn of_file(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        Self::ALL.into_iter().find(|encoding| encoding.extension().eq_ignore_ascii_case(extension))
    }
}

/// Clap lists the values of both kinds as one.
impl ValueEnum for ResultFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Text(format) => format.to_possible_value(),
            Self::Columns(format) => format.to_possible_value(),
        }
    }
}

impl From<Format> for ResultFormat {
    fn from(format: Format) -> Self {
        Self::Text(format)
    }
}

impl From<ColumnFormat> for ResultFormat {
    fn from(format: ColumnFormat) -> Self {
        Self::Columns(format)
    }
}

impl fmt::Display for ResultFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(Format::Table) => "table",
            Self::Text(Format::Json) => "json",
            Self::Text(Format::Ndjson) => "ndjson",
            Self::Text(Format::Csv) => "csv",
            Self::Text(Format::Markdown) => "markdown",
            Self::Columns(ColumnFormat::Parquet) => "parquet",
            Self::Columns(ColumnFormat::Arrow) => "arrow",
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ResultFormat::Text(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_shown_as_it_is_asked_for_and_found_by_its_files_name() {
        for encoding in ResultFormat::ALL {
            assert_eq!(ResultFormat::from_str(&encoding.to_string(), false), Ok(encoding));
            assert_eq!(
                ResultFormat::of_file(Path::new("a.b").with_extension(encoding.extension()).as_path()),
                Some(encoding)
            );
        }
        assert_eq!(ResultFormat::of_file(Path::new("A.PARQUET")), Some(ColumnFormat::Parquet.into()));
        assert_eq!(["report", ".csv", "a.xlsx"].map(|name| ResultFormat::of_file(Path::new(name))), [None; 3]);
    }
}
