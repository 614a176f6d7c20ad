//! Skips undeclared values, strictly: a record that is not JSON is bad, wherever the fault lies.
//!
//! Strict up to RFC 8259's grammar and no further. Duplicate keys, numbers beyond every type and lone surrogates
//! (`"\ud800"`, which JavaScript writes) are legal there, and harmless since nothing is built from them.

use super::MAX_DEPTH;
use super::bad::{BadReason, Parsed, malformed};
use super::number;
use super::scan::{literal, plain_end, white_space};

/// Skips the value at `at`, which lies inside `depth` open objects and lists.
pub fn value(bytes: &[u8], mut at: usize, depth: usize) -> Parsed {
    // One bit for each open level, 1 for an object: the whole stack is a register, hence MAX_DEPTH.
    let mut open: u128 = 0;
    let mut levels = 0;
    'value: loop {
        match bytes.get(at) {
            Some(b'"') => at = string(bytes, at + 1)?,
            Some(b'-' | b'0'..=b'9') => at = number::end(bytes, at)?,
            Some(b't') => at = literal(bytes, at, "true")?,
            Some(b'f') => at = literal(bytes, at, "false")?,
            Some(b'n') => at = literal(bytes, at, "null")?,
            Some(&bracket @ (b'{' | b'[')) => {
                if depth + levels >= MAX_DEPTH {
                    return Err(BadReason::TooDeep.at(at));
                }
                let is_object = bracket == b'{';
                at = white_space(bytes, at + 1);
                match bytes.get(at) {
                    Some(b'}') if is_object => at += 1,
                    Some(b']') if !is_object => at += 1,
                    _ => {
                        open = open << 1 | u128::from(is_object);
                        levels += 1;
                        if is_object {
                            at = key(bytes, at)?;
                        }
                        continue 'value;
                    }
                }
            }
            _ => return Err(malformed(bytes, at, "a value")),
        }
        while levels > 0 {
            let in_object = open & 1 == 1;
            at = white_space(bytes, at);
            match bytes.get(at) {
                Some(b',') => {
                    at = white_space(bytes, at + 1);
                    if in_object {
                        at = key(bytes, at)?;
                    }
                    continue 'value;
                }
                Some(b'}') if in_object => {}
                Some(b']') if !in_object => {}
                _ => return Err(malformed(bytes, at, if in_object { "`,` or `}`" } else { "`,` or `]`" })),
            }
            at += 1;
            open >>= 1;
            levels -= 1;
        }
        return Ok(at);
    }
}

/// Skips `"key" :` up to the value.
fn key(bytes: &[u8], at: usize) -> Parsed {
    if bytes.get(at) != Some(&b'"') {
        return Err(malformed(bytes, at, "a key"));
    }
    let at = string(bytes, at + 1)?;
    colon(bytes, at)
}

/// Skips the colon after a key, up to the value.
pub fn colon(bytes: &[u8], at: usize) -> Parsed {
    let at = white_space(bytes, at);
    if bytes.get(at) != Some(&b':') {
        return Err(malformed(bytes, at, "`:`"));
    }
    Ok(white_space(bytes, at + 1))
}

/// Skips a string whose quote is before `at`.
pub fn string(bytes: &[u8], mut at: usize) -> Parsed {
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => {
                    for digit in at + 2..at + 6 {
                        if !bytes.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                            return Err(malformed(bytes, digit, "four hexadecimal digits"));
                        }
                    }
                    at += 6;
                }
                _ => return Err(malformed(bytes, at + 1, "a valid JSON escape")),
            },
            _ => return Err(malformed(bytes, at, "no control character in a string")),
        }
    }
}
