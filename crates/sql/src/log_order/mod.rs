//! An order that nobody named is the log's: `_partition`, then `_offset`.
//!
//! `array_agg(x)`, `first_value(x)`, `row_number() OVER ()`, `DISTINCT ON (k)` and their like depend on the order of their
//! rows. Events of several partitions are read in no order of their own, but wherever a row can still be traced to its
//! record, the record's coordinates are an order that every execution shares. So the plan names it:
//!
//! ```text
//!  array_agg(x)         →  array_agg(x ORDER BY _partition, _offset)
//!  row_number() OVER () →  row_number() OVER (ORDER BY _partition, _offset)
//!  DISTINCT ON (k)      →  DISTINCT ON (k) … ORDER BY k, _partition, _offset
//! ```
//!
//! Of a join it is the order of all its inputs, as they stand in FROM; a subquery's ORDER BY comes first ([`trace`]).
//!
//! Where the rows are no records, as after GROUP BY or DISTINCT, nothing is named, and a view is refused for it. There, a
//! list whose order cannot show is sorted by its values: `array_agg(DISTINCT x)`, which `PostgreSQL` sorts as well, and
//! `array_sort(array_agg(x))`.
//!
//! # Contract
//! Every node has the columns that it had, of the same names and types, besides those that an operator above asks for.
//! What has a named order stays as it is.

mod trace;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, LogicalPlan, Projection, SortExpr, Window, WindowFrame, WindowFrameBound,
    WindowFrameUnits,
};
use tallgrass_relation::Catalog;

use self::trace::{Traced, Tracer, each_once};

/// Aggregates whose result is in, or depends on, the order of their input.
pub const IN_ORDER: [&str; 6] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value", "any_value"];

/// Window functions that number or pick rows by their order.
pub const OF_ORDERED_WINDOWS: [&str; 4] = ["row_number", "lag", "lead", "ntile"];

/// Aggregates that cannot sort by themselves: their input is sorted for them.
const SORTED_OUTSIDE: [&str; 2] = ["string_agg", "nth_value"];

/// Functions of a list that give the same whatever its order.
const OF_BAGS: [&str; 6] = ["array_sort", "array_length", "cardinality", "array_max", "array_min", "array_has"];

