//! One zero: `count(DISTINCT x)` of doubles counts 0.0 and −0.0, which are equal, once.
//!
//! Grouping and joining fold the zeros together, the accumulators of distinct doubles compare bits. Adding 0.0 to an
//! argument makes −0.0 a 0.0 and changes nothing else.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;

/// Functions whose accumulators compare bits.
const OF_BITS: [&str; 3] = ["count", "array_agg", "approx_distinct"];

/// Adds 0.0 to the arguments of distinct aggregates of doubles.
#[derive(Debug)]
pub(super) struct OneZero;

impl AnalyzerRule for OneZero {
    fn name(&self) -> &'static str {
        "one_zero"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_)) {
                return Ok(Transformed::no(node));
            }
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            let rewritten = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| {
                    let Expr::AggregateFunction(mut function) = expr else { return Ok(Transformed::no(expr)) };
                    let by_bits = function.params.distinct || function.func.name() == "approx_distinct";
                    if !by_bits || !OF_BITS.contains(&function.func.name()) {
                        return Ok(Transformed::no(Expr::AggregateFunction(function)));
                    }
                    let mut changed = false;
                    for arg in &mut function.params.args {
                        let zero = match arg.get_type(&schema)? {
                            DataType::Float64 => lit(0.0_f64),
                            DataType::Float32 => lit(0.0_f32),
                            _ => continue,
                        };
                        *arg = std::mem::take(arg) + zero;
                        changed = true;
                    }
                    Ok(Transformed::new_transformed(Expr::AggregateFunction(function), changed))
                })?;
                Ok(rewritten.update_data(|expr| name.restore(expr)))
            })?;
            rewritten.map_data(LogicalPlan::recompute_schema)
        });
        rewritten.map(|rewritten| rewritten.data)
    }
}
