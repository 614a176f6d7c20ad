//! Statements that the planner refuses or takes for others, replaced by equal ones before planning.
//!
//! | written | planned |
//! |---|---|
//! | `t AT TIME ZONE z` | `timezone(z, t)` |
//! | `a ^ b` | `power(a, b)` |
//! | `x SIMILAR TO '…'` | the same regular expression as PostgreSQL's |
//! | `x LIKE '…' ESCAPE 'c'` | the pattern with `\` |
//! | `n * INTERVAL '…'`, `INTERVAL '…' / n` | `interval_times(INTERVAL '…', n)` |
//! | `FETCH FIRST n ROWS ONLY` | `LIMIT n` |
//! | `(a, b) IN (SELECT …)` | `EXISTS (SELECT 1 FROM (SELECT …) WHERE …)` |
//! | `mod(a, b)`, `json_agg(x)`, `localtimestamp` | `a % b`, `to_json(array_agg(x))`, `timezone('UTC', now())` |
//! | `SELECT 1, 1` | two columns of different names |
//! | `a FULL JOIN b USING (id)`: `id`, `*` | `coalesce(a.id, b.id)` |

mod pattern;
mod using;

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    LimitClause, ObjectName, Query, Select, SelectItem, Statement as SqlStatement, TableAliasColumnDef, TableFactor,
    UnaryOperator, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// An equal statement that the planner understands.
