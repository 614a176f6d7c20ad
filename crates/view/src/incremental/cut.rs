//! Where a view's plan is cut: *reduce early, evaluate late*.
//!
//! ```text
//!            Sort                      residual plan: run at each refresh over the slots
//!              │
//!          Projection
//!              │
//!  ── ── slot 0 ── ── ──   the cut
//!              │
//!          Aggregate                   reducer: folds the delta plan's rows into its state
//!              │
//!      Filter, Projection, Join        delta plan: linear, so it runs on the new rows alone
//!              │
//!           stream
//! ```
//!
//! A plan is **linear** in a stream when its result over old and new rows is its result over the old ones plus its
//! result over the new ones. Filters, projections, unions, unnesting and joins with static relations are; aggregates,
//! sorts with a limit and duplicate elimination are not, but have a small state that merges. The cut goes right above
//! the lowest of those. A linear subplan without such an operator above it keeps its rows ([`Reduction::Rows`]).
//!
//! A table also has retractions. A linear plan turns them into retractions of its result, but only a linear aggregate can
//! be maintained by them ([`weights`]). Any other operator reads the table's current rows.
//!
//! # Contract
//! The plan is optimized, over [`LiveRelation`]s and static providers. The residual plan over the slots' contents, each
//! holding what its own subplan gives over all rows so far, equals the whole plan over all rows so far.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Sort, Subquery, col, lit,
};

use crate::files::refusal::is_volatile;
use crate::incremental::clock;
use crate::incremental::needs::Needs;
use crate::incremental::source::{LiveRelation, RelationKind};
use crate::incremental::weights::{self, Weighted};

/// How a slot's content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Groups and the partial states of their aggregates, over insertions only.
    Aggregate,
    /// The same under retractions: the aggregates are linear, and a count shows whether a group still exists.
    Weighted,
    /// The first rows by an order.
    TopK,
    /// Every row that the delta plan gives, up to a limit.
    Rows,
}

/// A subplan whose result the engine maintains, and the residual plan reads by name.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The name by which the residual plan reads it.
    pub name: Arc<str>,
    /// The subplan: for [`Reduction::Rows`] the delta plan itself, else the reducing operator over it.
    pub plan: LogicalPlan,
    /// How it is kept.
    pub reduction: Reduction,
    /// For [`Reduction::Rows`], what needs them all.
    pub needs: Option<Needs>,
}

/// A table whose current rows the residual plan reads.
#[derive(Debug, Clone)]
pub struct TableRead {
    /// Its name.
    pub relation: Arc<str>,
    /// What needs them all.
    pub needs: Needs,
}

/// A plan after the cut.
#[derive(Debug, Clone)]
pub enum Cut {
    /// Linear to its root: new rows are appended to the result.
    Append(LogicalPlan),
    /// Evaluated at each refresh over slots, tables and static relations.
    Evaluate {
        /// The plan above the cut.
        residual: LogicalPlan,
        /// The slots that it reads.
        slots: Vec<Slot>,
        /// The tables that it reads.
        tables: Vec<TableRead>,
    },
}

/// How a view's result is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The whole result is needed at each refresh, so a view that is linear to its root keeps its rows.
    Result,
    /// New rows are passed on as they arrive, and none is kept: the plan must be linear to its root.
    NewRows,
}

/// Cuts an optimized plan.
pub fn cut(plan: LogicalPlan, usage: Use) -> Result<Cut> {
    let mut cutter = Cutter { slots: Vec::new(), tables: Vec::new() };
    let (nature, plan) = cutter.visit(plan)?;
    if nature == Nature::GROWING && usage == Use::NewRows {
        return Ok(Cut::Append(plan));
    }
    let residual = cutter.keep(nature, plan, &Needs::Result)?;
    Ok(Cut::Evaluate { residual, slots: cutter.slots, tables: cutter.tables })
}

/// How deltas change a subplan's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Nothing.
    Static,
    /// Insertions add their own result; retractions, if there are any, retract theirs.
    Linear { retracts: bool },
    /// In any way: it is evaluated again over slots and tables.
    Changing,
}

impl Nature {
    pub(super) const GROWING: Self = Self::Linear { retracts: false };
    pub(super) const RETRACTING: Self = Self::Linear { retracts: true };
}

struct Cutter {
    slots: Vec<Slot>,
    tables: Vec<TableRead>,
}

