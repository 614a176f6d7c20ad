//! Numbers, read straight into the column's type and never through another one.
//!
//! Short numbers are read eight digits at a time. What a value may look like is RFC 8259's grammar, for all types:
//! no leading zeros, no `+`, no `.5`, no `NaN`.

use std::borrow::Cow;

use fast_float2::FastFloat;

use super::bad::{BadReason, Parsed, malformed, mismatch};
use super::scan::word;

const ZEROS: u64 = 0x3030_3030_3030_3030;
const HIGH: u64 = 0x8080_8080_8080_8080;
const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// A `u64` holds any number of this many digits.
const MAX_DIGITS_U64: usize = 19;
/// A `u128` holds any number of this many digits.
const MAX_DIGITS_U128: u32 = 38;

/// How many of the eight lanes (bytes already xored with `'0'`) are digits before the first that is not.
#[inline]
fn leading_digits(lanes: u64) -> usize {
    let no_digit = ((lanes & !HIGH) + 0x7676_7676_7676_7676) | lanes;
    ((no_digit & HIGH).trailing_zeros() / 8) as usize
}

/// The number that eight lanes of digits spell, the first one lowest: pairs, then fours, then all.
#[inline]
fn eight_digits(lanes: u64) -> u64 {
    let pairs = lanes.wrapping_mul(10).wrapping_add(lanes >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let high = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    low.wrapping_add(high) >> 32
}

/// The number that the first `count` lanes spell. Moving them up fills in zeros in front and drops what follows.
#[inline]
fn few_digits(lanes: u64, count: usize) -> u64 {
    // Two shifts, because one of 64 is not a shift: `count` may be 0.
    eight_digits(lanes << (56 - 8 * count) << 8)
}

/// Reads digits on to the end of `value` (wrapping: the caller counts them) and returns the position after them.
#[inline]
fn digits(bytes: &[u8], mut at: usize, value: &mut u64) -> usize {
    loop {
        let lanes = word(bytes, at) ^ ZEROS;
        let count = leading_digits(lanes);
        if count == 8 {
            *value = value.wrapping_mul(POWERS[8]).wrapping_add(eight_digits(lanes));
            at += 8;
        } else {
            *value = value.wrapping_mul(POWERS[count]).wrapping_add(few_digits(lanes, count));
            return at + count;
        }
    }
}

/// Skips digits.
#[inline]
fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let count = leading_digits(word(bytes, at) ^ ZEROS);
        at += count;
        if count < 8 {
            return at;
        }
    }
}

/// A number without an exponent and with at most 19 digits: `mantissa / 10^fraction`.
struct Plain {
    negative: bool,
    mantissa: u64,
    fraction: usize,
    end: usize,
}

/// `None` means only that the slow way has to look.
#[inline]
fn plain(bytes: &[u8], at: usize) -> Option<Plain> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let mut mantissa = 0;
    let mut end = digits(bytes, start, &mut mantissa);
    let whole = end - start;
    if whole == 0 || (whole > 1 && bytes.get(start) == Some(&b'0')) {
        return None;
    }
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        let first = end + 1;
        end = digits(bytes, first, &mut mantissa);
        fraction = end - first;
        if fraction == 0 {
            return None;
        }
    }
    if whole + fraction > MAX_DIGITS_U64 || matches!(bytes.get(end), Some(b'e' | b'E')) {
        return None;
    }
    Some(Plain { negative, mantissa, fraction, end })
}

/// Reads a number into an integer column. `3.0` and `30e-1` are the integer 3, by exact arithmetic; `3.5` is not one.
#[inline]
pub fn integer<T: TryFrom<i64> + TryFrom<i128>>(bytes: &[u8], at: usize, expected: &'static str) -> Parsed<(T, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let word = word(bytes, start);
    let lanes = word ^ ZEROS;
    let count = leading_digits(lanes);
    if (1..8).contains(&count) {
        let after = (word >> (8 * count)) as u8;
        let leading_zero = count > 1 && lanes as u8 == 0;
        if !leading_zero && !matches!(after, b'.' | b'e' | b'E') {
            let size = few_digits(lanes, count) as i64;
            return match T::try_from(if negative { -size } else { size }) {
                Ok(value) => Ok((value, start + count)),
                Err(_) => Err(BadReason::OutOfRange { expected: expected.into() }.at(at)),
            };
        }
    }
    long_integer(bytes, at, expected)
}

