//! `FROM o CROSS JOIN UNNEST(o.items)`: a relation beside the items of its own rows.
//!
//! The planner makes a join with a correlated subquery over no relation, which nothing executes. It is what unnesting the
//! outer relation itself gives, so the subquery's operators go on top of that relation.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, NullHandling, Result};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Subquery, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

/// Replaces such joins.
#[derive(Debug)]
pub(super) struct LateralUnnest;

impl AnalyzerRule for LateralUnnest {
    fn name(&self) -> &'static str {
        "lateral_unnest"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
            Ok(match unnested(join)? {
                Some(plan) => Transformed::yes(plan),
                None => Transformed::no(node),
            })
        });
        rewritten.map(|rewritten| rewritten.data)
    }
}

fn unnested(join: &Join) -> Result<Option<LogicalPlan>> {
    let outer = match join.join_type {
        JoinType::Inner => false,
        // A condition on the items would have to keep rows without any.
        JoinType::Left if join.on.is_empty() && join.filter.as_ref().is_none_or(|filter| *filter == lit(true)) => true,
        _ => return Ok(None),
    };
    let subquery = match &*join.right {
        LogicalPlan::SubqueryAlias(alias) => &alias.input,
        _ => &join.right,
    };
    let LogicalPlan::Subquery(Subquery { subquery, .. }) = &**subquery else { return Ok(None) };
    let Some(plan) = on_top_of(subquery, &join.left, outer)? else { return Ok(None) };
    // The items' columns are the last ones, under the names of the join's own.
    let items = join.right.schema();
    let below = plan.schema().fields().len() - items.fields().len();
    let columns = plan.schema().columns();
    let left = columns[..join.left.schema().fields().len()].iter().cloned().map(Expr::Column);
    let right = columns[below..].iter().zip(items.iter()).map(|(column, (qualifier, field))| {
        Expr::Column(column.clone()).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = left.chain(right).collect();
    let mut plan = LogicalPlanBuilder::from(plan).project(columns)?;
    if !outer {
        let on = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        for condition in on.chain(join.filter.clone()) {
            plan = plan.filter(condition)?;
        }
    }
    plan.build().map(Some)
}

/// A subquery over no relation, on top of a relation whose columns come first; `None` where it has other operators.
fn on_top_of(subquery: &LogicalPlan, relation: &Arc<LogicalPlan>, outer: bool) -> Result<Option<LogicalPlan>> {
    let kept = || relation.schema().columns().into_iter().map(Expr::Column);
    match subquery {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(Some(relation.as_ref().clone())),
        LogicalPlan::Projection(projection) => {
            let Some(input) = on_top_of(&projection.input, relation, outer)? else { return Ok(None) };
            let mut exprs: Vec<Expr> = kept().collect();
            for expr in &projection.expr {
                exprs.push(of_relation(expr.clone())?);
            }
            LogicalPlanBuilder::from(input).project(exprs)?.build().map(Some)
        }
        LogicalPlan::Unnest(unnest) => {
            let Some(input) = on_top_of(&unnest.input, relation, outer)? else { return Ok(None) };
            let columns: Vec<Column> = unnest.exec_columns.clone();
            let null_handling = if outer { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
            let options = unnest.options.clone().with_null_handling(null_handling);
            LogicalPlanBuilder::from(input).unnest_columns_with_options(columns, options)?.build().map(Some)
        }
        LogicalPlan::Filter(filter) if !outer => {
            let Some(input) = on_top_of(&filter.input, relation, outer)? else { return Ok(None) };
            LogicalPlanBuilder::from(input).filter(of_relation(filter.predicate.clone())?)?.build().map(Some)
        }
        _ => Ok(None),
    }
}

/// References to the outer query's columns are to the relation's own now.
fn of_relation(expr: Expr) -> Result<Expr> {
    let expr = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    });
    expr.map(|expr| expr.data)
}
