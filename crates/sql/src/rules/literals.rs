//! `at > '2026-01-01 10:00'`: texts that are compared with times are read as they are in records.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;
use tallgrass_decode::standard_timestamp;

/// Brings constant texts into the form that casts to TIMESTAMP read.
#[derive(Debug)]
pub(super) struct TimestampTexts;

impl AnalyzerRule for TimestampTexts {
    fn name(&self) -> &'static str {
        "timestamp_texts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let rewritten = expr.transform_up(|expr| {
                    let Expr::Cast(mut cast) = expr else { return Ok(Transformed::no(expr)) };
                    let text = match &*cast.expr {
                        Expr::Literal(
                            ScalarValue::Utf8(Some(text))
                            | ScalarValue::Utf8View(Some(text))
                            | ScalarValue::LargeUtf8(Some(text)),
                            _,
                        ) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => standard_timestamp(text),
                        _ => None,
                    };
                    let changed = text.is_some();
                    if let Some(text) = text {
                        cast.expr = Box::new(lit(text));
                    }
                    Ok(Transformed::new_transformed(Expr::Cast(cast), changed))
                })?;
                Ok(if rewritten.transformed { rewritten.update_data(|expr| name.restore(expr)) } else { rewritten })
            })
        });
        rewritten.map(|rewritten| rewritten.data)
    }
}
