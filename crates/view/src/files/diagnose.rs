//! From what the SQL parser and DataFusion say to a [`SqlError`]: the place in the file, one sentence, a way out.
//!
//! The place comes from the first of these that knows one: the error's diagnostic span, the position in a parser's
//! message, the name that the message quotes, the operator that it names. Names are searched among tokens, so that text
//! in strings and comments never matches.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::files::sql_error::{Span, SqlError, SqlSource, did_you_mean, did_you_mean_hint, is_significant};

/// What a query may name; for suggestions.
#[derive(Debug, Default)]
pub(super) struct Names {
    tables: Vec<String>,
    functions: Vec<String>,
    aggregates: Vec<String>,
}

impl Names {
    /// All relations of the default schema and all functions.
    pub fn of(state: &SessionState) -> Self {
        let defaults = &state.config_options().catalog;
        let schema = state
            .catalog_list()
            .catalog(&defaults.default_catalog)
            .and_then(|catalog| catalog.schema(&defaults.default_schema));
        let functions = (state.scalar_functions().keys())
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys());
        Self {
            tables: schema.map(|s| s.table_names()).unwrap_or_default(),
            functions: functions.cloned().collect(),
            aggregates: state.aggregate_functions().keys().cloned().collect(),
        }
    }
}

/// An error of parsing.
pub(super) fn syntax(source: SqlSource<'_>, error: &ParserError) -> SqlError {
    let (message, position) = syntax_message(error);
    let tokens = source.tokens();
    let significant: Vec<&TokenWithSpan> = tokens.iter().filter(|t| is_significant(&t.token)).collect();
    let found =
        position.and_then(|at| significant.iter().position(|t| Span::of(t.span).is_some_and(|span| span.starts(at))));
    let span = match found {
        Some(index) => Span::of(significant[index].span),
        // The end of the file is the only place that the parser does not number.
        None => Some(position.unwrap_or_else(|| source.end())),
    };
    let hint = parenthesis_hint(&significant, found)
        .or_else(|| keyword_hint(&significant, found.unwrap_or(significant.len())));
    source.error(span, message).with_hint(hint)
}

/// What the parser says, and where; `None` is the end of its text.
pub(super) fn syntax_message(error: &ParserError) -> (String, Option<Span>) {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply",
    };
    let (message, position) = split_position(text);
    let message = decapitalize(message)
        .replace("expected: ", "expected ")
        .replace(", found: EOF", ", found the end")
        .replace(", found: ", ", found ");
    (message, position.map(|(line, column)| Span::at(line, column)))
}

/// `… at Line: 3, Column: 14` → the text before, and the position.
fn split_position(text: &str) -> (&str, Option<(usize, usize)>) {
    let position = || {
        let (message, at) = text.rsplit_once(" at Line: ")?;
        let (line, column) = at.split_once(", Column: ")?;
        Some((message, line.parse().ok()?, column.parse().ok()?))
    };
    position().map_or((text, None), |(message, line, column)| (message, Some((line, column))))
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
    let unclosed = tokens.iter().filter(|t| t.token == Token::LParen).count()
        > tokens.iter().filter(|t| t.token == Token::RParen).count();
    let open = open.last().filter(|_| unclosed)?;
    Some(format!("the '(' at {}:{} is never closed", open.line, open.column))
}

/// For a word that was meant as a keyword: the parser takes `FORM pokemons` for an alias and stumbles over what follows.
fn keyword_hint(tokens: &[&TokenWithSpan], found: usize) -> Option<String> {
    const KEYWORDS: [&str; 22] = [
        "SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "JOIN", "LEFT", "INNER", "WITH",
        "VALUES", "DISTINCT", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "FILTER", "INTERVAL", "EXISTS",
    ];
    [found.checked_sub(1), Some(found)].into_iter().flatten().filter_map(|index| tokens.get(index)).find_map(|token| {
        let Token::Word(word) = &token.token else { return None };
        if word.quote_style.is_some() || word.keyword != Keyword::NoKeyword {
            // `FORM` and `SELCT` are none, but some typos are: `FORMAT`, `THAN`.
            return None;
        }
        did_you_mean(&word.value, KEYWORDS)
            .map(|keyword| format!("did you mean {keyword} instead of '{}'?", word.value))
    })
}

