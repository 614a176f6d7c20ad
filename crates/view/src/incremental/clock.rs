//! `now()` in a live view: the moment of the refresh, not of the planning.
//!
//! DataFusion folds `now()` into a constant while it optimizes. A view is optimized once and refreshed for hours, so
//! its `now()` becomes a parameter first, and each refresh binds it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};

const NOW: &str = "$__now";

fn now_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))
}

fn now() -> Expr {
    Expr::Placeholder(Placeholder::new_with_field(NOW.to_owned(), Some(Arc::new(Field::new(NOW, now_type(), false)))))
}

/// Whether an expression is the parameter that replaces `now()`.
pub fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(placeholder) if placeholder.id == NOW)
}

/// Replaces `now()`, `current_date` and `current_time` by the parameter.
pub fn lift(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let names = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let lifted = expr.transform_up(|expr| {
                let Expr::ScalarFunction(function) = &expr else { return Ok(Transformed::no(expr)) };
                Ok(match function.name() {
                    "now" => Transformed::yes(now()),
                    "current_date" => Transformed::yes(Expr::Cast(Cast::new(Box::new(now()), DataType::Date32))),
                    "current_time" => {
                        Transformed::yes(Expr::Cast(Cast::new(Box::new(now()), DataType::Time64(TimeUnit::Nanosecond))))
                    }
                    _ => Transformed::no(expr),
                })
            })?;
            Ok(lifted.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

/// Whether a plan depends on the moment, anywhere.
pub fn asks_for_now(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(is_now(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// A plan at one moment, in nanoseconds since 1970 UTC: the replay of a live result uses that result's moment, not its own.
pub fn at(plan: LogicalPlan, nanoseconds: i64) -> Result<LogicalPlan> {
    bind(lift(plan)?, nanoseconds)
}

/// The current moment, in nanoseconds since 1970 UTC.
pub fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// Binds the moment, in nanoseconds since 1970 UTC.
pub fn bind(plan: LogicalPlan, nanoseconds: i64) -> Result<LogicalPlan> {
    let value = ScalarValue::TimestampNanosecond(Some(nanoseconds), Some("+00:00".into()));
    let values = ParamValues::from(std::collections::HashMap::from([(NOW.trim_start_matches('$').to_owned(), value)]));
    plan.replace_params_with_values(&values)
}
