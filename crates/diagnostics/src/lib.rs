//! The ground floor of every message: what is wrong in a text and where, what was probably meant, and errors as text.
//!
//! ```text
//!  report      a finding in a text: file, line, column, the line with a caret, a hint
//!  span        where it is
//!  suggest     "did you mean"
//!  sql         the tokens of a SQL text, and what is wrong with its syntax
//!  message     an error and its causes as one text
//!  wording     how DataFusion's texts read in SQL's terms
//! ```
//!
//! ```
//! use std::path::Path;
//! use tallgrass_diagnostics::{Diagnostic, Span, did_you_mean};
//!
//! let text = "SELECT typ_1 FROM pokemons";
//! let span = Span { line: 1, column: 8, width: 5 };
//! let error = Diagnostic::error(Path::new("by_type.sql"), text, span, "column 'typ_1' not found")
//!     .with_hint(did_you_mean("typ_1", ["name", "type_1", "type_2"]));
//!
//! let shown = "\
//! by_type.sql:1:8: error: column 'typ_1' not found
//!   1 | SELECT typ_1 FROM pokemons
//!     |        ^^^^^
//! help: did you mean 'type_1'?";
//! assert_eq!(error.to_string(), shown);
//! ```

mod message;
mod report;
mod span;
mod sql;
mod suggest;
mod wording;

pub use message::{causes, message_of};
pub use report::{Diagnostic, Report, Severity};
pub use span::Span;
pub use sql::{SqlText, is_significant, syntax_message};
pub use suggest::{did_you_mean, similar, suggestion};
pub use wording::sql_types;
