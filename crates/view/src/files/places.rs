//! Where something stands in a file's SQL: calls of functions, LIMITs and what they go by.

use std::ops::ControlFlow;
use tallgrass_diagnostics::Span;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident, LimitClause, OrderByKind,
    Query, Spanned, Statement, Visit, Visitor, WindowType, visit_expressions,
};

/// A function that is called.
pub(super) struct Call {
    /// Its name in lower case.
    pub name: String,
    /// Whether an order is named, inside, behind WITHIN GROUP or in a window.
    pub ordered: bool,
    /// Where the name stands.
    pub span: Option<Span>,
}

/// Every call in a statement, in the order of the text.
pub(super) fn calls(statement: &Statement) -> Vec<Call> {
    let mut calls = Vec::new();
    _ = visit_expressions(statement, |expr| {
        if let Expr::Function(function) = expr
            && let Some(name) = function.name.0.last().and_then(|part| part.as_ident())
        {
            calls.push(Call {
                name: name.value.to_lowercase(),
                ordered: is_ordered(function),
                span: Span::of(name.span),
            });
        }
        ControlFlow::<()>::Continue(())
    });
    calls.sort_by_key(|call| call.span);
    calls
}

fn is_ordered(function: &Function) -> bool {
    let inside = match &function.args {
        FunctionArguments::List(list) => {
            // What is distinct is sorted by its values.
            list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
                || list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
        }
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    let window = match &function.over {
        Some(WindowType::WindowSpec(window)) => !window.order_by.is_empty(),
        Some(WindowType::NamedWindow(_)) | None => false,
    };
    inside || window || !function.within_group.is_empty()
}

/// A query with LIMIT or OFFSET.
pub(super) struct Limited {
    /// The keys of its ORDER BY: a column's name, or `None` for any other expression. Empty without ORDER BY.
    pub keys: Vec<Option<String>>,
    /// Where the keys stand, or the limit if there are none.
    pub span: Option<Span>,
}

/// Every query with LIMIT or OFFSET, outer ones before those inside.
pub(super) fn limited(statement: &Statement) -> Vec<Limited> {
    let mut found = FindLimits(Vec::new());
    _ = statement.visit(&mut found);
    found.0
}

struct FindLimits(Vec<Limited>);

impl Visitor for FindLimits {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let limit = match (&query.limit_clause, &query.fetch) {
            (Some(LimitClause::LimitOffset { limit, offset, .. }), _) => {
                limit.as_ref().or(offset.as_ref().map(|offset| &offset.value))
            }
            (Some(LimitClause::OffsetCommaLimit { limit, .. }), _) => Some(limit),
            (None, Some(fetch)) => fetch.quantity.as_ref(),
            (None, None) => None,
        };
        let Some(limit) = limit else { return ControlFlow::Continue(()) };
        let keys = match query.order_by.as_ref().map(|order_by| &order_by.kind) {
            Some(OrderByKind::Expressions(keys)) => keys.as_slice(),
            // `ORDER BY ALL` leaves no tie that could be seen.
            Some(OrderByKind::All(_)) => return ControlFlow::Continue(()),
            None => &[],
        };
        let span = match keys {
            [] => limit.span(),
            [first, ..] => keys.iter().fold(first.expr.span(), |all, key| all.union(&key.expr.span())),
        };
        self.0.push(Limited { keys: keys.iter().map(|key| column(&key.expr)).collect(), span: Span::of(span) });
        ControlFlow::Continue(())
    }
}

fn column(expr: &Expr) -> Option<String> {
    let name = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    match expr {
        Expr::Identifier(ident) => Some(name(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(name),
        _ => None,
    }
}
