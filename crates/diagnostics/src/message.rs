//! An error as a message: what people read of it and of its causes.
//!
//! DataFusion puts headings in front of what it reports ("Error during planning: "), a stack behind it, envelopes around
//! the errors of others, and Arrow's names of types into it. None of that helps who wrote the SQL.

use std::error::Error;
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::sql::syntax_message;
use crate::wording::{decapitalize, sql_types, without_planner_terms};

/// An error and its causes in one text: `cannot read users: the broker is not reachable`. A cause that its error prints
/// already is not repeated.
pub fn message_of(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let (message, is_last) = match as_datafusion(cause) {
            Some(error) => (plain(error), true),
            None => (cause.to_string(), false),
        };
        if !text.ends_with(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        // Its own source is what it prints.
        if is_last {
            break;
        }
    }
    text
}

/// An error and its causes, one after the other, without the envelopes in which DataFusion carries them.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(opened(error)), |&error| error.source().map(opened))
}

/// What an envelope of DataFusion carries; of several errors the first, since the others are often its consequences.
fn opened<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    match as_datafusion(error) {
        Some(DataFusionError::External(inner)) => opened(inner.as_ref()),
        Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => opened(inner.as_ref()),
        Some(DataFusionError::Shared(inner)) => opened(inner.as_ref()),
        Some(DataFusionError::Collection(errors)) => errors.first().map_or(error, |first| opened(first)),
        Some(DataFusionError::ArrowError(inner, _)) => match inner.as_ref() {
            ArrowError::ExternalError(inner) => opened(inner.as_ref()),
            _ => error,
        },
        _ => error,
    }
}

/// An error of DataFusion, in a box or not.
fn as_datafusion<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a DataFusionError> {
    error
        .downcast_ref()
        .or_else(|| error.downcast_ref::<Box<DataFusionError>>().map(AsRef::as_ref))
        .or_else(|| error.downcast_ref::<Arc<DataFusionError>>().map(AsRef::as_ref))
}

/// Without what is meant for DataFusion's developers, and with types as the user wrote them.
fn plain(error: &DataFusionError) -> String {
    if let DataFusionError::SQL(parser, _) = error {
        return syntax_message(parser).0;
    }
    let message = error.message();
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let message = message.split(".\nThis issue was likely caused by").next().unwrap_or_default();
    let message = message.trim_start_matches("Cast error: ").replace("datafusion.public.", "");
    if let Some(message) = without_planner_terms(&message) {
        return message.to_owned();
    }
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    sql_types(&decapitalize(lines.join(" ").trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Diagnostic;

    #[derive(Debug, thiserror::Error)]
    #[error("deleted_when of users failed")]
    struct Outer {
        source: Box<DataFusionError>,
    }

    fn divided() -> DataFusionError {
        DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), Some("\n\nbacktrace: 0: main".to_owned()))
    }

    #[test]
    fn headings_stacks_and_advice_to_developers_are_left_out() {
        assert_eq!(message_of(&divided()), "divide by zero error");
        assert_eq!(message_of(&DataFusionError::Internal("Oh\n no".to_owned())), "oh no");
        let cast = ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".to_owned());
        assert_eq!(message_of(&DataFusionError::from(cast)), "cannot cast string 'x' to value of BIGINT type");
    }

    #[test]
    fn an_error_of_ours_in_datafusion_s_envelopes_keeps_its_text_and_its_cause() {
        let outer = Outer { source: Box::new(divided().context("somewhere")) };
        let carried = DataFusionError::Shared(Arc::new(DataFusionError::External(Box::new(outer))));
        let message = "deleted_when of users failed: divide by zero error";
        assert_eq!(message_of(&carried), message);
        let by_arrow = ArrowError::ExternalError(Box::new(carried));
        assert_eq!(message_of(&DataFusionError::from(by_arrow)), message);
    }

    #[test]
    fn a_finding_in_a_text_is_carried_as_it_is() {
        let finding = Diagnostic::error(Path::new("a.sql"), "SELECT\n", None, "Int64 is\nthere");
        let carried = DataFusionError::External(Box::new(finding)).context("planning");
        assert_eq!(message_of(&carried), "a.sql: error: Int64 is\nthere");
        assert!(causes(&carried).next().is_some_and(<dyn Error>::is::<Diagnostic>));
    }
}
