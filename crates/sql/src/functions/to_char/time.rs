//! Patterns of times.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDateTime, Offset as _, TimeZone as _, Timelike as _};
use datafusion::arrow::array::timezone::Tz;
use datafusion::common::{Result, exec_datafusion_err, plan_err};

/// Every field's keyword, longer ones before those that they begin with.
const FIELDS: [&str; 50] = [
    "SSSSS", "SSSS", "SS", "HH24", "HH12", "HH", "MI", "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.",
    "P.M.", "AM", "PM", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IDDD", "IY", "IW", "ID", "I", "B.C.",
    "A.D.", "BC", "AD", "MONTH", "MON", "MM", "DAY", "DY", "DDD", "DD", "D", "WW", "W", "CC", "J", "Q", "TZ", "OF",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A pattern, parsed once for all rows that have it.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    text: String,
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Literal(String),
    Field { name: &'static str, case: Case, fill: bool, ordinal: Option<bool> },
}

/// How a name is written, by how its keyword is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

impl Pattern {
    /// Takes another pattern.
    pub fn set(&mut self, pattern: &str) -> Result<()> {
        if self.text != pattern || self.items.is_empty() {
            self.items = parse(pattern)?;
            pattern.clone_into(&mut self.text);
        }
        Ok(())
    }

    /// Appends a moment's text: microseconds since 1970, shown in a zone or, without one, as they are.
    pub fn write(&self, micros: i64, zone: Option<&Tz>, out: &mut String) -> Result<()> {
        let utc = DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| exec_datafusion_err!("to_char: timestamp out of range"))?
            .naive_utc();
        let offset = zone.map(|zone| zone.offset_from_utc_datetime(&utc).fix());
        let local = offset.map_or(utc, |offset| utc + offset);
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field { name, case, fill, ordinal } => {
                    let start = out.len();
                    field(name, *case, *fill, local, offset, out);
                    if let Some(upper) = ordinal {
                        let suffix = ordinal_suffix(&out[start..]);
                        out.push_str(&if *upper { suffix.to_uppercase() } else { suffix.to_owned() });
                    }
                }
            }
        }
        Ok(())
    }
}

fn parse(pattern: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut literal = String::new();
    let mut rest = pattern;
    let starts = |text: &str, word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut chars = rest[1..].char_indices();
            let mut end = rest.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        end = at + 2;
                        break;
                    }
                    '\\' => literal.extend(chars.next().map(|(_, escaped)| escaped)),
                    c => literal.push(c),
                }
            }
            rest = &rest[end..];
            continue;
        }
        let fill = !starts(rest, "FM");
        let after_fill = if fill { rest } else { &rest[2..] };
        let Some(name) = FIELDS.iter().find(|name| starts(after_fill, name)) else {
            if !fill {
                rest = after_fill;
                continue;
            }
            if starts(rest, "RM") || starts(rest, "TM") {
                return plan_err!("to_char: the pattern '{}' is not supported", &rest[..2]);
            }
            literal.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        if !literal.is_empty() {
            items.push(Item::Literal(std::mem::take(&mut literal)));
        }
        let written = &after_fill[..name.len()];
        rest = &after_fill[name.len()..];
        let ordinal = match rest.get(..2) {
            Some("TH") => Some(true),
            Some("th") => Some(false),
            _ => None,
        };
        if ordinal.is_some() {
            rest = &rest[2..];
        }
        items.push(Item::Field { name, case: case_of(written), fill, ordinal });
    }
    if !literal.is_empty() || items.is_empty() {
        items.push(Item::Literal(literal));
    }
    Ok(items)
}

fn case_of(written: &str) -> Case {
    let mut letters = written.chars().filter(char::is_ascii_alphabetic);
    match (
        letters.next().is_some_and(|c| c.is_ascii_uppercase()),
        letters.next().is_some_and(|c| c.is_ascii_uppercase()),
    ) {
        (true, true) => Case::Upper,
        (true, false) => Case::Capital,
        (false, _) => Case::Lower,
    }
}

