//! What no replay could repeat, and is therefore refused: functions of chance, and of the order of reading.
//!
//! Events of several partitions are read in no order of their own. A function that takes the first of what it is given
//! would say one thing live and another in a replay, and neither would be wrong.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility, WindowFrame};

/// Aggregates whose result is in, or depends on, the order of their input.
const IN_ORDER: [&str; 6] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value", "any_value"];

/// Window functions that number or pick rows by their order.
const OF_ORDERED_WINDOWS: [&str; 4] = ["row_number", "lag", "lead", "ntile"];

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
    #[error("{function}() without an ORDER BY inside depends on the order of reading, in which live and replay differ")]
    Unordered {
        /// Its name.
        function: String,
    },
    /// A window function that depends on an order which is not named.
    #[error(
        "{function}() over a window without ORDER BY depends on the order of reading, in which live and replay differ"
    )]
    UnorderedWindow {
        /// Its name.
        function: String,
    },
    /// DISTINCT ON without ORDER BY.
    #[error("DISTINCT ON without ORDER BY takes whichever row was read first, in which live and replay differ")]
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
                Some("say which: min(…), or first_value(… ORDER BY _partition, _offset)".to_owned())
            }
            Self::Unordered { function } => {
                Some(format!("name the order: {function}(… ORDER BY …), of events by _timestamp, _partition, _offset"))
            }
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
        Expr::AggregateFunction(AggregateFunction { func, params })
            if params.order_by.is_empty() && IN_ORDER.contains(&func.name()) =>
        {
            Some(Refusal::Unordered { function: func.name().to_owned() })
        }
        Expr::WindowFunction(window) => of_window(window),
        _ => None,
    }
}

fn of_window(window: &WindowFunction) -> Option<Refusal> {
    let (name, params) = (window.fun.name(), &window.params);
    let picks = IN_ORDER.contains(&name) || OF_ORDERED_WINDOWS.contains(&name);
    let by_order = picks || params.window_frame != WindowFrame::new(None);
    (params.order_by.is_empty() && by_order).then(|| Refusal::UnorderedWindow { function: name.to_owned() })
}

/// Whether an expression itself gives another value each time.
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(ScalarFunction { func, .. }) if func.signature().volatility == Volatility::Volatile)
}
