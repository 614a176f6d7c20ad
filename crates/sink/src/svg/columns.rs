//! Which columns a picture shows, and the warnings for its author when they do not fit.

use datafusion::arrow::datatypes::DataType;

use super::PictureSpec;
use super::ink::{clean, cut_chars};
use crate::cells::{is_number, is_time};
use crate::chart::Axes;
use tallgrass_chart::ChartKind;
use tallgrass_diagnostics::{did_you_mean, suggestion};

/// Columns named in a warning.
const MAX_NAMED: usize = 12;

/// The picture that can be drawn, its columns, and the warnings about the requested ones.
pub fn choose(spec: &PictureSpec) -> (ChartKind, Option<Axes>, Vec<String>) {
    let mut warnings = Vec::new();
    if let Some(name) = spec.x {
        check(spec, "@x", name, &mut warnings);
    }
    for name in spec.y {
        check(spec, "@y", name, &mut warnings);
    }
    if spec.kind == ChartKind::Table {
        return (ChartKind::Table, None, warnings);
    }
    if warnings.is_empty() {
        if let Some(axes) = Axes::of(spec.kind, spec.schema, spec.x, spec.y).filter(|axes| measurable(spec, axes)) {
            if axes.y.len() < spec.y.len() {
                warnings.push(format!("@y: a {} shows one column, not {}", spec.kind, spec.y.len()));
            }
            return (spec.kind, Some(axes), warnings);
        }
        warnings.push(format!("no {} fits these columns: {}; {}", spec.kind, needs(spec.kind), all_columns(spec)));
    }
    (ChartKind::Table, None, warnings)
}

/// Whether the guessed columns have the types that the picture needs; named ones have been checked before.
fn measurable(spec: &PictureSpec, axes: &Axes) -> bool {
    let number = |column: &usize| is_number(spec.schema.field(*column).data_type());
    let x = spec.schema.field(axes.x).data_type();
    match spec.kind {
        ChartKind::Number | ChartKind::Table => true,
        ChartKind::Bar => axes.y.iter().all(number),
        ChartKind::Line | ChartKind::Scatter => axes.y.iter().all(number) && (is_time(x) || is_number(x)),
        ChartKind::Map => axes.y.iter().all(number) && is_number(x),
    }
}

fn needs(kind: ChartKind) -> &'static str {
    match kind {
        ChartKind::Number | ChartKind::Table => "it needs a column",
        ChartKind::Bar => "it needs a label and a number",
        ChartKind::Line => "it needs a time or a number (@x) and numbers (@y)",
        ChartKind::Scatter => "it needs two numbers",
        ChartKind::Map => "it needs numbers named lat and lon, or chosen by @y and @x",
    }
}

fn check(spec: &PictureSpec, key: &str, name: &str, warnings: &mut Vec<String>) {
    let Ok(column) = spec.schema.index_of(name) else {
        let names: Vec<String> = spec.schema.fields().iter().map(|field| shown(field.name())).collect();
        let hint = did_you_mean(name, names.iter().map(String::as_str));
        let hint = hint.map(|hint| format!(", {hint}")).unwrap_or_default();
        warnings.push(format!("{key}: no column '{}'{hint} {}", shown(name), all_columns(spec)));
        return;
    };
    let data_type = spec.schema.field(column).data_type();
    let fits: &[fn(&DataType) -> bool] = match (spec.kind, key) {
        (ChartKind::Line | ChartKind::Scatter, "@x") => &[is_number, is_time],
        (ChartKind::Map, _) | (ChartKind::Bar | ChartKind::Line | ChartKind::Scatter, "@y") => &[is_number],
        _ => return,
    };
    let fit = |data_type: &DataType| fits.iter().any(|fits| fits(data_type));
    if fit(data_type) {
        return;
    }
    let wanted = if fits.len() > 1 { "a number or a time" } else { "a number" };
    let fields = spec.schema.fields().iter().filter(|field| fit(field.data_type()));
    let others: Vec<String> = fields.take(MAX_NAMED).map(|field| shown(field.name())).collect();
    let hint = suggestion(&others).unwrap_or_else(|| "no column is one".to_owned());
    warnings.push(format!("{key}: '{}' is not a number, and a {} needs {wanted}; {hint}", shown(name), spec.kind));
}

fn shown(name: &str) -> String {
    clean(&cut_chars(name, 40)).into_owned()
}

fn all_columns(spec: &PictureSpec) -> String {
    let fields = spec.schema.fields();
    let names: Vec<String> = fields.iter().take(MAX_NAMED).map(|field| shown(field.name())).collect();
    let more = if fields.len() > MAX_NAMED { ", …" } else { "" };
    format!("(columns: {}{more})", names.join(", "))
}
