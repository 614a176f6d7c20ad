//! Patterns of `LIKE` and `SIMILAR TO` in the forms that the engine has.

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan};

/// The escape character of a pattern; `None` for `ESCAPE ''`.
fn escape_of(escape: Option<ValueWithSpan>) -> Result<Option<char>> {
    let Some(escape) = escape else { return Ok(Some('\\')) };
    let Value::SingleQuotedString(text) = escape.value else {
        return plan_err!("ESCAPE takes one character in quotes");
    };
    let mut chars = text.chars();
    let first = chars.next();
    if chars.next().is_some() { plan_err!("ESCAPE takes one character, not '{text}'") } else { Ok(first) }
}

/// The text of a constant pattern.
fn text_of<'a>(pattern: &'a mut Expr, what: &str) -> Result<&'a mut String> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = pattern else {
        return plan_err!(
            "{what} takes a constant pattern in quotes; for one that is computed, use ~ with a regular expression"
        );
    };
    Ok(text)
}

/// Replaces the escape character by `\`.
pub(super) fn like(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Result<()> {
    let escape = escape_of(escape.take())?;
    if escape == Some('\\') {
        return Ok(());
    }
    let text = text_of(pattern, "LIKE … ESCAPE")?;
    let mut escaped = String::with_capacity(text.len() + 2);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(next) = chars.next() else { return plan_err!("LIKE pattern must not end with escape character") };
            if matches!(next, '%' | '_' | '\\') {
                escaped.push('\\');
            }
            escaped.push(next);
        } else {
            if c == '\\' {
                escaped.push('\\');
            }
            escaped.push(c);
        }
    }
    *text = escaped;
    Ok(())
}

/// Replaces SQL's regular expression, which is about the whole text, by the engine's.
pub(super) fn similar_to(pattern: &mut Expr, escape: Option<ValueWithSpan>) -> Result<()> {
    let escape = escape_of(escape)?;
    let text = text_of(pattern, "SIMILAR TO")?;
    let mut regex = String::from("^(?s:");
    let mut chars = text.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(next) = chars.next() else {
                return plan_err!("SIMILAR TO pattern must not end with escape character");
            };
            if !next.is_alphanumeric() {
                regex.push('\\');
            }
            regex.push(next);
        } else if in_class {
            in_class = c != ']';
            if c == '\\' {
                regex.push('\\');
            }
            regex.push(c);
        } else {
            match c {
                '%' => regex.push_str(".*"),
                '_' => regex.push('.'),
                '[' => {
                    in_class = true;
                    regex.push(c);
                }
                '(' => regex.push_str("(?:"),
                '.' | '^' | '$' | '\\' => {
                    regex.push('\\');
                    regex.push(c);
                }
                _ => regex.push(c),
            }
        }
    }
    regex.push_str(")$");
    *text = regex;
    Ok(())
}