/// Whether a plan has anything that depends on an order which is not named.
pub fn needs_order(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Distinct(Distinct::On(on)) if on.sort_expr.is_none());
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(is_unordered(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The plan, with the order of the log wherever one is needed, none is named, and rows have it.
pub fn in_log_order(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let Some(catalog) = state.config().get_extension::<Catalog>() else { return Ok(plan) };
    let mut tracer = Tracer::new(&catalog, state);
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(is_unordered) => {
            of_aggregate(state, &mut tracer, aggregate)
        }
        LogicalPlan::Window(window) if window.window_expr.iter().any(is_unordered) => of_window(&mut tracer, window),
        LogicalPlan::Distinct(Distinct::On(on)) if on.sort_expr.is_none() => of_distinct(&mut tracer, on),
        LogicalPlan::Projection(projection) => of_bags(projection),
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

/// Whether an aggregate depends on an order that is not named.
pub fn is_unordered_aggregate(function: &AggregateFunction) -> bool {
    function.params.order_by.is_empty() && IN_ORDER.contains(&function.func.name())
}

/// Whether a window function depends on an order that is not named.
pub fn is_unordered_window(window: &WindowFunction) -> bool {
    let (name, params) = (window.fun.name(), &window.params);
    let picks = IN_ORDER.contains(&name) || OF_ORDERED_WINDOWS.contains(&name);
    // For RANGE without ORDER BY, all rows are equal: the planner says so by a constant.
    let equal = params.order_by.iter().all(|key| matches!(key.expr, Expr::Literal(..)));
    equal && (picks || (params.order_by.is_empty() && params.window_frame != WindowFrame::new(None)))
}

/// Whether a frame is the whole partition where all rows are equal.
fn is_whole_of_equals(frame: &WindowFrame) -> bool {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let starts =
        matches!(&frame.start_bound, CurrentRow) || matches!(&frame.start_bound, Preceding(far) if far.is_null());
    let ends = matches!(&frame.end_bound, CurrentRow) || matches!(&frame.end_bound, Following(far) if far.is_null());
    starts && ends
}

fn is_unordered(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_unordered(&alias.expr),
        Expr::AggregateFunction(function) => is_unordered_aggregate(function),
        Expr::WindowFunction(window) => is_unordered_window(window),
        _ => false,
    }
}

/// Whether the log's order can be named for a window: not where a frame counts groups of equal rows.
fn is_orderable(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_orderable(&alias.expr),
        Expr::WindowFunction(window) => {
            let frame = &window.params.window_frame;
            is_unordered_window(window) && (frame.units == WindowFrameUnits::Rows || is_whole_of_equals(frame))
        }
        _ => false,
    }
}

/// Changes expressions, under the names that they had.
fn renamed(
    node: &LogicalPlan,
    exprs: &[Expr],
    mut change: impl FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Vec<Expr>> {
    let names = NamePreserver::new(node);
    let one = |expr: &Expr| -> Result<Expr> {
        let name = names.save(expr);
        let changed = expr.clone().transform_down(&mut change)?;
        Ok(if changed.transformed { name.restore(changed.data) } else { changed.data })
    };
    exprs.iter().map(one).collect()
}

/// The order that an aggregate goes by: the values', where only they can be sorted by, else that of its rows.
fn wanted(function: &AggregateFunction, order: &[SortExpr]) -> Vec<SortExpr> {
    if function.params.distinct { by_value(function) } else { order.to_vec() }
}

fn is_sorted_outside(function: &AggregateFunction) -> bool {
    SORTED_OUTSIDE.contains(&function.func.name()) && !function.params.order_by.is_empty()
}

fn by_value(function: &AggregateFunction) -> Vec<SortExpr> {
    function.params.args.first().map(|value| value.clone().sort(true, false)).into_iter().collect()
}

fn ordered_window(mut window: WindowFunction, order: &[SortExpr]) -> WindowFunction {
    let params = &mut window.params;
    if params.window_frame.units != WindowFrameUnits::Rows {
        // All rows were equal, and the frame was all of them.
        params.window_frame = WindowFrame::new(None);
    }
    params.order_by = order.to_vec();
    window
}

fn of_aggregate(
    state: &SessionState,
    tracer: &mut Tracer<'_>,
    aggregate: Aggregate,
) -> Result<Transformed<LogicalPlan>> {
    let traced = tracer.order_of(&aggregate.input)?;
    let order = traced.as_ref().map(|traced| traced.order.as_slice()).unwrap_or_default();
    let node = LogicalPlan::Aggregate(aggregate.clone());
    // DataFusion has one order for all of these in a node.
    let mut sorted_by = find_aggregate_exprs(&aggregate.aggr_expr).into_iter().find_map(|expr| match expr {
        Expr::AggregateFunction(function) if is_sorted_outside(&function) => Some(function.params.order_by),
        _ => None,
    });
    let exprs = renamed(&node, &aggregate.aggr_expr, |expr| {
        let Expr::AggregateFunction(mut function) = expr else { return Ok(Transformed::no(expr)) };
        if !is_unordered_aggregate(&function) {
            return Ok(Transformed::no(Expr::AggregateFunction(function)));
        }
        let order_by = wanted(&function, order);
        if order_by.is_empty()
            || (SORTED_OUTSIDE.contains(&function.func.name())
                && *sorted_by.get_or_insert_with(|| order_by.clone()) != order_by)
        {
            return Ok(Transformed::no(Expr::AggregateFunction(function)));
        }
        if function.func.name() == "any_value" {
            function.func = state.udaf("first_value")?;
            function.params.null_treatment = Some(NullTreatment::IgnoreNulls);
        }
        function.params.order_by = order_by;
        Ok(Transformed::new(Expr::AggregateFunction(function), true, TreeNodeRecursion::Jump))
    })?;
    let input = traced.as_ref().map_or(aggregate.input, |traced| traced.plan.clone().into());
    Aggregate::try_new(input, aggregate.group_expr, exprs).map(LogicalPlan::Aggregate).map(Transformed::yes)
}

fn of_window(tracer: &mut Tracer<'_>, window: Window) -> Result<Transformed<LogicalPlan>> {
    let Some(Traced { plan, order }) = tracer.order_of(&window.input)? else {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    };
    // All functions of a node have one order, so the others need a node of their own.
    let (unordered, others): (Vec<Expr>, Vec<Expr>) = window.window_expr.iter().cloned().partition(is_orderable);
    let node = LogicalPlan::Window(window);
    let exprs = renamed(&node, &unordered, |expr| match expr {
        Expr::WindowFunction(window) => {
            let window = Expr::from(ordered_window(*window, &order));
            Ok(Transformed::new(window, true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let below = if others.is_empty() { plan } else { LogicalPlan::Window(Window::try_new(others, plan.into())?) };
    Window::try_new(exprs, below.into()).map(LogicalPlan::Window).map(Transformed::yes)
}

fn of_distinct(tracer: &mut Tracer<'_>, on: DistinctOn) -> Result<Transformed<LogicalPlan>> {
    let Some(Traced { plan, order }) = tracer.order_of(&on.input)? else {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(on))));
    };
    let keys = on.on_expr.iter().map(|key| key.clone().sort(true, false));
    let order = each_once(keys.chain(order));
    let on = DistinctOn::try_new(on.on_expr.clone(), on.select_expr, Some(order), plan.into())?;
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(on))))
}

/// Sorts lists whose order cannot show by their values, where rows have no order.
fn of_bags(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let unchanged = |projection| Ok(Transformed::no(LogicalPlan::Projection(projection)));
    let LogicalPlan::Aggregate(aggregate) = projection.input.as_ref() else { return unchanged(projection) };
    let is_list = |expr: &Expr| match expr {
        Expr::AggregateFunction(function) => function.func.name() == "array_agg" && is_unordered_aggregate(function),
        _ => false,
    };
    if !aggregate.aggr_expr.iter().any(is_list) {
        return unchanged(projection);
    }
    let shown = shown_in_order(&projection.expr)?;
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let sorted = |(index, expr): (usize, &Expr)| match expr {
        Expr::AggregateFunction(function)
            if is_list(expr) && !shown.contains(&column(&aggregate.schema, groups + index)) =>
        {
            let mut function = function.clone();
            function.params.order_by = by_value(&function);
            let (relation, name) = expr.qualified_name();
            Expr::AggregateFunction(function).alias_qualified(relation, name)
        }
        other => other.clone(),
    };
    let exprs: Vec<Expr> = aggregate.aggr_expr.iter().enumerate().map(sorted).collect();
    if exprs == aggregate.aggr_expr {
        return unchanged(projection);
    }
    let input = Aggregate::try_new(aggregate.input.clone(), aggregate.group_expr.clone(), exprs)?;
    let input = LogicalPlan::Aggregate(input).into();
    Projection::try_new(projection.expr, input).map(LogicalPlan::Projection).map(Transformed::yes)
}

/// The columns that are used in any way but as a bag.
fn shown_in_order(exprs: &[Expr]) -> Result<Vec<Column>> {
    let mut shown = Vec::new();
    for expr in exprs {
        expr.apply(|expr| {
            match expr {
                Expr::ScalarFunction(function) if OF_BAGS.contains(&function.name()) => {
                    let is_column = |arg: &Expr| matches!(arg, Expr::Column(_));
                    let rest = function.args.iter().skip(usize::from(function.args.first().is_some_and(is_column)));
                    shown.extend(shown_in_order(&rest.cloned().collect::<Vec<_>>())?);
                    return Ok(TreeNodeRecursion::Jump);
                }
                Expr::Column(column) => shown.push(column.clone()),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(shown)
}

fn column(schema: &DFSchema, index: usize) -> Column {
    Column::from(schema.qualified_field(index))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
