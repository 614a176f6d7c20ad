//! GROUP BY and what may stand beside it.

use rand::RngExt;

use super::expression::PLAIN;
use super::{Feature, FromClause, Generator, QueryColumn, SelectQuery, ValueKind};

/// Kinds that make groups of more than one row.
const GROUPING: [ValueKind; 4] = [ValueKind::Text, ValueKind::Int, ValueKind::Bool, ValueKind::Time];

impl Generator<'_> {
    /// `SELECT groups, aggregates FROM frame GROUP BY groups`.
    pub(super) fn aggregate(&mut self, frame: &FromClause) -> SelectQuery {
        let mut groups: Vec<QueryColumn> = Vec::new();
        for _ in 0..self.one(&[0, 1, 1, 1, 2, 2]) {
            let kinds: &[ValueKind] = if self.random.random_bool(0.9) { &GROUPING } else { &PLAIN };
            let Some(column) = self.column(frame, kinds) else { continue };
            let group = match column.kind {
                // An expression that has the column in it: a constant would be the number of a column.
                ValueKind::Int if self.random.random_bool(0.5) => format!("({} % 3)", column.sql),
                ValueKind::Text if self.random.random_bool(0.2) => format!("upper({})", column.sql),
                ValueKind::Time if self.random.random_bool(0.7) => format!("date_trunc('day', {})", column.sql),
                _ => column.sql,
            };
            if groups.iter().all(|other| other.sql != group) {
                groups.push(QueryColumn { sql: group, kind: column.kind });
            }
        }
        // DataFusion 55.2 takes the columns of an aggregate without groups for constants, and leaves them out of an order
        // though grouping sets make nulls of them.
        let one_row = frame.key.as_ref().is_some_and(Vec::is_empty);
        let sets = !groups.is_empty() && self.chance(Feature::GroupingSets, 0.15) && !one_row;
        let mut items = groups.clone();
        // One for all: DataFusion cannot give its input to two of them in different orders.
        let order = self.order_clause(frame);
        for index in 0..self.random.random_range(1..=4) {
            // A list alone could not be sorted by.
            let call = self.call(frame, &order, !sets && (index > 0 || !groups.is_empty()));
            items.push(call);
        }
        let list = groups.iter().map(|group| group.sql.as_str()).collect::<Vec<_>>().join(", ");
        let by = match (groups.len(), sets) {
            (0, _) => String::new(),
            (_, false) => format!(" GROUP BY {list}"),
            (1, true) => format!(" GROUP BY GROUPING SETS (({list}), ())"),
            (_, true) => match self.random.random_range(0..3) {
                0 => format!(" GROUP BY ROLLUP ({list})"),
                1 => format!(" GROUP BY CUBE ({list})"),
                _ => format!(" GROUP BY GROUPING SETS (({}), ({}), ())", groups[0].sql, groups[1].sql),
            },
        };
        let having = if self.chance(Feature::Having, 0.2) {
            let call = self.call(frame, &order, false);
            let operator = self.one(&[">", "<", "<>"]);
            format!(" HAVING {} {operator} {}", call.sql, self.literal(call.kind))
        } else {
            String::new()
        };
        // Of several grouping sets two may give the same values.
        let key = (!sets).then(|| (0..groups.len()).collect::<Vec<_>>());
        self.select(&items, key, frame, &format!("{by}{having}"), "")
    }

    /// One aggregate function over rows of a frame.
    fn call(&mut self, frame: &FromClause, order: &str, lists: bool) -> QueryColumn {
        let call =
            if self.chance(Feature::OrderedAggregates, 0.2) { self.ordered_call(frame, order, lists) } else { None };
        let distinct = self.chance(Feature::DistinctAggregates, 0.15);
        let mut call = match call {
            Some(call) => call,
            None if distinct => self.distinct_call(frame),
            None => self.plain_call(frame),
        };
        if self.chance(Feature::FilteredAggregates, 0.2) {
            call.sql = format!("{} FILTER (WHERE {})", call.sql, self.condition(frame, 1));
        }
        if call.sql.starts_with("approx_distinct") {
            call.sql = format!("CAST({} AS BIGINT)", call.sql);
        }
        call
    }

    fn plain_call(&mut self, frame: &FromClause) -> QueryColumn {
        let column = |sql: String, kind| QueryColumn { sql, kind };
        match self.random.random_range(0..12) {
            0 | 1 => column("count(*)".to_owned(), ValueKind::Int),
            2 => column(format!("count({})", self.some(frame).sql), ValueKind::Int),
            3 => column(format!("sum({})", self.expression(frame, ValueKind::Int, 1)), ValueKind::Int),
            4 => column(format!("sum({})", self.expression(frame, ValueKind::Double, 1)), ValueKind::Double),
            5 => column(format!("avg({})", self.expression(frame, ValueKind::Double, 1)), ValueKind::Double),
            6 => match self.column(frame, &[ValueKind::Int, ValueKind::Decimal]) {
                Some(of) if of.kind == ValueKind::Decimal => column(format!("sum({})", of.sql), ValueKind::Decimal),
                Some(of) => column(format!("avg({})", of.sql), ValueKind::Double),
                None => column("count(*)".to_owned(), ValueKind::Int),
            },
            7 | 8 => {
                let of = self.some(frame);
                column(format!("{}({})", self.one(&["min", "max"]), of.sql), of.kind)
            }
            9 => {
                column(format!("{}({})", self.one(&["bool_and", "bool_or"]), self.condition(frame, 0)), ValueKind::Bool)
            }
            10 => {
                let function = self.one(&["bit_and", "bit_or", "bit_xor"]);
                column(format!("{function}({})", self.expression(frame, ValueKind::Int, 0)), ValueKind::Int)
            }
            _ => {
                let kind = self.one(&[ValueKind::Int, ValueKind::Double]);
                column(format!("median({})", self.expression(frame, kind, 0)), ValueKind::Double)
            }
        }
    }

    fn distinct_call(&mut self, frame: &FromClause) -> QueryColumn {
        match self.random.random_range(0..6) {
            0 => QueryColumn {
                sql: format!("sum(DISTINCT {})", self.expression(frame, ValueKind::Int, 0)),
                kind: ValueKind::Int,
            },
            1 => {
                let kind = self.one(&[ValueKind::Int, ValueKind::Text]);
                QueryColumn {
                    sql: format!("approx_distinct({})", self.expression(frame, kind, 0)),
                    kind: ValueKind::Int,
                }
            }
            _ => QueryColumn { sql: format!("count(DISTINCT {})", self.some(frame).sql), kind: ValueKind::Int },
        }
    }

    /// `ORDER BY` of a total order, or nothing where the log has one.
    pub(super) fn order_clause(&mut self, frame: &FromClause) -> String {
        let order = self.order(&frame.columns, frame.key.as_deref());
        let unnamed = self.chance(Feature::UnnamedOrders, 0.4) && frame.records;
        if unnamed { String::new() } else { format!(" ORDER BY {order}") }
    }

    /// One that sees its rows in an order, which is total. `lists` says whether a list may come of it.
    fn ordered_call(&mut self, frame: &FromClause, order: &str, lists: bool) -> Option<QueryColumn> {
        let of = self.some(frame);
        let column = |sql: String, kind| Some(QueryColumn { sql, kind });
        match self.random.random_range(0..6) {
            0 if lists => column(format!("array_agg({}{order})", of.sql), ValueKind::List),
            1 if lists && order.is_empty() => column(format!("array_agg(DISTINCT {})", of.sql), ValueKind::List),
            1 if lists => column(format!("array_agg(DISTINCT {0} ORDER BY {0})", of.sql), ValueKind::List),
            2 => column(format!("last_value({}{order})", of.sql), of.kind),
            3 => column(format!("nth_value({}, 2{order})", of.sql), of.kind),
            4 => {
                let of = self.expression(frame, ValueKind::Text, 0);
                column(format!("string_agg({of}, ','{order})"), ValueKind::Text)
            }
            _ => column(format!("first_value({}{order})", of.sql), of.kind),
        }
    }
}
