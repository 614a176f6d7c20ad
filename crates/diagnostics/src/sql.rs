//! The tokens of a SQL text, and what is wrong with its syntax.
//!
//! Names are searched among tokens, so that text in strings and comments never matches.

use std::path::Path;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::suggest::near;
use crate::wording::decapitalize;
use crate::{Diagnostic, Span};

/// A SQL text and the file it is from: what every finding needs to know of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct SqlText<'a> {
    /// The file, as its path was given
    pub file: &'a Path,
    /// Its content
    pub text: &'a str,
}

impl SqlText<'_> {
    /// An error in this text; the caret goes under `span`.
    pub fn error(&self, span: impl Into<Option<Span>>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, self.text, span, message)
    }

    /// A warning in this text; the caret goes under `span`.
    pub fn warning(&self, span: impl Into<Option<Span>>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.file, self.text, span, message)
    }

    /// All tokens with comments and blanks; where the text cannot be tokenized, those before.
    pub fn tokens(&self) -> Vec<TokenWithSpan> {
        let mut tokens = Vec::new();
        // The failure itself is the parser's to report; here the front matter above it still counts.
        _ = Tokenizer::new(&GenericDialect {}, self.text).tokenize_with_location_into_buf(&mut tokens);
        tokens
    }

    /// Where a name stands first.
    pub fn find_word(&self, name: &str) -> Option<Span> {
        let is_it = |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
        self.tokens().iter().find(|token| is_it(&token.token)).and_then(|token| Span::of(token.span))
    }

    /// What the parser reports about `tokens`, which are all of this text or those of one of its statements.
    pub fn syntax_error(&self, tokens: &[TokenWithSpan], error: &ParserError) -> Diagnostic {
        let (message, position) = syntax_message(error);
        let significant: Vec<&TokenWithSpan> = tokens.iter().filter(|token| is_significant(&token.token)).collect();
        let token_at =
            |at: Span| significant.iter().position(|t| Span::of(t.span).is_some_and(|span| span.starts_with(at)));
        let found = position.and_then(token_at);
        let span = match (found, position) {
            (Some(index), _) => Span::of(significant[index].span),
            (None, Some(position)) => Some(position),
            // The parser numbers no end, and no statement as a whole.
            (None, None) if message.ends_with(END) => {
                significant.last().and_then(|last| Span::of_location(last.span.end))
            }
            (None, None) => significant.first().and_then(|first| Span::of(first.span)),
        };
        let hint = parenthesis_hint(&significant, found)
            .or_else(|| keyword_hint(&significant, found.unwrap_or(significant.len())));
        self.error(span.unwrap_or(Span::at(1, 1)), message).with_hint(hint)
    }
}

/// Whether a token is part of a statement rather than a comment or a blank.
pub fn is_significant(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// How messages name the end of the text.
const END: &str = ", found the end";

/// What the parser reports, and where; it has no position for the end of its text.
pub fn syntax_message(error: &ParserError) -> (String, Option<Span>) {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply",
    };
    let (message, position) = split_position(text);
    let message = decapitalize(message)
        .replace("expected: ", "expected ")
        .replace(", found: EOF", END)
        .replace(", found: ", ", found ");
    (message, position)
}

/// `… at Line: 3, Column: 14` → the text before, and the position.
fn split_position(text: &str) -> (&str, Option<Span>) {
    let position = || {
        let (message, at) = text.rsplit_once(" at Line: ")?;
        let (line, column) = at.split_once(", Column: ")?;
        let (line, column) = (line.trim().parse().ok()?, column.trim().parse().ok()?);
        (line > 0 && column > 0).then(|| (message, Some(Span::at(line, column))))
    };
    position().unwrap_or((text, None))
}

/// For a parenthesis without its other half, when the parser stopped at one or at the end.
fn parenthesis_hint(tokens: &[&TokenWithSpan], found: Option<usize>) -> Option<String> {
    let mut open = Vec::new();
    for token in &tokens[..found.unwrap_or(tokens.len())] {
        match token.token {
            Token::LParen => open.push(token.span.start),
            Token::RParen => _ = open.pop(),
            _ => {}
        }
    }
    let stopped_at_close = found.is_some_and(|index| tokens[index].token == Token::RParen);
    if stopped_at_close && open.is_empty() {
        return Some("this ')' closes nothing".to_owned());
    }
    let count = |wanted: &Token| tokens.iter().filter(|token| token.token == *wanted).count();
    let unclosed = count(&Token::LParen) > count(&Token::RParen);
    let open = open.last().filter(|_| unclosed)?;
    Some(format!("the '(' at {}:{} is never closed", open.line, open.column))
}

/// For a word that was meant as a keyword: the parser takes `FORM pokemons` for an alias and stumbles over what follows.
fn keyword_hint(tokens: &[&TokenWithSpan], found: usize) -> Option<String> {
    const KEYWORDS: [&str; 28] = [
        "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "JOIN", "LEFT", "INNER", "WITH",
        "VALUES", "DISTINCT", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "FILTER", "INTERVAL", "EXISTS", "CREATE",
        "EXTERNAL", "TABLE", "STORED", "LOCATION", "OPTIONS",
    ];
    [found.checked_sub(1), Some(found)].into_iter().flatten().filter_map(|index| tokens.get(index)).find_map(|token| {
        let Token::Word(word) = &token.token else { return None };
        if word.quote_style.is_some() || word.keyword != Keyword::NoKeyword {
            // `FORM` and `SELCT` are none, but some typos are: `FORMAT`, `THAN`.
            return None;
        }
        near(&word.value, KEYWORDS)
            .first()
            .map(|keyword| format!("did you mean {keyword} instead of '{}'?", word.value))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn syntax_error(sql: &str) -> String {
        let text = SqlText { file: Path::new("a.sql"), text: sql };
        let error = Parser::parse_sql(&GenericDialect {}, sql).unwrap_err();
        text.syntax_error(&text.tokens(), &error).to_string()
    }

    #[test]
    fn a_syntax_error_is_shown_where_it_is_with_a_way_out() {
        assert_eq!(
            syntax_error("SELECT name\nFORM users"),
            "a.sql:2:6: error: expected end of statement, found users\n  2 | FORM users\n    |      ^^^^^\nhelp: did you mean FROM instead of 'FORM'?"
        );
        assert_eq!(
            syntax_error("SELECT 'é', (1 + 2 -- the end\n"),
            "a.sql:1:19: error: expected ), found the end\n  1 | SELECT 'é', (1 + 2 -- the end\n    |                   ^\nhelp: the '(' at 1:13 is never closed"
        );
    }

    #[test]
    fn a_text_that_cannot_be_tokenized_has_the_tokens_before() {
        let text = SqlText { file: Path::new("a.sql"), text: "-- a\nSELECT name, 'never closed" };
        assert_eq!(text.find_word("NAME"), Some(Span { line: 2, column: 8, width: 4 }));
        assert!(syntax_error(text.text).starts_with("a.sql:2:14: error: unterminated string literal\n"));
    }
}
