//! Whole SELECTs over frames.

use std::collections::BTreeSet;

use rand::RngExt;

use super::source::filters;
use super::{Feature, FromClause, Generator, QueryColumn, SelectQuery, ValueKind};

#[derive(Debug, Clone, Copy)]
enum QueryShape {
    Aggregate,
    Distinct,
    DistinctOn,
    Limit,
    Window,
    Join,
    Union,
    SetOperation,
    Plain,
}

impl Generator<'_> {
    /// A query over sources; deeper ones read queries.
    pub(super) fn query(&mut self, depth: u32) -> SelectQuery {
        let shape = self.weighted(&[
            (6, Some(Feature::Distinct), QueryShape::Distinct),
            (4, Some(Feature::Distinct), QueryShape::DistinctOn),
            (10, Some(Feature::Limits), QueryShape::Limit),
            (if depth > 0 { 10 } else { 2 }, Some(Feature::Windows), QueryShape::Window),
            (if depth > 0 { 16 } else { 3 }, Some(Feature::Joins), QueryShape::Join),
            (6, Some(Feature::Unions), QueryShape::Union),
            (4, Some(Feature::SetOperations), QueryShape::SetOperation),
            (6, None, QueryShape::Plain),
            (45, None, QueryShape::Aggregate),
        ]);
        let inner = depth.saturating_sub(1);
        match shape {
            QueryShape::Aggregate => {
                let frame = self.source(depth);
                self.aggregate(&frame)
            }
            QueryShape::Distinct => {
                let frame = self.source(depth);
                let (items, _) = self.items(&FromClause { key: None, ..frame.clone() });
                let mut query = self.select(&items, None, &frame, "", "DISTINCT ");
                query.key = Some(query.columns.clone());
                query
            }
            QueryShape::DistinctOn => self.distinct_on(depth),
            QueryShape::Limit => {
                let frame = self.source(depth);
                self.limit(&frame)
            }
            QueryShape::Window => {
                let frame = self.small(inner);
                self.window(&frame)
            }
            QueryShape::Join => {
                let (left, right) = (self.small(inner), self.small(inner));
                let mut frame = self.join(left, right);
                if self.chance(Feature::Filters, 0.3) {
                    let condition = self.condition(&frame, 1);
                    frame.filters.push(condition);
                }
                if self.random.random_bool(0.3) { self.aggregate(&frame) } else { self.plain(&frame) }
            }
            QueryShape::Union => {
                let (left, right) = (self.small(inner), self.small(inner));
                self.union(&left, &right)
            }
            QueryShape::SetOperation => {
                let (left, right) = (self.source(inner), self.source(inner));
                let operation = self.one(&["INTERSECT", "EXCEPT", "UNION"]);
                let mut query = self.combine(&left, &right, operation);
                query.key = Some(query.columns.clone());
                query
            }
            QueryShape::Plain => {
                let frame = self.source(depth);
                self.plain(&frame)
            }
        }
    }

    /// Mostly the result of an aggregate, which is how views join.
    fn small(&mut self, depth: u32) -> FromClause {
        if self.random.random_bool(0.2) {
            return self.source(depth);
        }
        let source = self.source(depth);
        let query = self.aggregate(&source);
        self.nest(query)
    }

    /// `SELECT items FROM frame`, each item under a name of its own. `key` are items that differ in each row; without one
    /// there may be no lists.
    pub(super) fn select(
        &mut self,
        items: &[QueryColumn],
        key: Option<Vec<usize>>,
        frame: &FromClause,
        tail: &str,
        quantifier: &str,
    ) -> SelectQuery {
        let items: Vec<&QueryColumn> =
            items.iter().filter(|item| key.is_some() || item.kind != ValueKind::List).collect();
        let names: Vec<QueryColumn> =
            items.iter().map(|item| QueryColumn { sql: self.name("c"), kind: item.kind }).collect();
        let list: Vec<String> =
            items.iter().zip(&names).map(|(item, name)| format!("{} AS {}", item.sql, name.sql)).collect();
        let sql =
            format!("SELECT {quantifier}{} FROM {}{}{tail}", list.join(", "), frame.from, filters(&frame.filters));
        let key = key.map(|key| key.into_iter().map(|index| names[index].clone()).collect());
        SelectQuery { sql, columns: names, key, rows: frame.rows, closed: false }
    }

    /// Some of the columns, with the key if there is one.
    fn items(&mut self, frame: &FromClause) -> (Vec<QueryColumn>, Option<Vec<usize>>) {
        let mut items: Vec<QueryColumn> = frame.key.clone().unwrap_or_default();
        let key = frame.key.is_some().then(|| (0..items.len()).collect());
        for _ in 0..self.random.random_range(1..=4) {
            items.push(self.some(frame));
        }
        let list = self.column(frame, &[ValueKind::List]).filter(|_| key.is_some());
        items.extend(list);
        // Each once, or an order over two names of one column would name it twice.
        let mut seen = BTreeSet::new();
        items.retain(|item| seen.insert(item.sql.clone()));
        (items, key)
    }

    /// Filter and projection, with scalar subqueries now and then.
    pub(super) fn plain(&mut self, frame: &FromClause) -> SelectQuery {
        let mut frame = frame.clone();
        let (mut items, key) = self.items(&frame);
        if self.chance(Feature::Scalars, 0.3) {
            let scalar = self.scalar(&frame);
            if self.random.random_bool(0.5) {
                items.push(scalar);
            } else if let Some(column) = self.column(&frame, &[scalar.kind]) {
                let operator = self.one(&["<", ">=", "<>"]);
                frame.filters.push(format!("{} {operator} {}", column.sql, scalar.sql));
            }
        }
        self.select(&items, key, &frame, "", "")
    }

    /// `(SELECT aggregate FROM …)`, sometimes for each row of the frame.
    fn scalar(&mut self, frame: &FromClause) -> QueryColumn {
        let mut of = self.source(0);
        let outer = self.column(frame, &[ValueKind::Text]).zip(self.column(&of, &[ValueKind::Text]));
        if let Some((outer, inner)) = outer.filter(|_| self.random.random_bool(0.3)) {
            of.filters.push(format!("{} = {}", inner.sql, outer.sql));
        }
        let kind = self.one(&[ValueKind::Int, ValueKind::Int, ValueKind::Double]);
        let function = match kind {
            ValueKind::Double => self.one(&["avg", "sum", "max"]),
            _ => self.one(&["count", "sum", "min"]),
        };
        let argument = self.expression(&of, kind, 0);
        QueryColumn { sql: format!("(SELECT {function}({argument}) FROM {}{})", of.from, filters(&of.filters)), kind }
    }

    fn limit(&mut self, frame: &FromClause) -> SelectQuery {
        let (items, key) = self.items(frame);
        let mut query = self.select(&items, key, frame, "", "");
        let order = self.order(&query.columns, query.key.as_deref());
        query.sql = format!("{} ORDER BY {order}{}", query.sql, self.limit_clause(false));
        query.rows = query.rows.min(12);
        query.closed = true;
        query
    }

    fn distinct_on(&mut self, depth: u32) -> SelectQuery {
        let frame = self.source(depth);
        let Some(on) = self.column(&frame, &[ValueKind::Text, ValueKind::Bool, ValueKind::Int]) else {
            return self.plain(&frame);
        };
        let order = self.order_after(Some(&on), &frame.columns, frame.key.as_deref());
        let mut items = vec![on.clone()];
        items.extend((0..self.random.random_range(1..=3)).map(|_| self.some(&frame)));
        let unnamed = self.chance(Feature::UnnamedOrders, 0.4) && frame.records;
        let tail = if unnamed { String::new() } else { format!(" ORDER BY {}{order}", on.sql) };
        let mut query = self.select(&items, Some(vec![0]), &frame, &tail, &format!("DISTINCT ON ({}) ", on.sql));
        query.closed = true;
        query
    }

    fn window(&mut self, frame: &FromClause) -> SelectQuery {
        let (mut items, key) = self.items(frame);
        for _ in 0..self.random.random_range(1..=2) {
            let order = self.order_clause(frame);
            let by = match self.column(frame, &[ValueKind::Text, ValueKind::Bool, ValueKind::Int]) {
                Some(column) if self.random.random_bool(0.5) => format!("PARTITION BY {} ", column.sql),
                _ => String::new(),
            };
            let of = self.some(frame);
            let number = self.expression(frame, ValueKind::Int, 0);
            let double = self.expression(frame, ValueKind::Double, 0);
            let (sql, kind) = match self.random.random_range(0..8) {
                0 => (format!("CAST(row_number() OVER ({by}{order}) AS BIGINT)"), ValueKind::Int),
                1 => (format!("CAST(rank() OVER ({by}ORDER BY {}) AS BIGINT)", of.sql), ValueKind::Int),
                2 => (format!("lag({}) OVER ({by}{order})", of.sql), of.kind),
                3 => (format!("sum({double}) OVER ({by})"), ValueKind::Double),
                4 => (format!("sum({number}) OVER ({by}{order})"), ValueKind::Int),
                5 => {
                    let rows = "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW";
                    (format!("sum({number}) OVER ({by}{order} {rows})"), ValueKind::Int)
                }
                6 => (format!("first_value({}) OVER ({by}{order})", of.sql), of.kind),
                _ => (format!("count(*) OVER ({by})"), ValueKind::Int),
            };
            items.push(QueryColumn { sql, kind });
        }
        self.select(&items, key, frame, "", "")
    }

    pub(super) fn union(&mut self, left: &FromClause, right: &FromClause) -> SelectQuery {
        self.combine(left, right, "UNION ALL")
    }

    /// Two selects of columns of the same kinds.
    fn combine(&mut self, left: &FromClause, right: &FromClause, operation: &str) -> SelectQuery {
        let plain = [ValueKind::Text, ValueKind::Int, ValueKind::Double, ValueKind::Bool];
        let kinds: Vec<ValueKind> = (0..self.random.random_range(1..=3)).map(|_| self.one(&plain)).collect();
        let mut side = |frame: &FromClause| {
            let items: Vec<QueryColumn> =
                kinds.iter().map(|kind| QueryColumn { sql: self.expression(frame, *kind, 1), kind: *kind }).collect();
            self.select(&items, None, frame, "", "")
        };
        let (left, right) = (side(left), side(right));
        SelectQuery {
            sql: format!("{} {operation} {}", left.sql, right.sql),
            columns: left.columns,
            key: None,
            rows: left.rows + right.rows,
            closed: true,
        }
    }
}
