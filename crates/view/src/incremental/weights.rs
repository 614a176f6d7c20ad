//! Aggregates under retractions, maintained by weights.
//!
//! A row of a keyed table is retracted when its key is updated or deleted. An aggregate is **linear** when its partial
//! state over some rows, negated, cancels them: counts and sums are, `min` is not. Where all aggregates of a node are,
//! its state is a sum over signed rows, and a refresh costs as much as there are groups, not keys.
//!
//! Two things are lost in such a sum, and are restored by counting, with hidden aggregates:
//!
//! ```text
//!  SELECT k, sum(n) FROM t GROUP BY k
//!
//!    Projection  k, CASE WHEN c1 <> 0 THEN sum(n)    a sum over no values left is null, not 0     ─ residual plan
//!    Filter      c2 <> 0                             a group without rows does not exist
//!  ── ── slot ── ──
//!    Aggregate   k │ sum(n), count(n) = c1, count(*) = c2                                         ─ reducer
//! ```
//!
//! Where the query already counts the same, that count is used.
//!
//! # Contract
//! [`rewrite`] gives a node that only has linear aggregates, and [`Weighted::read`] restores the schema of the original
//! exactly: names, qualifiers, types. Without a GROUP BY there is always one row, as there is over an empty table.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchemaRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::{Count, count_udaf};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, lit, when};

use crate::incremental::cut::{scan_slot, slot_column};
use tallgrass_exact_sum::{ExactKind, exact_kind};

/// An aggregate over signed rows, and how its result becomes the original's.
#[derive(Debug)]
pub struct Weighted {
    /// The original with its hidden counts after the other columns.
    pub plan: LogicalPlan,
    original: DFSchemaRef,
    /// Column of the count of a group's rows, where there are groups.
    rows: Option<usize>,
    /// For each column of the original, the column of the count that must not be zero for it to have a value.
    values: Vec<Option<usize>>,
}

/// The aggregate over signed rows; `None` where one of its functions is not linear, or there are grouping sets.
pub fn rewrite(aggregate: &Aggregate) -> Result<Option<Weighted>> {
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Ok(None);
    }
    let groups = aggregate.group_expr.len();
    let mut hidden = Hidden { aggregates: aggregate.aggr_expr.clone(), visible: aggregate.aggr_expr.len() };
    let mut values = vec![None; groups];
    for expr in &aggregate.aggr_expr {
        values.push(match linear(expr, aggregate)? {
            None => return Ok(None),
            Some(Linear::Whole) => None,
            Some(Linear::NeedsCount(count)) => Some(groups + hidden.index_of(count)),
        });
    }
    let rows = (groups > 0).then(|| groups + hidden.index_of(count(vec![lit(COUNT_STAR_EXPANSION)], None)));
    let plan = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), hidden.aggregates)?;
    Ok(Some(Weighted { plan: LogicalPlan::Aggregate(plan), original: Arc::clone(&aggregate.schema), rows, values }))
}

impl Weighted {
    /// Reads the slot that holds [`Self::plan`] as the original aggregate.
    pub fn read(&self, slot: &Arc<str>) -> Result<LogicalPlan> {
        let column = |index: usize| Expr::Column(Column::new(Some(slot.as_ref()), slot_column(index)));
        let exists = |count: usize| column(count).not_eq(lit(0_i64));
        let mut plan = scan_slot(slot, self.plan.schema())?;
        if let Some(rows) = self.rows {
            plan = plan.filter(exists(rows))?;
        }
        let columns = self.original.iter().zip(&self.values).enumerate().map(|(index, ((qualifier, field), count))| {
            let value = match count {
                Some(count) => when(exists(*count), column(index)).end()?,
                None => column(index),
            };
            Ok(value.alias_qualified(qualifier.cloned(), field.name()))
        });
        plan.project(columns.collect::<Result<Vec<_>>>()?)?.build()
    }
}

/// The query's own aggregates, followed by hidden ones.
struct Hidden {
    aggregates: Vec<Expr>,
    visible: usize,
}

impl Hidden {
    /// The column of `count`, which is added where it is missing.
    fn index_of(&mut self, count: Expr) -> usize {
        let found = self.aggregates.iter().position(|known| *unaliased(known) == count);
        found.unwrap_or_else(|| {
            let index = self.aggregates.len();
            self.aggregates.push(count.alias(format!("__count_{}", index - self.visible)));
            index
        })
    }
}

/// What a linear aggregate needs besides its own state.
enum Linear {
    /// Nothing: its state has the number of its values.
    Whole,
    /// A count of its values.
    NeedsCount(Expr),
}

/// Whether a retraction exactly cancels an insertion in this aggregate, and what it needs for that.
fn linear(expr: &Expr, aggregate: &Aggregate) -> Result<Option<Linear>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else { return Ok(None) };
    let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment: _ } = params;
    if *distinct || !order_by.is_empty() {
        return Ok(None);
    }
    if func.inner().is::<Count>() {
        return Ok(Some(Linear::Whole));
    }
    let [argument] = args.as_slice() else { return Ok(None) };
    let kind = exact_kind(func).or_else(|| func.inner().is::<Sum>().then_some(ExactKind::Sum));
    Ok(match (kind, argument.get_type(aggregate.input.schema())?) {
        // Doubles are only linear where they sum exactly.
        (Some(_), DataType::Float64) => exact_kind(func).map(|_| Linear::Whole),
        (
            Some(ExactKind::Sum),
            DataType::Int64
            | DataType::UInt64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..),
        ) => Some(Linear::NeedsCount(count(args.clone(), filter.clone()))),
        _ => None,
    })
}

/// The name of an aggregate that cannot retract, for a reader.
pub(super) fn not_linear(expr: &Expr, aggregate: &Aggregate) -> Option<String> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else { return None };
    match linear(expr, aggregate) {
        Ok(Some(_)) => None,
        _ if params.distinct => Some(format!("{}(DISTINCT)", func.name())),
        _ => Some(func.name().to_owned()),
    }
}

fn count(args: Vec<Expr>, filter: Option<Box<Expr>>) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(count_udaf(), args, false, filter, Vec::new(), None))
}

pub(crate) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
