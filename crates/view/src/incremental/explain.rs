//! What a view costs, in one line.
//!
//! ```text
//! incremental: each event updates one of its groups; a refresh takes a step for each group; holds count per (type_1)
//! ```
//!
//! The text is derived from the cut plan, so it says what the engine does, not what it should do.

use std::fmt;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use crate::files::param::is_identifier;
use crate::incremental::cut::{Cut, Reduction, Slot, TableRead};
use crate::incremental::live_view::Maintenance;
use crate::incremental::source::{LiveRelation, RelationKind};
use crate::incremental::weights::unaliased;
use tallgrass_exact_sum::{ExactKind, exact_kind};

/// How one view is maintained, and what that costs. Each part is a clause without punctuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The kind.
    pub maintenance: Maintenance,
    /// The kind as text, with its reason and an alternative where it is costly.
    pub maintained: String,
    /// The cost of one event.
    pub per_event: String,
    /// The cost of one refresh.
    pub per_refresh: String,
    /// The state.
    pub state: String,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}; {}", self.maintained, self.per_event, self.per_refresh, self.state)
    }
}

/// Describes a plan that was cut.
pub fn describe(cut: &Cut) -> Result<Description> {
    match cut {
        Cut::Append(_) => Ok(Description {
            maintenance: Maintenance::Append,
            maintained: "append".to_owned(),
            per_event: "each event is passed on as it arrives".to_owned(),
            per_refresh: "there is no refresh".to_owned(),
            state: "holds nothing".to_owned(),
        }),
        Cut::Evaluate { residual, slots, tables } => evaluated(residual, slots, tables),
    }
}

fn evaluated(residual: &LogicalPlan, slots: &[Slot], tables: &[TableRead]) -> Result<Description> {
    let kept_for = slots.iter().find_map(|slot| slot.needs.as_ref());
    let (maintenance, maintained) = match (kept_for, tables.first()) {
        (Some(needs), _) => (Maintenance::Recomputed, format!("recomputed, for {needs} ({})", needs.fix())),
        (None, Some(read)) => (Maintenance::FromTables, format!("from the table's rows, for {}", read.needs)),
        (None, None) if slots.is_empty() => (Maintenance::Static, "static".to_owned()),
        (None, None) => (Maintenance::Incremental, "incremental".to_owned()),
    };
    let names = ResidualNames::of(residual)?;
    let (mut events, mut steps, mut state) = (List::default(), List::default(), List::default());
    let (mut keyed, mut kept) = (List::default(), List::default());
    for slot in slots {
        match slot.reduction {
            Reduction::Rows => {
                events.add("adds a row".to_owned());
                kept.extend(relations(&slot.plan, |kind| kind == Some(RelationKind::Stream))?);
            }
            Reduction::Aggregate | Reduction::Weighted | Reduction::TopK => {
                let cost = slot_cost(slot, &names)?;
                events.add(cost.event);
                steps.extend(cost.steps);
                state.add(cost.state);
                keyed.extend(relations(&slot.plan, |kind| kind == Some(RelationKind::Table))?);
            }
        }
    }
    for read in tables {
        events.add("updates the row of its key".to_owned());
        steps.add(format!("current row of {}", read.relation));
        keyed.add(read.relation.to_string());
    }
    if !kept.is_empty() {
        let all = kept.joined(" and ");
        steps.add(format!("kept row of {all}"));
        state.add(format!("rows of {all} up to --max-retained-rows"));
    }
    if !keyed.is_empty() {
        state.add(format!("a row per key of {}", keyed.joined(" and ")));
    }
    for name in relations(residual, |kind| kind.is_none())? {
        steps.add(format!("row of {name}"));
    }
    let clause = |list: &List, none: &str, some: &str, last: &str| {
        if list.is_empty() { none.to_owned() } else { format!("{some} {}", list.joined(last)) }
    };
    Ok(Description {
        maintenance,
        maintained,
        per_event: clause(&events, "no event changes it", "each event", " and "),
        per_refresh: clause(&steps, "a refresh takes one step", "a refresh takes a step for each", " and "),
        state: clause(&state, "holds nothing", "holds", ", and "),
    })
}

/// One slot's part of the description.
struct SlotCost {
    /// After "each event …".
    event: String,
    /// After "a step for each …", unless there is only one.
    steps: Option<String>,
    /// After "holds …".
    state: String,
}

