//! Analyzer rules: plans that would give wrong numbers, corrected before they are optimized.

mod checked;
mod lateral;
mod literals;
mod subqueries;
mod zeros;

use std::sync::Arc;

use datafusion::optimizer::analyzer::AnalyzerRule;

/// The rules of every session, in their order, after `DataFusion`'s own.
pub fn rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(lateral::LateralUnnest),
        Arc::new(literals::TimestampTexts),
        Arc::new(checked::CheckedArithmetic),
        Arc::new(subqueries::OneRowSubqueries),
        Arc::new(zeros::OneZero),
    ]
}
