//! Why an operator needs every row of its input, in words: what makes a view costly, and how to make it cheap.

use std::fmt;

use datafusion::common::JoinType;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan};

use crate::incremental::cut::Nature;

/// What stands above rows that have no smaller state than themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: they are the result.
    Result,
    /// The operator's own expressions ask for `now()`.
    Moment,
    /// The operator's own expressions ask a subquery that changes.
    Subquery,
    /// A join of two inputs that both change.
    Join {
        /// What the two inputs are.
        sides: [Side; 2],
    },
    /// An outer join that also shows what a file has and the stream has not.
    Unmatched,
    /// An aggregate over rows that also go, by the names of what cannot take away.
    TakesAway(Vec<String>),
    /// Aggregates by several sets of groups over rows that also go.
    GroupingSets,
    /// A window.
    Window,
    /// ORDER BY.
    Sort {
        /// With a LIMIT.
        limited: bool,
    },
    /// LIMIT or OFFSET without ORDER BY.
    Limit,
    /// DISTINCT ON.
    DistinctOn,
    /// UNION ALL with rows that do not come as events do.
    Union,
    /// Any other operator, by its name.
    Other(String),
}

/// One input of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Files.
    Static,
    /// New rows of streams.
    Stream,
    /// Rows of tables, that also go.
    Table,
    /// The result of an aggregate or of any other operator that changes.
    Changing,
}

impl Needs {
    /// What `plan`, which is neither linear nor has a small state, needs its inputs' rows for.
    pub(super) fn of(plan: &LogicalPlan, natures: &[Nature], asks_for_now: bool, asks_subquery: bool) -> Self {
        if asks_subquery {
            return Self::Subquery;
        }
        if asks_for_now {
            return Self::Moment;
        }
        match plan {
            LogicalPlan::Join(join) => Self::of_join(join, natures),
            LogicalPlan::Aggregate(aggregate) => Self::of_aggregate(aggregate),
            LogicalPlan::Window(_) => Self::Window,
            LogicalPlan::Sort(sort) => Self::Sort { limited: sort.fetch.is_some() },
            LogicalPlan::Limit(_) => Self::Limit,
            LogicalPlan::Distinct(Distinct::On(_)) => Self::DistinctOn,
            LogicalPlan::Union(_) => Self::Union,
            other => Self::Other(other.display().to_string().split(':').next().unwrap_or_default().to_lowercase()),
        }
    }

    fn of_join(join: &Join, natures: &[Nature]) -> Self {
        let side = |index: usize| match natures.get(index) {
            Some(&Nature::GROWING) => Side::Stream,
            Some(&Nature::RETRACTING) => Side::Table,
            Some(Nature::Static) => Side::Static,
            _ => Side::Changing,
        };
        let sides = [side(0), side(1)];
        let outer = matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full);
        if outer && sides.contains(&Side::Static) { Self::Unmatched } else { Self::Join { sides } }
    }

    fn of_aggregate(aggregate: &Aggregate) -> Self {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Self::GroupingSets;
        }
        let mut names: Vec<String> = Vec::new();
        for expr in &aggregate.aggr_expr {
            if let Some(name) = crate::incremental::weights::not_linear(expr, aggregate)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        Self::TakesAway(names)
    }

    /// What to change so that a smaller state will do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Result => "aggregate them, or take the first by ORDER BY … LIMIT",
            Self::Moment => "group by time first and compare with now() above, as in HAVING",
            Self::Subquery => "aggregate first and compare above, as in HAVING",
            Self::Join { sides: [Side::Stream, Side::Stream] } => "aggregate one of the two below the join",
            Self::Join { .. } => "aggregate the stream below the join",
            Self::Unmatched => "aggregate the stream below the join, or take its DISTINCT keys",
            Self::TakesAway(_) => "use count, sum or avg, or aggregate stream and table apart",
            Self::GroupingSets => "group stream and table apart",
            Self::Window => "aggregate below the window",
            Self::Sort { limited: false } => "add a LIMIT",
            Self::Limit => "add an ORDER BY",
            Self::DistinctOn => "use GROUP BY with first_value(… ORDER BY …)",
            Self::Sort { limited: true } | Self::Union | Self::Other(_) => "aggregate below it",
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Result => "the rows as they are",
            Self::Moment => "now() below the first aggregate",
            Self::Subquery => "a comparison of rows with a subquery",
            Self::Join { sides: [Side::Stream, Side::Stream] } => "a join of two streams",
            Self::Join { sides: [Side::Table, Side::Table] } => "a join of two tables",
            Self::Join { sides: [Side::Stream, Side::Table] | [Side::Table, Side::Stream] } => {
                "a join of a stream with a table"
            }
            Self::Join { sides } if sides.contains(&Side::Stream) => "a join of a stream with what changes",
            Self::Join { .. } => "a join with what changes",
            Self::Unmatched => "an outer join that keeps what is not matched",
            Self::TakesAway(names) => return write!(f, "{} of rows that also go", names.join(", ")),
            Self::GroupingSets => "grouping sets of rows that also go",
            Self::Window => "a window over rows",
            Self::Sort { limited: true } => "ORDER BY … LIMIT over rows that also go",
            Self::Sort { limited: false } => "an ORDER BY without LIMIT",
            Self::Limit => "a LIMIT without ORDER BY",
            Self::DistinctOn => "DISTINCT ON",
            Self::Union => "a UNION with rows of files or aggregates",
            Self::Other(name) => return f.write_str(name),
        })
    }
}