pub fn rewrite(mut statement: Statement) -> Result<Statement> {
    let flow = match &mut statement {
        Statement::Statement(sql) => sql.visit(&mut Rewriter),
        Statement::Explain(explain) => match &mut *explain.statement {
            Statement::Statement(sql) => sql.visit(&mut Rewriter),
            _ => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(statement),
    }
}

/// One visitor for everything: a walk over the syntax tree is compiled for each kind of visitor.
struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<DataFusionError> {
        flow(fetch_as_limit(query).and_then(|()| using::merge_order(query)))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<DataFusionError> {
        let merged = using::merge_columns(select);
        distinct_names(&mut select.projection);
        flow(merged)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<DataFusionError> {
        unnest(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<DataFusionError> {
        flow(rewrite_expr(expr))
    }

    fn pre_visit_statement(&mut self, _statement: &mut SqlStatement) -> ControlFlow<DataFusionError> {
        ControlFlow::Continue(())
    }
}

fn flow(result: Result<()>) -> ControlFlow<DataFusionError> {
    result.map_or_else(ControlFlow::Break, ControlFlow::Continue)
}

fn rewrite_expr(expr: &mut Expr) -> Result<()> {
    let rewritten = match expr {
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", [taken(time_zone), taken(timestamp)]),
        Expr::BinaryOp { left, op: BinaryOperator::BitwiseXor | BinaryOperator::PGExp, right } => {
            call("power", [taken(left), taken(right)])
        }
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } if is_interval(left) => {
            call("interval_times", [taken(left), taken(right)])
        }
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } if is_interval(right) => {
            call("interval_times", [taken(right), taken(left)])
        }
        Expr::BinaryOp { left, op: BinaryOperator::Divide, right } if is_interval(left) => {
            let one = Expr::value(Value::Number("1.0".to_owned(), false));
            let share = Expr::BinaryOp { left: Box::new(one), op: BinaryOperator::Divide, right: right.clone() };
            call("interval_times", [taken(left), share])
        }
        Expr::InSubquery { expr, subquery, negated } if matches!(**expr, Expr::Tuple(_)) => {
            tuple_in(expr, subquery, *negated)?
        }
        Expr::Function(function) if function.over.is_none() => match postgres_call(function) {
            Some(call) => call,
            None => return Ok(()),
        },
        Expr::SimilarTo { pattern, escape_char, .. } => {
            return pattern::similar_to(pattern, escape_char.take());
        }
        Expr::Like { pattern, escape_char: escape @ Some(_), .. }
        | Expr::ILike { pattern, escape_char: escape @ Some(_), .. } => {
            return pattern::like(pattern, escape);
        }
        _ => return Ok(()),
    };
    *expr = rewritten;
    Ok(())
}

fn taken(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(&mut **expr, Expr::value(Value::Null))
}

/// Whether an expression is an interval by its form.
fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Nested(inner) => is_interval(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => is_interval(expr),
        Expr::Function(function) => function.name.to_string() == "interval_times",
        _ => false,
    }
}

fn call(name: &str, args: impl IntoIterator<Item = Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Functions of PostgreSQL that are operators or other functions here.
fn postgres_call(function: &mut Function) -> Option<Expr> {
    let name = function.name.to_string().to_lowercase();
    if name == "localtimestamp" {
        let zone = Expr::value(Value::SingleQuotedString("UTC".to_owned()));
        return Some(call("timezone", [zone, call("now", [])]));
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match (name.as_str(), list.args.as_slice()) {
        (
            "mod",
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(left)), FunctionArg::Unnamed(FunctionArgExpr::Expr(right))],
        ) => {
            let (left, right) = (Box::new(nested(left)), Box::new(nested(right)));
            Some(nested(&Expr::BinaryOp { left, op: BinaryOperator::Modulo, right }))
        }
        ("json_agg" | "jsonb_agg", [_]) => {
            function.name = ObjectName::from(vec![Ident::new("array_agg")]);
            Some(call("to_json", [Expr::Function(function.clone())]))
        }
        _ => None,
    }
}

fn nested(expr: &Expr) -> Expr {
    Expr::Nested(Box::new(expr.clone()))
}

/// `(a, b) IN (SELECT …)` as `EXISTS (SELECT 1 FROM (SELECT …) AS s (c1, c2) WHERE c1 = a AND c2 = b)`.
fn tuple_in(tuple: &Expr, subquery: &Query, negated: bool) -> Result<Expr> {
    let Expr::Tuple(values) = tuple else { return Err(plan_datafusion_err!("IN takes a row of values")) };
    let columns: Vec<String> = (1..=values.len()).map(|index| format!("\"__in_{index}\"")).collect();
    let pairs: Vec<String> = values.iter().zip(&columns).map(|(value, column)| format!("{column} = {value}")).collect();
    let matches = pairs.join(" AND ");
    // Where a comparison is unknown, NOT IN is not true.
    let matches = if negated { format!("({matches}) IS NOT FALSE") } else { matches };
    let names = columns.join(", ");
    let sql = format!("SELECT 1 FROM ({subquery}) AS \"__in\" ({names}) WHERE {matches}");
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(&sql).and_then(|mut parser| parser.parse_query());
    let subquery = parsed.map_err(|error| DataFusionError::SQL(Box::new(error), None))?;
    Ok(Expr::Exists { subquery, negated })
}

/// Gives columns that would have the same name different ones: `SELECT 1, 1`.
fn distinct_names(projection: &mut [SelectItem]) {
    let mut seen: Vec<String> = Vec::with_capacity(projection.len());
    for item in projection {
        let name = match item {
            // Qualified names differ as long as nothing drops their qualifiers, and then the same names are one column.
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(_)) => continue,
            SelectItem::UnnamedExpr(expr) => expr.to_string(),
            SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
            _ => continue,
        };
        let count = seen.iter().filter(|other| **other == name).count();
        if count > 0 {
            let alias = Ident::with_quote('"', format!("{name}_{}", count + 1));
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let expr = std::mem::replace(expr, Expr::value(Value::Null));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
                SelectItem::ExprWithAlias { alias: old, .. } => *old = alias,
                _ => {}
            }
        }
        seen.push(name);
    }
}

/// `LATERAL UNNEST(…)` as `UNNEST(…)`, and its column under the alias where that names none.
fn unnest(factor: &mut TableFactor) {
    if let TableFactor::Function { name, args, alias, with_ordinality: false, .. } = factor
        && name.to_string().eq_ignore_ascii_case("unnest")
    {
        let exprs = args.iter().filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        *factor = TableFactor::UNNEST {
            alias: alias.take(),
            array_exprs: exprs.collect(),
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
    }
    if let TableFactor::UNNEST { alias: Some(alias), array_exprs, .. } = factor
        && alias.columns.is_empty()
        && array_exprs.len() == 1
    {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn fetch_as_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = &mut query.fetch else { return Ok(()) };
    if fetch.with_ties {
        return Err(plan_datafusion_err!(
            "FETCH … WITH TIES is not supported: filter by rank() OVER (ORDER BY …) <= n in a query around this one"
        ));
    }
    if fetch.percent {
        return Err(plan_datafusion_err!("FETCH … PERCENT is not supported: name a number of rows"));
    }
    let count = fetch.quantity.take().unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
    query.fetch = None;
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(count),
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(count), offset: None, limit_by: Vec::new() });
        }
        Some(_) => return Err(plan_datafusion_err!("LIMIT and FETCH in one query: write one of them")),
    }
    Ok(())
}
