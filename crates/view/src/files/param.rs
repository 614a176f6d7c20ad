//! A view's parameters: `-- @param NAME TYPE [= default]`, checked and evaluated when the file is read.
//!
//! Type and default are SQL: the type is any that a column may have, the default any expression of constants, such as
//! `40.4168`, `DATE '2026-01-31'` or `2 * 3`. Values are bound to the plan's placeholders, never pasted into the text.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, Expr, Volatility};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{CastKind, DataType as SqlType, Expr as SqlExpr, ExprWithAlias, Value};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use tallgrass_diagnostics::{Diagnostic, Span, SqlText, message_of, syntax_message};

/// A `-- @param NAME TYPE [= default]`, used in the statement as `$NAME`.
#[derive(Debug, Clone)]
pub struct Param {
    /// Name, without the dollar sign
    pub name: String,
    /// Declared type
    pub data_type: DataType,
    /// Value when none is given; of `data_type`
    pub default: Option<ScalarValue>,
    /// Where the name stands
    pub span: Span,
    /// The declared type as the parser has it
    pub(super) sql_type: SqlType,
}

/// Evaluates constants; its built-in functions do not depend on any session.
static CONSTANTS: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);

const FORM: &str = "write it as '@param radius_km DOUBLE = 3'";

/// Reads `NAME TYPE [= default]`, which stands at `span` of `source`.
pub(super) fn parse(source: SqlText<'_>, declaration: &str, span: Span) -> Result<Param, Diagnostic> {
    // Blanks and lines in front put each token on the line and column that it has in the file.
    let padded = format!("{}{}{declaration}", "\n".repeat(span.line - 1), " ".repeat(span.column - 1));
    let syntax = |error: &ParserError| {
        let (message, at) = syntax_message(error);
        let end = Span::at(span.line, span.column + span.width);
        source.error(Some(at.unwrap_or(end)), message).with_hint(FORM.to_owned())
    };
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(&padded).map_err(|error| syntax(&error))?;

    let name = parser.next_token();
    let name_span = Span::of(name.span).unwrap_or(span);
    let name = match &name.token {
        Token::Word(word) if is_identifier(&word.value) => word.value.clone(),
        _ => {
            let error = source.error(Some(name_span), "a parameter needs a name in lower case");
            return Err(error.with_hint(FORM.to_owned()));
        }
    };
    if matches!(parser.peek_token_ref().token, Token::EOF | Token::Eq) {
        let error = source.error(Some(name_span), format!("parameter '{name}' needs a type"));
        return Err(error.with_hint(FORM.to_owned()));
    }
    let type_span = Span::of(parser.peek_token_ref().span).unwrap_or(span);
    let sql_type = parser.parse_data_type().map_err(|error| syntax(&error))?;
    let null = SqlExpr::Value(Value::Null.with_empty_span());
    let data_type = match evaluate(cast(null, &sql_type)) {
        Ok(null) => null.data_type(),
        Err(_) => return Err(source.error(Some(type_span), format!("there is no type {sql_type}"))),
    };

    let default = if parser.consume_token(&Token::Eq) {
        let start = Span::of(parser.peek_token_ref().span).unwrap_or(span);
        let expr = parser.parse_expr().map_err(|error| syntax(&error))?;
        let width = (span.column + span.width).saturating_sub(start.column).max(1);
        let value = evaluate(cast(expr, &sql_type)).map_err(|error| {
            let at = Some(Span { width, ..start });
            let reason = message_of(&error);
            source.error(at, format!("the default of '{name}' is not of type {sql_type}: {reason}"))
        })?;
        Some(value)
    } else {
        None
    };
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        let message = format!("unexpected '{}' behind parameter '{name}'", rest.token);
        return Err(source.error(Span::of(rest.span), message).with_hint(FORM.to_owned()));
    }
    Ok(Param { name, data_type, default, span: name_span, sql_type })
}

/// Whether `name` needs no quotes in SQL and reads the same however it is written: `[a-z_][a-z0-9_]*`.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn cast(expr: SqlExpr, sql_type: &SqlType) -> SqlExpr {
    let data_type = sql_type.clone();
    SqlExpr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// The value of a constant expression.
