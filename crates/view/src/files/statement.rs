//! Which statements may run: one query a file, and by hand whatever only reads.

use std::ops::ControlFlow;
use std::path::Path;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as SqlStatement, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::files::diagnose::{self, KnownNames};
use crate::files::param::{Param, is_identifier};
use tallgrass_diagnostics::{Diagnostic, Span, SqlText, did_you_mean, is_significant};

/// A statement given by hand as a source; its errors say `query:1:8: error: …`.
pub(super) fn by_hand(sql: &str) -> SqlText<'_> {
    SqlText { file: Path::new("query"), text: sql }
}

/// Parses a statement given by hand, if it is one that only reads: a query, EXPLAIN \[ANALYZE\] of one, SHOW TABLES,
/// SHOW COLUMNS or SHOW FUNCTIONS.
pub fn allow_statement(sql: &str) -> Result<Statement, Diagnostic> {
    let statement = allow_prepared(sql)?;
    let source = by_hand(sql);
    check_placeholders(source, &source.tokens(), &[])?;
    Ok(statement)
}

/// The same for a statement whose parameters, `$1` and so on, get their values later.
pub fn allow_prepared(sql: &str) -> Result<Statement, Diagnostic> {
    let source = by_hand(sql);
    let tokens = source.tokens();
    let statement = parse_one(source, &tokens, "write one SELECT")?;
    if let Err(verb) = only_reads(&statement) {
        let message =
            format!("only SELECT, EXPLAIN of a SELECT, SHOW TABLES and SHOW COLUMNS may run here, not {verb}");
        let hint = (verb == "DESCRIBE" || verb == "DESC").then(|| "use SHOW COLUMNS FROM …".to_owned());
        return Err(source.error(place_of(&tokens, &verb), message).with_hint(hint));
    }
    Ok(statement)
}

/// Whether a statement only reads; where it does not, the verb of what it does.
pub fn only_reads(statement: &Statement) -> Result<(), String> {
    match statement {
        Statement::Explain(explain) => query_of(&explain.statement).map(|_| ()),
        Statement::Statement(sql) => match &**sql {
            SqlStatement::Explain { statement, .. } => query_of(&Statement::Statement(statement.clone())).map(|_| ()),
            show if is_show(show) => Ok(()),
            _ => query_of(statement).map(|_| ()),
        },
        other => query_of(other).map(|_| ()),
    }
}

/// Says where a statement given by hand is too deep for the stack, before anything parses it.
pub fn refuse_deep_statement(sql: &str) -> Result<(), Diagnostic> {
    let source = by_hand(sql);
    refuse_too_deep(source, &source.tokens())
}

fn is_show(statement: &SqlStatement) -> bool {
    use SqlStatement::{ShowColumns, ShowFunctions, ShowTables};
    matches!(statement, ShowTables { .. } | ShowColumns { .. } | ShowFunctions { .. })
}

/// The one query of a file.
pub(super) fn parse_query(source: SqlText<'_>, tokens: &[TokenWithSpan]) -> Result<SqlStatement, Diagnostic> {
    let statement = parse_one(source, tokens, "a file is one SELECT")?;
    query_of(&statement)
        .cloned()
        .map_err(|verb| source.error(place_of(tokens, &verb), format!("a view is one SELECT, not {verb}")))
}

/// The one statement of a text. A semicolon may end it.
fn parse_one(source: SqlText<'_>, tokens: &[TokenWithSpan], rule: &str) -> Result<Statement, Diagnostic> {
    let (mut begun, mut ended) = (false, false);
    for token in tokens.iter().filter(|t| is_significant(&t.token)) {
        if token.token == Token::SemiColon {
            ended = begun;
        } else if ended {
            let error = source.error(Span::of(token.span), "a second statement begins here");
            return Err(error.with_hint(rule.to_owned()));
        } else {
            begun = true;
        }
    }
    refuse_too_deep(source, tokens)?;
    let parser = DFParserBuilder::new(source.text).with_dialect(&GenericDialect {}).build();
    let mut statements = parser
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| diagnose::explain(source, &error, &KnownNames::default()))?;
    statements.pop_front().ok_or_else(|| source.error(None, "there is no statement").with_hint(rule.to_owned()))
}

/// Operators in a row make a tree as deep as they are many, and every step over it as many calls.
const MAX_OPERATORS: usize = 2_000;

/// The same of set operations, whose steps are larger.
const MAX_SET_OPERATIONS: usize = 400;

