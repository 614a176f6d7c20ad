//! Event text made safe for a terminal.
//!
//! A terminal interprets what it is sent: an escape sequence in a player's name could move the cursor, change the window's
//! title or forge a line, and a bidirectional override could reorder the text beside it. So every such character is
//! shown as its escape (`\n`, `\x1b`, `\u{202e}`) and none is interpreted. The text stays readable and its length true.
//!
//! Shown as escapes: C0 controls, DEL, C1 controls, line and paragraph separators, and the bidirectional marks,
//! embeddings, overrides and isolates. Kept: everything that only has a shape, joiners of emoji included.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal might interpret this character instead of showing it.
pub const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'   // C0, DEL, C1
        | '\u{61c}' | '\u{200e}' | '\u{200f}'      // bidirectional marks
        | '\u{2028}' | '\u{2029}'                  // line and paragraph separator
        | '\u{202a}'..='\u{202e}'                  // embeddings and overrides
        | '\u{2066}'..='\u{2069}'                  // isolates
    )
}

/// The text on one line, every unsafe character as its escape. Borrows when there is none.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    escape_where(text, is_unsafe, push_escape)
}

/// Like [`sanitize`], but line feeds stay: for text that is made of lines.
pub fn sanitize_lines(text: &str) -> Cow<'_, str> {
    escape_where(text, |c| c != '\n' && is_unsafe(c), push_escape)
}

/// Encoded JSON with unsafe characters as `\uXXXX`: the same document, but harmless when `cat`ted to a terminal.
///
/// Outside of strings JSON is ASCII without DEL, and JSON writers already escape C0 inside of them, so a plain
/// replacement over the whole text is right. Line feeds between rows stay.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    // All of them are in the basic plane.
    escape_where(json, |c| c >= '\u{7f}' && is_unsafe(c), |out, c| _ = write!(out, "\\u{:04x}", c as u32))
}

fn escape_where(text: &str, unsafe_here: impl Fn(char) -> bool, push: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(&unsafe_here) else { return Cow::Borrowed(text) };
    let mut safe = String::with_capacity(text.len() + 16);
    safe.push_str(&text[..first]);
    for c in text[first..].chars() {
        if unsafe_here(c) { push(&mut safe, c) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

fn push_escape(out: &mut String, c: char) {
    match c {
        '\n' | '\r' | '\t' | '\u{100}'.. => out.extend(c.escape_default()),
        c => _ = write!(out, "\\x{:02x}", c as u32),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clean_text_is_borrowed() {
        for text in ["", "Flabébé", "Nidoran♀", "カイリュー", "👩‍👩‍👧", "a\\b"] {
            assert!(matches!(sanitize(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn controls_and_bidi_are_shown_and_not_obeyed() {
        assert_eq!(sanitize("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
        assert_eq!(sanitize("a\r\nb\tc\0\x7f"), "a\\r\\nb\\tc\\x00\\x7f");
        assert_eq!(sanitize("\u{9b}2J"), "\\x9b2J");
        assert_eq!(sanitize("x\u{202e}gnp\u{2066}"), "x\\u{202e}gnp\\u{2066}");
        assert_eq!(sanitize_lines("a\nb\x1b"), "a\nb\\x1b");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_out(text in any::<String>()) {
            prop_assert!(!sanitize(&text).contains(is_unsafe));
        }

        #[test]
        fn escaped_json_is_the_same_document(text in any::<String>()) {
            let json = serde_json::to_string(&format!("{text}\u{9b}\u{7f}\u{202e}")).unwrap();
            let escaped = escape_json(&json);
            prop_assert!(!escaped.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), serde_json::from_str::<String>(&json).unwrap());
        }
    }
}
