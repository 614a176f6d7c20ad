//! From an error of DataFusion's planner to a [`Diagnostic`]: the place in the file, one sentence, a way out.
//!
//! The place is that of the first of these that has one: the error's diagnostic span, the name that the message quotes,
//! the operator that it names. Names are searched among tokens, so that text in strings and comments never matches.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use tallgrass_diagnostics::{Diagnostic, Span, SqlText, did_you_mean, is_significant, message_of, sql_types};

/// What a query may name; for suggestions.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    tables: Vec<String>,
    functions: Vec<String>,
    aggregates: Vec<String>,
}

impl KnownNames {
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

/// Any error of planning, parse errors among them.
pub(super) fn explain(source: SqlText<'_>, error: &DataFusionError, names: &KnownNames) -> Diagnostic {
    // Of several (one per column of a SELECT, say) the first is shown: the others are often its consequences.
    let error = first(error);
    let root = error.find_root();
    if let DataFusionError::SQL(parser, _) = root {
        return source.syntax_error(&source.tokens(), parser);
    }
    let finder = Finder::new(source);
    let (message, hint, place) = match root {
        DataFusionError::SchemaError(schema, _) => schema_finding(schema, &finder),
        other => plan_finding(other, names, &finder),
    };
    let diagnosed = error.diagnostic().and_then(|diagnostic| {
        let notes = diagnostic.notes.iter().map(|note| note.span);
        std::iter::once(diagnostic.span).chain(notes).flatten().find_map(Span::of_diagnostic)
    });
    let span = diagnosed.or(place).or_else(|| finder.quoted(&message)).or_else(|| finder.operator(&message));
    source.error(span.or_else(|| finder.start()), message).with_hint(hint)
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
    did_you_mean(&field.name, here.iter().copied())
        .or_else(|| (!here.is_empty()).then(|| format!("the columns here are {}", here.join(", "))))
}

fn plan_finding(error: &DataFusionError, names: &KnownNames, finder: &Finder) -> Finding {
    let message = error.message();
    let message = message.as_ref();
    if let Some(table) = between(message, "table '", "' not found") {
        let table = table.rsplit('.').next().unwrap_or(table);
        let tables = names.tables.iter().map(String::as_str);
        let hint = did_you_mean(table, tables).or_else(|| {
            let mut tables = names.tables.clone();
            tables.sort();
            (!tables.is_empty()).then(|| format!("there are {}", tables.join(", ")))
        });
        return (format!("table '{table}' not found"), hint, finder.name(table));
    }
    if let Some(function) = between(message, "Invalid function '", "'") {
        let hint = did_you_mean(function, names.functions.iter().map(String::as_str));
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
    (message_of(error), None, place)
}

/// The part of `text` between two marks.
fn between<'a>(text: &'a str, left: &str, right: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(left)?;
    rest.split_once(right).map(|(inside, _)| inside)
}

/// Finds names and operators among a text's tokens.
struct Finder {
    tokens: Vec<TokenWithSpan>,
}

impl Finder {
    fn new(source: SqlText<'_>) -> Self {
        Self { tokens: source.tokens().into_iter().filter(|t| is_significant(&t.token)).collect() }
    }

    fn start(&self) -> Option<Span> {
        self.tokens.first().and_then(|t| Span::of(t.span))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(move |&index| match &self.tokens[index].token {
            Token::Word(word) if word.quote_style.is_some() => word.value == name,
            Token::Word(word) => word.value.eq_ignore_ascii_case(name),
            Token::Placeholder(placeholder) => placeholder == name,
            _ => false,
        })
    }

    /// The first place of a column, table or alias.
    fn name(&self, name: &str) -> Option<Span> {
        self.named(name).next().and_then(|index| Span::of(self.tokens[index].span))
    }

    /// The first call of a function.
    fn call(&self, function: &str) -> Option<Span> {
        let called = |index: &usize| self.tokens.get(index + 1).is_some_and(|t| t.token == Token::LParen);
        self.named(function).find(called).and_then(|index| Span::of(self.tokens[index].span))
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

    /// The operator that the message names, if the text has it once: with two it is open which is meant.
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
    use crate::{SqlFile, plan};

    /// What the user reads about a file, all of it.
    async fn report(sql: &str) -> String {
        let ctx = session(2).await;
        let file = match SqlFile::parse("by_type", "queries/dashboard/by_type.sql", sql) {
            Ok(file) => file,
            Err(error) => return error.to_string(),
        };
        let mut shown: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
        match plan(&ctx, &file).await {
            Ok(plan) => shown.extend(file.check_columns(plan.schema().as_arrow()).iter().map(ToString::to_string)),
            Err(error) => shown.push(error.to_string()),
        }
        shown.join("\n")
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
    async fn a_wrong_file_is_shown_with_its_place_and_a_way_out() {
        for (name, sql) in WRONG_FILES {
            let shown = report(sql).await;
            assert!(shown.contains("queries/dashboard/by_type.sql"), "{name} passes: {sql}");
            insta::with_settings!({ description => sql, omit_expression => true }, {
                insta::assert_snapshot!(format!("wrong_{name}"), shown);
            });
        }
    }

    #[tokio::test]
    async fn wrong_front_matter_warns_and_the_file_still_works() {
        let shown = report(
            "-- @titel: By type\n-- @chart: bars  @x: typ_1  @y: seen, sen\n-- @width: 13  @order: first\n-- @refresh: fast\n\
             -- @legend bottom\n-- @title: a -- and a remark\n-- @title: mail @ home\n-- @param lat DOUBLE = 1\n\
             SELECT type_1, count(*) AS seen\n-- @order: 3\nFROM pokemons GROUP BY type_1",
        )
        .await;
        insta::assert_snapshot!("front_matter_warnings", shown);
    }
}