#[inline(never)]
fn long_integer<T: TryFrom<i128>>(bytes: &[u8], at: usize, expected: &'static str) -> Parsed<(T, usize)> {
    let out_of_range = || BadReason::OutOfRange { expected: expected.into() }.at(at);
    let (value, end) = if let Some(Plain { negative, mantissa, fraction: 0, end }) = plain(bytes, at) {
        (if negative { -i128::from(mantissa) } else { i128::from(mantissa) }, end)
    } else {
        let (exact, end) = exact(bytes, at, expected)?;
        if exact.exponent < 0 && exact.mantissa != 0 {
            return Err(BadReason::WrongType { expected: expected.into(), found: "a fraction" }.at(at));
        }
        (exact.scaled(0).ok_or_else(out_of_range)?, end)
    };
    T::try_from(value).map(|value| (value, end)).map_err(|_| out_of_range())
}

/// A float type and its fast path: where it holds both a mantissa and a power of ten exactly, one division rounds correctly.
pub trait Float: FastFloat + Copy {
    /// The type as SQL names it.
    const SQL: &'static str;
    /// `mantissa / 10^fraction`, where both are exact.
    fn quotient(mantissa: u64, fraction: usize) -> Option<Self>;
    /// With the sign turned.
    fn negated(self) -> Self;
    /// Whether it is within the type's range.
    fn finite(self) -> bool;
}

macro_rules! float {
    ($float:ty, $sql:literal, $mantissa_bits:literal, [$($power:literal),*]) => {
        impl Float for $float {
            const SQL: &'static str = $sql;

            #[inline]
            fn quotient(mantissa: u64, fraction: usize) -> Option<Self> {
                const POWERS: &[$float] = &[$($power),*];
                let power = POWERS.get(fraction)?;
                (mantissa <= 1 << $mantissa_bits).then(|| mantissa as $float / power)
            }

            #[inline]
            fn negated(self) -> Self {
                -self
            }

            #[inline]
            fn finite(self) -> bool {
                self.is_finite()
            }
        }
    };
}

float!(f32, "REAL", 24, [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10]);
float!(
    f64,
    "DOUBLE",
    53,
    [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22
    ]
);

/// Reads a number into a float column, correctly rounded. Beyond its range is a fault, not an infinity.
#[inline]
pub fn float<T: Float>(bytes: &[u8], at: usize) -> Parsed<(T, usize)> {
    if let Some(plain) = plain(bytes, at)
        && let Some(value) = T::quotient(plain.mantissa, plain.fraction)
    {
        return Ok((if plain.negative { value.negated() } else { value }, plain.end));
    }
    long_float(bytes, at)
}

/// Checks what [`float`] would take, without the value: only digits enough for an exponent of their own, or an exponent,
/// can lead beyond the range.
pub fn check_float<T: Float>(bytes: &[u8], at: usize) -> Parsed {
    if !matches!(bytes.get(at), Some(b'-' | b'0'..=b'9')) {
        return Err(mismatch(bytes, at, T::SQL));
    }
    let end = end(bytes, at)?;
    let text = &bytes[at..end];
    if text.len() > MAX_DIGITS_U128 as usize || text.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return long_float::<T>(bytes, at).map(|(_, end)| end);
    }
    Ok(end)
}

#[inline(never)]
fn long_float<T: Float>(bytes: &[u8], at: usize) -> Parsed<(T, usize)> {
    if !matches!(bytes.get(at), Some(b'-' | b'0'..=b'9')) {
        return Err(mismatch(bytes, at, T::SQL));
    }
    let end = end(bytes, at)?;
    match fast_float2::parse::<T, _>(&bytes[at..end]) {
        Ok(value) if value.finite() => Ok((value, end)),
        Ok(_) => Err(BadReason::OutOfRange { expected: T::SQL.into() }.at(at)),
        Err(_) => Err(malformed(bytes, at, "a number")),
    }
}

/// Reads a number into a decimal column as an integer of `10^-scale`. Digits that the scale has no room for are a
/// fault unless they are zeros: a decimal column is there to lose nothing.
#[inline]
pub fn decimal(bytes: &[u8], at: usize, precision: u8, scale: i8) -> Parsed<(i128, usize)> {
    if let Some(plain) = plain(bytes, at)
        && let Some(room) = usize::try_from(scale).ok().and_then(|scale| scale.checked_sub(plain.fraction))
        && let Some(&power) = POWERS.get(room)
    {
        let value = i128::from(plain.mantissa) * i128::from(power);
        if value < limit(precision) {
            return Ok((if plain.negative { -value } else { value }, plain.end));
        }
    }
    long_decimal(bytes, at, precision, scale)
}

