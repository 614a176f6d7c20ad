//! Dates and timestamps from their text.
//!
//! What is accepted is ISO 8601 as PostgreSQL reads it: date and time apart by `T` or a space, seconds and their fraction
//! optional, the basic form without dashes and colons, `Z`, `UTC` or an offset with or without a colon. The usual forms
//! have a fast path; the others are brought into the form that Arrow's parsers read, which are those of SQL's `CAST`.

use std::borrow::Cow;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{Date32Type, TimeUnit};

use super::bad::BadReason;

/// Reads timestamps of one column: its unit and time zone.
#[derive(Debug)]
pub struct TimestampReader {
    unit: TimeUnit,
    zone: Tz,
    /// The zone's clock shows UTC, always.
    utc: bool,
    /// Numbers are seconds, milliseconds, microseconds or nanoseconds, whichever makes a moment from 1973 to 5138.
    unit_by_size: bool,
}

impl TimestampReader {
    /// The reader of `TIMESTAMP(unit, zone)`; `None` for an unknown zone.
    pub fn new(unit: TimeUnit, zone: Option<&str>) -> Option<Self> {
        let zone = zone.unwrap_or("UTC");
        let utc = matches!(zone, "UTC" | "Z" | "+00:00");
        Some(Self { unit, utc, zone: zone.parse().ok()?, unit_by_size: false })
    }

    /// Lets the size of a number say its unit; for a column of nanoseconds.
    pub fn with_unit_by_size(self, unit_by_size: bool) -> Self {
        Self { unit_by_size: unit_by_size && self.unit == TimeUnit::Nanosecond, ..self }
    }

    /// Reads a timestamp. Without an offset it is a time of the column's zone, or of UTC where the column has none.
    /// Digits finer than the column's unit are cut off, towards the past.
    pub fn read(&self, text: &[u8]) -> Result<i64, BadReason> {
        let (seconds, nanos) = match usual_timestamp(text) {
            Some(Usual { seconds, nanos, offset: Some(offset) }) => (seconds - offset, nanos),
            Some(Usual { seconds, nanos, offset: None }) if self.utc => (seconds, nanos),
            _ => {
                let moment = std::str::from_utf8(text)
                    .ok()
                    .filter(|text| text.is_ascii())
                    .and_then(|text| string_to_datetime(&self.zone, &standard_timestamp(text)?).ok())
                    .ok_or_else(|| wrong_text("TIMESTAMP"))?;
                // In a leap second these are more than a second's nanoseconds: the next second, then, in every unit.
                let nanos = moment.timestamp_subsec_nanos();
                (moment.timestamp() + i64::from(nanos / 1_000_000_000), nanos % 1_000_000_000)
            }
        };
        let (per_second, nanos_each) = match self.unit {
            TimeUnit::Second => (1, 1_000_000_000),
            TimeUnit::Millisecond => (1_000, 1_000_000),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1),
        };
        let value = i128::from(seconds) * per_second + i128::from(nanos / nanos_each);
        i64::try_from(value).map_err(|_| self.out_of_range())
    }

    /// Reads a number: a count of the column's unit since 1970, or of the unit that its size speaks for.
    pub fn number(&self, count: i64) -> Result<i64, BadReason> {
        if !self.unit_by_size {
            return Ok(count);
        }
        let nanos_each = match count.unsigned_abs() {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        count.checked_mul(nanos_each).ok_or_else(|| self.out_of_range())
    }

    fn out_of_range(&self) -> BadReason {
        let expected = match self.unit {
            TimeUnit::Nanosecond => "TIMESTAMP (nanoseconds from 1677 to 2262; TIMESTAMP(6) holds every year)",
            _ => "TIMESTAMP",
        };
        BadReason::OutOfRange { expected: expected.into() }
    }
}

/// Reads a date as days since 1970-01-01.
pub fn date(text: &[u8]) -> Result<i32, BadReason> {
    if text.len() == 10
        && let Some(days) = usual_date(text)
        && let Ok(days) = i32::try_from(days)
    {
        return Ok(days);
    }
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.is_ascii())
        .and_then(Date32Type::parse)
        .ok_or_else(|| wrong_text("DATE"))
}

fn wrong_text(expected: &'static str) -> BadReason {
    BadReason::WrongType { expected: Cow::Borrowed(expected), found: "other text" }
}

struct Usual {
    /// Seconds since 1970-01-01 00:00:00 of a clock at `offset`.
    seconds: i64,
    nanos: u32,
    /// Seconds that the clock is ahead of UTC, where the text says so.
    offset: Option<i64>,
}