fn slot_cost(slot: &Slot, names: &ResidualNames) -> Result<SlotCost> {
    let aggregate = match &slot.plan {
        LogicalPlan::Aggregate(aggregate) => aggregate,
        LogicalPlan::Sort(sort) => {
            let rows = sort.fetch.unwrap_or_default();
            let by = sort.expr.iter().map(|key| names.of_expr(&key.expr)).collect::<List>().joined(", ");
            return Ok(SlotCost {
                event: format!("is compared with the first {rows}"),
                steps: Some(format!("row of the first {rows}")),
                state: format!("the first {rows} rows by ({by})"),
            });
        }
        other => return internal_err!("{} is not a reducing operator", other.display()),
    };
    let functions = aggregate.aggr_expr.iter().map(|expr| names.of_aggregate(expr)).collect::<List>().joined(" and ");
    if aggregate.group_expr.is_empty() {
        return Ok(SlotCost { event: "updates its totals".to_owned(), steps: None, state: functions });
    }
    let groups = match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(sets)] => {
            let of_sets = sets.distinct_expr().into_iter().map(|expr| names.of_expr(expr)).collect::<List>();
            format!("set of ({})", of_sets.joined(", "))
        }
        groups => {
            format!("({})", groups.iter().map(|expr| names.of_expr(expr)).collect::<Vec<_>>().join(", "))
        }
    };
    let event = match slot.reduction {
        Reduction::Weighted => "updates the groups that its row leaves and enters",
        _ if may_multiply(aggregate)? => "updates some of its groups",
        _ => "updates one of its groups",
    };
    Ok(SlotCost {
        event: event.to_owned(),
        steps: Some("group".to_owned()),
        state: if functions.is_empty() { format!("each {groups} once") } else { format!("{functions} per {groups}") },
    })
}

