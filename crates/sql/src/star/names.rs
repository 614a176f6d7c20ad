//! Which metadata columns a SELECT reads by name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderBy, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Values, Visit, Visitor,
};
use tallgrass_relation::METADATA_COLUMNS;

use super::from::{FromClause, excluded};
use super::{Stars, name, selects_of};

/// The metadata columns that a SELECT reads by name, with their qualifiers; those of correlated subqueries too.
pub(super) struct Names<'a> {
    stars: &'a Stars,
    /// For each subquery around a name, whether a name without a qualifier means a column of that one.
    subqueries: Vec<bool>,
    found: Vec<(Option<String>, String)>,
}

impl<'a> Names<'a> {
    pub(super) fn of(stars: &'a Stars, select: &Select, order_by: Option<&OrderBy>) -> Self {
        let mut names = Self { stars, subqueries: Vec::new(), found: Vec::new() };
        let mut own = select.clone();
        own.from.iter_mut().for_each(without_subqueries);
        let _ = own.visit(&mut names);
        let _ = order_by.map(|order_by| order_by.visit(&mut names));
        // Whoever excludes a column by name may rely on it being there.
        for item in &select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
                for column in excluded(options) {
                    names.add(None, &column);
                }
            }
        }
        names
    }

    fn add(&mut self, qualifier: Option<&Ident>, column: &Ident) {
        let column = name(column);
        if METADATA_COLUMNS.contains(&column.as_str()) && (qualifier.is_some() || !self.subqueries.contains(&true)) {
            self.found.push((qualifier.map(name), column));
        }
    }

    /// Whether a column of an input is read. Without a qualifier it can only be that of the one relation that has it.
    pub(super) fn reads(&self, column: &str, input: &[String], alone: bool) -> bool {
        self.found.iter().any(|(qualifier, name)| {
            name == column && qualifier.as_ref().map_or(alone, |qualifier| input.last() == Some(qualifier))
        })
    }
}

impl Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let mut selects = Vec::new();
        selects_of(&query.body, &mut selects);
        let mut from = FromClause::default();
        let tables = selects.into_iter().flat_map(|select| &select.from);
        tables.for_each(|tables| self.stars.flatten(tables, None, &mut from));
        self.subqueries.push(from.inputs.iter().any(|input| input.relation.is_some()));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.subqueries.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(column) => self.add(None, column),
            Expr::CompoundIdentifier(parts) => parts.windows(2).for_each(|pair| {
                if let [qualifier, column] = pair {
                    self.add(Some(qualifier), column);
                }
            }),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// A subquery in FROM does not see the tables beside it, unless it is LATERAL.
fn without_subqueries(tables: &mut TableWithJoins) {
    for factor in std::iter::once(&mut tables.relation).chain(tables.joins.iter_mut().map(|join| &mut join.relation)) {
        match factor {
            TableFactor::Derived { lateral: false, subquery, .. } => {
                *subquery.body =
                    SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() });
                subquery.with = None;
                subquery.order_by = None;
            }
            TableFactor::NestedJoin { table_with_joins, .. } => without_subqueries(table_with_joins),
            _ => {}
        }
    }
}
