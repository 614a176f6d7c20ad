//! The species: any CSV file with a header.
//!
//! A column's type is the narrowest that fits every cell of the whole file: integer, double, boolean, else text; an
//! empty cell is null (a quoted empty one too, CSV does not tell them apart) and fits all of them. Nothing is lost: a column
//! with `007` in it, or with a whole number that a double would round, is text.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 64 bits, signed.
    Integer,
    /// A finite double.
    Double,
    /// `true` or `false`, in any case.
    Boolean,
    /// Anything.
    Text,
}

/// A typed cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CsvCell<'a> {
    /// An empty cell.
    Null,
    /// Of an [`ColumnType::Integer`] column.
    Integer(i64),
    /// Of a [`ColumnType::Double`] column.
    Double(f64),
    /// Of a [`ColumnType::Boolean`] column.
    Boolean(bool),
    /// Of a [`ColumnType::Text`] column, as it is in the file.
    Text(&'a str),
}

/// Why a file is not a pokedex.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PokedexError {
    /// The file does not exist or cannot be read.
    #[error("cannot open the pokedex {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Not CSV, not UTF-8, or rows of different lengths; the source has the line.
    #[error("cannot read the pokedex {}", name.display())]
    Csv {
        /// The file.
        name: PathBuf,
        /// The fault and its line.
        source: csv::Error,
    },
    /// A header whose names cannot be the fields of one JSON object.
    #[error("pokedex {}: column {number} {problem}", name.display())]
    Header {
        /// The file.
        name: PathBuf,
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A header without rows.
    #[error("the pokedex {} has no rows", name.display())]
    NoRows {
        /// The file.
        name: PathBuf,
    },
}

/// A CSV file with typed columns, at least one row and distinct, non-empty column names.
#[derive(Debug, Clone)]
pub struct Pokedex {
    columns: Vec<(String, ColumnType)>,
    rows: Vec<csv::StringRecord>,
}

impl Pokedex {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, PokedexError> {
        let file = File::open(path).map_err(|source| PokedexError::Open { path: path.to_owned(), source })?;
        Self::read(file, path)
    }

    /// Reads CSV from any reader; errors call it `name`.
    pub fn read(csv: impl io::Read, name: &Path) -> Result<Self, PokedexError> {
        let failed = |source| PokedexError::Csv { name: name.to_owned(), source };
        let mut reader = csv::Reader::from_reader(csv);
        let mut names = reader.headers().map_err(failed)?.clone();
        names.trim();
        let rows = reader.into_records().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        if rows.is_empty() {
            return Err(PokedexError::NoRows { name: name.to_owned() });
        }
        let mut seen = BTreeSet::new();
        for (column, header) in names.iter().enumerate() {
            let problem = match header {
                "" => "has no name".to_owned(),
                "lat" | "lon" => format!("is named {header}, which is reserved for the Pokémon's position"),
                _ if !seen.insert(header) => format!("repeats the name {header}"),
                _ => continue,
            };
            return Err(PokedexError::Header { name: name.to_owned(), number: column + 1, problem });
        }
        let columns = names
            .iter()
            .enumerate()
            .map(|(column, name)| (name.to_owned(), narrowest(rows.iter().filter_map(|row| row.get(column)))))
            .collect();
        Ok(Self { columns, rows })
    }

    /// Names and types, in the order of the file.
    pub fn columns(&self) -> &[(String, ColumnType)] {
        &self.columns
    }

    /// How many species there are: at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Row by row: each column's name and cell.
    pub fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (&str, CsvCell<'_>)>> {
        self.rows.iter().map(|row| {
            self.columns.iter().zip(row).map(|((name, column_type), text)| (name.as_str(), cell(*column_type, text)))
        })
    }
}

fn narrowest<'a>(cells: impl Iterator<Item = &'a str>) -> ColumnType {
    let (mut integer, mut double, mut boolean, mut empty) = (true, true, true, true);
    for text in cells.filter(|text| !text.is_empty()) {
        empty = false;
        integer = integer && as_integer(text).is_some();
        double = double && as_double(text).is_some();
        boolean = boolean && as_boolean(text).is_some();
    }
    match () {
        () if empty => ColumnType::Text,
        () if integer => ColumnType::Integer,
        () if double => ColumnType::Double,
        () if boolean => ColumnType::Boolean,
        () => ColumnType::Text,
    }
}

fn cell(column_type: ColumnType, text: &str) -> CsvCell<'_> {
    let typed = match column_type {
        _ if text.is_empty() => Some(CsvCell::Null),
        ColumnType::Integer => as_integer(text).map(CsvCell::Integer),
        ColumnType::Double => as_double(text).map(CsvCell::Double),
        ColumnType::Boolean => as_boolean(text).map(CsvCell::Boolean),
        ColumnType::Text => None,
    };
    // The column's type was inferred from these cells, so only text is left here.
    typed.unwrap_or(CsvCell::Text(text))
}

/// Only what reads back as it was written: no `+7`, no `007`, no `-0`.
fn as_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == text && digits == "0" || !digits.starts_with(['0', '+', '-']);
    text.parse().ok().filter(|_| plain)
}

/// The largest whole number up to which doubles have no gaps.
const MAX_EXACT: i64 = 1 << f64::MANTISSA_DIGITS;