/// Any error of planning, parse errors among them.
pub(super) fn explain(source: SqlSource<'_>, error: &DataFusionError, names: &Names) -> SqlError {
    // Of several (one per column of a SELECT, say) the first is told: the others are often its consequences.
    let error = first(error);
    let root = error.find_root();
    if let DataFusionError::SQL(parser, _) = root {
        return syntax(source, parser);
    }
    let finder = Finder::new(source);
    let (message, hint, place) = match root {
        DataFusionError::SchemaError(schema, _) => schema_finding(schema, &finder),
        other => plan_finding(&other.message(), names, &finder),
    };
    let diagnosed = error.diagnostic().and_then(|diagnostic| {
        let notes = diagnostic.notes.iter().map(|note| note.span);
        std::iter::once(diagnostic.span).chain(notes).flatten().find_map(Span::of_diagnostic)
    });
    let span = diagnosed.or(place).or_else(|| finder.quoted(&message)).or_else(|| finder.operator(&message));
    source.error(span.or_else(|| finder.start()), message).with_hint(hint)
}

/// The message alone, for where the place is known already.
pub(super) fn plain_message(error: &DataFusionError) -> String {
    clean(&first(error).find_root().message())
}

fn first(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Collection(errors) => errors.first().map_or(error, first),
        DataFusionError::Context(_, inner) if matches!(**inner, DataFusionError::Collection(_)) => first(inner),
        _ => error,
    }
}

type Finding = (String, Option<String>, Option<Span>);

fn schema_finding(error: &SchemaError, finder: &Finder) -> Finding {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let place = field.spans().first().and_then(Span::of_diagnostic).or_else(|| finder.name(&field.name));
            (not_found(field), missing_column_hint(field, valid_fields, finder), place)
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column '{}' is ambiguous", field.name);
            let hint = format!("say which table's it is, as in t.{}", field.name);
            (message, Some(hint), finder.name(&field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            (format!("column '{name}' is there twice"), Some(format!("rename one: … AS {name}_2")), finder.name(name))
        }
    }
}

fn not_found(field: &Column) -> String {
    match &field.relation {
        Some(relation) => format!("column '{}' not found in '{}'", field.name, relation.table()),
        None => format!("column '{}' not found", field.name),
    }
}

fn missing_column_hint(field: &Column, valid: &[Column], finder: &Finder) -> Option<String> {
    if finder.is_double_quoted(&field.name) {
        return Some(format!("double quotes are for names; a text is '{}'", field.name));
    }
    let mut here: Vec<&str> = valid
        .iter()
        .filter(|column| field.relation.is_none() || column.relation == field.relation)
        .map(|column| column.name.as_str())
        .collect();
    here.dedup();
    did_you_mean_hint(&field.name, here.iter().copied())
        .or_else(|| (!here.is_empty()).then(|| format!("the columns here are {}", here.join(", "))))
}

