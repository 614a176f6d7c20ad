//! What the values at one place of the sampled records have in common, and the narrowest SQL type that takes them all.
//!
//! A record is a row only if it fits every declared column. So where no one type takes every value that was seen, the
//! place is left out with the reason, rather than declared wide in the hope that the rest fits.

use std::collections::HashMap;

use super::json::{Json, whole_number};
use super::time::{is_date, moment};

/// Fields of one object beyond which further ones are not looked at.
const MAX_FIELDS: usize = 512;
/// A nested object with at least this many fields, each in few of the objects, is a map rather than a struct.
const MAP_FIELDS: usize = 32;
/// Objects per field and object above which [`MAP_FIELDS`] counts: each field stands in an eighth of them on average.
const MAP_SPARSENESS: u64 = 8;
/// Structs and arrays within each other that are still written as a type; the SQL parser's own limit is about 50.
const MAX_NESTING: usize = 16;

/// A SQL type that a suggestion may declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SqlType {
    Boolean,
    BigInt,
    /// Whole numbers beyond 64 bits, up to 38 digits.
    Decimal,
    Double,
    Varchar,
    Date,
    /// By the digits of its fraction: 3, 6 or 9.
    Timestamp(u8),
    Struct(Vec<Column>),
    Array(Box<SqlType>),
}

/// A column of a table, or a field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) verdict: ColumnVerdict,
}

/// What is to be done with a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ColumnVerdict {
    /// With what a reader should know about it.
    Declared(SqlType, Vec<String>),
    /// Why.
    LeftOut(String),
}

/// All values seen at one place.
#[derive(Debug, Default)]
pub(super) struct SampleShape {
    nulls: u64,
    booleans: u64,
    numbers: Numbers,
    strings: Strings,
    arrays: u64,
    elements: Option<Box<SampleShape>>,
    objects: Objects,
}

#[derive(Debug, Default)]
struct Numbers {
    seen: u64,
    /// With a fractional part, or whole but of more than 38 digits.
    not_whole: u64,
    beyond_i64: u64,
    beyond_double: u64,
}

#[derive(Debug, Default)]
struct Strings {
    seen: u64,
    dates: u64,
    timestamps: u64,
    fraction_digits: usize,
    beyond_nanoseconds: u64,
}

/// The objects seen at one place, field by field in the order of their first appearance.
#[derive(Debug, Default)]
pub(super) struct Objects {
    seen: u64,
    fields: Vec<Field>,
    index: HashMap<String, usize>,
    /// Fields beyond [`MAX_FIELDS`].
    not_looked_at: u64,
}

#[derive(Debug)]
struct Field {
    name: String,
    shape: SampleShape,
    present: u64,
    /// Objects in which the key comes again.
    repeated: u64,
    last_object: u64,
}

impl SampleShape {
    fn observe(&mut self, value: &Json<'_>) {
        match value {
            Json::Null => self.nulls += 1,
            Json::Boolean => self.booleans += 1,
            Json::Number(text) => self.numbers.observe(text),
            Json::String(text) => self.strings.observe(text),
            Json::Array(elements) => {
                self.arrays += 1;
                let shape = self.elements.get_or_insert_default();
                for element in elements {
                    shape.observe(element);
                }
            }
            Json::Object(fields) => self.objects.observe(fields),
        }
    }

    /// The type and remarks on it, or why there is none. `nesting` counts the structs and arrays around this place.
    fn resolve(&self, nesting: usize) -> Result<(SqlType, Vec<String>), String> {
        if nesting > MAX_NESTING {
            return Err(format!("nested more than {MAX_NESTING} deep"));
        }
        let kinds = [
            (self.booleans, "boolean"),
            (self.numbers.seen, "number"),
            (self.strings.seen, "string"),
            (self.arrays, "array"),
            (self.objects.seen, "object"),
        ];
        let mut seen = kinds.iter().filter(|(count, _)| *count > 0);
        let Some((_, kind)) = seen.next() else {
            return Ok((SqlType::Varchar, vec!["always null here, so the type is a guess".to_owned()]));
        };
        if seen.next().is_some() {
            let counts: Vec<_> =
                kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| plural(*count, kind)).collect();
            return Err(format!("no one type takes {}", counts.join(" and ")));
        }
        match *kind {
            "boolean" => Ok((SqlType::Boolean, Vec::new())),
            "number" => self.numbers.resolve(),
            "string" => Ok((self.strings.resolve(), Vec::new())),
            "array" => self.resolve_elements(nesting),
            _ => self.objects.resolve_struct(nesting),
        }
    }

    fn resolve_elements(&self, nesting: usize) -> Result<(SqlType, Vec<String>), String> {
        let empty = SampleShape::default();
        let elements = self.elements.as_deref().unwrap_or(&empty);
        let (element, mut notes) = elements.resolve(nesting + 1).map_err(|reason| format!("in the arrays {reason}"))?;
        if elements.count() == 0 {
            notes = vec!["always empty here, so the element type is a guess".to_owned()];
        }
        Ok((SqlType::Array(Box::new(element)), notes))
    }

    fn count(&self) -> u64 {
        self.nulls + self.booleans + self.numbers.seen + self.strings.seen + self.arrays + self.objects.seen
    }

    #[cfg(test)]
    pub(super) fn of(texts: &[&str]) -> Result<SqlType, String> {
        let mut shape = Self::default();
        for text in texts {
            shape.observe(&Json::parse(text).unwrap_or(Json::Null));
        }
        shape.resolve(0).map(|(sql_type, _)| sql_type)
    }
}

