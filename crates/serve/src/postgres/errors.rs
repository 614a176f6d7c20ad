//! An error as a client receives it: the condition's SQLSTATE, the sentence, a hint, and the position in its text.

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

use super::tables::UnreadableView;
use super::text::Piece;
use tallgrass_diagnostics::{Diagnostic, message_of};
use tallgrass_kafka::KafkaError;
use tallgrass_view::explain_statement;

/// Codes of conditions, by Appendix A of the `PostgreSQL` manual.
pub mod code {
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const CONNECTION_FAILURE: &str = "08006";
    pub const NOT_SUPPORTED: &str = "0A000";
    pub const RESULT_TYPES_CHANGED: &str = "0A000";
    pub const NUMBER_OUT_OF_RANGE: &str = "22003";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PARAMETER: &str = "22023";
    pub const INVALID_TEXT: &str = "22P02";
    pub const READ_ONLY: &str = "25006";
    pub const FAILED_TRANSACTION: &str = "25P02";
    pub const NO_SUCH_STATEMENT: &str = "26000";
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const ACCESS: &str = "42000";
    pub const NOT_PERMITTED: &str = "42501";
    pub const SYNTAX: &str = "42601";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    pub const NO_SUCH_COLUMN: &str = "42703";
    pub const NO_SUCH_OBJECT: &str = "42704";
    pub const GROUPING: &str = "42803";
    pub const WRONG_TYPES: &str = "42804";
    pub const NO_SUCH_FUNCTION: &str = "42883";
    pub const NO_SUCH_TABLE: &str = "42P01";
    pub const DUPLICATE_STATEMENT: &str = "42P05";
    pub const UNTYPED_PARAMETER: &str = "42P18";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const LIMIT: &str = "53400";
    pub const TOO_COMPLEX: &str = "54001";
    pub const NOT_READY: &str = "55000";
    pub const CANCELLED: &str = "57014";
    pub const SHUTDOWN: &str = "57P01";
    pub const IDLE: &str = "57P05";
    pub const INTERNAL: &str = "XX000";
}

/// An error that ends the statement.
pub fn error(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(info(code, message)))
}

/// An error that ends the connection.
pub fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".to_owned(), code.to_owned(), message.into())))
}

/// An error with a hint.
pub fn error_with_hint(code: &str, message: impl Into<String>, hint: impl Into<String>) -> PgWireError {
    let mut info = info(code, message);
    info.hint = Some(hint.into());
    PgWireError::UserError(Box::new(info))
}

fn info(code: &str, message: impl Into<String>) -> ErrorInfo {
    ErrorInfo::new("ERROR".to_owned(), code.to_owned(), message.into())
}

/// The same with the position in the text that the client sent.
pub fn at(code: &str, found: &Diagnostic, piece: &Piece) -> PgWireError {
    let mut info = info(code, found.message.clone());
    info.hint.clone_from(&found.hint);
    info.position = found.span.and_then(|span| piece.position(span.line, span.column)).map(|at| at.to_string());
    PgWireError::UserError(Box::new(info))
}

/// Why a statement cannot be planned.
pub fn unplanned(state: &SessionState, piece: &Piece, failure: &DataFusionError) -> PgWireError {
    if let DataFusionError::External(inner) = failure.find_root()
        && let Some(unreadable) = inner.downcast_ref::<UnreadableView>()
    {
        return unreadable.to_client();
    }
    at(code_of(failure), &explain_statement(state, &piece.sql, failure), piece)
}

/// Why a statement that was planned failed.
pub fn failed(failure: &DataFusionError) -> PgWireError {
    if let DataFusionError::External(inner) = failure.find_root()
        && let Some(unreadable) = inner.downcast_ref::<UnreadableView>()
    {
        return unreadable.to_client();
    }
    let code = code_of(failure);
    if code == code::OUT_OF_MEMORY {
        let message = "out of memory: the statement needs more than this server allows for all statements together";
        let mut info = info(code, message);
        info.detail = Some(message_of(failure));
        info.hint = Some("filter or aggregate earlier, or run it with `tallgrass query`".to_owned());
        return PgWireError::UserError(Box::new(info));
    }
    error(code, message_of(failure))
}

/// The SQLSTATE of an error of planning or running.
fn code_of(failure: &DataFusionError) -> &'static str {
    let first = match failure {
        DataFusionError::Collection(errors) => errors.first().map_or(failure, |first| first),
        other => other,
    };
    match first.find_root() {
        DataFusionError::SQL(..) => code::SYNTAX,
        DataFusionError::SchemaError(schema, _) => match &**schema {
            SchemaError::FieldNotFound { .. } => code::NO_SUCH_COLUMN,
            SchemaError::AmbiguousReference { .. } => code::AMBIGUOUS_COLUMN,
            _ => code::DUPLICATE_COLUMN,
        },
        DataFusionError::Plan(message) => code_of_plan(message),
        DataFusionError::NotImplemented(_) => code::NOT_SUPPORTED,
        DataFusionError::ResourcesExhausted(_) => code::OUT_OF_MEMORY,
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::DivideByZero => code::DIVISION_BY_ZERO,
            ArrowError::ArithmeticOverflow(_) => code::NUMBER_OUT_OF_RANGE,
            ArrowError::ParseError(_) | ArrowError::CastError(_) => code::INVALID_TEXT,
            _ => code::INTERNAL,
        },
        DataFusionError::External(inner) if inner.is::<KafkaError>() => code::CONNECTION_FAILURE,
        DataFusionError::Execution(message) if message.contains("Cast error") => code::INVALID_TEXT,
        DataFusionError::Execution(_) => code::ACCESS,
        _ => code::INTERNAL,
    }
}

fn code_of_plan(message: &str) -> &'static str {
    let has = |part: &str| message.contains(part);
    if has("table '") && has("' not found") {
        code::NO_SUCH_TABLE
    } else if has("Invalid function '") || has("No function matches") || has("no function") {
        code::NO_SUCH_FUNCTION
    } else if has("GROUP BY") || has("Aggregate functions are not allowed") {
        code::GROUPING
    } else if has("laceholder") {
        code::UNTYPED_PARAMETER
    } else if has("Cannot coerce") || has("cannot be applied") || has("Cannot infer") || has("type") {
        code::WRONG_TYPES
    } else {
        code::ACCESS
    }
}
