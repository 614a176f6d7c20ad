//! `SELECT *` is what was declared: `_key`, `_partition`, `_offset` and `_timestamp` are read by name.
//!
//! As with `PostgreSQL`'s `ctid`, a column that a relation has beside the declared ones is not part of `*`, of `t.*`, of
//! what NATURAL joins by, nor of the columns that an alias renames. Whoever selects it by name has an ordinary column from
//! there on: it is part of the `*` of a view, a derived table or a CTE.
//!
//! The planner knows nothing of such columns, so the statement is rewritten before planning:
//!
//! ```text
//!  SELECT * FROM s                      →  SELECT * EXCLUDE (_key, _partition, _offset, _timestamp) FROM s
//!  SELECT *, s._offset FROM s JOIN r …  →  SELECT * EXCLUDE (_offset)
//!                                          FROM (SELECT a, b, _offset FROM s) AS s JOIN (SELECT a, c FROM r) AS r …
//! ```
//!
//! Where several relations are joined, the names would be ambiguous in an EXCLUDE, so each relation is narrowed to what
//! was declared and what is read by name. The planner reads the same columns of either.
//!
//! # Contract
//! A statement without `*`, NATURAL and renaming aliases stays as it is.

mod from;
mod names;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, OrderBy, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Statement as SqlStatement, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use tallgrass_relation::{Catalog, KafkaRelation};

use self::from::{FromClause, Input, exclude};
use self::names::Names;

/// The statement, with every `*` of a relation of the session's [`Catalog`] as declared.
pub fn as_declared(state: &SessionState, statement: Statement) -> Result<Statement> {
    let Some(catalog) = state.config().get_extension::<Catalog>() else { return Ok(statement) };
    let options = &state.config_options().catalog;
    let schema = [options.default_catalog.clone(), options.default_schema.clone()];
    let mut stars = Stars { catalog, schema, enclosing: Vec::new() };
    let mut statement = statement;
    let mut inner = &mut statement;
    while let Statement::Explain(explain) = inner {
        inner = &mut explain.statement;
    }
    if let Statement::Statement(sql) = inner
        && let ControlFlow::Break(error) = VisitMut::visit(sql.as_mut(), &mut stars)
    {
        return Err(error);
    }
    Ok(statement)
}

/// Goes down a statement and keeps the names that CTEs have taken.
struct Stars {
    catalog: Arc<Catalog>,
    /// The catalog and the schema of names that give none.
    schema: [String; 2],
    enclosing: Vec<Scope>,
}

/// The CTEs of one query. Its first subqueries are theirs, in order, and each of them sees those before it.
struct Scope {
    ctes: Vec<String>,
    visible: usize,
}

impl VisitorMut for Stars {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<DataFusionError> {
        let with = query.with.as_ref();
        let ctes: Vec<String> =
            with.iter().flat_map(|with| &with.cte_tables).map(|cte| name(&cte.alias.name)).collect();
        let visible = ctes.len();
        self.enclosing.push(Scope { ctes, visible });
        let done = self.rewrite(query);
        if let Some(scope) = self.enclosing.last_mut() {
            scope.visible = usize::from(query.with.as_ref().is_some_and(|with| with.recursive));
        }
        done.map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<DataFusionError> {
        self.enclosing.pop();
        if let Some(scope) = self.enclosing.last_mut() {
            scope.visible += 1;
        }
        ControlFlow::Continue(())
    }
}

impl Stars {
    /// The relation that a name in FROM means.
    fn relation(&self, table: &ObjectName) -> Option<Arc<KafkaRelation>> {
        let mut parts: Vec<String> = table.0.iter().map(|part| part.as_ident().map(name)).collect::<Option<_>>()?;
        let last = parts.pop()?;
        let is_cte = |scope: &Scope| scope.ctes.iter().take(scope.visible).any(|cte| *cte == last);
        if parts.is_empty() && self.enclosing.iter().any(is_cte) {
            return None;
        }
        let ours = parts.iter().rev().zip(self.schema.iter().rev()).all(|(part, own)| part == own);
        if ours { self.catalog.get(&last)?.as_kafka().cloned() } else { None }
    }

    fn rewrite(&self, query: &mut Query) -> Result<()> {
        let mut shortened = Vec::new();
        self.rewrite_body(&mut query.body, query.order_by.as_ref(), &mut shortened)?;
        if !shortened.is_empty() {
            shorten(query, &shortened);
        }
        Ok(())
    }

    /// Whether a SELECT has anything whose meaning depends on all columns of a relation.
    fn concerns(&self, select: &Select) -> bool {
        let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        let mut from = FromClause::default();
        select.from.iter().for_each(|tables| self.flatten(tables, None, &mut from));
        from.inputs.iter().any(|input| input.relation.is_some())
            && (select.projection.iter().any(is_star) || from.natural || from.inputs.iter().any(|input| input.renamed))
    }

