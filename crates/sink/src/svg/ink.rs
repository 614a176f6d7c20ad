//! Text and numbers for markup: safe, short, and of a known width.

use std::borrow::Cow;
use std::fmt::Write;

use maud::Render;

use crate::sanitize::sanitize;

/// Characters of one value in a hover text: longer ones are cut, since a page carries one text for each mark.
const MAX_TIP_VALUE: usize = 160;
/// How much wider bold text is.
pub const BOLD: f64 = 1.12;
/// Lines of a hover text.
const MAX_TIP_LINES: usize = 16;
/// Characters of the key by which a page finds a row again.
const MAX_KEY: usize = 64;

/// The text on one line, without control characters or anything that XML forbids.
pub fn clean(text: &str) -> Cow<'_, str> {
    let forbidden = ['\u{fffe}', '\u{ffff}'];
    match sanitize(text) {
        Cow::Borrowed(text) if !text.contains(forbidden) => Cow::Borrowed(text),
        text => Cow::Owned(text.replace(forbidden, "\u{fffd}")),
    }
}

/// At most so many characters, with an ellipsis where it was cut.
pub fn cut_chars(text: &str, most: usize) -> Cow<'_, str> {
    if text.char_indices().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    let end = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(at, _)| at);
    Cow::Owned(format!("{}…", text[..end].trim_end()))
}

/// The text cut to so many pixels.
pub fn fit(text: &str, room: f64, size: f64) -> Cow<'_, str> {
    if width(text, size) <= room {
        return Cow::Borrowed(text);
    }
    let (mut used, mut end) = (0.9 * size, 0);
    for (at, c) in text.char_indices() {
        used += size * em(c);
        if used > room {
            break;
        }
        end = at + c.len_utf8();
    }
    Cow::Owned(format!("{}…", text[..end].trim_end()))
}

/// The approximate width of the text in a system font; the server has none to measure with, so it errs on the wide side.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(em).sum::<f64>() * size
}

fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.29,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | ' ' | '-' | '"' | '·' => 0.37,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '—' | '…' => 0.9,
        'A'..='Z' | '&' | '+' | '=' | '<' | '>' | '~' => 0.68,
        '\u{0}'..='\u{2ff}' => 0.6,
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0.0,
        '\u{370}'..='\u{10ff}' => 0.64,
        _ => 1.0,
    }
}

/// What a page shows while a pointer rests on a mark: a line for each column.
pub fn tip<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut tip = String::new();
    for (name, value) in lines.into_iter().take(MAX_TIP_LINES) {
        if !tip.is_empty() {
            tip.push('\n');
        }
        tip.push_str(&clean(&cut_chars(name, MAX_KEY)));
        tip.push_str(": ");
        tip.push_str(&clean(&cut_chars(value, MAX_TIP_VALUE)));
    }
    tip
}

/// Keys that tell the rows of one picture apart, whatever order they are in.
#[derive(Default)]
pub struct MarkKeys(std::collections::HashMap<String, usize>);

impl MarkKeys {
    /// The row's text as a key; with a number where another row had the same.
    pub fn key(&mut self, text: &str) -> String {
        let mut key = cut_chars(&clean(text), MAX_KEY).into_owned();
        let seen = self.0.entry(key.clone()).or_default();
        *seen += 1;
        if *seen > 1 {
            key = format!("{key} #{seen}");
        }
        key
    }
}

/// A coordinate: finite, and no more digits than a screen can show.
#[derive(Debug, Clone, Copy)]
pub struct Px(pub f64);

impl Render for Px {
    fn render_to(&self, out: &mut String) {
        push_number(out, self.0);
    }
}

/// A share of the picture's width, 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Share(pub f64);

impl Render for Share {
    fn render_to(&self, out: &mut String) {
        push_number(out, self.0 * 100.0);
        out.push('%');
    }
}

/// Appends the number with at most one decimal.
pub fn push_number(out: &mut String, value: f64) {
    // A value far outside of any picture, or not a number, is at its edge.
    let tenths = if value.is_finite() { (value * 10.0).round().clamp(-1e7, 1e7) as i64 } else { 0 };
    if tenths < 0 {
        out.push('-');
    }
    let written = match (tenths.abs() / 10, tenths.abs() % 10) {
        (whole, 0) => write!(out, "{whole}"),
        (whole, tenth) => write!(out, "{whole}.{tenth}"),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

/// The data of a path: one run of straight lines.
pub fn polyline(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        path.push(if path.is_empty() { 'M' } else { ' ' });
        push_number(&mut path, x);
        path.push(' ');
        push_number(&mut path, y);
    }
    path
}

/// The data of a path: one dot each, drawn by round caps of lines without length.
pub fn dots(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        path.push('M');
        push_number(&mut path, x);
        path.push(' ');
        push_number(&mut path, y);
        path.push_str("h0");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> String {
        let mut out = String::new();
        push_number(&mut out, value);
        out
    }

    #[test]
    fn coordinates_are_short_and_always_numbers() {
        assert_eq!([0.04, -0.04, 1.0, -12.34, 99.96].map(number), ["0", "0", "1", "-12.3", "100"]);
        assert_eq!([f64::NAN, f64::INFINITY, 1e300].map(number), ["0", "0", "1000000"]);
        assert_eq!(polyline([(0.0, 1.5), (2.0, 3.0)]), "M0 1.5 2 3");
    }

    #[test]
    fn what_xml_forbids_is_removed_and_long_text_is_cut() {
        assert_eq!(clean("a\0\u{ffff}b\u{202e}"), "a\\x00\u{fffd}b\\u{202e}");
        assert_eq!(cut_chars("abcdef", 4), "abc…");
        assert_eq!(cut_chars("abcd", 4), "abcd");
        assert_eq!(fit("Water", 200.0, 12.0), "Water");
        let cut = fit("a very long name indeed", 80.0, 12.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0) <= 82.0, "{cut}");
        assert_eq!(fit("wide", 1.0, 12.0), "…");
    }

    #[test]
    fn equal_rows_have_keys_of_their_own() {
        let mut keys = MarkKeys::default();
        assert_eq!([keys.key("a"), keys.key("a"), keys.key("b")], ["a", "a #2", "b"]);
    }
}
