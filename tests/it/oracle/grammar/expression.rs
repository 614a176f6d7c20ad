//! Expressions over the columns of a frame.

use rand::RngExt;

use super::{Feature, FromClause, Generator, QueryColumn, ValueKind};

/// Kinds that stand in conditions and keys.
pub(super) const PLAIN: [ValueKind; 7] = [
    ValueKind::Text,
    ValueKind::Int,
    ValueKind::Big,
    ValueKind::Double,
    ValueKind::Decimal,
    ValueKind::Bool,
    ValueKind::Time,
];

impl Generator<'_> {
    /// A column of one of some kinds.
    pub(super) fn column(&mut self, frame: &FromClause, kinds: &[ValueKind]) -> Option<QueryColumn> {
        let fitting: Vec<QueryColumn> =
            frame.columns.iter().filter(|column| kinds.contains(&column.kind)).cloned().collect();
        (!fitting.is_empty()).then(|| self.one(&fitting))
    }

    /// An expression of any plain kind that reads at least one column where there is one.
    pub(super) fn some(&mut self, frame: &FromClause) -> QueryColumn {
        match self.column(frame, &PLAIN) {
            Some(column) if self.random.random_bool(0.6) => column,
            Some(column) => QueryColumn { sql: self.expression(frame, column.kind, 1), kind: column.kind },
            None => QueryColumn { sql: "1".to_owned(), kind: ValueKind::Int },
        }
    }

    /// An expression of a kind.
    pub(super) fn expression(&mut self, frame: &FromClause, kind: ValueKind, depth: u32) -> String {
        let column = self.column(frame, &[kind]).map(|column| column.sql);
        if depth == 0 || kind == ValueKind::Big {
            return column.unwrap_or_else(|| self.literal(kind));
        }
        if self.chance(Feature::Case, 0.15) {
            let (condition, a, b) =
                (self.condition(frame, 0), self.expression(frame, kind, 0), self.expression(frame, kind, 0));
            return format!("CASE WHEN {condition} THEN {a} ELSE {b} END");
        }
        let choice = self.random.random_range(0..5);
        let inner = self.expression(frame, kind, depth - 1);
        match (kind, choice) {
            (ValueKind::Text, 0) => format!("upper({inner})"),
            (ValueKind::Text, 1) => format!("coalesce({inner}, 'none')"),
            (ValueKind::Text, 2) => format!("substr({inner}, 2)"),
            (ValueKind::Text, 3) => format!("CAST({} AS VARCHAR)", self.expression(frame, ValueKind::Int, 0)),
            (ValueKind::Int, 0) => format!("({inner} % {})", self.random.random_range(2..5)),
            (ValueKind::Int, 1) => format!("({inner} + {})", self.expression(frame, ValueKind::Int, 0)),
            (ValueKind::Int, 2) => format!("coalesce({inner}, {})", self.random.random_range(-9..9)),
            (ValueKind::Int, 3) => format!("CAST(length({}) AS BIGINT)", self.expression(frame, ValueKind::Text, 0)),
            (ValueKind::Double, 0) => format!("({inner} * 0.5)"),
            (ValueKind::Double, 1) => format!("({inner} + {})", self.expression(frame, ValueKind::Double, 0)),
            (ValueKind::Double, 2) => format!("abs({inner})"),
            (ValueKind::Double, 3) => format!("CAST({} AS DOUBLE)", self.expression(frame, ValueKind::Int, 0)),
            (ValueKind::Decimal, 0) => format!("coalesce({inner}, CAST(1.5 AS DECIMAL(12,2)))"),
            (ValueKind::Bool, 0) => format!("({})", self.condition(frame, 0)),
            (ValueKind::Bool, 1) => format!("(NOT {inner})"),
            (ValueKind::Time, 0) => format!("date_trunc('hour', {inner})"),
            (ValueKind::Time, 1) => format!("({inner} + INTERVAL '90 minutes')"),
            (ValueKind::Time, 2) => format!("date_bin(INTERVAL '6 hours', {inner})"),
            _ => inner,
        }
    }

    /// A constant of a kind.
    pub(super) fn literal(&mut self, kind: ValueKind) -> String {
        match kind {
            ValueKind::Text => format!("'{}'", self.one(&["k0", "k1", "k3", "red", "", "none"])),
            ValueKind::Int => self.random.random_range(-30..30).to_string(),
            ValueKind::Big => self.one(&["9223372036854775806", "-9223372036854775806", "0"]).to_owned(),
            ValueKind::Double => format!("CAST({} AS DOUBLE)", self.one(&["0.1", "-0.3", "1e9", "1e-7", "0.0"])),
            ValueKind::Decimal => format!("CAST({} AS DECIMAL(12,2))", self.random.random_range(-500..500)),
            ValueKind::Bool => self.one(&["true", "false"]).to_owned(),
            ValueKind::Time => {
                format!("to_timestamp_seconds({})", 1_700_000_000 + self.random.random_range(0..240) * 900)
            }
            ValueKind::List => "[1]".to_owned(),
        }
    }

    /// A condition that may be null, too.
    pub(super) fn condition(&mut self, frame: &FromClause, depth: u32) -> String {
        if depth > 0 && self.random.random_bool(0.35) {
            let (a, b) = (self.condition(frame, depth - 1), self.condition(frame, depth - 1));
            return match self.random.random_range(0..3) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                _ => format!("NOT ({a})"),
            };
        }
        let Some(column) = self.column(frame, &PLAIN) else { return "1 = 1".to_owned() };
        let operator = self.one(&["=", "<>", "<", "<=", ">", ">="]);
        let (sql, kind) = (&column.sql, column.kind);
        match (kind, self.random.random_range(0..8)) {
            (_, 0) => format!("{sql} IS NOT NULL"),
            (_, 1) => format!("{sql} IS NULL"),
            (ValueKind::Bool, _) => sql.clone(),
            (ValueKind::Text, 2) => format!("{sql} LIKE '{}'", self.one(&["k%", "%1", "%e%"])),
            (ValueKind::Int, 2) => format!("{sql} % 3 = {}", self.random.random_range(0..3)),
            (_, 3) => format!("{sql} {operator} {}", self.expression(frame, kind, 1)),
            (_, 4) => format!("{sql} IN ({}, {})", self.literal(kind), self.literal(kind)),
            (_, 5) => format!("{sql} BETWEEN {} AND {}", self.literal(kind), self.literal(kind)),
            (_, 6) => format!("({sql} IS DISTINCT FROM {})", self.literal(kind)),
            _ => format!("{sql} {operator} {}", self.literal(kind)),
        }
    }
}