/// Says where a statement becomes too deep for the stack, before anything walks down it.
fn refuse_too_deep(source: SqlText<'_>, tokens: &[TokenWithSpan]) -> Result<(), Diagnostic> {
    let (mut operators, mut sets) = (0, 0);
    for token in tokens {
        match &token.token {
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => operators += 1,
            Token::Word(word) => match word.keyword {
                Keyword::AND | Keyword::OR | Keyword::NOT => operators += 1,
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => sets += 1,
                _ => {}
            },
            _ => {}
        }
        if operators > MAX_OPERATORS || sets > MAX_SET_OPERATIONS {
            let message = format!("more than {MAX_OPERATORS} operators, or {MAX_SET_OPERATIONS} set operations");
            let error = source.error(Span::of(token.span), message);
            return Err(error.with_hint("a list fits better: x IN (…), or a file as a static relation".to_owned()));
        }
    }
    Ok(())
}

/// The statement if it is a query that only reads, else the verb of what it is.
fn query_of(statement: &Statement) -> Result<&SqlStatement, String> {
    if let Statement::Statement(sql) = statement
        && let SqlStatement::Query(query) = &**sql
    {
        return match query.visit(&mut Writes) {
            ControlFlow::Continue(()) => Ok(sql),
            ControlFlow::Break(verb) => Err(verb.to_owned()),
        };
    }
    let verb = statement.to_string().split_whitespace().next().unwrap_or_default().to_uppercase();
    Err(if verb == "SHOW" { "SHOW of anything else".to_owned() } else { verb })
}

/// Looks for what writes inside of a query: `WITH … INSERT`, `SELECT … INTO`, in CTEs and subqueries too.
struct Writes;

impl Visitor for Writes {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        writes(&query.body).map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

fn writes(body: &SetExpr) -> Option<&'static str> {
    match body {
        SetExpr::Insert(_) => Some("INSERT"),
        SetExpr::Update(_) => Some("UPDATE"),
        SetExpr::Delete(_) => Some("DELETE"),
        SetExpr::Merge(_) => Some("MERGE"),
        SetExpr::Select(select) => select.into.is_some().then_some("INTO"),
        SetExpr::SetOperation { left, right, .. } => writes(left).or_else(|| writes(right)),
        SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => None,
    }
}

/// Where a verb stands, or else where the statement starts.
fn place_of(tokens: &[TokenWithSpan], verb: &str) -> Option<Span> {
    let is_verb = |t: &&TokenWithSpan| matches!(&t.token, Token::Word(word) if word.value.eq_ignore_ascii_case(verb));
    let token = tokens.iter().find(is_verb).or_else(|| tokens.iter().find(|t| is_significant(&t.token)));
    token.and_then(|t| Span::of(t.span))
}

/// Names of the parameters that a statement uses; each must be declared.
pub(super) fn check_placeholders(
    source: SqlText<'_>,
    tokens: &[TokenWithSpan],
    params: &[Param],
) -> Result<Vec<String>, Diagnostic> {
    let mut used = Vec::new();
    for token in tokens {
        let Token::Placeholder(placeholder) = &token.token else { continue };
        let name = placeholder.trim_start_matches('$').to_lowercase();
        if params.iter().any(|param| param.name == name) {
            used.push(name);
            continue;
        }
        let error = source.error(Span::of(token.span), format!("parameter '{placeholder}' is not declared"));
        let hint = did_you_mean(&name, params.iter().map(|param| param.name.as_str())).or_else(|| {
            let in_a_file = source.file.extension().is_some() && is_identifier(&name);
            in_a_file.then(|| format!("declare it above the statement: -- @param {name} DOUBLE = 1"))
        });
        return Err(error.with_hint(hint));
    }
    Ok(used)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use crate::files::shipped_tests::session;
    use crate::plan_statement;

    #[tokio::test]
    async fn only_statements_that_read_may_be_given_by_hand() {
        let ctx = session(2).await;
        for sql in [
            "SELECT 1;",
            "WITH t AS (SELECT 1 AS a) SELECT a FROM t UNION VALUES (2)",
            "EXPLAIN SELECT count(*) FROM pokemons",
            "EXPLAIN ANALYZE SELECT count(*) FROM pokemons",
            "SHOW TABLES",
            "SHOW COLUMNS FROM pokemons",
        ] {
            plan_statement(&ctx, sql).await.unwrap_or_else(|error| panic!("{error}"));
        }
        let mut shown = Vec::new();
        for sql in [
            "INSERT INTO users VALUES (1)",
            "EXPLAIN INSERT INTO users SELECT * FROM users",
            "EXPLAIN ANALYZE DELETE FROM users",
            "CREATE TABLE t AS SELECT 1",
            "CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION '/etc/passwd'",
            "COPY users TO '/tmp/users.csv'",
            "SET datafusion.execution.batch_size = 1",
            "SHOW datafusion.execution.batch_size",
            "DROP TABLE users",
            "DESCRIBE users",
            "SELECT * INTO t FROM users",
            "PREPARE p AS SELECT 1",
            "SELECT 1; DROP TABLE users",
            "SELECT $secret",
            "",
        ] {
            let error = plan_statement(&ctx, sql).await.expect_err(sql);
            shown.push(error.to_string());
        }
        insta::assert_snapshot!("statements_by_hand", shown.join("\n"));
    }
}
