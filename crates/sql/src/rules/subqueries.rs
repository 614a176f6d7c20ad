//! Subqueries whose emptiness the optimizer misjudges.
//!
//! An aggregate without GROUP BY gives one row over no rows. Decorrelation turns it into a join with the groups that
//! exist, so `EXISTS (SELECT count(*) … WHERE t2.x = t1.x)` would be false where no row matches. `NOT IN` of a correlated
//! subquery becomes an anti join that ignores nulls, which are unknown to SQL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, Spans};
use datafusion::config::ConfigOptions;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, LogicalPlan, LogicalPlanBuilder, Operator, SkipType, Subquery, lit, when,
};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;

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
            // The optimizer plans what a filter asks for as joins, and leaves subqueries in any other place.
            let is_filter = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            let names = NamePreserver::new(&node);
            let inputs = merge_schema(&node.inputs());
            let rewritten = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| {
                    let asks = matches!(expr, Expr::Exists(_) | Expr::InSubquery(_));
                    let expr = of_one_row(expr)?;
                    let expr = if is_filter { expr } else { counted(expr, &inputs)? };
                    Ok(Transformed::new_transformed(expr, asks))
                })?;
                Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
            })?;
            if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
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

/// `EXISTS` and `IN` as comparisons of counts, each a scalar subquery.
fn counted(expr: Expr, inputs: &DFSchema) -> Result<Expr> {
    let count_of = |subquery: &Subquery, matches: Option<Expr>, outer: &[Expr]| -> Result<Expr> {
        let mut rows = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery));
        if let Some(matches) = matches {
            rows = rows.filter(matches)?;
        }
        let counted = rows.aggregate(Vec::<Expr>::new(), vec![count_all().alias("rows")])?.build()?;
        let outer_ref_columns = outer.to_vec();
        let subquery = Subquery { subquery: Arc::new(counted), outer_ref_columns, spans: Spans::new() };
        Ok(Expr::ScalarSubquery(subquery).gt(lit(0_i64)))
    };
    match expr {
        Expr::Exists(Exists { subquery, negated }) => {
            let exists = count_of(&subquery, None, &subquery.outer_ref_columns)?;
            Ok(if negated { Expr::Not(Box::new(exists)) } else { exists })
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let (outer_expr, outer) = as_outer((*expr).clone(), &subquery, inputs)?;
            let value = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
            // Of no rows IN is false; else it is unknown where nothing equals the value but something may.
            let any = count_of(&subquery, None, &subquery.outer_ref_columns)?;
            let unknown = count_of(&subquery, Some(value.clone().is_null()), &subquery.outer_ref_columns)?;
            let found = count_of(&subquery, Some(value.eq(outer_expr)), &outer)?;
            let is_in = when(Expr::Not(Box::new(any)), lit(false))
                .when(expr.is_null(), lit(ScalarValue::Boolean(None)))
                .when(found, lit(true))
                .when(unknown, lit(ScalarValue::Boolean(None)))
                .otherwise(lit(false))?;
            Ok(if negated { Expr::Not(Box::new(is_in)) } else { is_in })
        }
        expr => Ok(expr),
    }
}

/// An expression over the outer query's columns as a subquery refers to them, and all of its references.
fn as_outer(expr: Expr, subquery: &Subquery, outer_schema: &DFSchema) -> Result<(Expr, Vec<Expr>)> {
    let mut outer = subquery.outer_ref_columns.clone();
    let expr = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => {
                let field = Arc::clone(outer_schema.qualified_field_from_column(&column)?.1);
                let reference = Expr::OuterReferenceColumn(field, column);
                if !outer.contains(&reference) {
                    outer.push(reference.clone());
                }
                Transformed::yes(reference)
            }
            other => Transformed::no(other),
        })
    })?;
    Ok((expr.data, outer))
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
            let (expr, outer) = as_outer(*expr, &subquery, input.schema())?;
            let value = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
            let matches = Expr::IsNotFalse(Box::new(value.eq(expr)));
            let matching = LogicalPlan::Filter(Filter::try_new(matches, Arc::clone(&subquery.subquery))?);
            let subquery = Subquery { subquery: Arc::new(matching), outer_ref_columns: outer, spans: Spans::new() };
            Ok(Expr::Exists(Exists { subquery, negated: true }))
        }
        other => Ok(other),
    }
}