impl Cutter {
    /// Returns a plan's nature; in a changing one, maintained subplans have been replaced by slots.
    fn visit(&mut self, plan: LogicalPlan) -> Result<(Nature, LogicalPlan)> {
        if let LogicalPlan::TableScan(scan) = &plan {
            let provider = source_as_provider(&scan.source)?;
            let provider: &dyn std::any::Any = provider.as_ref();
            let nature = match provider.downcast_ref::<LiveRelation>().map(LiveRelation::kind) {
                Some(RelationKind::Stream) => Nature::GROWING,
                Some(RelationKind::Table) => Nature::RETRACTING,
                Some(RelationKind::Slot) => Nature::Changing,
                None => Nature::Static,
            };
            return Ok((nature, plan));
        }

        let subqueries = subqueries_change(&plan)?;
        let mut natures = Vec::new();
        let mut children = Vec::new();
        for input in plan.inputs() {
            let (nature, child) = self.visit(input.clone())?;
            natures.push(nature);
            children.push(child);
        }

        if !subqueries && natures.iter().all(|nature| *nature == Nature::Static) {
            return Ok((Nature::Static, plan));
        }
        let moment = depends_on_the_moment(&plan)?;
        let exact = !subqueries && !moment;
        if exact && is_linear(&plan, &natures) {
            return Ok((Nature::Linear { retracts: natures.contains(&Nature::RETRACTING) }, plan));
        }
        if exact
            && let [Nature::Linear { retracts }] = natures.as_slice()
            && let Some(reduced) = self.reduce(&plan, *retracts)?
        {
            return Ok((Nature::Changing, reduced));
        }

        let needs = Needs::of(&plan, &natures, moment, subqueries);
        let membership = membership_side(&plan);
        let children = natures
            .into_iter()
            .zip(children)
            .enumerate()
            .map(|(side, (nature, child))| match nature {
                Nature::GROWING if membership == Some(side) => {
                    self.slot(LogicalPlan::Aggregate(distinct(&child)?), Reduction::Aggregate, None)
                }
                _ => self.keep(nature, child, &needs),
            })
            .collect::<Result<Vec<_>>>()?;
        let plan = if subqueries { self.cut_subqueries(plan)? } else { plan };
        Ok((Nature::Changing, plan.with_new_exprs(plan.expressions(), children)?))
    }

    /// Replaces an operator over linear input by a slot, if its state can be kept.
    fn reduce(&mut self, plan: &LogicalPlan, retracts: bool) -> Result<Option<LogicalPlan>> {
        let distinct = match plan {
            LogicalPlan::Distinct(Distinct::All(input)) => Some(distinct(input)?),
            _ => None,
        };
        let aggregate = match (&distinct, plan) {
            (Some(aggregate), _) | (None, LogicalPlan::Aggregate(aggregate)) => aggregate,
            (None, LogicalPlan::Sort(sort)) if sort.fetch.is_some() && !retracts => {
                // The planner does not know a slot's order: an OFFSET above would skip other rows.
                let input = Arc::new(self.slot(plan.clone(), Reduction::TopK, None)?);
                let sorted = Sort { expr: sort.expr.clone(), input, fetch: sort.fetch };
                return Ok(Some(LogicalPlan::Sort(sorted)));
            }
            _ => return Ok(None),
        };
        if !retracts {
            return self.slot(LogicalPlan::Aggregate(aggregate.clone()), Reduction::Aggregate, None).map(Some);
        }
        weights::rewrite(aggregate)?.map(|weighted| self.weighted(weighted)).transpose()
    }

    /// Keeps the rows of linear input for an operator that needs all of them: a stream's are kept, a table has its own.
    fn keep(&mut self, nature: Nature, plan: LogicalPlan, needs: &Needs) -> Result<LogicalPlan> {
        match nature {
            Nature::Static | Nature::Changing => Ok(plan),
            Nature::GROWING => self.slot(plan, Reduction::Rows, Some(needs.clone())),
            Nature::RETRACTING => {
                if let LogicalPlan::TableScan(scan) = &plan {
                    let relation = scan.table_name.table().into();
                    self.tables.push(TableRead { relation, needs: needs.clone() });
                    return Ok(plan);
                }
                let mut inputs = Vec::new();
                for input in plan.inputs() {
                    let (nature, input) = self.visit(input.clone())?;
                    inputs.push(self.keep(nature, input, needs)?);
                }
                plan.with_new_exprs(plan.expressions(), inputs)
            }
        }
    }