/// `YYYY-MM-DD HH:MM:SS`, with a `T` or a space, with or without a fraction, and `Z`, `±HH:MM` or nothing.
fn usual_timestamp(text: &[u8]) -> Option<Usual> {
    let days = usual_date(text)?;
    if !matches!(text.get(10)?, b'T' | b't' | b' ') || *text.get(13)? != b':' || *text.get(16)? != b':' {
        return None;
    }
    let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0;
    if text.get(at) == Some(&b'.') {
        let digits = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).take(10);
        let (count, value) =
            digits.fold((0, 0), |(count, value), byte| (count + 1, value * 10 + u64::from(byte - b'0')));
        if count == 0 || count > 9 {
            return None;
        }
        nanos = u32::try_from(value * 10_u64.pow(9 - count)).ok()?;
        at += 1 + count as usize;
    }
    let offset = match *text.get(at..)? {
        [] => None,
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), _, _, ref minutes @ ..] if matches!(minutes.len(), 0 | 2 | 3) => {
            let hours = two(text, at + 1)?;
            let minutes = match minutes {
                [] => 0,
                [b':', digits @ ..] | digits => {
                    if digits.len() == 2 {
                        two(digits, 0)?
                    } else {
                        return None;
                    }
                }
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let size = hours * 3_600 + minutes * 60;
            Some(if sign == b'-' { -size } else { size })
        }
        _ => return None,
    };
    Some(Usual { seconds: days * 86_400 + hour * 3_600 + minute * 60 + second, nanos, offset })
}

/// The same time as `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS[.fraction][Z or ±HH:MM]`, if the text is a form of ISO 8601: the
/// forms that Arrow's parsers, and so SQL's casts, read.
pub fn standard_timestamp(text: &str) -> Option<String> {
    let digits =
        |part: &str, lengths: &[usize]| lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let (date, rest) = if text.get(4..5)? == "-" { text.split_at_checked(10)? } else { text.split_at_checked(8)? };
    let date = match date.split('-').collect::<Vec<_>>()[..] {
        [basic] if digits(basic, &[8]) => format!("{}-{}-{}", &basic[..4], &basic[4..6], &basic[6..]),
        [_, _, _] => date.to_owned(),
        _ => return None,
    };
    if rest.is_empty() {
        return Some(date);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, zone) =
        rest.split_at(rest.find(|c: char| !matches!(c, '0'..='9' | ':' | '.' | ',')).unwrap_or(rest.len()));
    let (clock, fraction) = time.split_at(time.find(['.', ',']).unwrap_or(time.len()));
    let (hour, minute, second) = match clock.split(':').collect::<Vec<_>>()[..] {
        [basic] if digits(basic, &[4, 6]) => {
            (&basic[..2], &basic[2..4], basic.get(4..).filter(|text| !text.is_empty()))
        }
        [hour, minute] => (hour, minute, None),
        [hour, minute, second] => (hour, minute, Some(second)),
        _ => return None,
    };
    let fraction = match (fraction.split_at_checked(1), second) {
        (None, _) => String::new(),
        (Some((_, fraction)), Some(_)) => format!(".{fraction}"),
        (Some(_), None) => return None,
    };
    let zone = match zone.strip_prefix(' ').unwrap_or(zone) {
        "" if zone.is_empty() => String::new(),
        "Z" | "z" | "UTC" | "GMT" => "Z".to_owned(),
        offset => {
            let (sign, offset) = offset.split_at_checked(1).filter(|(sign, _)| matches!(*sign, "+" | "-"))?;
            let (hours, minutes) = offset.split_at_checked(2)?;
            let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
            let minutes = if minutes.is_empty() && offset.len() == 2 { "00" } else { minutes };
            let well_formed = digits(hours, &[2]) && digits(minutes, &[2]);
            well_formed.then(|| format!("{sign}{hours}:{minutes}"))?
        }
    };
    Some(format!("{date}T{hour}:{minute}:{}{fraction}{zone}", second.unwrap_or("00")))
}