    fn rewrite_body(
        &self,
        body: &mut SetExpr,
        order_by: Option<&OrderBy>,
        shortened: &mut Vec<Vec<String>>,
    ) -> Result<()> {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.rewrite_body(left, None, shortened)?;
                self.rewrite_body(right, None, shortened)
            }
            SetExpr::Select(select) if self.concerns(select) => self.rewrite_select(select, order_by, shortened),
            _ => Ok(()),
        }
    }

    fn rewrite_select(
        &self,
        select: &mut Select,
        order_by: Option<&OrderBy>,
        shortened: &mut Vec<Vec<String>>,
    ) -> Result<()> {
        let mut from = FromClause::default();
        select.from.iter().for_each(|tables| self.flatten(tables, None, &mut from));
        let has_star = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
        let narrows = from.inputs.len() > 1 && (has_star || from.natural);
        let alone = from.inputs.iter().filter(|input| input.relation.is_some()).count() == 1;
        if narrows || from.inputs.iter().any(|input| input.renamed) {
            let named = Names::of(self, select, order_by);
            let narrowed = |input: &&mut Input| input.relation.is_some() && (narrows || input.renamed);
            for input in from.inputs.iter_mut().filter(narrowed) {
                input.kept.retain(|column| from.using.contains(*column) || named.reads(column, &input.name, alone));
                input.narrowed = true;
            }
        }
        if let Some(column) = from.natural.then(|| from.kept_twice()).flatten() {
            return Err(plan_datafusion_err!(
                "NATURAL joins by the columns that were declared, and {column} of both sides is read by name: \
                 name the columns of the join, JOIN … USING (…)"
            ));
        }
        let mut inputs = from.inputs.iter();
        for tables in &mut select.from {
            narrow(tables, &mut inputs, shortened)?;
        }
        let mut projection = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => projection.extend(from.star(options)?),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), mut options) => {
                    let named: Option<Vec<String>> = of.0.iter().map(|part| part.as_ident().map(name)).collect();
                    let input = from.inputs.iter().find(|input| named.as_ref().is_some_and(|of| input.is_called(of)));
                    exclude(&mut options, input.map(|input| input.kept.as_slice()).unwrap_or_default());
                    let of = input.map_or(of, Input::qualifier);
                    projection
                        .push(SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), options));
                }
                other => projection.push(other),
            }
        }
        select.projection = projection;
        Ok(())
    }
}

/// Puts a subquery of the columns that are kept in place of each relation that is to be narrowed.
fn narrow<'a>(
    tables: &mut TableWithJoins,
    inputs: &mut impl Iterator<Item = &'a Input>,
    shortened: &mut Vec<Vec<String>>,
) -> Result<()> {
    let factors = std::iter::once(&mut tables.relation).chain(tables.joins.iter_mut().map(|join| &mut join.relation));
    for factor in factors {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            narrow(table_with_joins, inputs, shortened)?;
            continue;
        }
        let Some(Input { name, relation: Some(relation), kept, narrowed: true, .. }) = inputs.next() else { continue };
        let TableFactor::Table { name: table, alias, .. } = factor else { continue };
        let declared = relation.declared().fields().iter().map(|field| field.name().as_str());
        let columns: Vec<Ident> = declared.chain(kept.iter().copied()).map(quoted_ident).collect();
        let list: Vec<String> = columns.iter().map(Ident::to_string).collect();
        let subquery = parse(&format!("SELECT {} FROM {table}", list.join(", ")))?;
        let mut alias = alias.take();
        if let Some(alias) = alias.as_mut().filter(|alias| !alias.columns.is_empty()) {
            // A list may be shorter than the columns.
            let rest = columns.into_iter().skip(alias.columns.len());
            alias.columns.extend(rest.map(|name| TableAliasColumnDef { name, data_type: None }));
        }
        if alias.is_none() && name.len() > 1 {
            shortened.push(name.clone());
        }
        let last = name.last().map_or_else(|| Ident::new(relation.name()), |last| quoted_ident(last));
        let alias = alias.unwrap_or(TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
        *factor =
            TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias: Some(alias), sample: None };
    }
    Ok(())
}

/// `public.s.a` → `s.a`, where `public.s` has become a subquery that is called `s`.
fn shorten(query: &mut Query, tables: &[Vec<String>]) {
    let surplus = |parts: &[Ident]| {
        let of = |table: &&Vec<String>| {
            parts.len() >= table.len() && parts.iter().zip(table.iter()).all(|(part, own)| name(part) == *own)
        };
        tables.iter().find(of).map_or(0, |table| table.len() - 1)
    };
    let _ = visit_expressions_mut(query, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr {
            parts.drain(..surplus(parts));
        }
        ControlFlow::<()>::Continue(())
    });
}

fn selects_of<'a>(body: &'a SetExpr, selects: &mut Vec<&'a Select>) {
    match body {
        SetExpr::Select(select) => selects.push(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects_of(left, selects);
            selects_of(right, selects);
        }
        _ => {}
    }
}

fn parse(sql: &str) -> Result<Query> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_statement());
    match parsed {
        Ok(SqlStatement::Query(query)) => Ok(*query),
        Ok(_) => Err(plan_datafusion_err!("{sql} is not a query")),
        Err(error) => Err(DataFusionError::SQL(Box::new(error), None)),
    }
}

/// An identifier as the planner understands it: lower case unless quoted.
fn name(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

fn quoted_ident(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