/// Whether one event can belong to several groups.
fn may_multiply(aggregate: &Aggregate) -> Result<bool> {
    let mut many = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
    aggregate.input.apply_with_subqueries(|node| {
        many |= matches!(node, LogicalPlan::Unnest(_) | LogicalPlan::Join(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(many)
}

/// The names of the relations of some kind that a plan reads; a file's kind is `None`.
fn relations(plan: &LogicalPlan, wanted: impl Fn(Option<RelationKind>) -> bool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let provider: &dyn std::any::Any = provider.as_ref();
            if wanted(provider.downcast_ref::<LiveRelation>().map(LiveRelation::kind)) {
                names.push(scan.table_name.table().to_owned());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(names)
}

/// The names that the residual plan gives to expressions from below the cut.
struct ResidualNames(Vec<(String, Arc<str>)>);

impl ResidualNames {
    fn of(residual: &LogicalPlan) -> Result<Self> {
        let mut names = Vec::new();
        residual.apply_with_subqueries(|node| {
            for expr in node.expressions() {
                if let Expr::Alias(alias) = &expr
                    && let Expr::Column(column) = unaliased(&alias.expr)
                {
                    names.push((column.name.clone(), alias.name.as_str().into()));
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self(names))
    }

    /// An aggregate as the query writes it; with DISTINCT it holds every value.
    fn of_aggregate(&self, expr: &Expr) -> String {
        let Expr::AggregateFunction(function) = unaliased(expr) else { return expr.to_string() };
        if function.params.distinct {
            let values: Vec<String> = function.params.args.iter().map(|value| self.of_expr(value)).collect();
            return format!("each {} once", values.join(", "));
        }
        // A sum of doubles has a name of its own inside a plan.
        if exact_kind(&function.func) == Some(ExactKind::Sum) {
            "sum".to_owned()
        } else {
            function.func.name().to_owned()
        }
    }

    /// A column's name, an expression's alias, or else the kind of expression.
    fn of_expr(&self, expr: &Expr) -> String {
        let inner = unaliased(expr);
        if let Expr::Column(column) = inner
            && is_identifier(&column.name)
            && !column.name.starts_with("__")
        {
            return column.name.clone();
        }
        let schema_name = expr.schema_name().to_string();
        let given = self.0.iter().rev().find(|(column, name)| *column == schema_name && **name != *schema_name);
        match (given, inner) {
            (Some((_, name)), _) => name.to_string(),
            (None, Expr::ScalarFunction(function)) if function.name().starts_with(char::is_alphabetic) => {
                format!("{}(…)", function.name())
            }
            (None, _) => "an expression".to_owned(),
        }
    }
}

/// Clauses without repeats, in order.
#[derive(Default)]
struct List(Vec<String>);

impl FromIterator<String> for List {
    fn from_iter<I: IntoIterator<Item = String>>(items: I) -> Self {
        let mut list = Self::default();
        list.extend(items);
        list
    }
}

impl List {
    fn extend(&mut self, items: impl IntoIterator<Item = String>) {
        items.into_iter().for_each(|item| self.add(item));
    }

    fn add(&mut self, item: String) {
        if !self.0.contains(&item) {
            self.0.push(item);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `a, b and c`, where `last` is ` and `.
    fn joined(&self, last: &str) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [first @ .., end] => format!("{}{last}{end}", first.join(", ")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;

    use super::*;
    use crate::LiveView;
    use crate::incremental::cut::Use;
    use tallgrass_sql::session;

    async fn description(sql: &str) -> String {
        let schema = Arc::new(Schema::new(vec![
            Field::new("k", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
            Field::new("x", DataType::Float64, true),
            Field::new("at", DataType::Int64, true),
        ]));
        let context = session::live();
        for (name, kind) in [("s", RelationKind::Stream), ("r", RelationKind::Stream), ("t", RelationKind::Table)] {
            context.register_table(name, Arc::new(LiveRelation::new(name, Arc::clone(&schema), kind))).unwrap();
        }
        context.register_table("dex", Arc::new(MemTable::try_new(schema, vec![vec![]]).unwrap())).unwrap();
        let plan = tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse(sql).unwrap())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let view = LiveView::plan(&context.state(), plan, Use::Result, 10).await.unwrap();
        view.describe().to_string()
    }

    #[tokio::test]
    async fn every_kind_of_view_says_what_it_costs_in_one_line() {
        let mut text = String::new();
        for sql in [
            "SELECT count(*) FROM s",
            "SELECT k, count(*), sum(x), avg(n) FROM s GROUP BY k",
            "SELECT n % 3 AS third, count(DISTINCT k), max(x) FROM s GROUP BY third",
            "SELECT count(DISTINCT k) FROM s",
            "SELECT upper(k), n + 1, count(*) FROM s GROUP BY upper(k), n + 1",
            "SELECT k, n, count(*) FROM s GROUP BY ROLLUP(k, n)",
            "SELECT unnest([n, n + 1]) AS u, count(*) FROM s GROUP BY u",
            "SELECT * FROM s ORDER BY at DESC LIMIT 5",
            "SELECT a.k, a.c, b.c FROM (SELECT k, count(*) c FROM s GROUP BY k) a JOIN (SELECT k, sum(n) c FROM t GROUP BY k) b ON a.k = b.k",
            "SELECT k FROM dex WHERE k NOT IN (SELECT k FROM s WHERE k IS NOT NULL)",
            "SELECT count(*), sum(n) FROM t",
            "SELECT k, sum(x) FROM t GROUP BY k",
            "SELECT DISTINCT k FROM t",
            "SELECT k, min(n), max(n), count(*) FROM t GROUP BY k",
            "SELECT k, n, count(*) FROM t GROUP BY CUBE(k, n)",
            "SELECT * FROM t",
            "SELECT * FROM t ORDER BY at LIMIT 3",
            "SELECT * FROM s",
            "SELECT k FROM s ORDER BY k",
            "SELECT k FROM s LIMIT 3",
            "SELECT DISTINCT ON (k) k, n FROM s ORDER BY k, at",
            "SELECT k, sum(n) OVER (PARTITION BY k ORDER BY at) FROM s",
            "SELECT s.k FROM s JOIN r ON s.k = r.k",
            "SELECT s.k FROM s JOIN t ON s.k = t.k",
            "SELECT s.k FROM s JOIN (SELECT k, count(*) FROM r GROUP BY k) r ON s.k = r.k",
            "SELECT dex.k, s.n FROM dex LEFT JOIN s ON s.k = dex.k",
            "SELECT k FROM s UNION ALL SELECT k FROM dex",
            "SELECT count(*) FROM s WHERE n > (SELECT avg(n) FROM s)",
            "SELECT count(*) FROM s WHERE to_timestamp(at) > now() - INTERVAL '5 minutes'",
            "SELECT max(n) FROM (SELECT n FROM s UNION ALL SELECT n FROM t)",
            "SELECT count(*) FROM dex",
        ] {
            let one = description(sql).await;
            assert!(!one.contains('\n'), "{one}");
            text.extend([sql, "\n  ", &one, "\n"]);
        }
        insta::assert_snapshot!("descriptions", text);
    }
}
