//! How exactly a view's columns can be compared with a replay.
//!
//! Counts, sums and averages are exact. A variance is not: it is computed in doubles by formulas whose last digits depend
//! on how the input was cut and merged. Whatever such a value flows into inherits that, so a column's tolerance is found
//! by following it down the plan.

use std::collections::BTreeMap;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

/// How far two results of one column may lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// Not by a bit.
    Exact,
    /// By this part of the larger of the two magnitudes.
    Relative(f64),
}

/// A few hundred roundings of doubles, which have 16 digits, with room for cancellation.
const ROUNDED: Tolerance = Tolerance::Relative(1e-9);

/// A percentile from a t-digest is right to about one percent of the *ranks*, and the digest depends on the order of
/// merging. What that is worth in values depends on their spread; five percent is a convention.
const SKETCHED: Tolerance = Tolerance::Relative(0.05);

impl Tolerance {
    /// What a function makes of exact input. `approx_distinct` is a maximum of registers, which knows no order.
    pub fn of_function(name: &str) -> Self {
        match name {
            "stddev" | "stddev_pop" | "var" | "var_pop" | "corr" | "covar_samp" | "covar_pop" => ROUNDED,
            "approx_percentile_cont" | "approx_percentile_cont_with_weight" | "approx_median" => SKETCHED,
            regression if regression.starts_with("regr_") => ROUNDED,
            _ => Self::Exact,
        }
    }

    /// The wider of the two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exact, wider) | (wider, Self::Exact) => wider,
            (Self::Relative(a), Self::Relative(b)) => Self::Relative(a.max(b)),
        }
    }

    /// Whether two values of a column are taken as equal.
    pub fn allows(self, a: f64, b: f64) -> bool {
        match self {
            // Infinities and NaN are as exact as ever: nothing can be near them.
            Self::Relative(part) if a.is_finite() && b.is_finite() => (a - b).abs() <= part * a.abs().max(b.abs()),
            _ => (a.is_nan() && b.is_nan()) || a.total_cmp(&b).is_eq(),
        }
    }
}

/// The columns that need not be the same to the bit, by their names.
pub type Tolerances = BTreeMap<String, Tolerance>;

/// How far the columns of a plan's result may differ from those of a replay.
///
/// It is about values. Which rows are there, where a condition or a GROUP BY asks such a value, it cannot say.
pub fn tolerances(plan: &LogicalPlan) -> Result<Tolerances> {
    let names = plan.schema().fields().iter().map(|field| field.name().clone());
    Ok(names.zip(tolerance(plan)?).filter(|(_, tolerance)| *tolerance != Tolerance::Exact).collect())
}

/// The tolerance of each column of a plan's result, optimized or not.
pub(crate) fn tolerance(plan: &LogicalPlan) -> Result<Vec<Tolerance>> {
    let inputs = plan.inputs().into_iter().map(tolerance).collect::<Result<Vec<_>>>()?;
    let below = Below { schemas: plan.inputs().into_iter().map(|input| input.schema().as_ref()).collect(), inputs };
    let width = plan.schema().fields().len();
    let mut columns = match plan {
        LogicalPlan::TableScan(scan) => match source_as_provider(&scan.source)?.get_logical_plan() {
            Some(view) => {
                let all = tolerance(&view)?;
                let column = |index: usize| scan.projection.as_ref().and_then(|columns| columns.get(index)).copied();
                (0..width).filter_map(|index| all.get(column(index).unwrap_or(index)).copied()).collect()
            }
            None => vec![Tolerance::Exact; width],
        },
        LogicalPlan::Projection(projection) => below.of_all(&projection.expr)?,
        LogicalPlan::Aggregate(aggregate) => {
            let groups = below.of_all(&aggregate.group_expr)?;
            // A key that is another changes what is in its group.
            let widest = groups.iter().copied().fold(Tolerance::Exact, Tolerance::or);
            let aggregates = below.of_all(&aggregate.aggr_expr)?.into_iter().map(|one| one.or(widest));
            match aggregate.group_expr.as_slice() {
                [Expr::GroupingSet(_)] => {
                    std::iter::repeat_n(widest, width - aggregate.aggr_expr.len()).chain(aggregates).collect()
                }
                _ => groups.into_iter().chain(aggregates).collect(),
            }
        }
        LogicalPlan::Window(window) => below.flat().chain(below.of_all(&window.window_expr)?).collect(),
        LogicalPlan::Unnest(unnest) => {
            let all: Vec<Tolerance> = below.flat().collect();
            unnest.dependency_indices.iter().filter_map(|index| all.get(*index).copied()).collect()
        }
        LogicalPlan::Union(_) => (0..width).map(|column| below.across(column)).collect(),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                below.inputs.last().cloned().unwrap_or_default()
            }
            _ => below.flat().take(width).collect(),
        },
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Repartition(_) => below.flat().collect(),
        LogicalPlan::Distinct(_) if below.flat().count() == width => below.flat().collect(),
        _ => vec![below.flat().fold(Tolerance::Exact, Tolerance::or); width],
    };
    // A mark join adds a column of its own.
    columns.resize(width, Tolerance::Exact);
    Ok(columns)
}

/// What is known of a node's inputs.
struct Below<'a> {
    schemas: Vec<&'a DFSchema>,
    inputs: Vec<Vec<Tolerance>>,
}

impl Below<'_> {
    fn flat(&self) -> impl Iterator<Item = Tolerance> {
        self.inputs.iter().flatten().copied()
    }

    /// The widest of one column of every input.
    fn across(&self, column: usize) -> Tolerance {
        let all = self.inputs.iter().filter_map(|input| input.get(column).copied());
        all.fold(Tolerance::Exact, Tolerance::or)
    }

    fn of_all(&self, exprs: &[Expr]) -> Result<Vec<Tolerance>> {
        exprs.iter().map(|expr| self.of(expr)).collect()
    }

    /// The widest of the columns, functions and subqueries in an expression.
    fn of(&self, expr: &Expr) -> Result<Tolerance> {
        let mut widest = Tolerance::Exact;
        expr.apply(|expr| {
            widest = widest.or(match expr {
                Expr::Column(column) => {
                    let found = self
                        .schemas
                        .iter()
                        .zip(&self.inputs)
                        .find_map(|(schema, input)| input.get(schema.maybe_index_of_column(column)?).copied());
                    found.unwrap_or(Tolerance::Exact)
                }
                Expr::AggregateFunction(function) => Tolerance::of_function(function.func.name()),
                Expr::WindowFunction(window) => Tolerance::of_function(window.fun.name()),
                Expr::ScalarSubquery(subquery) => {
                    tolerance(&subquery.subquery)?.into_iter().fold(Tolerance::Exact, Tolerance::or)
                }
                _ => Tolerance::Exact,
            });
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(widest)
    }
}
