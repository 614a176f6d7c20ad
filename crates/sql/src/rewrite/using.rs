//! `USING (id)` of outer joins: `id` is the column of whichever side has one, in every clause and in `*`.
//!
//! The planner takes the left side's, which is null where only the right side has a row.

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_err};
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::call;

/// The merged columns of a FROM, each with the sides that it is coalesced from.
struct Merged {
    columns: Vec<(Ident, Vec<Ident>)>,
    /// The relations, in the order of `*`.
    sides: Vec<Ident>,
    depth: usize,
}

/// Merges them in a SELECT.
pub(super) fn merge_columns(select: &mut Select) -> Result<()> {
    let Some(mut merged) = Merged::of(select)? else { return Ok(()) };
    merged.in_projection(&mut select.projection);
    let mut clauses = [&mut select.selection, &mut select.having, &mut select.qualify];
    for clause in clauses.iter_mut().filter_map(|clause| clause.as_mut()) {
        merged.visit(clause);
    }
    if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
        for expr in exprs {
            merged.visit(expr);
        }
    }
    Ok(())
}

/// Merges them in the ORDER BY of a query, where they are not columns of its result.
pub(super) fn merge_order(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = &*query.body else { return Ok(()) };
    let Some(mut merged) = Merged::of(select)? else { return Ok(()) };
    let shown: Vec<&Ident> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) | SelectItem::ExprWithAlias { alias: name, .. } => {
                Some(name)
            }
            _ => None,
        })
        .collect();
    let wildcard = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    merged.columns.retain(|(column, _)| !wildcard && !shown.iter().any(|name| same(name, column)));
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(exprs) = &mut order.kind
    {
        for order in exprs {
            merged.visit(&mut order.expr);
        }
    }
    Ok(())
}

impl Merged {
    /// The columns that must be merged, if there are any: those of a FULL or RIGHT JOIN … USING.
    fn of(select: &Select) -> Result<Option<Self>> {
        let mut columns: Vec<(Ident, Vec<Ident>)> = Vec::new();
        let relations = select
            .from
            .iter()
            .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
        let sides = relations.filter_map(name_of).collect();
        for from in &select.from {
            let outer = from.joins.iter().any(|join| {
                use JoinOperator::{FullOuter, Right, RightOuter};
                matches!(&join.join_operator, FullOuter(constraint) | Right(constraint) | RightOuter(constraint)
                    if matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural))
            });
            if !outer {
                continue;
            }
            let first = name_of(&from.relation);
            for join in &from.joins {
                let (JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint)) = &join.join_operator
                else {
                    continue;
                };
                let names = match constraint {
                    JoinConstraint::Using(names) => names,
                    JoinConstraint::Natural => {
                        return plan_err!(
                            "NATURAL of a RIGHT or FULL JOIN is not supported: name the columns, USING (…)"
                        );
                    }
                    _ => continue,
                };
                let (Some(first), Some(right)) = (&first, name_of(&join.relation)) else {
                    return plan_err!("USING of a RIGHT or FULL JOIN needs a name for each side: … AS name");
                };
                for name in names.iter().filter_map(last_part) {
                    match columns.iter_mut().find(|(column, _)| same(column, name)) {
                        Some((_, sides)) => sides.push(right.clone()),
                        None => columns.push((name.clone(), vec![first.clone(), right.clone()])),
                    }
                }
            }
        }
        Ok((!columns.is_empty()).then_some(Self { columns, sides, depth: 0 }))
    }

    fn merged(&self, name: &Ident) -> Option<Expr> {
        let (column, sides) = self.columns.iter().find(|(column, _)| same(column, name))?;
        let part = |side: &Ident| {
            // Errors point at where the column is written.
            let side = Ident { span: name.span, ..side.clone() };
            Expr::CompoundIdentifier(vec![side, Ident { span: name.span, ..column.clone() }])
        };
        Some(call("coalesce", sides.iter().map(part)))
    }

    fn in_projection(&mut self, projection: &mut Vec<SelectItem>) {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection.drain(..) {
            match item {
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => match self.merged(&name) {
                    Some(expr) => items.push(SelectItem::ExprWithAlias { expr, alias: name }),
                    None => items.push(SelectItem::UnnamedExpr(Expr::Identifier(name))),
                },
                SelectItem::Wildcard(options) if is_plain(&options) => {
                    for (column, _) in &self.columns {
                        let expr = self.merged(column).unwrap_or_else(|| Expr::Identifier(column.clone()));
                        items.push(SelectItem::ExprWithAlias { expr, alias: column.clone() });
                    }
                    for side in &self.sides {
                        let hidden =
                            self.columns.iter().filter(|(_, sides)| sides.iter().any(|other| same(other, side)));
                        let hidden = hidden.map(|(column, _)| ObjectName::from(vec![column.clone()])).collect();
                        let exclude = Some(ExcludeSelectItem::Multiple(hidden));
                        let options = WildcardAdditionalOptions { opt_exclude: exclude, ..options.clone() };
                        let side = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![side.clone()]));
                        items.push(SelectItem::QualifiedWildcard(side, options));
                    }
                }
                SelectItem::UnnamedExpr(mut expr) => {
                    self.visit(&mut expr);
                    items.push(SelectItem::UnnamedExpr(expr));
                }
                SelectItem::ExprWithAlias { mut expr, alias } => {
                    self.visit(&mut expr);
                    items.push(SelectItem::ExprWithAlias { expr, alias });
                }
                other => items.push(other),
            }
        }
        *projection = items;
    }

    fn visit(&mut self, expr: &mut Expr) {
        _ = VisitMut::visit(expr, self);
    }
}

impl VisitorMut for Merged {
    type Break = ();

    // In a subquery the name may be another column.

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(name) = expr
            && let Some(merged) = self.merged(name)
        {
            *expr = merged;
        }
        ControlFlow::Continue(())
    }
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
}

/// The name by which a relation's columns are qualified.
fn name_of(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => last_part(name).cloned(),
        _ => None,
    }
}

fn last_part(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

fn same(one: &Ident, other: &Ident) -> bool {
    let folded = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    folded(one) == folded(other)
}
