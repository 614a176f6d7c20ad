//! What works and still deserves a word: results that are not exactly defined, at their place in the file.
//!
//! The plan shows what is so, the syntax tree shows where. A finding belongs to the file that contains it: views that a file
//! reads are looked into for their keys, not for their faults.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, Sort, WindowFunctionDefinition};

use crate::files::order::{Columns, open_ties, position};
use crate::files::places::{Call, Limited, calls, limited};
use crate::files::refusal::Refusal;
use crate::files::sql_file::SqlFile;
use crate::incremental::weights::unaliased;
use crate::results::tolerance::Tolerance;
use tallgrass_diagnostics::{Diagnostic, Span};
use tallgrass_sql::log_order::{IN_ORDER, OF_ORDERED_WINDOWS};

/// Warnings about a file's results, in the order of the text. `plan` is the file's, over live relations, not optimized.
pub fn warnings(file: &SqlFile, plan: &LogicalPlan) -> Result<Vec<Diagnostic>> {
    let mut warnings = Vec::new();
    let limited = limited(file.statement());
    let mut taken = BTreeSet::new();
    let mut unordered = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            match sort_below(&limit.input) {
                None if limit.input.max_rows().is_some_and(|rows| rows <= 1) => {}
                None => unordered = Some(open_ties(&limit.input, &Columns::new())?),
                Some(sort) => warnings.extend(ties_of(file, &limited, &mut taken, limit, sort)?),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if let Some(missing) = unordered {
        let hint = if missing.is_empty() { "…".to_owned() } else { missing.join(", ") };
        let message = "LIMIT without ORDER BY: which rows these are is not defined, and live and replay may differ";
        let places = limited.iter().filter(|query| query.keys.is_empty()).filter_map(|query| query.span);
        warnings.extend(places.map(|span| {
            file.source()
                .warning(Some(span), message)
                .with_hint(format!("say which come first: ORDER BY {hint} LIMIT …"))
        }));
    }
    warnings.extend(inexact(file, plan)?);
    warnings.sort_by_key(|warning| warning.span);
    Ok(warnings)
}

/// Notes on a file that is not refused: where it goes by the order of the log without saying so.
pub fn notes(file: &SqlFile, plan: &LogicalPlan) -> Result<Vec<Diagnostic>> {
    let mut ordered = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::AggregateFunction(function) if function.params.order_by.len() > 1 => {
                        ordered.insert(function.func.name().to_owned());
                    }
                    Expr::WindowFunction(window) if window.params.order_by.len() > 1 => {
                        ordered.insert(window.fun.name().to_owned());
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let goes_by_the_log = |call: &Call| {
        let planned = if call.name == "any_value" { "first_value" } else { &call.name };
        let by_order = IN_ORDER.contains(&&*call.name) || OF_ORDERED_WINDOWS.contains(&&*call.name);
        by_order && !call.ordered && ordered.contains(planned)
    };
    let called = calls(file.statement());
    let note = |call: &Call| {
        let message = format!("{}() without ORDER BY: in the log's order, _partition, _offset", call.name);
        Diagnostic::note(file.path(), file.text(), call.span, message)
    };
    Ok(called.iter().filter(|call| goes_by_the_log(call)).map(note).collect())
}

/// The error of a file that was refused, at the place of what is refused.
pub fn refused(file: &SqlFile, refusal: &Refusal) -> Diagnostic {
    let by_order = !matches!(refusal, Refusal::Volatile { .. });
    let span = refusal.function().and_then(|function| {
        let called = calls(file.statement());
        let guilty = called.iter().find(|call| call.name == function && !(by_order && call.ordered));
        guilty.and_then(|call| call.span)
    });
    let span =
        span.or_else(|| matches!(refusal, Refusal::DistinctOn).then(|| file.source().find_word("distinct")).flatten());
    file.source().error(span, refusal.to_string()).with_hint(refusal.hint())
}

/// The sort that a limit goes by.
fn sort_below(plan: &LogicalPlan) -> Option<&Sort> {
    match plan {
        LogicalPlan::Sort(sort) => Some(sort),
        LogicalPlan::Projection(projection) => sort_below(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => sort_below(&alias.input),
        _ => None,
    }
}

/// A warning for a limit whose order leaves ties open.
fn ties_of(
    file: &SqlFile,
    limited: &[Limited],
    taken: &mut BTreeSet<usize>,
    limit: &Limit,
    sort: &Sort,
) -> Result<Option<Diagnostic>> {
    let keys: Columns = sort.expr.iter().filter_map(|key| position(&key.expr, sort.input.schema())).collect();
    // Rows that differ in nothing that is shown may take each other's place.
    let all_is_shown_by_keys =
        match limit.input.as_ref() {
            LogicalPlan::Projection(shown) => shown.expr.iter().flat_map(Expr::column_refs).all(|column| {
                sort.input.schema().maybe_index_of_column(column).is_some_and(|index| keys.contains(&index))
            }),
            _ => false,
        };
    if all_is_shown_by_keys {
        return Ok(None);
    }
    let missing = open_ties(&sort.input, &keys)?;
    if missing.is_empty() {
        return Ok(None);
    }
    let Some(index) = (0..limited.len()).find(|index| !taken.contains(index) && is_of(&limited[*index], sort)) else {
        return Ok(None);
    };
    taken.insert(index);
    let message = "rows that are equal in this order may change places at the LIMIT, and live and replay may differ";
    let warning = file.source().warning(limited[index].span, message);
    Ok(Some(warning.with_hint(format!("settle the ties: add {} to ORDER BY", missing.join(", ")))))
}

/// Whether this sort is a query's ORDER BY.
fn is_of(query: &Limited, sort: &Sort) -> bool {
    let same = |(written, planned): (&Option<String>, &Expr)| match (written, unaliased(planned)) {
        (Some(name), Expr::Column(column)) => *name == column.name,
        _ => true,
    };
    query.keys.len() == sort.expr.len() && query.keys.iter().zip(sort.expr.iter().map(|key| &key.expr)).all(same)
}

/// Warnings for functions whose last digits depend on the order of their input.
fn inexact(file: &SqlFile, plan: &LogicalPlan) -> Result<Vec<Diagnostic>> {
    let mut found: Vec<(Vec<String>, Tolerance)> = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let (name, aliases) = match expr {
                    Expr::AggregateFunction(function) => (function.func.name(), function.func.aliases()),
                    Expr::WindowFunction(window) => match &window.fun {
                        WindowFunctionDefinition::AggregateUDF(function) => (function.name(), function.aliases()),
                        WindowFunctionDefinition::WindowUDF(_) => {
                            return Ok(TreeNodeRecursion::Continue);
                        }
                    },
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                let tolerance = Tolerance::of_function(name);
                if tolerance != Tolerance::Exact {
                    found.push((aliases.iter().cloned().chain([name.to_owned()]).collect(), tolerance));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let calls = calls(file.statement());
    let warned = calls.iter().filter_map(|call| {
        let (_, tolerance) = found.iter().find(|(names, _)| names.contains(&call.name))?;
        Some(inexact_call(file, &call.name, call.span, *tolerance))
    });
    Ok(warned.collect())
}

fn inexact_call(file: &SqlFile, name: &str, span: Option<Span>, tolerance: Tolerance) -> Diagnostic {
    let sketch = name.starts_with("approx_");
    let how = match tolerance {
        Tolerance::Exact => "to the bit".to_owned(),
        Tolerance::Relative(part) if sketch => format!("to {} %", part * 100.0),
        Tolerance::Relative(part) => format!("to {} digits", -part.log10().round()),
    };
    let what = if sketch { "is an estimate that depends" } else { "has last digits that depend" };
    let message = format!("{name}() {what} on the order of reading: live and replay are compared {how}");
    let hint = sketch.then(|| "median() and percentile_cont() are exact, and keep every value".to_owned());
    file.source().warning(span, message).with_hint(hint)
}