fn field(name: &str, case: Case, fill: bool, at: NaiveDateTime, offset: Option<FixedOffset>, out: &mut String) {
    let (is_pm, hour12) = at.hour12();
    let micros = at.nanosecond() / 1_000;
    // There is no year 0: 1 BC comes before 1.
    let year = if at.year() > 0 { at.year() } else { 1 - at.year() };
    let iso = at.iso_week();
    let mut number = |value: i64, width: usize| {
        _ = if fill { write!(out, "{value:0width$}") } else { write!(out, "{value}") };
    };
    let weekday = at.weekday().num_days_from_sunday();
    match name {
        "HH24" => number(at.hour().into(), 2),
        "HH12" | "HH" => number(hour12.into(), 2),
        "MI" => number(at.minute().into(), 2),
        "SS" => number(at.second().into(), 2),
        "MS" | "FF3" => number((micros / 1_000).into(), 3),
        "US" | "FF6" => number(micros.into(), 6),
        "FF1" => number((micros / 100_000).into(), 1),
        "FF2" => number((micros / 10_000).into(), 2),
        "FF4" => number((micros / 100).into(), 4),
        "FF5" => number((micros / 10).into(), 5),
        "SSSS" | "SSSSS" => number(at.num_seconds_from_midnight().into(), 1),
        "YYYY" => number(year.into(), 4),
        "YYY" => number((year % 1_000).into(), 3),
        "YY" => number((year % 100).into(), 2),
        "Y" => number((year % 10).into(), 1),
        "Y,YYY" => _ = write!(out, "{},{:03}", year / 1_000, year % 1_000),
        "IYYY" => number(iso.year().into(), 4),
        "IYY" => number((iso.year() % 1_000).into(), 3),
        "IY" => number((iso.year() % 100).into(), 2),
        "I" => number((iso.year() % 10).into(), 1),
        "MM" => number(at.month().into(), 2),
        "DD" => number(at.day().into(), 2),
        "DDD" => number(at.ordinal().into(), 3),
        "IDDD" => number((iso.week0() * 7 + at.weekday().number_from_monday()).into(), 3),
        "D" => number((weekday + 1).into(), 1),
        "ID" => number(at.weekday().number_from_monday().into(), 1),
        "W" => number((at.day0() / 7 + 1).into(), 1),
        "WW" => number((at.ordinal0() / 7 + 1).into(), 2),
        "IW" => number(iso.week().into(), 2),
        "CC" => number(((year + 99) / 100).into(), 2),
        "J" => number(i64::from(at.num_days_from_ce()) + 1_721_425, 1),
        "Q" => number((at.month0() / 3 + 1).into(), 1),
        "AM" | "PM" => push_name(if is_pm { "PM" } else { "AM" }, meridiem(case), 0, out),
        "A.M." | "P.M." => push_name(if is_pm { "P.M." } else { "A.M." }, meridiem(case), 0, out),
        "BC" | "AD" => push_name(if at.year() > 0 { "AD" } else { "BC" }, meridiem(case), 0, out),
        "B.C." | "A.D." => push_name(if at.year() > 0 { "A.D." } else { "B.C." }, meridiem(case), 0, out),
        "MONTH" => push_name(MONTHS[at.month0() as usize], case, if fill { 9 } else { 0 }, out),
        "MON" => push_name(&MONTHS[at.month0() as usize][..3], case, 0, out),
        "DAY" => push_name(DAYS[weekday as usize], case, if fill { 9 } else { 0 }, out),
        "DY" => push_name(&DAYS[weekday as usize][..3], case, 0, out),
        "TZ" => {
            if offset.is_some_and(|offset| offset.local_minus_utc() == 0) {
                push_name("UTC", case, 0, out);
            } else if let Some(offset) = offset {
                push_offset(offset, out);
            }
        }
        _ => push_offset(offset.unwrap_or_else(|| chrono::Utc.fix()), out),
    }
}

/// Of AM, PM, BC and AD there is no capitalised form.
fn meridiem(case: Case) -> Case {
    if case == Case::Capital { Case::Upper } else { case }
}

fn push_name(name: &str, case: Case, width: usize, out: &mut String) {
    let name = match case {
        Case::Upper => name.to_uppercase(),
        Case::Capital => name.to_owned(),
        Case::Lower => name.to_lowercase(),
    };
    _ = write!(out, "{name:width$}");
}

fn push_offset(offset: FixedOffset, out: &mut String) {
    let minutes = offset.local_minus_utc() / 60;
    _ = write!(out, "{}{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60);
    if minutes % 60 != 0 {
        _ = write!(out, ":{:02}", minutes.abs() % 60);
    }
}

fn ordinal_suffix(number: &str) -> &'static str {
    let mut digits = number.bytes().rev();
    match (digits.next(), digits.next()) {
        (_, Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}