fn evaluate(expr: SqlExpr) -> DataFusionResult<ScalarValue> {
    let (state, schema) = (CONSTANTS.state(), DFSchema::empty());
    let expr = state.create_logical_expr_from_sql_expr(ExprWithAlias { expr, alias: None }, &schema)?;
    // A default is read once, so `now()` would be the time of the last save: surely not what is meant.
    let changes = |e: &Expr| {
        Ok(matches!(e, Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable))
    };
    if expr.exists(changes)? {
        return Err(DataFusionError::Plan("it must be the same at any time".to_owned()));
    }
    let physical = state.create_physical_expr(expr, &schema)?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one_row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
    match physical.evaluate(&one_row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
    }
}

impl Param {
    /// The default as a text that becomes the same value again; empty where there is none.
    pub fn text(&self) -> String {
        let Some(value) = self.default.as_ref().filter(|value| !value.is_null()) else { return String::new() };
        match value.cast_to(&DataType::Utf8) {
            // A float's own text has no `.0`.
            Ok(ScalarValue::Utf8(Some(text))) if !value.data_type().is_floating() => text,
            _ => value.to_string(),
        }
    }
}

/// `value` as the parameter's type.
pub(super) fn coerce(param: &Param, value: &ScalarValue) -> Result<ScalarValue, String> {
    // Where the file's own value is NULL, an empty text is NULL, too.
    if let (Some(own), Some(Some(""))) = (&param.default, value.try_as_str())
        && own.is_null()
    {
        return Ok(own.clone());
    }
    if value.data_type() == param.data_type {
        return Ok(value.clone());
    }
    let wrong = |reason: &str| {
        format!("'{value}' is not a value for parameter '{}' of type {}: {reason}", param.name, param.sql_type)
    };
    let coerced = value.cast_to(&param.data_type).map_err(|error| wrong(&message_of(&error)))?;
    match coerced {
        // Of a text such as 1e400: a double that holds none of it.
        ScalarValue::Float64(Some(number)) if !number.is_finite() => Err(wrong("it is not a finite number")),
        ScalarValue::Float32(Some(number)) if !number.is_finite() => Err(wrong("it is not a finite number")),
        coerced => Ok(coerced),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::SqlFile;
    use datafusion::scalar::ScalarValue;

    #[test]
    fn the_text_of_a_default_becomes_the_same_value_again() {
        for (declared, text) in [
            ("BIGINT = -3", "-3"),
            ("INT UNSIGNED = 3", "3"),
            ("DOUBLE = 41", "41"),
            ("DOUBLE = 0.1 + 0.2", "0.30000000000000004"),
            ("REAL = 0.1", "0.1"),
            ("DECIMAL(10, 2) = 1.5", "1.50"),
            ("BOOLEAN = true", "true"),
            ("VARCHAR = ''", ""),
            ("VARCHAR = ' it''s \"a\" '", " it's \"a\" "),
            ("VARCHAR = 'NULL'", "NULL"),
            ("DATE = '2026-01-31'", "2026-01-31"),
            ("TIME = '07:08:09.5'", "07:08:09.500"),
            ("TIMESTAMP = '2026-01-01'", "2026-01-01T00:00:00"),
            ("TIMESTAMP = '2026-01-01 01:02:03.000000004'", "2026-01-01T01:02:03.000000004"),
            ("TIMESTAMP WITH TIME ZONE = '2026-01-01T00:00:00+02:00'", "2025-12-31T22:00:00"),
            ("BIGINT = NULL", ""),
            ("VARCHAR = NULL", ""),
            ("INTERVAL = INTERVAL '1 month 2 hours'", "1 mons 2 hours"),
        ] {
            let file = SqlFile::parse("a", "a.sql", format!("-- @param p {declared}\nSELECT $p AS p")).unwrap();
            assert_eq!(file.params()[0].text(), text, "{declared}");
            let again = file.bind([("p", ScalarValue::from(text))]).unwrap();
            assert_eq!(again, file.bind([]).unwrap(), "{declared}");
        }
        let file = SqlFile::parse("a", "a.sql", "-- @param p BIGINT\nSELECT $p AS p").unwrap();
        assert_eq!(file.params()[0].text(), "");
        assert!(file.bind([("p", ScalarValue::from(""))]).is_err());
    }
}
