//! Eight or sixteen bytes at a time: the loads and comparisons that the rest of the decoder is made of.
//!
//! Loads past the record's end read zeros. A zero byte is neither a digit nor allowed in a string, so every scan stops
//! there by itself and only then checks whether the record is over. Plain integer arithmetic ("SIMD within a register")
//! instead of intrinsics: the values of a record are a few bytes long, where it is as fast, and the code is the same on
//! every machine.

use super::bad::{BadReason, Parsed, malformed};

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// A string longer than this is searched with memchr: below, the call costs more than it saves.
const LONG_STRING_BYTES: usize = 32;

/// The eight bytes at `at`, the first one lowest.
#[inline]
pub fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => double_word_at_end(bytes, at) as u64,
    }
}

/// The sixteen bytes at `at`, the first one lowest.
#[inline]
pub fn double_word(bytes: &[u8], at: usize) -> u128 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => double_word_at_end(bytes, at),
    }
}

/// Called a few times per record, for its last key and value.
#[inline(never)]
fn double_word_at_end(bytes: &[u8], at: usize) -> u128 {
    if let Some(chunk) = bytes.last_chunk()
        && at < bytes.len()
    {
        // Fewer than sixteen bytes are left, so `at` lies inside the last sixteen.
        return u128::from_le_bytes(*chunk) >> (8 * (at + 16 - bytes.len()));
    }
    let mut chunk = [0; 16];
    for (to, from) in chunk.iter_mut().zip(bytes.get(at..).unwrap_or_default()) {
        *to = *from;
    }
    u128::from_le_bytes(chunk)
}

/// Marks the high bit of each byte that ends a plain run in a string: `"`, `\` and control characters. Exact up to
/// the first marked byte (borrows only run upwards), and no more is asked.
#[inline]
fn ends_of_plain(word: u64) -> u64 {
    let quote = word ^ (EACH * 0x22);
    let backslash = word ^ (EACH * 0x5C);
    let marked = (quote.wrapping_sub(EACH) & !quote)
        | (backslash.wrapping_sub(EACH) & !backslash)
        | (word.wrapping_sub(EACH * 0x20) & !word);
    marked & HIGH
}

/// The first byte at or after `at` which is not plain text inside a string: the quote, a backslash, a control
/// character, or the record's end.
#[inline]
pub fn plain_end(bytes: &[u8], at: usize) -> usize {
    let both = double_word(bytes, at);
    let low = ends_of_plain(both as u64);
    let high = ends_of_plain((both >> 64) as u64);
    if low | high == 0 {
        return plain_end_of_more(bytes, at + 16);
    }
    // One of two without a branch: lengths around eight are common and cannot be guessed.
    let offset = if low == 0 { 64 + high.trailing_zeros() } else { low.trailing_zeros() };
    at + (offset / 8) as usize
}

#[inline(never)]
fn plain_end_of_more(bytes: &[u8], mut at: usize) -> usize {
    let long = at + LONG_STRING_BYTES;
    while at < long {
        let marked = ends_of_plain(word(bytes, at));
        if marked != 0 {
            return at + (marked.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    // The usual answer is "none", so the whole run is folded (which vectorises) before any one byte is looked for.
    let run = &rest[..plain];
    if run.iter().fold(u8::MAX, |least, &byte| least.min(byte)) >= 0x20 {
        at + plain
    } else {
        at + run.iter().position(|&byte| byte < 0x20).unwrap_or(plain)
    }
}

/// Skips JSON's four white space characters.
#[inline]
pub fn white_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Reads `true`, `false` or `null` to the letter.
#[inline]
pub fn literal(bytes: &[u8], at: usize, word: &'static str) -> Parsed {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(word.as_bytes()) {
        Ok(at + word.len())
    } else if word.as_bytes().starts_with(rest) {
        Err(BadReason::Truncated.at(bytes.len()))
    } else {
        Err(malformed(bytes, at, "a value"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive_plain_end(bytes: &[u8], at: usize) -> usize {
        (at..bytes.len()).find(|&i| bytes[i] < 0x20 || bytes[i] == b'"' || bytes[i] == b'\\').unwrap_or(bytes.len())
    }

    proptest! {
        #[test]
        fn plain_text_ends_where_a_loop_over_bytes_says(
            bytes in prop::collection::vec(prop_oneof![30 => 0x20u8..=0xFF, 1 => any::<u8>()], 0..200), at in 0usize..200
        ) {
            let at = at.min(bytes.len());
            prop_assert_eq!(plain_end(&bytes, at), naive_plain_end(&bytes, at));
        }

        #[test]
        fn each_byte_value_ends_plain_text_or_not_at_each_place(byte: u8, place in 0usize..80, after: u8) {
            let mut bytes = vec![b'x'; 90];
            bytes[place] = byte;
            bytes[place + 1] = after;
            prop_assert_eq!(plain_end(&bytes, 0), naive_plain_end(&bytes, 0));
        }
    }

    #[test]
    fn loads_past_the_end_read_zeros() {
        assert_eq!(word(b"ab", 0), 0x6261);
        assert_eq!(word(b"ab", 2), 0);
        assert_eq!(double_word(b"ab", 1), 0x62);
        assert_eq!(double_word(b"ab", 9), 0);
        let bytes: Vec<u8> = (1..=20).collect();
        for at in 0..25 {
            let expected =
                (0..16).rev().fold(0, |value, i| value << 8 | u128::from(bytes.get(at + i).copied().unwrap_or(0)));
            assert_eq!(double_word(&bytes, at), expected);
            assert_eq!(word(&bytes, at), expected as u64);
        }
    }
}
