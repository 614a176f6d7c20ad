//! Doubles as PostgreSQL writes them: `Infinity`, `-0`, `1e+20`.

use std::fmt::LowerExp;

/// Exponents of ten from which on, and below which, a double is written with one.
const DOUBLE_EXPONENTS: std::ops::Range<i32> = -4..15;

/// The same of a REAL.
const REAL_EXPONENTS: std::ops::Range<i32> = -4..6;

/// A DOUBLE's shortest text that reads back as the same.
pub(super) fn double(value: f64) -> String {
    written(value, value.is_finite(), DOUBLE_EXPONENTS)
}

/// A REAL's shortest text that reads back as the same.
pub(super) fn real(value: f32) -> String {
    written(value, value.is_finite(), REAL_EXPONENTS)
}

fn written<T: LowerExp + std::fmt::Display>(value: T, finite: bool, plain: std::ops::Range<i32>) -> String {
    if !finite {
        return value.to_string().replace("inf", "Infinity");
    }
    let scientific = format!("{value:e}");
    let exponent = scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse().ok()?)));
    match exponent {
        Some((digits, exponent)) if !plain.contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_postgresql_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (-1.25e20, "-1.25e+20"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (5e-324, "5e-324"),
            (123_456_789.123, "123456789.123"),
        ] {
            assert_eq!(double(value), text);
        }
        assert_eq!((real(1e5), real(1e6), real(0.1)), ("100000".to_owned(), "1e+06".to_owned(), "0.1".to_owned()));
    }
}
