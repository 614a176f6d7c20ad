//! Dates and timestamps from their text.
//!
//! What is accepted is what SQL's own `CAST` of a text accepts (Arrow's parsers), so that a topic's value and a literal
//! in a query mean the same. The usual forms have a fast path here.

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
}

impl TimestampReader {
    /// The reader of `TIMESTAMP(unit, zone)`; `None` for an unknown zone.
    pub fn new(unit: TimeUnit, zone: Option<&str>) -> Option<Self> {
        let zone = zone.unwrap_or("UTC");
        Some(Self { unit, utc: matches!(zone, "UTC" | "Z" | "+00:00"), zone: zone.parse().ok()? })
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
                    .and_then(|text| string_to_datetime(&self.zone, text).ok())
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
        i64::try_from(value).map_err(|_| BadReason::OutOfRange { expected: "TIMESTAMP".into() })
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
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(text, at + 1)?, two(text, at + 4)?);
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
