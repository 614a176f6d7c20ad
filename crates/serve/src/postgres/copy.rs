//! `COPY (SELECT …) TO STDOUT`: rows as lines of text, as CSV, or in the binary form, for `\copy` and tools that load tables.

use bytes::{BufMut as _, BytesMut};
use datafusion::sql::sqlparser::ast::{
    CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Statement,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{CopyResponse, QueryResponse};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::copy::CopyData;
use datafusion_postgres::pgwire::messages::data::DataRow;
use futures::StreamExt as _;

use super::errors::{code, error, error_with_hint};

/// The first bytes of the binary form: its signature, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A COPY that reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOut {
    /// The query whose rows are sent.
    pub query: String,
    form: Form,
    header: bool,
    delimiter: char,
    null: String,
    quote: char,
    escape: char,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Csv,
    Binary,
}

impl CopyOut {
    /// Reads the statement.
    pub fn parse(sql: &str) -> PgWireResult<Self> {
        let mut statements =
            Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|parser| error(code::SYNTAX, parser.to_string()))?;
        let Some(Statement::Copy { source, to: true, target: CopyTarget::Stdout, options, legacy_options, .. }) =
            statements.pop()
        else {
            let hint = "COPY (SELECT …) TO STDOUT reads; with psql, \\copy (SELECT …) TO 'file'";
            return Err(error_with_hint(code::READ_ONLY, "this server copies to STDOUT only", hint));
        };
        let query = match source {
            CopySource::Query(query) => query.to_string(),
            CopySource::Table { table_name, columns } if columns.is_empty() => format!("SELECT * FROM {table_name}"),
            CopySource::Table { table_name, columns } => {
                let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                format!("SELECT {} FROM {table_name}", columns.join(", "))
            }
        };
        let mut copy = Self {
            query,
            form: Form::Text,
            header: false,
            delimiter: '\t',
            null: "\\N".to_owned(),
            quote: '"',
            escape: '"',
        };
        let (mut delimiter, mut null, mut escape) = (None, None, None);
        for option in options {
            match option {
                CopyOption::Format(name) => copy.form = Form::named(&name.value)?,
                CopyOption::Header(header) => copy.header = header,
                CopyOption::Delimiter(c) => delimiter = Some(c),
                CopyOption::Null(text) => null = Some(text),
                CopyOption::Quote(c) => copy.quote = c,
                CopyOption::Escape(c) => escape = Some(c),
                CopyOption::Encoding(_) | CopyOption::Freeze(_) => {}
                other => return Err(error(code::NOT_SUPPORTED, format!("COPY option {other} is not supported"))),
            }
        }
        for option in legacy_options {
            match option {
                CopyLegacyOption::Binary => copy.form = Form::Binary,
                CopyLegacyOption::Header => copy.header = true,
                CopyLegacyOption::Delimiter(c) => delimiter = Some(c),
                CopyLegacyOption::Null(text) => null = Some(text),
                CopyLegacyOption::Csv(options) => {
                    copy.form = Form::Csv;
                    for option in options {
                        match option {
                            CopyLegacyCsvOption::Header => copy.header = true,
                            CopyLegacyCsvOption::Quote(c) => copy.quote = c,
                            CopyLegacyCsvOption::Escape(c) => escape = Some(c),
                            other => {
                                let message = format!("COPY option {other} is not supported");
                                return Err(error(code::NOT_SUPPORTED, message));
                            }
                        }
                    }
                }
                other => return Err(error(code::NOT_SUPPORTED, format!("COPY option {other} is not supported"))),
            }
        }
        if copy.form == Form::Csv {
            (copy.delimiter, copy.null) = (',', String::new());
        }
        copy.delimiter = delimiter.unwrap_or(copy.delimiter);
        copy.null = null.unwrap_or(copy.null);
        copy.escape = escape.unwrap_or(copy.quote);
        Ok(copy)
    }

    /// The form in which the query's values are needed.
    pub fn format(&self) -> Format {
        if self.form == Form::Binary { Format::UnifiedBinary } else { Format::UnifiedText }
    }

    /// The query's rows as the copy.
    pub fn response(&self, rows: QueryResponse) -> CopyResponse {
        let columns = rows.row_schema.len();
        let mut first = BytesMut::new();
        if self.form == Form::Binary {
            first.extend_from_slice(BINARY_HEADER);
        } else if self.header {
            let names: Vec<Option<&[u8]>> = rows.row_schema.iter().map(|field| Some(field.name().as_bytes())).collect();
            self.write_line(&names, &mut first);
        }
        let copy = self.clone();
        let lines = rows.data_rows.map(move |row| {
            // What comes before the rows goes with the first one, so that the messages are as many as the rows.
            let mut line = std::mem::take(&mut first);
            copy.write_row(&row?, &mut line)?;
            Ok(CopyData::new(line.freeze()))
        });
        CopyResponse::new(i8::from(self.form == Form::Binary), columns, lines)
    }

    fn write_row(&self, row: &DataRow, line: &mut BytesMut) -> PgWireResult<()> {
        if self.form == Form::Binary {
            line.put_i16(row.field_count);
            line.extend_from_slice(&row.data);
            return Ok(());
        }
        let values = values(row).ok_or_else(|| error(code::INTERNAL, "a row that cannot be read"))?;
        self.write_line(&values, line);
        Ok(())
    }

    fn write_line(&self, values: &[Option<&[u8]>], line: &mut BytesMut) {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.write_char(self.delimiter, line);
            }
            match value {
                None => line.extend_from_slice(self.null.as_bytes()),
                Some(value) if self.form == Form::Csv => self.write_csv(value, values.len() == 1, line),
                Some(value) => self.write_text(value, line),
            }
        }
        line.put_u8(b'\n');
    }

    #[allow(clippy::unused_self, reason = "beside its siblings")]
    fn write_char(&self, c: char, line: &mut BytesMut) {
        line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn write_text(&self, value: &[u8], line: &mut BytesMut) {
        for &byte in value {
            let escaped = match byte {
                0x08 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                0x0B => b'v',
                0x0C => b'f',
                b'\r' => b'r',
                b'\\' => b'\\',
                byte if self.delimiter.is_ascii() && byte == self.delimiter as u8 => byte,
                byte => {
                    line.put_u8(byte);
                    continue;
                }
            };
            line.extend_from_slice(&[b'\\', escaped]);
        }
    }

    fn write_csv(&self, value: &[u8], alone: bool, line: &mut BytesMut) {
        let text = String::from_utf8_lossy(value);
        let special = [self.delimiter, self.quote, '\n', '\r'];
        let quoted = *text == *self.null || text.contains(special) || (alone && *text == *"\\.");
        if !quoted {
            line.extend_from_slice(value);
            return;
        }
        self.write_char(self.quote, line);
        for c in text.chars() {
            if c == self.quote || c == self.escape {
                self.write_char(self.escape, line);
            }
            self.write_char(c, line);
        }
        self.write_char(self.quote, line);
    }
}

