//! The text of a client: one or more statements, and the kind of each.
//!
//! Only statements that read data reach the planner. Those about the session (SET, SHOW, BEGIN, PREPARE) are answered here,
//! token by token, and any that would write is refused first.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use super::copy::CopyOut;
use super::errors::{code, error, error_with_hint};
use datafusion_postgres::pgwire::error::PgWireResult;

/// Bytes of SQL that one message may carry: the longest that a person or a tool writes is a few kilobytes.
pub const MAX_SQL_BYTES: usize = 256 << 10;

/// Statements that one message may carry.
const MAX_STATEMENTS: usize = 100;

/// One statement of what was sent.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The statement, without the semicolon.
    pub sql: String,
    /// Characters of the whole text before it.
    before: usize,
    tokens: Vec<Token>,
}

/// The kind of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// Rows.
    Query,
    /// BEGIN.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// Rows, as a copy.
    Copy(CopyOut),
    /// A setting's new value; `None` is its default.
    Set(String, Option<String>),
    /// A setting's value.
    Show(String),
    /// A statement that is answered by its tag alone.
    Nothing(&'static str),
    /// A statement under a name.
    Prepare(String, String),
    /// That statement, with its values as written.
    Execute(String, String),
    /// Drops it, or all.
    Deallocate(Option<String>),
    /// Resets the session.
    DiscardAll,
}

impl Piece {
    /// A statement that is not a part of a longer text.
    pub fn of(sql: &str) -> Self {
        Self { sql: sql.to_owned(), before: 0, tokens: significant(sql) }
    }

    /// The protocol's position of a line and a column of this piece: characters, from 1.
    pub fn position(&self, line: usize, column: usize) -> Option<usize> {
        let start: usize =
            self.sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
        Some(self.before + start + column)
    }

    /// The word tokens in their order, quoted identifiers too.
    fn word_tokens(&self) -> impl Iterator<Item = &Word> {
        self.tokens.iter().filter_map(|token| if let Token::Word(word) = token { Some(word) } else { None })
    }

    fn word(&self, index: usize) -> String {
        match self.tokens.get(index) {
            Some(Token::Word(word)) => word.value.to_uppercase(),
            _ => String::new(),
        }
    }

    /// Whether it uses the system's own tables, types or functions, as tools do.
    pub fn asks_the_catalog(&self) -> bool {
        const CATALOG_NAMES: [&str; 17] = [
            "information_schema",
            "regclass",
            "regtype",
            "regproc",
            "regnamespace",
            "regrole",
            "current_database",
            "current_schema",
            "current_schemas",
            "current_user",
            "session_user",
            "user",
            "collate",
            "operator",
            "version",
            "current_setting",
            "current_catalog",
        ];
        self.word_tokens().any(|word| {
            let word = word.value.to_lowercase();
            word.starts_with("pg_") || CATALOG_NAMES.contains(&word.as_str())
        })
    }