fn plan_finding(message: &str, names: &Names, finder: &Finder) -> Finding {
    if let Some(table) = between(message, "table '", "' not found") {
        let table = table.rsplit('.').next().unwrap_or(table);
        let tables = names.tables.iter().map(String::as_str);
        let hint = did_you_mean_hint(table, tables).or_else(|| {
            let mut tables = names.tables.clone();
            tables.sort();
            (!tables.is_empty()).then(|| format!("there are {}", tables.join(", ")))
        });
        return (format!("table '{table}' not found"), hint, finder.name(table));
    }
    if let Some(function) = between(message, "Invalid function '", "'") {
        let hint = did_you_mean_hint(function, names.functions.iter().map(String::as_str));
        return (format!("there is no function '{function}'"), hint, finder.call(function));
    }
    if let Some(column) = between(message, "column \"", "\" must appear in the GROUP BY clause") {
        let name = column.rsplit('.').next().unwrap_or(column);
        let message = format!("column '{name}' is neither in GROUP BY nor inside an aggregate function");
        return (message, Some(format!("add it to GROUP BY, or aggregate it, as in max({name})")), finder.name(name));
    }
    if let Some(call) = between(message, "No function matches the given name and argument types '", "'") {
        let function = call.split('(').next().unwrap_or(call);
        let candidates: Vec<&str> =
            message.lines().map(str::trim).filter(|line| line.starts_with(function)).take(4).collect();
        let hint = (!candidates.is_empty()).then(|| format!("it takes {}", sql_types(&candidates.join(" or "))));
        return (format!("no function matches {}", sql_types(call)), hint, finder.call(function));
    }
    if message.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        let message = "an aggregate function cannot stand in WHERE".to_owned();
        let hint = "WHERE chooses rows before they are grouped; put it into HAVING, behind GROUP BY".to_owned();
        return (message, Some(hint), finder.call_in_where(&names.aggregates));
    }
    let place = between(message, "'", "'").and_then(|name| finder.call(name));
    (clean(message), None, place)
}

/// The part of `text` between two marks.
fn between<'a>(text: &'a str, left: &str, right: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(left)?;
    rest.split_once(right).map(|(inside, _)| inside)
}

/// Takes off what is meant for DataFusion's developers, and speaks of types as the user wrote them.
fn clean(message: &str) -> String {
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let message = message.split(".\nThis issue was likely caused by").next().unwrap_or_default();
    let message = message.trim_start_matches("Cast error: ").replace("datafusion.public.", "");
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    sql_types(&decapitalize(lines.join(" ").trim_end_matches('.')))
}

/// Without the sentence's capital; `SELECT` and `SUM(…)` keep theirs.
fn decapitalize(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(one), Some(two)) if one.is_uppercase() && two.is_lowercase() => one.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// Arrow's type names as SQL's, word by word.
fn sql_types(text: &str) -> String {
    const TYPES: [(&str, &str); 14] = [
        ("Utf8View", "VARCHAR"),
        ("LargeUtf8", "VARCHAR"),
        ("Utf8", "VARCHAR"),
        ("Int8", "TINYINT"),
        ("Int16", "SMALLINT"),
        ("Int32", "INT"),
        ("Int64", "BIGINT"),
        ("UInt64", "BIGINT UNSIGNED"),
        ("Float32", "REAL"),
        ("Float64", "DOUBLE"),
        ("Boolean", "BOOLEAN"),
        ("Date32", "DATE"),
        ("Timestamp", "TIMESTAMP"),
        ("Null", "NULL"),
    ];
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let sql = TYPES.iter().find(|(arrow, _)| *arrow == &rest[..word]).map_or(&rest[..word], |(_, sql)| sql);
        result.push_str(sql);
        let behind = rest[word..].find(char::is_alphanumeric).map_or(rest.len(), |at| word + at);
        result.push_str(&rest[word..behind]);
        rest = &rest[behind..];
    }
    result
}

/// Finds names and operators among a text's tokens.
struct Finder {
    tokens: Vec<TokenWithSpan>,
}

impl Finder {
    fn new(source: SqlSource<'_>) -> Self {
        Self { tokens: source.tokens().into_iter().filter(|t| is_significant(&t.token)).collect() }
    }

    fn start(&self) -> Option<Span> {
        self.tokens.first().and_then(|t| Span::of(t.span))
    }

