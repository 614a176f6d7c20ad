//! What a query reads: relations, views and other queries, joined with files, filtered and unnested.

use rand::RngExt;

use super::{Feature, FromClause, Generator, QueryColumn, SelectQuery, ValueKind};

/// Name, columns and about how many rows a relation has.
type Relation = (&'static str, &'static [(&'static str, ValueKind)], usize);

const STREAM: &[(&str, ValueKind)] = &[
    ("k", ValueKind::Text),
    ("n", ValueKind::Int),
    ("big", ValueKind::Big),
    ("x", ValueKind::Double),
    ("d", ValueKind::Decimal),
    ("b", ValueKind::Bool),
    ("at", ValueKind::Time),
    ("_offset", ValueKind::Int),
];
const USERS: &[(&str, ValueKind)] = &[
    ("id", ValueKind::Int),
    ("k", ValueKind::Text),
    ("n", ValueKind::Int),
    ("x", ValueKind::Double),
    ("b", ValueKind::Bool),
    ("at", ValueKind::Time),
];
const ITEMS: &[(&str, ValueKind)] = &[
    ("code", ValueKind::Text),
    ("k", ValueKind::Text),
    ("n", ValueKind::Int),
    ("d", ValueKind::Decimal),
    ("x", ValueKind::Double),
];
const DEX: &[(&str, ValueKind)] = &[("k", ValueKind::Text), ("kind", ValueKind::Text), ("level", ValueKind::Int)];

const STREAMS: [Relation; 3] = [("s", STREAM, 120), ("r", STREAM, 60), ("u_events", USERS, 90)];
const TABLES: [Relation; 2] = [("u", USERS, 15), ("v", ITEMS, 15)];

/// No join may be larger.
const MAX_ROWS: usize = 4_000;

impl Generator<'_> {
    /// A relation, or a view that is known.
    fn relation(&mut self) -> FromClause {
        let known = self.known.clone();
        if !known.is_empty() && self.chance(Feature::Views, 0.25) {
            let known = self.one(&known);
            let alias = self.name("t");
            let of = |column: &QueryColumn| QueryColumn { sql: format!("{alias}.{}", column.sql), kind: column.kind };
            return FromClause {
                from: format!("{} AS {alias}", known.name),
                joined: false,
                filters: Vec::new(),
                columns: known.columns.iter().map(of).collect(),
                key: known.key.map(|key| key.iter().map(of).collect()),
                rows: known.rows,
                records: false,
            };
        }
        let table = self.chance(Feature::Tables, 0.3);
        let (name, columns, rows) = if table { self.one(&TABLES) } else { self.one(&STREAMS) };
        self.scan((name, columns, rows), &["_partition", "_offset"])
    }

    fn scan(&mut self, (name, columns, rows): Relation, key: &[&str]) -> FromClause {
        let alias = self.name("t");
        let of = |name: &str, kind| QueryColumn { sql: format!("{alias}.{name}"), kind };
        FromClause {
            from: format!("{name} AS {alias}"),
            joined: false,
            filters: Vec::new(),
            columns: columns.iter().map(|(name, kind)| of(name, *kind)).collect(),
            key: Some(key.iter().map(|name| of(name, ValueKind::Int)).collect()),
            rows,
            records: name != "dex",
        }
    }

    /// The file, which seldom is read alone.
    fn dex(&mut self) -> FromClause {
        self.scan(("dex", DEX, 8), &["level"])
    }

    /// What a query of this depth reads.
    pub(super) fn source(&mut self, depth: u32) -> FromClause {
        let mut frame = if depth > 0 && self.random.random_bool(0.35) {
            let query = self.query(depth - 1);
            self.nest(query)
        } else if self.chance(Feature::Unions, 0.1) {
            self.union_of_rows()
        } else if self.random.random_bool(0.04) {
            self.dex()
        } else {
            self.relation()
        };
        if self.chance(Feature::StaticJoins, 0.2) {
            frame = self.join_dex(frame);
        }
        if self.chance(Feature::Filters, 0.4) {
            let condition = self.condition(&frame, 2);
            frame.filters.push(condition);
        }
        if self.chance(Feature::Membership, 0.15) {
            let condition = self.membership(&frame, depth);
            frame.filters.extend(condition);
        }
        if self.chance(Feature::Unnest, 0.07) {
            frame = self.unnest(&frame);
        }
        if self.chance(Feature::Filters, 0.1) {
            // As a subquery, which the optimizer merges or does not.
            let query = self.plain(&frame);
            frame = FromClause { records: frame.records, ..self.nest(query) };
        }
        frame
    }

    /// A query as a frame.
    pub(super) fn nest(&mut self, query: SelectQuery) -> FromClause {
        let alias = self.name("t");
        let of = |column: &QueryColumn| QueryColumn { sql: format!("{alias}.{}", column.sql), kind: column.kind };
        FromClause {
            from: format!("({}) AS {alias}", query.sql),
            joined: false,
            filters: Vec::new(),
            columns: query.columns.iter().map(of).collect(),
            key: query.key.map(|key| key.iter().map(of).collect()),
            rows: query.rows,
            records: false,
        }
    }

    fn join_dex(&mut self, left: FromClause) -> FromClause {
        let Some(on) = self.column(&left, &[ValueKind::Text]) else { return left };
        let dex = self.dex();
        let join = self.one(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let condition = format!("{} = {}", on.sql, dex.columns[0].sql);
        let (stream, file, records) = (left.one_thing(), dex.one_thing(), left.records);
        let mut frame = FromClause { records, ..join_frames(left, dex, join, &condition) };
        if self.names.is_multiple_of(3) {
            // The other side is kept whole.
            frame.from = format!("{file} {join} {stream} ON {condition}");
        }
        frame
    }

    /// Two frames of which each is one thing after FROM, or the left one if both are too large.
    pub(super) fn join(&mut self, left: FromClause, right: FromClause) -> FromClause {
        let pair = [ValueKind::Text, ValueKind::Int]
            .into_iter()
            .find_map(|kind| Some((self.column(&left, &[kind])?, self.column(&right, &[kind])?)));
        let Some((a, b)) = pair else { return left };
        if left.rows * right.rows / 5 > MAX_ROWS {
            return left;
        }
        let join = self.one(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        join_frames(left, right, join, &format!("{} = {}", a.sql, b.sql))
    }

    /// `k [NOT] IN (SELECT …)`, `[NOT] EXISTS (SELECT …)`, alone or beside another condition.
    fn membership(&mut self, frame: &FromClause, depth: u32) -> Option<String> {
        let of = if depth > 0 && self.random.random_bool(0.4) {
            let query = self.query(depth - 1);
            self.nest(query)
        } else if self.random.random_bool(0.4) {
            self.dex()
        } else {
            self.relation()
        };
        let kind = self.one(&[ValueKind::Text, ValueKind::Text, ValueKind::Int]);
        let (outer, inner) = (self.column(frame, &[kind])?.sql, self.column(&of, &[kind])?.sql);
        let mut of = of;
        if self.random.random_bool(0.5) {
            let condition = self.condition(&of, 0);
            of.filters.push(condition);
        }
        let membership = match self.random.random_range(0..4) {
            0 => format!("{outer} IN (SELECT {inner} FROM {}{})", of.from, filters(&of.filters)),
            1 => {
                of.filters.push(format!("{inner} IS NOT NULL"));
                format!("{outer} NOT IN (SELECT {inner} FROM {}{})", of.from, filters(&of.filters))
            }
            other => {
                of.filters.push(format!("{inner} = {outer}"));
                let not = if other == 2 { "" } else { "NOT " };
                format!("{not}EXISTS (SELECT 1 FROM {}{})", of.from, filters(&of.filters))
            }
        };
        let beside = self.random.random_bool(0.15);
        Some(if beside { format!("({membership} OR {})", self.condition(frame, 0)) } else { membership })
    }

    fn unnest(&mut self, frame: &FromClause) -> FromClause {
        let kind = self.one(&[ValueKind::Int, ValueKind::Text]);
        let (a, b) = (self.expression(frame, kind, 1), self.expression(frame, kind, 1));
        let mut items = vec![self.some(frame)];
        items.push(QueryColumn { sql: format!("unnest([{a}, {b}])"), kind });
        let mut query = self.select(&items, None, frame, "", "");
        query.rows *= 2;
        self.nest(query)
    }

    fn union_of_rows(&mut self) -> FromClause {
        let (left, right) = (self.relation(), self.relation());
        let query = self.union(&left, &right);
        self.nest(query)
    }
}

impl FromClause {
    /// What stands after FROM, as one thing.
    fn one_thing(&self) -> String {
        if self.joined { format!("({})", self.from) } else { self.from.clone() }
    }
}

/// `WHERE` of some conditions.
pub(super) fn filters(filters: &[String]) -> String {
    if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) }
}

fn join_frames(left: FromClause, right: FromClause, join: &str, on: &str) -> FromClause {
    let right_from = right.one_thing();
    // Where both sides are padded with nulls, a key of nulls may belong to any row.
    let key = left
        .key
        .zip(right.key)
        .filter(|_| join != "FULL JOIN")
        .map(|(left, right)| left.into_iter().chain(right).collect());
    let lists = key.is_some();
    let columns = left.columns.into_iter().chain(right.columns);
    FromClause {
        from: format!("{} {join} {right_from} ON {on}", left.from),
        joined: true,
        filters: left.filters.into_iter().chain(right.filters).collect(),
        columns: columns.filter(|column| lists || column.kind != ValueKind::List).collect(),
        key,
        rows: left.rows * right.rows / 5 + left.rows + right.rows,
        records: left.records && right.records,
    }
}
