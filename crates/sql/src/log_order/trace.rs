//! From the rows of a plan back to the records that they come from.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort, SortExpr, SubqueryAlias, TableScan};
use tallgrass_relation::Catalog;

use super::column;

/// What a record is found by.
const COORDINATES: [&str; 2] = ["_partition", "_offset"];

/// A plan whose rows have an order.
pub(super) struct Traced {
    /// The plan, which may have more columns than before, behind those of each projection.
    pub plan: LogicalPlan,
    /// The order, as expressions over the plan's columns.
    pub order: Vec<SortExpr>,
}

/// The order of a subplan's rows.
struct Rows {
    plan: LogicalPlan,
    order: Vec<SortExpr>,
    /// Whether a record is among what they come from: files alone have no order.
    recorded: bool,
}

/// Finds the order of rows, and names the columns that carry it.
pub(super) struct Tracer<'a> {
    catalog: &'a Catalog,
    schema: [&'a str; 2],
    /// For names that no other column of the statement has.
    carried: usize,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(catalog: &'a Catalog, state: &'a SessionState) -> Self {
        let options = &state.config_options().catalog;
        Self { catalog, schema: [&options.default_catalog, &options.default_schema], carried: 0 }
    }

    /// The order of a plan's rows, if all of them can be traced to records.
    pub(super) fn order_of(&mut self, plan: &LogicalPlan) -> Result<Option<Traced>> {
        let Some(Rows { plan, order, .. }) = self.trace(plan)?.filter(|rows| rows.recorded) else { return Ok(None) };
        Ok(Some(Traced { plan: without_sorts(plan)?, order }))
    }

    fn trace(&mut self, plan: &LogicalPlan) -> Result<Option<Rows>> {
        match plan {
            LogicalPlan::TableScan(scan) => Ok(self.scan(scan)),
            LogicalPlan::Filter(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::Repartition(_) => {
                self.through(plan)
            }
            LogicalPlan::Sort(sort) => {
                let Some(rows) = self.trace(&sort.input)? else { return Ok(None) };
                let order = each_once(sort.expr.iter().cloned().chain(rows.order));
                // For a LIMIT above: DataFusion merges sorted partitions by this sort's keys alone, and then takes the
                // result for ordered by all of them.
                let sorted = Sort { expr: order.clone(), input: Arc::new(rows.plan), fetch: sort.fetch };
                Ok(Some(Rows { plan: LogicalPlan::Sort(sorted), order, recorded: rows.recorded }))
            }
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            LogicalPlan::Projection(projection) => self.project(projection),
            LogicalPlan::Join(join) => match join.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                    let (Some(left), Some(right)) = (self.trace(&join.left)?, self.trace(&join.right)?) else {
                        return Ok(None);
                    };
                    let plan = plan.with_new_exprs(plan.expressions(), vec![left.plan, right.plan])?;
                    let order = each_once(left.order.into_iter().chain(right.order));
                    Ok(Some(Rows { plan, order, recorded: left.recorded || right.recorded }))
                }
                JoinType::LeftSemi | JoinType::LeftAnti => {
                    let Some(left) = self.trace(&join.left)? else { return Ok(None) };
                    let inputs = vec![left.plan, join.right.as_ref().clone()];
                    let plan = plan.with_new_exprs(plan.expressions(), inputs)?;
                    Ok(Some(Rows { plan, ..left }))
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// A record has its place in the log. A row of a file has none: rows that are equal in all columns may change places.
    fn scan(&self, scan: &TableScan) -> Option<Rows> {
        let table = &scan.table_name;
        let ours = table.catalog().is_none_or(|catalog| catalog == self.schema[0])
            && table.schema().is_none_or(|schema| schema == self.schema[1]);
        let relation = self.catalog.get(table.table()).filter(|_| ours)?;
        let recorded = relation.as_kafka().is_some();
        let schema = &scan.projected_schema;
        let carries = |index: &usize| !recorded || COORDINATES.contains(&schema.field(*index).name().as_str());
        let columns: Vec<usize> = (0..schema.fields().len()).filter(carries).collect();
        let sorts = |index: &usize| !schema.field(*index).data_type().is_nested();
        if (recorded && columns.len() < COORDINATES.len()) || !columns.iter().all(sorts) {
            return None;
        }
        let order = columns.into_iter().map(|index| ascending(column(schema, index))).collect();
        Some(Rows { plan: LogicalPlan::TableScan(scan.clone()), order, recorded })
    }

    /// An operator that keeps columns and the order of rows.
    fn through(&mut self, plan: &LogicalPlan) -> Result<Option<Rows>> {
        let Some(input) = plan.inputs().first().copied() else { return Ok(None) };
        let Some(rows) = self.trace(input)? else { return Ok(None) };
        let plan = plan.with_new_exprs(plan.expressions(), vec![rows.plan])?;
        Ok(Some(Rows { plan, ..rows }))
    }

    fn alias(&mut self, alias: &SubqueryAlias) -> Result<Option<Rows>> {
        let Some(rows) = self.trace(&alias.input)? else { return Ok(None) };
        let inner = Arc::clone(rows.plan.schema());
        let outer = SubqueryAlias::try_new(Arc::new(rows.plan), alias.alias.clone())?;
        let order = rows.order.into_iter().map(|key| requalified(&key, &inner, &outer.schema));
        let order = order.collect::<Result<_>>()?;
        Ok(Some(Rows { plan: LogicalPlan::SubqueryAlias(outer), order, recorded: rows.recorded }))
    }

    /// What the order needs and the projection drops is carried along behind its columns.
    fn project(&mut self, projection: &Projection) -> Result<Option<Rows>> {
        let Some(rows) = self.trace(&projection.input)? else { return Ok(None) };
        let mut exprs = projection.expr.clone();
        let mut places = Vec::with_capacity(rows.order.len());
        for key in &rows.order {
            let known = exprs.iter().position(|expr| expr.clone().unalias() == key.expr);
            places.push(known.unwrap_or_else(|| {
                self.carried += 1;
                exprs.push(key.expr.clone().alias(format!("__log_order_{}", self.carried)));
                exprs.len() - 1
            }));
        }
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(rows.plan))?);
        let moved = |(key, place): (&SortExpr, usize)| key.with_expr(Expr::Column(column(plan.schema(), place)));
        let order = rows.order.iter().zip(places).map(moved).collect();
        Ok(Some(Rows { plan, order, recorded: rows.recorded }))
    }
}

/// Keys without those that come again: DataFusion 55.2 panics in `first_value` where an order names a column twice.
pub(super) fn each_once(keys: impl Iterator<Item = SortExpr>) -> Vec<SortExpr> {
    let mut once: Vec<SortExpr> = Vec::new();
    for key in keys {
        if once.iter().all(|known| known.expr != key.expr) {
            once.push(key);
        }
    }
    once
}

fn ascending(column: Column) -> SortExpr {
    Expr::Column(column).sort(true, false)
}

/// The same key over the same columns under another qualifier.
fn requalified(key: &SortExpr, inner: &DFSchema, outer: &DFSchema) -> Result<SortExpr> {
    let expr = key.expr.clone().transform(|expr| {
        Ok(match &expr {
            Expr::Column(named) => match inner.maybe_index_of_column(named) {
                Some(index) => Transformed::yes(Expr::Column(column(outer, index))),
                None => Transformed::no(expr),
            },
            _ => Transformed::no(expr),
        })
    })?;
    Ok(key.with_expr(expr.data))
}

/// Without the sorts whose keys the order has now; a LIMIT needs those below it.
fn without_sorts(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down(|node| {
        Ok(match node {
            LogicalPlan::Sort(Sort { input, fetch: None, .. }) => Transformed::yes(Arc::unwrap_or_clone(input)),
            LogicalPlan::Limit(_) => Transformed::new(node, false, TreeNodeRecursion::Jump),
            other => Transformed::no(other),
        })
    })
    .map(|transformed| transformed.data)
}
