//! The condition that an index of circles can serve: `haversine_km(a, b, $lat, $lon) <= $radius`, found in a plan.

use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::circle::Circle;
use super::pairs::number;
use tallgrass_view::incremental::source::LiveRelation;

/// The condition, by columns of the stream and parameters of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// Latitude and longitude, by their index in the stream's schema.
    pub columns: [usize; 2],
    /// Latitude, longitude and radius, from 0.
    pub params: [usize; 3],
    /// Whether every row inside is one row of the result, so that a count of the one is a count of the other.
    pub alone: bool,
}

impl Near {
    /// Looks through filters, projections and aliases from the top of a plan that is not optimized.
    pub fn of(plan: &LogicalPlan) -> Option<Self> {
        let (mut node, mut found, mut conditions) = (plan, None::<Self>, 0);
        loop {
            node = match node {
                LogicalPlan::Projection(projection) => &projection.input,
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Filter(filter) => {
                    for condition in split_conjunction(&filter.predicate) {
                        conditions += 1;
                        found = found.or_else(|| of_condition(condition, &filter.input));
                    }
                    &filter.input
                }
                LogicalPlan::TableScan(_) => {
                    return found.map(|near| Self { alone: conditions == 1, ..near });
                }
                // Below a join or a union other rules hold; what was found above it traces to no column of the stream.
                _ => return None,
            };
        }
    }

    /// The circle of a panel's values.
    pub fn circle(&self, values: &[ScalarValue]) -> Option<Circle> {
        let [lat, lon, radius] = self.params.map(|param| values.get(param).and_then(double));
        Circle::new(lat, lon, radius)
    }
}

fn double(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&datafusion::arrow::datatypes::DataType::Float64) {
        Ok(ScalarValue::Float64(value)) => value,
        _ => None,
    }
}

fn of_condition(condition: &Expr, input: &LogicalPlan) -> Option<Near> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (distance, radius) = match op {
        Operator::Lt | Operator::LtEq => (left, right),
        Operator::Gt | Operator::GtEq => (right, left),
        _ => return None,
    };
    let Expr::ScalarFunction(function) = distance.as_ref() else { return None };
    if function.name() != "haversine_km" {
        return None;
    }
    let [a, b, c, d] = function.args.as_slice() else { return None };
    let places = |lat: &Expr, lon: &Expr| match (lat, lon) {
        (Expr::Column(lat), Expr::Column(lon)) => Some([trace(input, lat)?, trace(input, lon)?]),
        _ => None,
    };
    let params = |lat: &Expr, lon: &Expr| Some([param(lat)?, param(lon)?]);
    let (columns, [lat, lon]) = match (places(a, b), params(c, d)) {
        (Some(columns), Some(params)) => (columns, params),
        _ => (places(c, d)?, params(a, b)?),
    };
    Some(Near { columns, params: [lat, lon, param(radius)?], alone: false })
}

fn param(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Placeholder(placeholder) => number(placeholder)?.checked_sub(1),
        _ => None,
    }
}

/// The stream's column that a column of a plan is.
fn trace(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    let mut index = plan.schema().maybe_index_of_column(column)?;
    let mut node = plan;
    loop {
        node = match node {
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Projection(projection) => {
                let mut expr = projection.expr.get(index)?;
                while let Expr::Alias(alias) = expr {
                    expr = &alias.expr;
                }
                let Expr::Column(column) = expr else { return None };
                index = projection.input.schema().maybe_index_of_column(column)?;
                &projection.input
            }
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source).ok()?;
                let provider: &dyn std::any::Any = provider.as_ref();
                let whole = scan.projection.is_none();
                return (whole && provider.is::<LiveRelation>()).then_some(index);
            }
            _ => return None,
        };
    }
}
