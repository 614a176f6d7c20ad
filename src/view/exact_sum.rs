//! stub
use datafusion::logical_expr::AggregateUDF;
/// stub
pub fn functions() -> Vec<AggregateUDF> { Vec::new() }
