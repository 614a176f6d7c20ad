//! Strings: borrowed where nothing is escaped, else unescaped into a reused buffer.

use std::borrow::Cow;

use super::bad::{BadReason, Parsed, malformed, mismatch};
use super::scan::plain_end;

/// The text of the string value at `at`, and the position after it. `scratch` is only touched by escapes.
#[inline]
pub fn string<'a>(
    bytes: &'a [u8],
    at: usize,
    expected: impl Into<Cow<'static, str>>,
    scratch: &'a mut Vec<u8>,
) -> Parsed<(&'a [u8], usize)> {
    let start = open(bytes, at, expected)?;
    let end = plain_end(bytes, start);
    if bytes.get(end) == Some(&b'"') {
        Ok((&bytes[start..end], end + 1))
    } else {
        let after = unescape(bytes, start, scratch)?;
        Ok((scratch, after))
    }
}

/// The position after the opening quote.
#[inline]
pub fn open(bytes: &[u8], at: usize, expected: impl Into<Cow<'static, str>>) -> Parsed {
    if bytes.get(at) == Some(&b'"') { Ok(at + 1) } else { Err(mismatch(bytes, at, expected)) }
}

/// Unescapes the string whose quote is before `at`, and returns the position after it.
///
/// A lone surrogate is a fault here: it names no character, and a column holds UTF-8.
#[inline(never)]
pub fn unescape(bytes: &[u8], mut at: usize, text: &mut Vec<u8>) -> Parsed {
    text.clear();
    loop {
        let end = plain_end(bytes, at);
        text.extend_from_slice(&bytes[at..end]);
        match bytes.get(end) {
            Some(b'"') => return Ok(end + 1),
            Some(b'\\') => {}
            _ => return Err(malformed(bytes, end, "no control character in a string")),
        }
        at = end + 2;
        text.push(match bytes.get(end + 1) {
            Some(&same @ (b'"' | b'\\' | b'/')) => same,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (character, after) = code_point(bytes, at)?;
                at = after;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(malformed(bytes, end + 1, "a valid JSON escape")),
        });
    }
}

/// The character of one `\uXXXX`, or of a pair of them, whose first digit is at `at`.
fn code_point(bytes: &[u8], at: usize) -> Parsed<(char, usize)> {
    let first = hex4(bytes, at)?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, at + 4));
    }
    let half = || BadReason::Malformed { expected: "both halves of a surrogate pair" }.at(at);
    if first >= 0xDC00 {
        return Err(half());
    }
    for (offset, wanted) in [(4, b'\\'), (5, b'u')] {
        match bytes.get(at + offset) {
            None => return Err(BadReason::Truncated.at(bytes.len())),
            Some(&byte) if byte == wanted => {}
            Some(_) => return Err(half()),
        }
    }
    let second = hex4(bytes, at + 6)?;
    if !(0xDC00..0xE000).contains(&second) {
        return Err(half());
    }
    let character = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or_else(half)?;
    Ok((character, at + 10))
}

fn hex4(bytes: &[u8], at: usize) -> Parsed<u32> {
    (at..at + 4).try_fold(0, |value, digit| {
        bytes
            .get(digit)
            .and_then(|&byte| char::from(byte).to_digit(16))
            .map(|digit| value << 4 | digit)
            .ok_or_else(|| malformed(bytes, digit, "four hexadecimal digits"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<String, BadReason> {
        let mut scratch = Vec::new();
        let (text, after) = string(json.as_bytes(), 0, "VARCHAR", &mut scratch).map_err(|bad| bad.reason)?;
        assert_eq!(after, json.len());
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn every_escape_gives_its_character() {
        assert_eq!(read(r#""a\"b\\c\/d\b\f\n\r\t""#).unwrap(), "a\"b\\c/d\u{8}\u{c}\n\r\t");
        assert_eq!(read(r#""Flab\u00e9b\u00E9 \u2640""#).unwrap(), "Flabébé ♀");
        assert_eq!(read(r#""\ud83c\udf3e\uD83C\uDF3E""#).unwrap(), "🌾🌾");
        assert_eq!(read(r#""\ud940\udc00\udbff\udfff\ud800\udc00""#).unwrap(), "\u{60000}\u{10FFFF}\u{10000}");
        assert_eq!(read(r#""\u0000\uFFFF""#).unwrap(), "\0\u{FFFF}");
    }

    #[test]
    fn a_lone_surrogate_is_not_text() {
        for json in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#, r#""\udc00\ud800""#] {
            assert_eq!(read(json).unwrap_err().kind(), "malformed", "{json}");
        }
    }

    #[test]
    fn escapes_that_json_does_not_know_are_malformed() {
        for json in [r#""\x41""#, r#""\u12g4""#, r#""\u+123""#, "\"\\\n\"", "\"tab\there\""] {
            assert_eq!(read(json).unwrap_err().kind(), "malformed", "{json}");
        }
    }
}
