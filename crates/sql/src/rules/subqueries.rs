//! Subqueries whose emptiness the optimizer misjudges.
//!
//! An aggregate without GROUP BY gives one row over no rows. Decorrelation turns it into a join with the groups that
//! exist, so `EXISTS (SELECT count(*) … WHERE t2.x = t1.x)` would be false where no row matches. `NOT IN` of a correlated
//! subquery becomes an anti join that ignores nulls, which are unknown to SQL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, Spans};
use datafusion::config::ConfigOptions;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, LogicalPlan, LogicalPlanBuilder, Operator, SkipType, Subquery, lit,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

/// Replaces them by expressions that mean the same and are planned right.
#[derive(Debug)]
pub(super) struct OneRowSubqueries;

impl AnalyzerRule for OneRowSubqueries {
    fn name(&self) -> &'static str {
        "one_row_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Filter(filter) => {
                    let predicate = null_aware(filter.predicate, &filter.input)?;
                    LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)
                }
                node => node,
            };
            node.map_expressions(|expr| expr.transform_up(|expr| Ok(Transformed::yes(of_one_row(expr)?))))
        });
        rewritten.map(|rewritten| rewritten.data)
    }
}

fn of_one_row(expr: Expr) -> Result<Expr> {
    Ok(match expr {
        Expr::Exists(Exists { subquery, negated }) => {
            if gives_one_row(&subquery.subquery) {
                return Ok(lit(!negated));
            }
            match having(&subquery.subquery) {
                Some(filter) => {
                    let holds = LogicalPlanBuilder::from(Arc::clone(&filter.input))
                        .project([filter.predicate.clone().alias("holds")])?
                        .build()?;
                    let holds = Expr::ScalarSubquery(Subquery { subquery: Arc::new(holds), ..subquery.clone() });
                    let exists = coalesce(vec![holds, lit(false)]);
                    if negated { Expr::Not(Box::new(exists)) } else { exists }
                }
                None => Expr::Exists(Exists { subquery, negated }),
            }
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if gives_one_row(&subquery.subquery) => {
            let operator = if negated { Operator::NotEq } else { Operator::Eq };
            Expr::BinaryExpr(BinaryExpr::new(expr, operator, Box::new(Expr::ScalarSubquery(subquery))))
        }
        expr => expr,
    })
}

/// Whether a plan gives exactly one row, whatever its input.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch != Some(0) && gives_one_row(&sort.input),
        LogicalPlan::EmptyRelation(relation) => relation.produce_one_row,
        LogicalPlan::Limit(limit) => {
            let some = matches!(limit.get_fetch_type(), Ok(FetchType::Literal(fetch)) if fetch != Some(0));
            some && matches!(limit.get_skip_type(), Ok(SkipType::Literal(0))) && gives_one_row(&limit.input)
        }
        _ => false,
    }
}

/// The HAVING of an aggregate without GROUP BY, which gives one row or none.
fn having(plan: &LogicalPlan) -> Option<&Filter> {
    match plan {
        LogicalPlan::Projection(projection) => having(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => having(&alias.input),
        LogicalPlan::Filter(filter) if gives_one_row(&filter.input) => Some(filter),
        _ => None,
    }
}

/// The predicate of a filter over `input`, in which a correlated `x NOT IN (…)` is `NOT EXISTS (… WHERE (y = x) IS NOT
/// FALSE)`. Under AND and OR alone, where unknown and false are alike.
fn null_aware(predicate: Expr, input: &LogicalPlan) -> Result<Expr> {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (null_aware(*left, input)?, null_aware(*right, input)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated: true })
            if !subquery.outer_ref_columns.is_empty() && !gives_one_row(&subquery.subquery) =>
        {
            let mut outer = subquery.outer_ref_columns.clone();
            let expr = expr.transform_up(|expr| {
                Ok(match expr {
                    Expr::Column(column) => {
                        let field = Arc::clone(input.schema().qualified_field_from_column(&column)?.1);
                        let reference = Expr::OuterReferenceColumn(field, column);
                        if !outer.contains(&reference) {
                            outer.push(reference.clone());
                        }
                        Transformed::yes(reference)
                    }
                    other => Transformed::no(other),
                })
            })?;
            let value = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
            let matches = Expr::IsNotFalse(Box::new(value.eq(expr.data)));
            let matching = LogicalPlan::Filter(Filter::try_new(matches, Arc::clone(&subquery.subquery))?);
            let subquery = Subquery { subquery: Arc::new(matching), outer_ref_columns: outer, spans: Spans::new() };
            Ok(Expr::Exists(Exists { subquery, negated: true }))
        }
        other => Ok(other),
    }
}
