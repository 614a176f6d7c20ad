//! One statement of `sources.sql`: its tokens, and where a fault in it is.
//!
//! The parser knows the position of a token; the planner (types, constraints) does not, and there the name of the column
//! or the clause is looked up among the tokens of the statement.

use datafusion::common::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{CreateExternalTable as PlannedTable, DdlStatement, LogicalPlan};
use datafusion::sql::parser::{CreateExternalTable, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Ident, Spanned};
use datafusion::sql::sqlparser::tokenizer::{self, Token, TokenWithSpan};
use futures::FutureExt;
use tallgrass_diagnostics::{Diagnostic, Span, SqlText, is_significant, message_of};
use tallgrass_planner::logical_plan;

/// One statement: the text that it is in, and its tokens.
pub(super) struct Declaration<'a> {
    pub text: SqlText<'a>,
    pub tokens: &'a [TokenWithSpan],
    /// The session whose functions and rules plan what it declares.
    pub state: &'a SessionState,
}

impl Declaration<'_> {
    /// The statement, if it declares a relation.
    pub fn parse(&self) -> Result<CreateExternalTable, Diagnostic> {
        let parsed = DFParserBuilder::new(with_closing_brackets_apart(self.tokens))
            .build()
            .and_then(|mut parser| parser.parse_statements());
        let mut statements = parsed.map_err(|error| match error.find_root() {
            DataFusionError::SQL(error, _) => self.text.syntax_error(self.tokens, error),
            other => self.fault(None, message_of(other)),
        })?;
        match statements.pop_front() {
            Some(Statement::CreateExternalTable(create)) => Ok(create),
            _ => Err(self.fault(
                None,
                "only CREATE EXTERNAL TABLE has a place in this file; queries live in files of their own",
            )),
        }
    }

    /// Types, constraints and options as DataFusion understands them.
    pub fn plan(&self, create: &CreateExternalTable) -> Result<PlannedTable, Diagnostic> {
        self.try_plan(create).map_err(|error| {
            // The planner does not say which column it means: the first that fails alone.
            let culprit = create.columns.iter().find(|column| {
                let alone = CreateExternalTable {
                    columns: vec![(*column).clone()],
                    constraints: Vec::new(),
                    options: Vec::new(),
                    order_exprs: Vec::new(),
                    table_partition_cols: Vec::new(),
                    ..create.clone()
                };
                self.try_plan(&alone).is_err()
            });
            let message = message_of(&error);
            match culprit {
                Some(column) => self.fault_of(column.name.span, format!("column '{}': {message}", column.name.value)),
                None => self.fault_of(create.name.span(), message),
            }
        })
    }

    fn try_plan(&self, create: &CreateExternalTable) -> Result<PlannedTable, DataFusionError> {
        let statement = Statement::CreateExternalTable(create.clone());
        // Planning is asynchronous because statements may name tables of remote catalogs; a DDL names none, so the future
        // is ready at once.
        match logical_plan(self.state, statement).now_or_never() {
            Some(Ok(LogicalPlan::Ddl(DdlStatement::CreateExternalTable(planned)))) => Ok(*planned),
            Some(Err(error)) => Err(error),
            _ => Err(DataFusionError::Plan("cannot be planned without a catalog".to_owned())),
        }
    }

    /// Where a part of the statement is; the first token where the parser does not know.
    pub fn span_of(&self, part: tokenizer::Span) -> Span {
        Span::of(part).unwrap_or_else(|| self.start())
    }

    fn start(&self) -> Span {
        let first = self.tokens.iter().find(|token| is_significant(&token.token));
        first.and_then(|token| Span::of(token.span)).unwrap_or(Span::at(1, 1))
    }

    /// An error at a place, or at the first token where none is known.
    pub fn fault(&self, span: Option<Span>, message: impl Into<String>) -> Diagnostic {
        self.text.error(span.unwrap_or_else(|| self.start()), message)
    }

    /// An error in a part of the statement.
    pub fn fault_of(&self, part: tokenizer::Span, message: impl Into<String>) -> Diagnostic {
        self.text.error(self.span_of(part), message)
    }

    /// Where a bare word is for the first time.
    pub fn word(&self, word: &str) -> Option<Span> {
        let is_it = |token: &Token| matches!(token, Token::Word(other) if other.value.eq_ignore_ascii_case(word));
        self.tokens.iter().find(|token| is_it(&token.token)).and_then(|token| Span::of(token.span))
    }

    /// Where a quoted string (or, for option keys, a word) is for the last time: options come after columns.
    pub fn string(&self, text: &str) -> Option<Span> {
        let is_it = |token: &Token| match token {
            Token::SingleQuotedString(other) => other == text,
            Token::Word(other) => other.value == text,
            _ => false,
        };
        self.tokens.iter().rfind(|token| is_it(&token.token)).and_then(|token| Span::of(token.span))
    }
}

/// `>>` as two tokens: it closes two types, as in `STRUCT<a STRUCT<b INT>>[]`, where the parser takes what follows it for
/// a part of the inner one. Declarations have no use for it as an operator.
fn with_closing_brackets_apart(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut apart = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.token == Token::ShiftRight {
            let middle = tokenizer::Location { column: token.span.start.column + 1, ..token.span.start };
            apart.push(TokenWithSpan::new(Token::Gt, tokenizer::Span::new(token.span.start, middle)));
            apart.push(TokenWithSpan::new(Token::Gt, tokenizer::Span::new(middle, token.span.end)));
        } else {
            apart.push(token.clone());
        }
    }
    apart
}

/// The name of an identifier under DataFusion's rule: lower case unless quoted.
pub(super) fn normalized(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}