/// A decimal number as JSON writes it, finite; a whole number only as far as a double holds it.
fn as_double(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or(digits);
    let padded = whole.len() > 1 && whole.starts_with('0');
    if padded || !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None; // also "inf" and "NaN", which Rust would parse
    }
    if whole == digits && as_integer(text).is_none_or(|integer| integer.abs() > MAX_EXACT) && text != "-0" {
        return None;
    }
    text.parse().ok().filter(|double: &f64| double.is_finite())
}

fn as_boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn read(csv: &str) -> Result<Pokedex, PokedexError> {
        Pokedex::read(csv.as_bytes(), Path::new("test.csv"))
    }

    fn types(csv: &str) -> Vec<ColumnType> {
        read(csv).unwrap().columns().iter().map(|(_, column_type)| *column_type).collect()
    }

    #[test]
    fn the_shipped_file_has_every_species_with_its_types() {
        use ColumnType::{Boolean, Integer, Text};
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/pokemon.csv");
        let pokedex = Pokedex::open(&path).unwrap();
        assert_eq!(pokedex.len(), 1025);
        let columns: Vec<_> =
            pokedex.columns().iter().map(|(name, column_type)| (name.as_str(), *column_type)).collect();
        assert_eq!(columns[..4], [("number", Integer), ("name", Text), ("type_1", Text), ("type_2", Text)]);
        assert!(columns[4..12].iter().all(|(_, column_type)| *column_type == Integer));
        assert_eq!(columns[12], ("legendary", Boolean));
        // Byte by byte: the file may write an é as one character or as two, and what it writes is kept.
        let file = std::fs::read_to_string(&path).unwrap();
        for (line, mut row) in file.lines().skip(1).zip(pokedex.rows()) {
            assert_eq!(row.nth(1).unwrap().1, CsvCell::Text(line.split(',').nth(1).unwrap()));
        }
        for name in ["Flab", "Nidoran♀", "Nidoran♂", "Farfetch’d", "Mr. Mime"] {
            assert!(file.contains(&format!(",{name}")), "{name}");
        }
        let charmander: Vec<_> = pokedex.rows().nth(3).unwrap().collect();
        assert_eq!(charmander[0], ("number", CsvCell::Integer(4)));
        assert_eq!(charmander[3], ("type_2", CsvCell::Null));
        assert_eq!(charmander[12], ("legendary", CsvCell::Boolean(false)));
    }

    #[test]
    fn a_type_is_inferred_over_the_whole_file() {
        use ColumnType::{Boolean, Double, Integer, Text};
        assert_eq!(types("a,b,c,d\n1,1,true,1\n,,,\n-2,2.5,FALSE,x\n"), [Integer, Double, Boolean, Text]);
        assert_eq!(types("a,b\n,1\n,1\n"), [Text, Integer], "nothing but nulls is text");
    }

    #[test]
    fn what_a_number_would_change_stays_text() {
        for cell in
            ["007", "+7", "-0 ", "0x1f", "inf", "NaN", ".5", "1e999", "9223372036854775808", "1_000", " 1", "１"]
        {
            assert_eq!(types(&format!("a,b\n{cell},1\n")), [ColumnType::Text, ColumnType::Integer], "{cell}");
        }
        assert_eq!(types("a\n9007199254740993\n0.5\n"), [ColumnType::Text], "a double would round the first");
        assert_eq!(types("a\n9223372036854775807\n-9223372036854775808\n"), [ColumnType::Integer]);
        assert_eq!(types("a\n-0\n"), [ColumnType::Double], "only a double keeps the sign of zero");
        assert_eq!(types("a\n1e3\n0.10\n-0.5E-7\n"), [ColumnType::Double]);
    }

    #[test]
    fn quotes_byte_order_mark_and_line_ends_are_csvs_business() {
        let pokedex = read("\u{feff}number, name\r\n1,\"a \"\"b\"\", c\nd\"\r\n").unwrap();
        assert_eq!(pokedex.columns()[0].0, "number");
        let row: Vec<_> = pokedex.rows().next().unwrap().collect();
        assert_eq!(row, [("number", CsvCell::Integer(1)), ("name", CsvCell::Text("a \"b\", c\nd"))]);
    }

    #[test]
    fn errors_say_where() {
        let message = |csv: &[u8]| {
            let error = Pokedex::read(csv, Path::new("test.csv")).unwrap_err();
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}")
        };
        assert_eq!(message(b"a,b\n"), "the pokedex test.csv has no rows");
        assert_eq!(
            message(b"a,lat\n1,2\n"),
            "pokedex test.csv: column 2 is named lat, which is reserved for the Pok\u{e9}mon's position"
        );
        assert_eq!(message(b"a,b,a\n1,2,3\n"), "pokedex test.csv: column 3 repeats the name a");
        assert_eq!(message(b"a,\n1,2\n"), "pokedex test.csv: column 2 has no name");
        assert!(message(b"a,b\n1,2\n3\n").contains("line: 3"), "{}", message(b"a,b\n1,2\n3\n"));
        assert!(message(b"a\n\xff\n").contains("UTF-8"));
        let absent = Pokedex::open(Path::new("no/such.csv")).unwrap_err();
        assert_eq!(absent.to_string(), "cannot open the pokedex no/such.csv");
    }
}
