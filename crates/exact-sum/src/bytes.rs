//! An accumulator as bytes: the state that partial aggregates exchange.
//!
//! ```text
//!  zero:      no bytes at all
//!  else:      u16 little-endian   bits 0..=8   place of the magnitude's lowest byte, in bytes above 2^-1074
//!                                 bit  9       the number is negative
//!                                 bit  10      counts follow
//!             [3 counts]          NaN, +∞, −∞: zigzag LEB128, not all zero
//!             magnitude           little-endian, neither its first nor its last byte zero; may be empty after counts
//! ```
//!
//! Each sum has exactly one such form, and [`SumState::read`] accepts no other.

use super::digits::Digits;
use super::rest::{LIMBS, NonFinite};

const PLACE: u16 = (1 << 9) - 1;
const NEGATIVE: u16 = 1 << 9;
const COUNTS: u16 = 1 << 10;
const KNOWN: u16 = PLACE | NEGATIVE | COUNTS;

/// Magnitude bytes of the full range.
const BYTES: usize = LIMBS * 4;

/// Bytes that are not an accumulator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the state of an exact sum: {reason} ({length} bytes)")]
pub struct InvalidState {
    reason: &'static str,
    length: usize,
}

/// A state that was read, its magnitude borrowed from the bytes.
pub(super) struct SumState<'a> {
    pub(super) non_finite: NonFinite,
    negative: bool,
    place: usize,
    magnitude: &'a [u8],
}

pub(super) fn write<const N: usize>(out: &mut Vec<u8>, non_finite: NonFinite, number: &Digits<N>) {
    let digits = number.magnitude();
    let counts = non_finite != NonFinite::default();
    let (Some(lowest), Some(highest)) = (digits.first(), digits.last()) else {
        if counts {
            out.extend(COUNTS.to_le_bytes());
            write_counts(out, non_finite);
        }
        return;
    };
    let skipped = lowest.trailing_zeros() as usize / 8;
    let unused = highest.leading_zeros() as usize / 8;
    let mut header = (number.place() * 4 + skipped) as u16;
    header |= if number.is_negative() { NEGATIVE } else { 0 };
    header |= if counts { COUNTS } else { 0 };
    out.extend(header.to_le_bytes());
    if counts {
        write_counts(out, non_finite);
    }
    let start = out.len();
    for digit in digits {
        out.extend_from_slice(&digit.to_le_bytes());
    }
    out.truncate(out.len() - unused);
    out.drain(start..start + skipped);
}

/// Appends the state of the negated sum; nothing when the bytes are not a state.
pub(super) fn write_negated(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), InvalidState> {
    let state = SumState::read(bytes)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let counts = state.non_finite != NonFinite::default();
    let mut header = state.place as u16;
    header |= if counts { COUNTS } else { 0 };
    // Without a magnitude the number is zero, which has no sign.
    header |= if state.negative || state.magnitude.is_empty() { 0 } else { NEGATIVE };
    out.extend(header.to_le_bytes());
    if counts {
        write_counts(out, state.non_finite.negated());
    }
    out.extend_from_slice(state.magnitude);
    Ok(())
}

impl<'a> SumState<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, InvalidState> {
        let invalid = |reason| InvalidState { reason, length: bytes.len() };
        if bytes.is_empty() {
            return Ok(Self { non_finite: NonFinite::default(), negative: false, place: 0, magnitude: bytes });
        }
        let (header, mut magnitude) = bytes.split_first_chunk::<2>().ok_or_else(|| invalid("half a header"))?;
        let header = u16::from_le_bytes(*header);
        if header & !KNOWN != 0 {
            return Err(invalid("unknown flags"));
        }
        let mut non_finite = NonFinite::default();
        if header & COUNTS != 0 {
            let mut next = || read_count(&mut magnitude).ok_or_else(|| invalid("a malformed count"));
            non_finite = NonFinite { nan: next()?, positive: next()?, negative: next()? };
            if non_finite == NonFinite::default() {
                return Err(invalid("counts of nothing"));
            }
        }
        let place = usize::from(header & PLACE);
        let negative = header & NEGATIVE != 0;
        match (magnitude.first(), magnitude.last()) {
            (Some(0), _) | (_, Some(0)) => Err(invalid("a magnitude with zeros around it")),
            (Some(_), _) if place + magnitude.len() > BYTES => Err(invalid("a magnitude out of range")),
            (None, _) if header != COUNTS => Err(invalid("no magnitude")),
            _ => Ok(Self { non_finite, negative, place, magnitude }),
        }
    }

    /// Hands over the magnitude as digits: the place of the first, all of them, and whether they count down.
    pub(super) fn with_digits(&self, mut take: impl FnMut(usize, &[u32], bool)) {
        let (place, inside) = (self.place / 4, self.place % 4);
        // Almost all states are this short.
        if self.magnitude.len() + inside <= 16 {
            let mut buffer = [0_u8; 16];
            buffer[inside..inside + self.magnitude.len()].copy_from_slice(self.magnitude);
            let all = u128::from_le_bytes(buffer);
            take(place, &[all as u32, (all >> 32) as u32, (all >> 64) as u32, (all >> 96) as u32], self.negative);
        } else {
            let mut digits = [0_u32; LIMBS];
            for (i, byte) in (inside..).zip(self.magnitude) {
                digits[i / 4] |= u32::from(*byte) << (8 * (i % 4));
            }
            take(place, &digits[..(inside + self.magnitude.len()).div_ceil(4)], self.negative);
        }
    }
}

fn write_counts(out: &mut Vec<u8>, counts: NonFinite) {
    for count in [counts.nan, counts.positive, counts.negative] {
        let mut left = (count << 1 ^ count >> 63) as u64;
        while left >= 0x80 {
            out.push(left as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
    }
}

/// Takes one count off the front of `bytes`; `None` for one that is cut off, too large, or longer than necessary.
fn read_count(bytes: &mut &[u8]) -> Option<i64> {
    let mut all = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, left) = bytes.split_first()?;
        *bytes = left;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        all |= part << shift;
        if byte & 0x80 == 0 {
            let overlong = shift > 0 && part == 0;
            return (!overlong).then_some((all >> 1) as i64 ^ -((all & 1) as i64));
        }
    }
    None
}