impl Numbers {
    fn observe(&mut self, text: &str) {
        self.seen += 1;
        match whole_number(text) {
            Some(value) => self.beyond_i64 += u64::from(i64::try_from(value).is_err()),
            None => self.not_whole += 1,
        }
        self.beyond_double += u64::from(!text.parse::<f64>().is_ok_and(f64::is_finite));
    }

    fn resolve(&self) -> Result<(SqlType, Vec<String>), String> {
        match self {
            Self { beyond_double: 1.., .. } => {
                Err(format!("{} beyond the range of a DOUBLE", plural(self.beyond_double, "number")))
            }
            Self { not_whole: 0, beyond_i64: 0, .. } => Ok((SqlType::BigInt, Vec::new())),
            // Exact, where a DOUBLE would make neighbouring ids equal.
            Self { not_whole: 0, .. } => Ok((SqlType::Decimal, vec!["beyond 64 bits".to_owned()])),
            Self { beyond_i64: 0, .. } => Ok((SqlType::Double, Vec::new())),
            _ => Ok((SqlType::Double, vec!["whole numbers beyond 64 bits are rounded".to_owned()])),
        }
    }
}

impl Strings {
    fn observe(&mut self, text: &str) {
        self.seen += 1;
        self.dates += u64::from(is_date(text));
        if let Some(moment) = moment(text) {
            self.timestamps += 1;
            self.fraction_digits = self.fraction_digits.max(moment.fraction_digits);
            self.beyond_nanoseconds += u64::from(!moment.fits_nanoseconds);
        }
    }

    fn resolve(&self) -> SqlType {
        let precision = match self.fraction_digits {
            0..=3 => 3,
            4..=6 => 6,
            _ => 9,
        };
        if self.dates == self.seen {
            SqlType::Date
        } else if self.timestamps == self.seen && (precision < 9 || self.beyond_nanoseconds == 0) {
            SqlType::Timestamp(precision)
        } else {
            SqlType::Varchar
        }
    }
}

