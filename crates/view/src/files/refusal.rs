//! What no replay could repeat, and is therefore refused: functions of chance, and of an order that rows do not have.
//!
//! A function that takes the first of what it is given, without an order, goes by the log's ([`log_order`](tallgrass_sql::log_order)). Rows that are
//! not records, as after GROUP BY, have no place in the log: it would say one thing live and another in a replay, and
//! neither would be wrong.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility};
use tallgrass_sql::log_order::{is_unordered_aggregate, is_unordered_window};

/// Why a view cannot be exact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A function that gives another value each time.
    #[error("{function}() gives another value each time, so no replay could give the same numbers")]
    Volatile {
        /// Its name.
        function: String,
    },
    /// An aggregate that depends on an order which is not named.
    #[error("{function}() without an ORDER BY inside: these rows are not records, so they have no order of their own")]
    Unordered {
        /// Its name.
        function: String,
    },
    /// A window function that depends on an order which is not named.
    #[error(
        "{function}() over a window without ORDER BY: these rows are not records, so they have no order of their own"
    )]
    UnorderedWindow {
        /// Its name.
        function: String,
    },
    /// DISTINCT ON without ORDER BY.
    #[error("DISTINCT ON without ORDER BY: these rows are not records, so none of them is the first")]
    DistinctOn,
}

impl Refusal {
    /// The function that is refused.
    pub fn function(&self) -> Option<&str> {
        match self {
            Self::Volatile { function } | Self::Unordered { function } | Self::UnorderedWindow { function } => {
                Some(function)
            }
            Self::DistinctOn => None,
        }
    }

    /// A way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Volatile { .. } => None,
            Self::Unordered { function } if function == "any_value" => {
                Some("say which: min(…), or first_value(… ORDER BY …)".to_owned())
            }
            Self::Unordered { function } => Some(format!("name the order: {function}(… ORDER BY …)")),
            Self::UnorderedWindow { .. } => Some("name the order: OVER (… ORDER BY …)".to_owned()),
            Self::DistinctOn => Some("add an ORDER BY that begins with the columns of DISTINCT ON".to_owned()),
        }
    }
}

/// The first reason to refuse a plan, if there is any. Whatever is refused in a plan is in the optimized one too.
pub fn refusal(plan: &LogicalPlan) -> Result<Option<Refusal>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Distinct(Distinct::On(on)) = node
            && on.sort_expr.is_none()
        {
            found.get_or_insert(Refusal::DistinctOn);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if found.is_none() {
                    found = of_expr(expr);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn of_expr(expr: &Expr) -> Option<Refusal> {
    match expr {
        Expr::ScalarFunction(function) if is_volatile(expr) => {
            Some(Refusal::Volatile { function: function.name().to_owned() })
        }
        Expr::AggregateFunction(aggregate) if is_unordered_aggregate(aggregate) => {
            Some(Refusal::Unordered { function: aggregate.func.name().to_owned() })
        }
        Expr::WindowFunction(window) if is_unordered_window(window) => {
            Some(Refusal::UnorderedWindow { function: window.fun.name().to_owned() })
        }
        _ => None,
    }
}

/// Whether an expression itself gives another value each time.
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(ScalarFunction { func, .. }) if func.signature().volatility == Volatility::Volatile)
}