    fn words(&self, name: &str) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(move |&index| match &self.tokens[index].token {
            Token::Word(word) if word.quote_style.is_some() => word.value == name,
            Token::Word(word) => word.value.eq_ignore_ascii_case(name),
            Token::Placeholder(placeholder) => placeholder == name,
            _ => false,
        })
    }

    /// The first place of a column, table or alias.
    fn name(&self, name: &str) -> Option<Span> {
        self.words(name).next().and_then(|index| Span::of(self.tokens[index].span))
    }

    /// The first call of a function.
    fn call(&self, function: &str) -> Option<Span> {
        let called = |index: &usize| self.tokens.get(index + 1).is_some_and(|t| t.token == Token::LParen);
        self.words(function).find(called).and_then(|index| Span::of(self.tokens[index].span))
    }

    /// The first call of one of these functions behind WHERE.
    fn call_in_where(&self, functions: &[String]) -> Option<Span> {
        let (behind, _) = (self.tokens.iter().enumerate())
            .find(|(_, t)| matches!(&t.token, Token::Word(word) if word.keyword == Keyword::WHERE))?;
        let (call, _) = (self.tokens.iter().zip(self.tokens.iter().skip(1)).skip(behind)).find(|(t, next)| {
            let is_one = |word: &str| functions.iter().any(|function| function.eq_ignore_ascii_case(word));
            next.token == Token::LParen && matches!(&t.token, Token::Word(word) if is_one(&word.value))
        })?;
        Span::of(call.span)
    }

    fn is_double_quoted(&self, name: &str) -> bool {
        let quoted =
            |t: &TokenWithSpan| matches!(&t.token, Token::Word(w) if w.quote_style == Some('"') && w.value == name);
        self.tokens.iter().any(quoted)
    }

    /// The first name in quotes that the message and the text have in common; of `a.b` the `b`, of `f(x)` the `f`.
    fn quoted(&self, message: &str) -> Option<Span> {
        ['\'', '"', '`'].into_iter().flat_map(|quote| message.split(quote).skip(1).step_by(2)).find_map(|quoted| {
            let name = quoted.split('(').next().unwrap_or(quoted);
            self.name(name.rsplit('.').next().unwrap_or(name))
        })
    }

    /// The operator that the message names, if the text has it once: with two there is no telling which.
    fn operator(&self, message: &str) -> Option<Span> {
        message.split_whitespace().find_map(|word| {
            if word.starts_with(|c: char| c.is_alphanumeric() || c == '\'' || c == '(') {
                return None;
            }
            let mut places = self.tokens.iter().filter(|t| t.token.to_string() == word);
            let place = places.next()?;
            places.next().is_none().then(|| Span::of(place.span)).flatten()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::files::shipped_tests::session;
    use crate::{SqlFile, SqlWarning, plan};

    /// What the user reads about a file, all of it.
    async fn report(sql: &str) -> String {
        let ctx = session(2).await;
        let file = match SqlFile::parse("by_type", "queries/dashboard/by_type.sql", sql) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        let mut said: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
        match plan(&ctx, &file).await {
            Ok(plan) => said.extend(file.check_columns(plan.schema().as_arrow()).iter().map(SqlWarning::to_string)),
            Err(error) => said.push(error.to_string()),
        }
        said.join("\n")
    }

    const WRONG_FILES: [(&str, &str); 34] = [
        ("unknown_column", "-- @title: By type\n\nSELECT typ_1, count(*) AS seen\nFROM pokemons\nGROUP BY typ_1"),
        ("unknown_column_of_alias", "SELECT p.nam FROM pokemons p JOIN users u ON u.id = p.number"),
        ("unknown_column_nothing_near", "SELECT colour FROM users"),
        ("unknown_column_in_where", "SELECT name\nFROM pokemons\nWHERE totl > 500"),
        ("text_in_double_quotes", "SELECT name FROM pokemons WHERE name = \"Pikachu\""),
        ("unknown_table", "SELECT 'pokemon' AS pokemon_text,\n  name FROM pokemon"),
        ("unknown_function", "SELECT haversin_km(lat, lon, 0, 0) FROM pokemons"),
        ("unknown_function_nothing_near", "SELECT name,\n  frobnicate_entirely(name) FROM pokemons"),
        ("typo_in_first_keyword", "SELCT name FROM pokemons"),
        ("typo_in_from", "SELECT name\nFORM pokemons"),
        ("typo_in_group", "SELECT type_1, count(*) FROM pokemons GROPU BY type_1"),
        ("missing_parenthesis", "SELECT type_1, round(avg(total)\nFROM pokemons\nGROUP BY type_1"),
        ("missing_parenthesis_at_the_end", "SELECT name FROM pokemons\nWHERE (total > 500\n-- the end\n"),
        ("one_parenthesis_too_many", "SELECT count(*)) FROM pokemons"),
        ("unterminated_string", "SELECT name\nFROM pokemons\nWHERE name = 'Pikachu"),
        ("argument_types", "SELECT sum(name) AS s FROM pokemons"),
        ("argument_count", "SELECT haversine_km(lat, lon) AS km FROM pokemons"),
        ("arithmetic_types", "SELECT name,\n  name * legendary AS x FROM pokemons"),
        ("comparison_types", "SELECT name FROM pokemons WHERE legendary > _timestamp"),
        ("filter_is_no_boolean", "SELECT name FROM pokemons WHERE total"),
        ("aggregate_beside_a_column", "SELECT name, count(*) FROM pokemons"),
        ("column_not_grouped", "SELECT type_1, name, count(*) AS n FROM pokemons GROUP BY type_1"),
        ("aggregate_in_where", "SELECT name FROM pokemons WHERE count(*) > 3 GROUP BY name"),
        ("nested_aggregates", "SELECT max(count(total)) FROM pokemons"),
        ("ambiguous_column", "SELECT name FROM pokemons JOIN users ON users.id = pokemons.number"),
        ("union_of_different_width", "SELECT name, total FROM pokemons\nUNION ALL\nSELECT name FROM users"),
        ("two_statements", "SELECT 1;\n\nSELECT 2;"),
        ("empty", "-- @title: Nothing yet\n"),
        ("insert", "-- @title: x\nINSERT INTO users VALUES (1)"),
        ("with_insert", "WITH t AS (SELECT 1)\nINSERT INTO users SELECT * FROM t"),
        ("unknown_parameter", "-- @param lat DOUBLE = 1\nSELECT name FROM pokemons WHERE lat > $lot"),
        ("wrong_default", "-- @param lat DOUBLE = 'north'\nSELECT name FROM pokemons WHERE lat > $lat"),
        ("parameter_without_value", "-- @param radius_km DOUBLE\nSELECT $radius_km AS r"),
        ("unicode_before_the_column", "SELECT 'Flabébé ♀' AS \"名\", /* é */ nme FROM pokemons"),
    ];

    #[tokio::test]
    async fn a_wrong_file_says_where_and_what_to_do() {
        for (name, sql) in WRONG_FILES {
            let said = report(sql).await;
            assert!(said.contains("queries/dashboard/by_type.sql"), "{name} passes: {sql}");
            insta::with_settings!({ description => sql, omit_expression => true }, {
                insta::assert_snapshot!(format!("wrong_{name}"), said);
            });
        }
    }

    #[tokio::test]
    async fn wrong_front_matter_warns_and_the_file_still_works() {
        let said = report(
            "-- @titel: By type\n-- @chart: bars  @x: typ_1  @y: seen, sen\n-- @width: 13  @order: first\n-- @refresh: fast\n\
             -- @legend bottom\n-- @title: a -- and a remark\n-- @title: mail @ home\n-- @param lat DOUBLE = 1\n\
             SELECT type_1, count(*) AS seen\n-- @order: 3\nFROM pokemons GROUP BY type_1",
        )
        .await;
        insta::assert_snapshot!("front_matter_warnings", said);
    }
}