impl Form {
    fn named(name: &str) -> Result<Self, PgWireError> {
        match name.to_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "csv" => Ok(Self::Csv),
            "binary" => Ok(Self::Binary),
            _ => Err(error(code::SYNTAX, format!("COPY format \"{name}\" not recognized"))),
        }
    }
}

/// The values of a row: each has its length before it, and null is a length of −1.
fn values(row: &DataRow) -> Option<Vec<Option<&[u8]>>> {
    let mut rest: &[u8] = &row.data;
    let mut values = Vec::with_capacity(usize::try_from(row.field_count).ok()?);
    for _ in 0..row.field_count {
        let (length, behind) = rest.split_first_chunk()?;
        let length = i32::from_be_bytes(*length);
        rest = behind;
        values.push(match usize::try_from(length) {
            Ok(length) => {
                let (value, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Some(value)
            }
            Err(_) => None,
        });
    }
    Some(values)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(sql: &str, values: &[Option<&str>]) -> String {
        let mut line = BytesMut::new();
        let values: Vec<Option<&[u8]>> = values.iter().map(|value| value.map(str::as_bytes)).collect();
        CopyOut::parse(sql).unwrap().write_line(&values, &mut line);
        String::from_utf8(line.to_vec()).unwrap()
    }

    #[test]
    fn values_are_escaped_as_each_form_wants() {
        let row = [Some("a\tb\\"), None, Some("x,\"y\""), Some("")];
        assert_eq!(lines("COPY t TO STDOUT", &row), "a\\tb\\\\\t\\N\tx,\"y\"\t\n");
        assert_eq!(lines("COPY t TO STDOUT WITH (FORMAT csv)", &row), "a\tb\\,,\"x,\"\"y\"\"\",\"\"\n");
        assert_eq!(lines("COPY t TO STDOUT WITH CSV NULL 'null'", &row), "a\tb\\,null,\"x,\"\"y\"\"\",\n");
        assert_eq!(lines("COPY t TO STDOUT (FORMAT csv, DELIMITER ';')", &row), "a\tb\\;;\"x,\"\"y\"\"\";\"\"\n");
    }

    #[test]
    fn a_table_is_its_declared_columns_and_writing_is_refused() {
        assert_eq!(CopyOut::parse("COPY t (a, b) TO STDOUT").unwrap().query, "SELECT a, b FROM t");
        assert_eq!(CopyOut::parse("COPY (SELECT 1) TO STDOUT").unwrap().query, "SELECT 1");
        for sql in ["COPY t FROM STDIN", "COPY t TO '/tmp/t'", "COPY t TO PROGRAM 'x'"] {
            assert!(CopyOut::parse(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn a_row_of_the_protocol_is_read_value_by_value() {
        let mut data = BytesMut::new();
        data.put_i32(2);
        data.put_slice(b"ab");
        data.put_i32(-1);
        data.put_i32(0);
        assert_eq!(values(&DataRow::new(data, 3)).unwrap(), [Some(&b"ab"[..]), None, Some(&b""[..])]);
    }
}