impl Objects {
    pub(super) fn observe(&mut self, fields: &[(String, Json<'_>)]) {
        self.seen += 1;
        for (name, value) in fields {
            let position = match self.index.get(name) {
                Some(position) => *position,
                None if self.fields.len() < MAX_FIELDS => {
                    let field = Field {
                        name: name.clone(),
                        shape: SampleShape::default(),
                        present: 0,
                        repeated: 0,
                        last_object: 0,
                    };
                    self.fields.push(field);
                    self.index.insert(name.clone(), self.fields.len() - 1);
                    self.fields.len() - 1
                }
                None => {
                    self.not_looked_at += 1;
                    continue;
                }
            };
            let field = &mut self.fields[position];
            if field.last_object == self.seen {
                field.repeated += 1;
                continue;
            }
            field.last_object = self.seen;
            field.present += 1;
            field.shape.observe(value);
        }
    }

    /// One column per field.
    pub(super) fn columns(&self) -> Vec<Column> {
        self.columns_at(0)
    }

    fn columns_at(&self, nesting: usize) -> Vec<Column> {
        self.fields
            .iter()
            .map(|field| Column { name: field.name.clone(), verdict: field.resolve(self.seen, nesting) })
            .collect()
    }

    /// Whether there were more fields than are looked at.
    pub(super) fn is_crowded(&self) -> bool {
        self.not_looked_at > 0
    }

    fn resolve_struct(&self, nesting: usize) -> Result<(SqlType, Vec<String>), String> {
        let present: u64 = self.fields.iter().map(|field| field.present).sum();
        let sparse = present * MAP_SPARSENESS < self.seen * self.fields.len() as u64;
        if self.is_crowded() || self.fields.len() >= MAP_FIELDS && sparse {
            let more = if self.is_crowded() { "more than " } else { "" };
            return Err(format!("a map with {more}{} different keys, not a struct", self.fields.len()));
        }
        let columns = self.columns_at(nesting + 1);
        if columns.iter().any(|column| matches!(column.verdict, ColumnVerdict::Declared(..))) {
            Ok((SqlType::Struct(columns), Vec::new()))
        } else if columns.is_empty() {
            Err("always an empty object".to_owned())
        } else {
            Err("an object without a field that has one type".to_owned())
        }
    }
}

impl Field {
    fn resolve(&self, objects: u64, nesting: usize) -> ColumnVerdict {
        if self.repeated > 0 {
            return ColumnVerdict::LeftOut(format!("the key is repeated within {}", plural(self.repeated, "object")));
        }
        if self.name.is_empty() || self.name.chars().any(char::is_control) {
            return ColumnVerdict::LeftOut("its name is not a column name".to_owned());
        }
        match self.shape.resolve(nesting) {
            Err(reason) => ColumnVerdict::LeftOut(reason),
            Ok((sql_type, mut notes)) => {
                let nulls = self.shape.nulls;
                if nulls > 0 && nulls < self.present {
                    notes.push(format!("null in {}", share(nulls, objects)));
                }
                if self.present < objects {
                    notes.push(format!("missing in {}", share(objects - self.present, objects)));
                }
                ColumnVerdict::Declared(sql_type, notes)
            }
        }
    }
}

/// `1 record`, `2,000 records`
pub(super) fn plural(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(count))
}

/// `1,234,567`
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A percentage that is 0 or 100 only where it is exactly that.
fn share(part: u64, whole: u64) -> String {
    match 100.0 * part as f64 / whole as f64 {
        percent if percent < 1.0 => "<1%".to_owned(),
        percent if percent > 99.0 && part < whole => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn numbers_widen_without_loss() {
        assert_eq!(SampleShape::of(&["1", "3.0", "-2e2", "null"]), Ok(SqlType::BigInt));
        assert_eq!(SampleShape::of(&["1", "9223372036854775807", "-9223372036854775808"]), Ok(SqlType::BigInt));
        assert_eq!(SampleShape::of(&["1", "9223372036854775808"]), Ok(SqlType::Decimal));
        assert_eq!(SampleShape::of(&["1", "2.5"]), Ok(SqlType::Double));
        assert_eq!(SampleShape::of(&["9223372036854775808", "2.5"]), Ok(SqlType::Double));
        assert_eq!(SampleShape::of(&["1e38"]), Ok(SqlType::Double));
        assert_eq!(SampleShape::of(&["1e400"]), Err("1 number beyond the range of a DOUBLE".to_owned()));
    }

    #[test]
    fn strings_are_times_only_if_all_of_them_are() {
        assert_eq!(SampleShape::of(&["\"2026-01-31\"", "null", "\"2024-02-29\""]), Ok(SqlType::Date));
        assert_eq!(SampleShape::of(&["\"2026-01-31\"", "\"2026-02-30\""]), Ok(SqlType::Varchar));
        assert_eq!(SampleShape::of(&["\"2026-01-31T09:00:00Z\""]), Ok(SqlType::Timestamp(3)));
        assert_eq!(
            SampleShape::of(&["\"2026-01-31T09:00:00.123456+01:00\"", "\"2026-01-31T09:00:00Z\""]),
            Ok(SqlType::Timestamp(6))
        );
        assert_eq!(SampleShape::of(&["\"2026-01-31T09:00:00.1234567Z\""]), Ok(SqlType::Timestamp(9)));
        assert_eq!(SampleShape::of(&["\"2026-01-31T09:00:00Z\"", "\"2026-01-31\""]), Ok(SqlType::Varchar));
        // Each fits a TIMESTAMP of its own, but no one holds both.
        assert_eq!(
            SampleShape::of(&["\"9999-12-30T00:00:00Z\"", "\"2026-01-31T09:00:00.1234567Z\""]),
            Ok(SqlType::Varchar)
        );
    }

    #[test]
    fn what_no_type_takes_is_left_out_with_the_counts() {
        assert_eq!(
            SampleShape::of(&["1", "\"a\"", "\"b\"", "null"]),
            Err("no one type takes 1 number and 2 strings".to_owned())
        );
        assert_eq!(
            SampleShape::of(&["[1]", "[true]"]),
            Err("in the arrays no one type takes 1 boolean and 1 number".to_owned())
        );
        assert_eq!(SampleShape::of(&["{}"]), Err("always an empty object".to_owned()));
    }

    #[test]
    fn nested_values_become_structs_and_arrays() {
        let Ok(SqlType::Array(element)) = SampleShape::of(&["[]", "[{\"a\":1},null,{\"a\":2.5,\"b\":[[]]}]"]) else {
            panic!()
        };
        let SqlType::Struct(columns) = *element else { panic!() };
        assert_eq!(columns[0].verdict, ColumnVerdict::Declared(SqlType::Double, Vec::new()));
        let guess = "always empty here, so the element type is a guess".to_owned();
        let arrays = SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Varchar))));
        assert_eq!(columns[1].verdict, ColumnVerdict::Declared(arrays, vec![guess, "missing in 50%".to_owned()]));
    }

    #[test]
    fn an_object_with_ever_new_keys_is_a_map() {
        let objects: Vec<_> = (0..100).map(|id| format!("{{\"user-{id}\":1}}")).collect();
        let objects: Vec<_> = objects.iter().map(String::as_str).collect();
        assert_eq!(SampleShape::of(&objects), Err("a map with 100 different keys, not a struct".to_owned()));
    }

    #[test]
    fn a_share_is_rounded_but_never_to_nothing_or_all() {
        assert_eq!(
            (share(1, 1000), share(1, 3), share(999, 1000), share(7, 7)),
            ("<1%".into(), "33%".into(), ">99%".into(), "100%".into())
        );
        assert_eq!((grouped(7), grouped(1000), grouped(1_234_567)), ("7".into(), "1,000".into(), "1,234,567".into()));
    }
}