/// The days from 1970-01-01 to the `YYYY-MM-DD` that `text` begins with.
fn usual_date(text: &[u8]) -> Option<i64> {
    if *text.get(4)? != b'-' || *text.get(7)? != b'-' {
        return None;
    }
    let (year, month, day) = (two(text, 0)? * 100 + two(text, 2)?, two(text, 5)?, two(text, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > month_days {
        return None;
    }
    // Days of the proleptic Gregorian calendar, counted in years that begin in March so that the leap day comes last:
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (text.get(at)?.wrapping_sub(b'0'), text.get(at + 1)?.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_gives_what_arrow_gives(
            year in 0i32..=9999, month in 0u32..=13, day in 0u32..=32, hour in 0u32..=24, minute in 0u32..=60,
            second in 0u32..60, fraction in "(\\.[0-9]{1,12})?", zone in "|Z|z|[+-][0-2][0-9]:[0-6][0-9]|[+-][0-2][0-9]",
            between in "[Tt ]",
        ) {
            let text = format!(
                "{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
            );
            for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                for name in ["UTC", "+05:30", "Europe/Madrid"] {
                    let ours = TimestampReader::new(unit, Some(name)).unwrap().read(text.as_bytes());
                    let moment = string_to_datetime(&name.parse::<Tz>().unwrap(), &text).ok();
                    let arrow = moment.and_then(|moment| match unit {
                        TimeUnit::Second => Some(moment.timestamp()),
                        TimeUnit::Millisecond => Some(moment.timestamp_millis()),
                        TimeUnit::Microsecond => Some(moment.timestamp_micros()),
                        TimeUnit::Nanosecond => moment.timestamp_nanos_opt(),
                    });
                    prop_assert_eq!(ours.ok(), arrow, "{} in {}", text, name);
                }
            }
            let day = &text[..10];
            prop_assert_eq!(date(day.as_bytes()).ok(), Date32Type::parse(day), "{}", day);
        }
    }

    #[test]
    fn the_forms_of_iso_8601_are_the_moments_that_postgresql_reads() {
        let clock = TimestampReader::new(TimeUnit::Millisecond, None).unwrap();
        let moment = clock.read(b"2022-09-21T09:45:00Z").unwrap();
        for text in [
            "2022-09-21T09:45Z",
            "2022-09-21 09:45",
            "2022-09-21T09:45+00",
            "20220921T094500Z",
            "20220921T0945",
            "20220921 094500",
            "2022-09-21T11:45:00+02",
            "2022-09-21T11:45:00+0200",
            "2022-09-21 02:45:00.000-0700",
            "2022-09-21 09:45:00 UTC",
            "2022-09-21T09:45:00,000Z",
            "2022-09-21T09:45:00.0 +00:00",
            "2022-09-21t09:45z",
            "2022-09-21 09:45 GMT",
            "20220921T114500+0200",
            "2022-09-21T15:15+05:30",
        ] {
            assert_eq!(clock.read(text.as_bytes()).ok(), Some(moment), "{text}");
        }
        assert_eq!(clock.read(b"20220921").unwrap(), clock.read(b"2022-09-21").unwrap());
        for text in [
            "2022-09-21T09:45:47.123Z[UTC]",
            "2022-09-21T09",
            "2022-09-21T09:45.5",
            "2022-9-21T09:45:00Z",
            "2022-09-21T",
            "2022-09-21T9:45:00Z",
            "2022-13-21T09:45Z",
            "2022-09-21T24:45Z",
            "2022-09-21T09:45 ",
            "2022-09-21T09:45+2",
            "2022-09-21T09:45+020",
            "2022-09-21T09:45+02:0",
            "2022-09-21T09:45+02:",
            "2022-09-21Z",
            "0921T094500",
            "",
            "2022-09-21T09:45:00 CET",
            "202209210945",
        ] {
            assert_eq!(clock.read(text.as_bytes()).map_err(|bad| bad.kind()), Err("wrong_type"), "{text}");
        }
    }

    #[test]
    fn the_size_of_a_number_says_its_unit() {
        let clock = TimestampReader::new(TimeUnit::Nanosecond, None).unwrap().with_unit_by_size(true);
        let moment = 1_700_000_000_000_000_000;
        for count in [1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000, 1_700_000_000_000_000_000] {
            assert_eq!(clock.number(count).unwrap(), moment);
            assert_eq!(clock.number(-count).unwrap(), -moment);
        }
        assert_eq!(clock.number(0).unwrap(), 0);
        assert_eq!(clock.number(99_999_999_999).unwrap_err().kind(), "out_of_range");
        let plain = TimestampReader::new(TimeUnit::Nanosecond, None).unwrap();
        assert_eq!(plain.number(1_700_000_000).unwrap(), 1_700_000_000);
    }

    #[test]
    fn a_leap_second_is_the_next_second_in_every_unit() {
        for (unit, per_second) in
            [(TimeUnit::Second, 1), (TimeUnit::Millisecond, 1_000), (TimeUnit::Microsecond, 1_000_000)]
        {
            let clock = TimestampReader::new(unit, None).unwrap();
            assert_eq!(clock.read(b"2016-12-31T23:59:60Z").unwrap(), 1_483_228_800 * per_second);
        }
    }

    #[test]
    fn moments_before_1970_are_cut_towards_the_past() {
        let clock = TimestampReader::new(TimeUnit::Millisecond, None).unwrap();
        assert_eq!(clock.read(b"1969-12-31T23:59:59.9999Z").unwrap(), -1);
        assert_eq!(date(b"1969-12-31").unwrap(), -1);
    }

    #[test]
    fn nanoseconds_end_in_2262() {
        let clock = TimestampReader::new(TimeUnit::Nanosecond, None).unwrap();
        assert_eq!(clock.read(b"2262-04-11 23:47:16.854775807").unwrap(), i64::MAX);
        assert_eq!(clock.read(b"2262-04-11 23:47:16.854775808").unwrap_err().kind(), "out_of_range");
        assert_eq!(clock.read(b"noon").unwrap_err().kind(), "wrong_type");
    }
}
