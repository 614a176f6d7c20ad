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
//! | `a FULL JOIN b USING (id)`: `id`, `*` | `coalesce(a.id, b.id)` |

mod pattern;
mod using;

use std::ops::ControlFlow;

use datafusion::common::{Result, plan_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    LimitClause, ObjectName, Query, Select, Statement as SqlStatement, UnaryOperator, Value, VisitMut, VisitorMut,
};

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
        flow(using::merge_columns(select))
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
