//! Why an operator needs every row of its input: what makes a view costly, and how to make it cheap.

use std::fmt;

use datafusion::common::JoinType;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, LogicalPlan};

use crate::incremental::cut::Nature;

/// What needs all rows of an input, so that no smaller state will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// No operator: they are the result.
    Result,
    /// The operator's own expressions call `now()`.
    Moment,
    /// The operator's own expressions use a subquery that changes.
    Subquery,
    /// A join of two inputs that both change.
    Join {
        /// The two inputs.
        sides: [JoinInput; 2],
    },
    /// An outer join that keeps a file's rows without a match in the stream.
    Unmatched,
    /// Aggregates under retractions: the names of the functions that cannot retract.
    NotLinear(Vec<String>),
    /// Grouping sets under retractions.
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
    /// UNION ALL with rows that are not insertions of a stream.
    Union,
    /// Any other operator, by its name.
    Other(String),
}

/// One input of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinInput {
    /// Files.
    Static,
    /// Rows of streams: insertions only.
    Stream,
    /// Rows of tables: insertions and retractions.
    Table,
    /// The result of an aggregate or of any other operator that changes.
    Changing,
}

impl Needs {
    /// Why `plan`, which is neither linear nor has a small state, needs its inputs' rows.
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
            Some(&Nature::GROWING) => JoinInput::Stream,
            Some(&Nature::RETRACTING) => JoinInput::Table,
            Some(Nature::Static) => JoinInput::Static,
            _ => JoinInput::Changing,
        };
        let sides = [side(0), side(1)];
        let outer = matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full);
        if outer && sides.contains(&JoinInput::Static) { Self::Unmatched } else { Self::Join { sides } }
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
        Self::NotLinear(names)
    }

    /// What to change so that a smaller state will do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Result => "aggregate them, or take the first by ORDER BY … LIMIT",
            Self::Moment => "group by time first and compare with now() above, as in HAVING",
            Self::Subquery => "aggregate first and compare above, as in HAVING",
            Self::Join { sides: [JoinInput::Stream, JoinInput::Stream] } => "aggregate one of the two below the join",
            Self::Join { .. } => "aggregate the stream below the join",
            Self::Unmatched => "aggregate the stream below the join, or take its DISTINCT keys",
            Self::NotLinear(_) => "use count, sum or avg, or aggregate the stream and the table separately",
            Self::GroupingSets => "group the stream and the table separately",
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
            Self::Join { sides: [JoinInput::Stream, JoinInput::Stream] } => "a join of two streams",
            Self::Join { sides: [JoinInput::Table, JoinInput::Table] } => "a join of two tables",
            Self::Join { sides: [JoinInput::Stream, JoinInput::Table] | [JoinInput::Table, JoinInput::Stream] } => {
                "a join of a stream with a table"
            }
            Self::Join { sides } if sides.contains(&JoinInput::Stream) => "a join of a stream with a changing input",
            Self::Join { .. } => "a join with a changing input",
            Self::Unmatched => "an outer join that keeps unmatched rows",
            Self::NotLinear(names) => return write!(f, "{} under retractions", names.join(", ")),
            Self::GroupingSets => "grouping sets under retractions",
            Self::Window => "a window over rows",
            Self::Sort { limited: true } => "ORDER BY … LIMIT under retractions",
            Self::Sort { limited: false } => "an ORDER BY without LIMIT",
            Self::Limit => "a LIMIT without ORDER BY",
            Self::DistinctOn => "DISTINCT ON",
            Self::Union => "a UNION with rows of files or aggregates",
            Self::Other(name) => return f.write_str(name),
        })
    }
}