    /// The text for the dialect of tools, with replacements for what the engine cannot answer: an empty list for
    /// `ARRAY(SELECT …)`, which tools use for roles and storage options, and for those options themselves; `'public'` for
    /// Grafana's query along the search path.
    pub fn for_tools(&self) -> String {
        let located: Vec<_> = locate(&self.sql).into_iter().filter(|(token, _)| is_significant(token)).collect();
        let (mut text, mut written, mut at) = (String::new(), 0, 0);
        while at + 2 < located.len() {
            const NONE: &str = "string_to_array(NULL, ',')";
            let (end, answer) = match [&located[at].0, &located[at + 1].0, &located[at + 2].0] {
                [array, Token::LParen, select] if is_word(array, "ARRAY") && is_word(select, "SELECT") => {
                    (at + 1 + behind_parentheses(&located[at + 1..]), NONE)
                }
                [Token::Word(_), Token::Period, options] if is_word(options, "reloptions") => (at + 3, NONE),
                [Token::LParen, ..] if walks_the_search_path(&located[at + 1..]) => {
                    (at + behind_parentheses(&located[at..]), "('public')")
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            text.push_str(&self.sql[written..located[at].1.start]);
            text.push_str(answer);
            written = located[end - 1].1.end;
            at = end;
        }
        text.push_str(&self.sql[written..]);
        text
    }

    /// Its kind.
    pub fn kind(&self) -> PgWireResult<StatementKind> {
        let kind = match self.word(0).as_str() {
            "BEGIN" => StatementKind::Begin,
            "START" if self.word(1) == "TRANSACTION" => StatementKind::Begin,
            "COMMIT" | "END" => StatementKind::Commit,
            "ROLLBACK" if self.word(1) == "TO" || self.word(2) == "TO" => StatementKind::Nothing("ROLLBACK"),
            "ROLLBACK" | "ABORT" => StatementKind::Rollback,
            "SAVEPOINT" => StatementKind::Nothing("SAVEPOINT"),
            "RELEASE" => StatementKind::Nothing("RELEASE"),
            "SET" => self.set()?,
            "RESET" => StatementKind::Set(self.name(1)?, None),
            "SHOW" => self.show()?,
            "PREPARE" => self.prepare()?,
            "EXECUTE" => self.execute()?,
            "DEALLOCATE" => {
                let at = if self.word(1) == "PREPARE" { 2 } else { 1 };
                StatementKind::Deallocate((self.word(at) != "ALL").then(|| self.name(at)).transpose()?)
            }
            "DISCARD" => StatementKind::DiscardAll,
            "COPY" => StatementKind::Copy(CopyOut::parse(&self.sql)?),
            "UNLISTEN" => StatementKind::Nothing("UNLISTEN"),
            "DESCRIBE" | "DESC" => {
                return Err(error_with_hint(
                    code::SYNTAX,
                    "DESCRIBE is not supported",
                    "use \\d NAME, or SHOW COLUMNS FROM NAME",
                ));
            }
            "DECLARE" | "FETCH" | "MOVE" | "CLOSE" => {
                let hint = "read the result as it arrives; with psql, unset FETCH_COUNT";
                return Err(error_with_hint(code::NOT_SUPPORTED, "cursors are not supported", hint));
            }
            "LISTEN" | "NOTIFY" => {
                let hint = "changes of a view are sent as events over HTTP: /api/views/NAME/changes";
                return Err(error_with_hint(code::NOT_SUPPORTED, "notifications are not supported", hint));
            }
            verb if WRITES.contains(&verb) => {
                let hint = "write to the Kafka topics, or edit the files of the queries folder";
                return Err(error_with_hint(
                    code::READ_ONLY,
                    format!("cannot execute {verb}: this server is read-only"),
                    hint,
                ));
            }
            _ => StatementKind::Query,
        };
        Ok(kind)
    }

    fn set(&self) -> PgWireResult<StatementKind> {
        let mut at = 1;
        if ["SESSION", "LOCAL"].contains(&self.word(at).as_str()) {
            at += 1;
        }
        match self.word(at).as_str() {
            "TRANSACTION" | "CHARACTERISTICS" | "CONSTRAINTS" => return Ok(StatementKind::Nothing("SET")),
            "ROLE" | "AUTHORIZATION" => return Err(error(code::NOT_PERMITTED, "roles are not supported")),
            "TIME" if self.word(at + 1) == "ZONE" => {
                return Ok(StatementKind::Set("timezone".to_owned(), self.value(at + 2)));
            }
            "NAMES" => return Ok(StatementKind::Set("client_encoding".to_owned(), self.value(at + 1))),
            _ => {}
        }
        let name = self.name(at)?;
        let rest = &self.tokens[at..];
        let Some(assigned) = rest.iter().position(is_assignment) else {
            return Err(error(code::SYNTAX, format!("SET {name} needs a value: SET {name} = …")));
        };
        Ok(StatementKind::Set(name, self.value(at + assigned + 1)))
    }

    fn show(&self) -> PgWireResult<StatementKind> {
        Ok(match (self.word(1).as_str(), self.word(2).as_str()) {
            ("TABLES" | "COLUMNS" | "FUNCTIONS" | "FULL" | "EXTENDED", _) => StatementKind::Query,
            ("TIME", "ZONE") => StatementKind::Show("timezone".to_owned()),
            ("TRANSACTION", "ISOLATION") => StatementKind::Show("transaction_isolation".to_owned()),
            ("SESSION", "AUTHORIZATION") => StatementKind::Show("session_authorization".to_owned()),
            _ => StatementKind::Show(self.name(1)?),
        })
    }

    fn prepare(&self) -> PgWireResult<StatementKind> {
        let name = self.name(1)?;
        let located = locate(&self.sql);
        let behind = located.iter().find_map(|(token, range)| is_word(token, "AS").then_some(range.end));
        match behind {
            Some(behind) => Ok(StatementKind::Prepare(name, self.sql[behind..].trim().to_owned())),
            None => Err(error(code::SYNTAX, format!("PREPARE {name} needs a statement: PREPARE {name} AS SELECT …"))),
        }
    }

    fn execute(&self) -> PgWireResult<StatementKind> {
        let name = self.name(1)?;
        let open = locate(&self.sql).iter().find(|(token, _)| *token == Token::LParen).map(|(_, range)| range.end);
        let values = open.map(|open| self.sql[open..].trim_end().trim_end_matches(')').to_owned());
        Ok(StatementKind::Execute(name, values.unwrap_or_default()))
    }

    /// A name with its dots, in lower case unless it is quoted.
    fn name(&self, at: usize) -> PgWireResult<String> {
        let mut name = String::new();
        for token in &self.tokens[at.min(self.tokens.len())..] {
            match token {
                Token::Word(word) if name.is_empty() || name.ends_with('.') => {
                    name.push_str(&if word.quote_style.is_some() {
                        word.value.clone()
                    } else {
                        word.value.to_lowercase()
                    });
                }
                Token::Period if !name.is_empty() => name.push('.'),
                _ => break,
            }
        }
        if name.is_empty() { Err(error(code::SYNTAX, format!("{} needs a name", self.word(0)))) } else { Ok(name) }
    }

    /// All that follows as one text; `None` is the default.
    fn value(&self, at: usize) -> Option<String> {
        let mut value = String::new();
        for token in &self.tokens[at.min(self.tokens.len())..] {
            match token {
                Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => value.push_str(text),
                Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") => {
                    return None;
                }
                Token::Word(word) => value.push_str(&word.value),
                Token::Comma => value.push_str(", "),
                other => value.push_str(&other.to_string()),
            }
        }
        Some(value)
    }
}

/// Verbs of statements that would write.
const WRITES: [&str; 23] = [
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "REPLACE",
    "TRUNCATE",
    "CREATE",
    "DROP",
    "ALTER",
    "GRANT",
    "REVOKE",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "CLUSTER",
    "COMMENT",
    "REFRESH",
    "CALL",
    "DO",
    "LOCK",
    "IMPORT",
    "CHECKPOINT",
    "LOAD",
];

fn is_assignment(token: &Token) -> bool {
    *token == Token::Eq || is_word(token, "TO")
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// The statements of a text, at its semicolons.
pub fn split(text: &str) -> PgWireResult<Vec<Piece>> {
    if text.len() > MAX_SQL_BYTES {
        let message = format!("a statement of {} bytes: the limit is {MAX_SQL_BYTES}", text.len());
        return Err(error(code::TOO_COMPLEX, message));
    }
    let (mut pieces, mut start) = (Vec::new(), 0);
    for (token, range) in locate(text) {
        if token == Token::SemiColon {
            push(&mut pieces, text, start, range.start);
            start = range.end;
        }
    }
    push(&mut pieces, text, start, text.len());
    if pieces.len() > MAX_STATEMENTS {
        return Err(error(
            code::TOO_COMPLEX,
            format!("{} statements at once: the limit is {MAX_STATEMENTS}", pieces.len()),
        ));
    }
    Ok(pieces)
}

fn push(pieces: &mut Vec<Piece>, text: &str, start: usize, end: usize) {
    let sql = &text[start..end];
    let tokens = significant(sql);
    // The parser reports a text that cannot be tokenized.
    if !tokens.is_empty() || (is_untokenizable(sql) && !sql.trim().is_empty()) {
        pieces.push(Piece { sql: sql.to_owned(), before: text[..start].chars().count(), tokens });
    }
}

fn is_untokenizable(sql: &str) -> bool {
    Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().is_err()
}

fn significant(sql: &str) -> Vec<Token> {
    tokens(sql).into_iter().map(|token| token.token).filter(is_significant).collect()
}

/// Whether `SELECT CASE WHEN trim(s[i]) = '"$user"' …` is here: a query for the schemas of the search path.
fn walks_the_search_path(tokens: &[(Token, std::ops::Range<usize>)]) -> bool {
    let is = |at: usize, word| tokens.get(at).is_some_and(|(token, _)| is_word(token, word));
    let user = tokens.get(11).map(|(token, _)| token);
    is(0, "SELECT") && is(1, "CASE") && matches!(user, Some(Token::SingleQuotedString(text)) if text == "\"$user\"")
}

/// The number of tokens of a parenthesis and its contents.
fn behind_parentheses(tokens: &[(Token, std::ops::Range<usize>)]) -> usize {
    let mut open = 0;
    let closed = tokens.iter().position(|(token, _)| {
        match token {
            Token::LParen => open += 1,
            Token::RParen => open -= 1,
            _ => {}
        }
        open == 0
    });
    closed.map_or(tokens.len(), |at| at + 1)
}

fn is_significant(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

fn tokens(sql: &str) -> Vec<TokenWithSpan> {
    let mut tokens = Vec::new();
    // Where it cannot be tokenized, the tokens before that still count.
    _ = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location_into_buf(&mut tokens);
    tokens
}

/// Tokens with their bytes.
fn locate(text: &str) -> Vec<(Token, std::ops::Range<usize>)> {
    // Looked up, not counted again for each token: that would take minutes for a long line, on the thread of all clients.
    let chars: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let mut lines = vec![0];
    lines.extend(text.chars().enumerate().filter(|(_, c)| *c == '\n').map(|(at, _)| at + 1));
    let byte = |line: u64, column: u64| {
        let start = usize::try_from(line).ok().and_then(|line| lines.get(line.checked_sub(1)?)).copied().unwrap_or(0);
        let skip = usize::try_from(column).unwrap_or(1).saturating_sub(1);
        chars.get(start.saturating_add(skip)).copied().unwrap_or(text.len())
    };
    let located = tokens(text).into_iter().map(|token| {
        let (start, end) = (token.span.start, token.span.end);
        (token.token, byte(start.line, start.column)..byte(end.line, end.column))
    });
    located.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn kind(sql: &str) -> StatementKind {
        split(sql).unwrap().remove(0).kind().unwrap()
    }

    #[test]
    fn statements_end_at_semicolons_that_are_none_inside_texts() {
        let text = "SELECT ';é' AS a; -- one; two\n SELECT \"x;y\" ;; /* ; */ SELECT $$;$$";
        let pieces = split(text).unwrap();
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.sql.trim()).collect();
        assert_eq!(texts, ["SELECT ';é' AS a", "-- one; two\n SELECT \"x;y\"", "/* ; */ SELECT $$;$$"]);
        // The second piece begins after 17 characters; its line 2, column 9 is the quoted name.
        let at = pieces[1].position(2, 9).unwrap();
        assert_eq!(text.chars().nth(at - 1), Some('"'));
        assert!(split(" ;; -- nothing").unwrap().is_empty());
        assert_eq!(split("SELECT 'open").unwrap().len(), 1);
    }

    #[test]
    fn a_long_line_takes_no_longer_than_its_length_says() {
        let started = std::time::Instant::now();
        let text = format!("SELECT 1{};", " UNION ALL SELECT 1".repeat(13_000));
        assert_eq!(split(&text).unwrap().len(), 1);
        // Counting from the start for each token took minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn session_statements_are_distinguished_from_queries() {
        assert_eq!(kind("begin transaction read only"), StatementKind::Begin);
        assert_eq!(kind("END"), StatementKind::Commit);
        assert_eq!(
            kind("SET statement_timeout TO '5s'"),
            StatementKind::Set("statement_timeout".into(), Some("5s".into()))
        );
        assert_eq!(
            kind("SET SESSION extra_float_digits = 3"),
            StatementKind::Set("extra_float_digits".into(), Some("3".into()))
        );
        assert_eq!(kind("set datestyle = ISO, MDY"), StatementKind::Set("datestyle".into(), Some("ISO, MDY".into())));
        assert_eq!(
            kind("SET TIME ZONE 'Europe/Madrid'"),
            StatementKind::Set("timezone".into(), Some("Europe/Madrid".into()))
        );
        assert_eq!(kind("RESET search_path"), StatementKind::Set("search_path".into(), None));
        assert_eq!(
            kind("SET datafusion.execution.batch_size = 1"),
            StatementKind::Set("datafusion.execution.batch_size".into(), Some("1".into()))
        );
        assert_eq!(kind("SHOW TIME ZONE"), StatementKind::Show("timezone".into()));
        assert_eq!(kind("SHOW TABLES"), StatementKind::Query);
        assert_eq!(kind("PREPARE p (bigint) AS SELECT $1"), StatementKind::Prepare("p".into(), "SELECT $1".into()));
        assert_eq!(kind("EXECUTE p (1, 'a)')"), StatementKind::Execute("p".into(), "1, 'a)'".into()));
        assert_eq!(kind("DEALLOCATE ALL"), StatementKind::Deallocate(None));
        assert_eq!(kind("WITH t AS (SELECT 1) SELECT * FROM t"), StatementKind::Query);
        for sql in ["INSERT INTO t VALUES (1)", "copy t TO '/tmp/x'", "CREATE TABLE t (a INT)", "drop table t"] {
            let refused = split(sql).unwrap()[0].kind().unwrap_err();
            assert!(refused.to_string().contains("25006"), "{refused}");
        }
    }

    #[test]
    fn a_list_made_of_a_query_is_an_empty_list() {
        let piece = Piece::of("SELECT r.a, ARRAY(SELECT f(b) FROM t WHERE (c)) AS é, array[1] FROM r");
        assert_eq!(piece.for_tools(), "SELECT r.a, string_to_array(NULL, ',') AS é, array[1] FROM r");
        let options = Piece::of("SELECT f(c.reloptions || array(select 'x.' || x from unnest(tc.reloptions) x), ', ')");
        let list = "string_to_array(NULL, ',')";
        assert_eq!(options.for_tools(), format!("SELECT f({list} || {list}, ', ')"));
        assert_eq!(Piece::of("SELECT array(select 1").for_tools(), "SELECT string_to_array(NULL, ',')");
    }

    #[test]
    fn a_walk_along_the_search_path_ends_at_public() {
        let walk = "(SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM f(g(1)) s)";
        let piece = Piece::of(&format!("SELECT a FROM t WHERE b IN {walk} AND c"));
        assert_eq!(piece.for_tools(), "SELECT a FROM t WHERE b IN ('public') AND c");
        let other = "SELECT (SELECT CASE WHEN trim(s[i]) = 'user' THEN 1 ELSE 2 END)";
        assert_eq!(Piece::of(other).for_tools(), other);
    }

    #[test]
    fn a_text_without_measure_is_refused() {
        assert!(split(&format!("SELECT '{}'", "x".repeat(MAX_SQL_BYTES))).is_err());
        assert!(split(&"SELECT 1;".repeat(MAX_STATEMENTS + 1)).is_err());
    }
}
