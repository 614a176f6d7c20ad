//! Random SQL that has one answer: orders under a limit or in an aggregate are total, and nothing depends on `now()`.
//!
//! ```text
//!  view ─▶ query ─▶ aggregate | distinct | limit | window | join | union | set operation | plain    over
//!                   source ─▶ relation | view | WITH | query, joined with files, unnested, filtered, unions
//! ```
//!
//! Every choice comes from one seeded generator, and each [`Feature`] can be turned off: that is how a failing query is
//! made simpler.

mod aggregate;
mod expression;
mod query;
mod source;

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::executions::TestView;

/// What a query may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Views,
    With,
    SetOperations,
    Joins,
    Windows,
    Scalars,
    Unions,
    Membership,
    StaticJoins,
    Unnest,
    Limits,
    Having,
    GroupingSets,
    OrderedAggregates,
    /// Functions that depend on an order, and name none.
    UnnamedOrders,
    DistinctAggregates,
    FilteredAggregates,
    Distinct,
    Tables,
    Filters,
    Case,
    RootOrder,
    /// Queries within queries as deep as they come.
    Depth,
}

impl Feature {
    /// The largest simplifications first.
    pub const ALL: [Self; 23] = [
        Self::Views,
        Self::With,
        Self::Depth,
        Self::SetOperations,
        Self::Joins,
        Self::Windows,
        Self::Scalars,
        Self::Unions,
        Self::Membership,
        Self::StaticJoins,
        Self::Unnest,
        Self::Limits,
        Self::Having,
        Self::GroupingSets,
        Self::OrderedAggregates,
        Self::UnnamedOrders,
        Self::DistinctAggregates,
        Self::FilteredAggregates,
        Self::Distinct,
        Self::Tables,
        Self::Filters,
        Self::Case,
        Self::RootOrder,
    ];
}

/// Kinds of values: `Big` may not be added up, a `List` may not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Text,
    Int,
    Big,
    Double,
    Decimal,
    Bool,
    Time,
    List,
}

#[derive(Debug, Clone)]
struct QueryColumn {
    sql: String,
    kind: ValueKind,
}

/// The part after FROM and WHERE.
#[derive(Debug, Clone)]
struct FromClause {
    from: String,
    /// Whether it is more than one thing.
    joined: bool,
    filters: Vec<String>,
    columns: Vec<QueryColumn>,
    /// Columns that together are different in each row, if there are such.
    key: Option<Vec<QueryColumn>>,
    /// About as many rows at most.
    rows: usize,
    /// Whether its rows can be traced to records, so that they have the log's order.
    records: bool,
}

/// A whole SELECT; its columns have names of their own.
#[derive(Debug, Clone)]
struct SelectQuery {
    sql: String,
    columns: Vec<QueryColumn>,
    key: Option<Vec<QueryColumn>>,
    rows: usize,
    /// Nothing may be put after it.
    closed: bool,
}

/// A view or WITH that later queries may read.
#[derive(Debug, Clone)]
struct NamedQuery {
    name: String,
    columns: Vec<QueryColumn>,
    key: Option<Vec<QueryColumn>>,
    rows: usize,
}

/// Makes one query after the other.
#[derive(Debug)]
struct Generator<'a> {
    random: ChaCha8Rng,
    off: &'a BTreeSet<Feature>,
    names: usize,
    known: Vec<NamedQuery>,
}

