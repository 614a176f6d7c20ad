//! Whether an order is total: which rows are the first ten, if several are equal in what they are sorted by?
//!
//! Sort keys are followed down the plan to where rows come from. They settle every tie if they hold what no two rows
//! there have in common: all columns of a GROUP BY, a table's key, an event's partition and offset; or if they are all
//! that can be seen of a row. Of rows from files nothing is known, and they get the benefit of the doubt.

use std::collections::BTreeSet;

use datafusion::common::{DFSchema, JoinType};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, Join, LogicalPlan, Operator, Projection, TableScan};

use crate::incremental::source::{LiveRelation, RelationKind};
use crate::incremental::weights::unaliased;

/// Columns of a plan's result, by position.
pub type Columns = BTreeSet<usize>;

/// The position of a plain column in a schema, under whatever other name.
pub fn position(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match unaliased(expr) {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// Names of columns that would settle the ties which `keys` leave among the rows of `plan`; none if the order is total.
pub fn open_ties(plan: &LogicalPlan, keys: &Columns) -> Result<Vec<String>> {
    Ok(ties(plan, keys)?.into_iter().map(|missing| missing.name).collect())
}

/// A column that is not among the keys.
struct Missing {
    /// Its position in the result, where it is there at all.
    index: Option<usize>,
    name: String,
}

fn ties(plan: &LogicalPlan, keys: &Columns) -> Result<Vec<Missing>> {
    if keys.len() == plan.schema().fields().len() {
        return Ok(Vec::new());
    }
    Ok(match plan {
        LogicalPlan::Filter(filter) => ties(&filter.input, keys)?,
        LogicalPlan::SubqueryAlias(alias) => ties(&alias.input, keys)?,
        LogicalPlan::Subquery(subquery) => ties(&subquery.subquery, keys)?,
        LogicalPlan::Sort(sort) => ties(&sort.input, keys)?,
        LogicalPlan::Limit(limit) => ties(&limit.input, keys)?,
        LogicalPlan::Repartition(repartition) => ties(&repartition.input, keys)?,
        LogicalPlan::Projection(projection) => of_projection(projection, keys)?,
        LogicalPlan::Aggregate(aggregate) => {
            // The columns of the groups come first.
            let groups = plan.schema().fields().len() - aggregate.aggr_expr.len();
            let shown = |group: &usize| !plan.schema().field(*group).name().starts_with("__");
            missing(plan, (0..groups).filter(shown).filter(|group| !keys.contains(group)))
        }
        LogicalPlan::Window(window) => {
            let width = window.input.schema().fields().len();
            ties(&window.input, &keys.iter().copied().filter(|key| *key < width).collect())?
        }
        LogicalPlan::Distinct(Distinct::All(_)) | LogicalPlan::Union(_) | LogicalPlan::Unnest(_) => {
            missing(plan, (0..plan.schema().fields().len()).filter(|column| !keys.contains(column)))
        }
        LogicalPlan::Join(join) => of_join(join, keys)?,
        LogicalPlan::TableScan(scan) => of_scan(scan, keys)?,
        _ => Vec::new(),
    })
}

fn missing(plan: &LogicalPlan, columns: impl Iterator<Item = usize>) -> Vec<Missing> {
    columns.map(|index| Missing { index: Some(index), name: plan.schema().field(index).name().clone() }).collect()
}

fn of_projection(projection: &Projection, keys: &Columns) -> Result<Vec<Missing>> {
    let input = projection.input.schema();
    let positions: Vec<Option<usize>> = projection.expr.iter().map(|expr| position(expr, input)).collect();
    let below = keys.iter().filter_map(|key| *positions.get(*key)?).collect();
    let renamed = ties(&projection.input, &below)?.into_iter().map(|missing| {
        let index = positions.iter().position(|position| position.is_some() && *position == missing.index);
        let name = index.map_or(missing.name, |index| projection.schema.field(index).name().clone());
        Missing { index, name }
    });
    Ok(renamed.collect())
}

/// A pair of rows is settled if both are. One of the two settles the other where that has one match at most, which its
/// own keys say once the columns of the equality are known.
fn of_join(join: &Join, keys: &Columns) -> Result<Vec<Missing>> {
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            let width = join.left.schema().fields().len();
            return ties(&join.left, &keys.iter().copied().filter(|key| *key < width).collect());
        }
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => return ties(&join.right, keys),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {}
    }
    let (left, right) = (join.left.schema(), join.right.schema());
    let width = left.fields().len();
    let mut left_keys: Columns = keys.iter().copied().filter(|key| *key < width).collect();
    let mut right_keys: Columns = keys.iter().filter_map(|key| key.checked_sub(width)).collect();
    let mut open_left = ties(&join.left, &left_keys)?;
    let equal = equalities(join);
    if open_left.is_empty() {
        right_keys.extend(equal.iter().filter_map(|(_, on)| position(on, right)));
    }
    let open_right = ties(&join.right, &right_keys)?;
    if open_right.is_empty() && !open_left.is_empty() {
        left_keys.extend(equal.iter().filter_map(|(on, _)| position(on, left)));
        open_left = ties(&join.left, &left_keys)?;
    }
    let side = |open: Vec<Missing>, schema: &DFSchema, other: &DFSchema, offset: usize| {
        let renamed = open.into_iter().map(move |Missing { index, name }| {
            let relation = index.and_then(|index| schema.qualified_field(index).0);
            let name = match relation {
                Some(relation) if other.has_column_with_unqualified_name(&name) => {
                    format!("{}.{name}", relation.table())
                }
                _ => name,
            };
            Missing { index: index.map(|index| index + offset), name }
        });
        renamed.collect::<Vec<_>>()
    };
    let mut open = side(open_left, left, right, 0);
    open.extend(side(open_right, right, left, width));
    Ok(open)
}

/// What is equal in both rows of a pair, the left side first. Before optimization it is in the filter.
fn equalities(join: &Join) -> Vec<(&Expr, &Expr)> {
    let mut equal: Vec<(&Expr, &Expr)> = join.on.iter().map(|(left, right)| (left, right)).collect();
    for condition in join.filter.iter().flat_map(split_conjunction) {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition {
            let swapped = position(left, join.left.schema()).is_none();
            equal.push(if swapped { (right, left) } else { (left, right) });
        }
    }
    equal
}

fn of_scan(scan: &TableScan, keys: &Columns) -> Result<Vec<Missing>> {
    let provider = source_as_provider(&scan.source)?;
    if let Some(view) = provider.get_logical_plan() {
        let column =
            |index: &usize| scan.projection.as_ref().map_or(Some(*index), |columns| columns.get(*index).copied());
        return ties(&view, &keys.iter().filter_map(column).collect());
    }
    let provider: &dyn std::any::Any = provider.as_ref();
    let Some(relation) = provider.downcast_ref::<LiveRelation>() else { return Ok(Vec::new()) };
    let schema = &scan.projected_schema;
    let index = |name: &str| schema.index_of_column_by_name(None, name);
    let is_key = |name: &str| index(name).is_some_and(|index| keys.contains(&index));
    let event = ["_partition", "_offset"];
    let has_key = relation.kind() == RelationKind::Table && relation.key().into_iter().chain(["_key"]).any(is_key);
    if has_key || event.iter().all(|name| is_key(name)) {
        return Ok(Vec::new());
    }
    let wanted = match relation.key() {
        Some(key) => vec![key],
        None => event.to_vec(),
    };
    let missing = wanted.into_iter().filter(|name| !is_key(name));
    Ok(missing.map(|name| Missing { index: index(name), name: name.to_owned() }).collect())
}
