//! Which strings are dates and times: those that every reader takes for the same moment.

/// `yyyy-mm-dd`, a day that exists.
pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && !text.starts_with("0000")
        && text.parse::<jiff::civil::Date>().is_ok()
}

/// What a moment asks of the type that holds it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TimestampText {
    pub(super) fraction_digits: usize,
    /// Whether nanoseconds since 1970 reach it in 64 bits: the years 1678 to 2261.
    pub(super) fits_nanoseconds: bool,
}

/// The moment if the text is an RFC 3339 time with its offset, of nine digits after the second at most.
pub(super) fn moment(text: &str) -> Option<TimestampText> {
    let (date, time) = text.split_once('T')?;
    let (clock, rest) = time.split_at_checked(8)?;
    let plain = |text: &str, separator: u8| {
        text.bytes().enumerate().all(|(at, byte)| if at % 3 == 2 { byte == separator } else { byte.is_ascii_digit() })
    };
    // A leap second is a valid time but no value of an Arrow timestamp.
    if !is_date(date) || !plain(clock, b':') || &clock[..2] > "23" || &clock[3..5] > "59" || &clock[6..] > "59" {
        return None;
    }
    let (digits, offset) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            (digits, fraction.get(digits..).filter(|_| (1..=9).contains(&digits))?)
        }
    };
    let numeric = offset
        .strip_prefix(['+', '-'])
        .is_some_and(|offset| offset.len() == 5 && plain(offset, b':') && &offset[..2] <= "23" && &offset[3..] <= "59");
    if offset != "Z" && !numeric {
        return None;
    }
    // Whole years within, so that no offset leads out. `jiff::Timestamp` would not do: it ends a day before the
    // `9999-12-31T23:59:59Z` that many systems write for "never".
    Some(TimestampText { fraction_digits: digits, fits_nanoseconds: ("1678".."2262").contains(&&text[..4]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_whole_exact_and_has_its_offset() {
        for (time, fraction_digits, fits_nanoseconds) in [
            ("2026-01-31T09:00:00Z", 0, true),
            ("2026-01-31T09:00:00.5+14:00", 1, true),
            ("0001-01-01T00:00:00.000-00:00", 3, false),
            ("9999-12-31T23:59:59.999999-23:59", 6, false),
            ("2261-12-31T23:59:59.123456789-23:59", 9, true),
        ] {
            assert_eq!(moment(time), Some(TimestampText { fraction_digits, fits_nanoseconds }), "{time}");
        }
        for no_time in [
            "2026-01-31 09:00:00Z",
            "2026-01-31T09:00:00",
            "2026-01-31T09:00Z",
            "2026-01-31T24:00:00Z",
            "2026-12-31T23:59:60Z",
            "2026-01-31t09:00:00z",
            "2026-01-31T09:00:00.Z",
            "2026-01-31T09:00:00.1234567890Z",
            "2026-01-31T09:00:00+0100",
            "2026-01-31T09:00:00[Europe/Madrid]",
            "0000-01-01T00:00:00Z",
            "2026-01-31T09:00:é",
            "+002026-01-31T09:00:00Z",
            "",
        ] {
            assert_eq!(moment(no_time), None, "{no_time}");
        }
    }
}