/// The files of one folder: some read others. Leaving out features does not change what a view without them is.
pub fn views(seed: u64, count: usize, off: &BTreeSet<Feature>) -> Vec<TestView> {
    let mut views: Vec<TestView> = Vec::with_capacity(count);
    let mut known: Vec<NamedQuery> = Vec::new();
    for index in 0..count {
        // A generator for each, so that one view's choices are not the other's.
        let random = ChaCha8Rng::seed_from_u64(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut generator = Generator { random, off, names: 0, known: known.clone() };
        let (view, readable) = generator.view(format!("q{index}"));
        views.push(view);
        known.extend(readable);
    }
    views
}

impl Generator<'_> {
    fn view(&mut self, name: String) -> (TestView, Option<NamedQuery>) {
        let mut with = String::new();
        if self.chance(Feature::With, 0.12) {
            let query = self.query(1);
            let name = self.name("w");
            with = format!("WITH {name} AS ({}) ", query.sql);
            let known = known(&name, &query);
            self.known.push(known);
        }
        let depth = if self.off.contains(&Feature::Depth) { 0 } else { self.random.random_range(1..=2) };
        let mut query = self.query(depth);
        let ordered = self.chance(Feature::RootOrder, 0.4);
        let mut skips = false;
        if ordered {
            let order = self.order(&query.columns, query.key.as_deref());
            let limit = if self.chance(Feature::Limits, 0.4) { self.limit_clause(true) } else { String::new() };
            skips = limit.contains("OFFSET");
            let body = if query.closed { format!("SELECT * FROM ({})", query.sql) } else { query.sql };
            query.sql = format!("{body} ORDER BY {order}{limit}");
        }
        let readable = (!skips).then(|| known(&name, &query));
        (TestView { name, sql: format!("{with}{}", query.sql), ordered }, readable)
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// Whether to take a feature. The random choice is made in any case, so that later choices stay the same.
    fn chance(&mut self, feature: Feature, probability: f64) -> bool {
        self.random.random_bool(probability) && !self.off.contains(&feature)
    }

    fn one<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.random.random_range(0..items.len())].clone()
    }

    /// By weights; what is turned off has none. The last choice is always there.
    fn weighted<T: Copy>(&mut self, choices: &[(u32, Option<Feature>, T)]) -> T {
        let weight = |(weight, feature, _): &(u32, Option<Feature>, T)| {
            if feature.is_some_and(|feature| self.off.contains(&feature)) { 0 } else { *weight }
        };
        let weights: Vec<u32> = choices.iter().map(weight).collect();
        let mut at = self.random.random_range(0..weights.iter().sum::<u32>().max(1));
        for (weight, (_, _, choice)) in weights.iter().zip(choices) {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        choices[choices.len() - 1].2
    }

    /// An order that leaves no ties but of equal rows.
    fn order(&mut self, columns: &[QueryColumn], key: Option<&[QueryColumn]>) -> String {
        self.order_after(None, columns, key).trim_start_matches(", ").to_owned()
    }

    /// The same after a first column: each term with its comma.
    fn order_after(
        &mut self,
        first: Option<&QueryColumn>,
        columns: &[QueryColumn],
        key: Option<&[QueryColumn]>,
    ) -> String {
        let sortable: Vec<QueryColumn> =
            columns.iter().filter(|column| column.kind != ValueKind::List).cloned().collect();
        let mut terms = Vec::new();
        for _ in 0..self.random.random_range(0..2) {
            terms.push(self.one(&sortable));
        }
        match key {
            Some(key) if !key.is_empty() => terms.extend(key.iter().cloned()),
            _ => {
                // Equal rows are all that may be left, so every column counts.
                assert!(key.is_some() || sortable.len() == columns.len(), "a list would be left out of the order");
                terms.extend(sortable);
            }
        }
        // DataFusion 55.2 panics in first_value where an order names a column twice.
        let mut seen: BTreeSet<String> = first.iter().map(|first| first.sql.clone()).collect();
        terms.retain(|column| seen.insert(column.sql.clone()));
        let term = |column: &QueryColumn| {
            let direction = self.one(&["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"]);
            format!(", {}{direction}", column.sql)
        };
        terms.iter().map(term).collect()
    }

    /// An offset is allowed at the root only: DataFusion 55.2 skips twice where another order is put over one.
    fn limit_clause(&mut self, root: bool) -> String {
        let limit = self.random.random_range(0..12);
        let offset = if root { self.one(&[0, 0, 1, 3]) } else { 0 };
        if offset == 0 { format!(" LIMIT {limit}") } else { format!(" LIMIT {limit} OFFSET {offset}") }
    }
}

fn known(name: &str, query: &SelectQuery) -> NamedQuery {
    let SelectQuery { columns, key, rows, .. } = query.clone();
    NamedQuery { name: name.to_owned(), columns, key, rows }
}