#[inline(never)]
fn long_decimal(bytes: &[u8], at: usize, precision: u8, scale: i8) -> Parsed<(i128, usize)> {
    let expected = || Cow::from(format!("DECIMAL({precision},{scale})"));
    let (exact, end) = exact(bytes, at, expected())?;
    match exact.scaled(i64::from(scale)) {
        Some(value) if (1 - limit(precision)..limit(precision)).contains(&value) => Ok((value, end)),
        _ => Err(BadReason::OutOfRange { expected: expected() }.at(at)),
    }
}

/// The first number that has too many digits.
#[inline]
fn limit(precision: u8) -> i128 {
    const LIMITS: [i128; MAX_DIGITS_U128 as usize + 1] = {
        let mut limits = [1; MAX_DIGITS_U128 as usize + 1];
        let mut digits = 1;
        while digits < limits.len() {
            limits[digits] = limits[digits - 1] * 10;
            digits += 1;
        }
        limits
    };
    LIMITS[usize::from(precision).min(LIMITS.len() - 1)]
}

/// A number as it is written: `mantissa * 10^exponent`, without zeros at the mantissa's end.
struct Exact {
    negative: bool,
    mantissa: u128,
    exponent: i64,
    /// There were more significant digits than the mantissa has room for, and no type takes so many.
    too_long: bool,
}

impl Exact {
    /// The number times `10^scale`, if that is an integer and fits.
    fn scaled(&self, scale: i64) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        if self.too_long {
            return None;
        }
        let power = u32::try_from(self.exponent.checked_add(scale)?).ok()?;
        let size = i128::try_from(self.mantissa).ok()?.checked_mul(10_i128.checked_pow(power)?)?;
        Some(if self.negative { -size } else { size })
    }
}

#[inline(never)]
fn exact(bytes: &[u8], at: usize, expected: impl Into<Cow<'static, str>>) -> Parsed<(Exact, usize)> {
    if !matches!(bytes.get(at), Some(b'-' | b'0'..=b'9')) {
        return Err(mismatch(bytes, at, expected));
    }
    let end = end(bytes, at)?;
    let mut exact = Exact { negative: false, mantissa: 0, exponent: 0, too_long: false };
    let mut in_fraction = false;
    // Zeros wait here until a later digit makes them significant.
    let mut zeros = 0;
    let mut significant = 0;
    let mut exponent = None;
    for (index, &byte) in bytes[at..end].iter().enumerate() {
        match byte {
            b'-' => exact.negative = true,
            b'.' => in_fraction = true,
            b'0'..=b'9' => {
                exact.exponent -= i64::from(in_fraction);
                if byte == b'0' {
                    zeros += i64::from(exact.mantissa != 0);
                    continue;
                }
                significant = if exact.mantissa == 0 { 1 } else { significant + zeros + 1 };
                if significant > i64::from(MAX_DIGITS_U128) {
                    exact.too_long = true;
                } else {
                    // Fits: `zeros` is below 38 here.
                    exact.mantissa = exact.mantissa * 10_u128.pow(zeros as u32 + 1) + u128::from(byte - b'0');
                }
                zeros = 0;
            }
            _ => {
                exponent = Some(at + index + 1);
                break;
            }
        }
    }
    exact.exponent += zeros;
    if let Some(start) = exponent {
        exact.exponent = exact.exponent.saturating_add(exponent_value(&bytes[start..end]));
    }
    Ok((exact, end))
}

/// The exponent's digits with their sign. Saturates far beyond what any type reaches.
fn exponent_value(text: &[u8]) -> i64 {
    const BEYOND: i64 = 1 << 40;
    let size = text
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0, |value: i64, byte| (value * 10 + i64::from(byte - b'0')).min(BEYOND));
    if text.first() == Some(&b'-') { -size } else { size }
}

/// The position after the number at `at`, which starts with a digit or `-`. Checks the grammar.
#[inline]
pub fn end(bytes: &[u8], at: usize) -> Parsed {
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = skip_digits(bytes, start);
    if end == start {
        return Err(malformed(bytes, end, "a digit"));
    }
    if end - start > 1 && bytes.get(start) == Some(&b'0') {
        return Err(malformed(bytes, start, "a number without leading zeros"));
    }
    if bytes.get(end) == Some(&b'.') {
        let first = end + 1;
        end = skip_digits(bytes, first);
        if end == first {
            return Err(malformed(bytes, end, "a digit"));
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let first = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = skip_digits(bytes, first);
        if end == first {
            return Err(malformed(bytes, end, "a digit"));
        }
    }
    Ok(end)
}