    fn cut_subqueries(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.map_subqueries(|subquery| {
            let LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) = subquery else {
                return Ok(Transformed::no(subquery));
            };
            let (nature, inner) = self.visit(Arc::unwrap_or_clone(subquery))?;
            let inner = self.keep(nature, inner, &Needs::Subquery)?;
            let subquery = Subquery { subquery: Arc::new(inner), outer_ref_columns, spans };
            Ok(Transformed::yes(LogicalPlan::Subquery(subquery)))
        })
        .map(|transformed| transformed.data)
    }

    /// Replaces a subplan by a slot with the same columns under the same names.
    fn slot(&mut self, plan: LogicalPlan, reduction: Reduction, needs: Option<Needs>) -> Result<LogicalPlan> {
        let name = self.next_name();
        let read = read_slot(&name, plan.schema())?;
        self.slots.push(Slot { name, plan, reduction, needs });
        Ok(read)
    }

    /// The same for an aggregate maintained by weights.
    fn weighted(&mut self, weighted: Weighted) -> Result<LogicalPlan> {
        let name = self.next_name();
        let read = weighted.read(&name)?;
        self.slots.push(Slot { name, plan: weighted.plan, reduction: Reduction::Weighted, needs: None });
        Ok(read)
    }

    fn next_name(&self) -> Arc<str> {
        format!("__slot_{}", self.slots.len()).into()
    }
}

/// Whether a subquery in the node's own expressions reads anything live.
fn subqueries_change(plan: &LogicalPlan) -> Result<bool> {
    let mut live = false;
    plan.apply_subqueries(|subquery| {
        live |= reads_live(subquery)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(live)
}

/// The columns of a slot are numbered, not named: two columns of a plan may share a name.
pub fn slot_column(index: usize) -> String {
    format!("c{index}")
}

/// Reads a slot's columns by number; `schema` is that of its subplan.
pub fn scan_slot(name: &Arc<str>, schema: &DFSchema) -> Result<LogicalPlanBuilder> {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| Arc::new(field.as_ref().clone().with_name(slot_column(index))))
        .collect();
    let columns = Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    let relation: Arc<dyn TableProvider> = Arc::new(LiveRelation::new(Arc::clone(name), columns, RelationKind::Slot));
    LogicalPlanBuilder::scan(name.as_ref(), provider_as_source(relation), None)
}

/// Reads a slot under the names that its subplan's columns had.
pub fn read_slot(name: &Arc<str>, schema: &DFSchema) -> Result<LogicalPlan> {
    let exprs: Vec<Expr> = schema
        .iter()
        .enumerate()
        .map(|(index, (qualifier, field))| {
            col(format!("{name}.{}", slot_column(index))).alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    scan_slot(name, schema)?.project(exprs)?.build()
}

/// DISTINCT as an aggregate, as DataFusion itself rewrites it.
fn distinct(input: &LogicalPlan) -> Result<Aggregate> {
    if input.schema().fields().is_empty() {
        // Of rows without columns it only matters whether there are any.
        let any = LogicalPlanBuilder::from(input.clone()).project([lit(true).alias("any")])?.build()?;
        return distinct(&any);
    }
    let groups = input.schema().columns().into_iter().map(Expr::Column).collect();
    Aggregate::try_new(Arc::new(input.clone()), groups, Vec::new())
}

/// The input of a semi, anti or mark join that only decides whether there is a match: repeated rows change nothing there.
fn membership_side(plan: &LogicalPlan) -> Option<usize> {
    let LogicalPlan::Join(join) = plan else { return None };
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => Some(1),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => Some(0),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => None,
    }
}

fn is_linear(plan: &LogicalPlan, natures: &[Nature]) -> bool {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_) => matches!(natures, [Nature::Linear { .. }]),
        // A static branch would be repeated with every delta, so all must be linear.
        LogicalPlan::Union(_) => natures.iter().all(|nature| matches!(nature, Nature::Linear { .. })),
        LogicalPlan::Join(join) => is_linear_join(join, natures),
        _ => false,
    }
}

fn is_linear_join(join: &Join, natures: &[Nature]) -> bool {
    match natures {
        [Nature::Linear { .. }, Nature::Static] => {
            matches!(
                join.join_type,
                JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark
            )
        }
        [Nature::Static, Nature::Linear { .. }] => {
            matches!(
                join.join_type,
                JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
            )
        }
        _ => false,
    }
}

/// Whether the values of the node's own expressions depend on the time of evaluation: `now()`, `random()`.
fn depends_on_the_moment(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= expr.exists(|expr| Ok(clock::is_now(expr) || is_volatile(expr)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn reads_live(plan: &LogicalPlan) -> Result<bool> {
    let mut live = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let provider: &dyn std::any::Any = provider.as_ref();
            live |= provider.is::<LiveRelation>();
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(live)
}
