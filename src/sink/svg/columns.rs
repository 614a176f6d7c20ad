//! Which columns a picture shows, and what to tell its author when they do not fit.

use datafusion::arrow::datatypes::DataType;

use super::Look;
use super::ink::{clean, cut_chars};
use crate::chart::ChartKind;
use crate::sink::cells::{is_number, is_time};
use crate::sink::chart::Axes;

/// Columns named in a warning.
const MAX_NAMED: usize = 12;

/// The picture that can be drawn, its columns, and what is wrong with what was asked for.
pub fn choose(look: &Look) -> (ChartKind, Option<Axes>, Vec<String>) {
    let mut warnings = Vec::new();
    if let Some(name) = look.x {
        check(look, "@x", name, &mut warnings);
    }
    for name in look.y {
        check(look, "@y", name, &mut warnings);
    }
    if look.kind == ChartKind::Table {
        return (ChartKind::Table, None, warnings);
    }
    if warnings.is_empty() {
        if let Some(axes) = Axes::of(look.kind, look.schema, look.x, look.y).filter(|axes| measurable(look, axes)) {
            if axes.y.len() < look.y.len() {
                warnings.push(format!("@y: a {} shows one column, not {}", look.kind, look.y.len()));
            }
            return (look.kind, Some(axes), warnings);
        }
        warnings.push(format!("no {} fits these columns: {}; {}", look.kind, needs(look.kind), all_columns(look)));
    }
    (ChartKind::Table, None, warnings)
}

/// Whether the guessed columns have the types that the picture needs; named ones were looked at before.
fn measurable(look: &Look, axes: &Axes) -> bool {
    let number = |column: &usize| is_number(look.schema.field(*column).data_type());
    let x = look.schema.field(axes.x).data_type();
    match look.kind {
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
        ChartKind::Map => "it needs numbers called lat and lon, or named by @y and @x",
    }
}

fn check(look: &Look, key: &str, name: &str, warnings: &mut Vec<String>) {
    let Ok(column) = look.schema.index_of(name) else {
        let near = nearest(look, name).map(|near| format!(", did you mean '{near}'?")).unwrap_or_default();
        warnings.push(format!("{key}: no column '{}'{near} {}", shown(name), all_columns(look)));
        return;
    };
    let data_type = look.schema.field(column).data_type();
    let fits: &[fn(&DataType) -> bool] = match (look.kind, key) {
        (ChartKind::Line | ChartKind::Scatter, "@x") => &[is_number, is_time],
        (ChartKind::Map, _) | (ChartKind::Bar | ChartKind::Line | ChartKind::Scatter, "@y") => &[is_number],
        _ => return,
    };
    let fit = |data_type: &DataType| fits.iter().any(|fits| fits(data_type));
    if fit(data_type) {
        return;
    }
    let wanted = if fits.len() > 1 { "a number or a time" } else { "a number" };
    let fields = look.schema.fields().iter().filter(|field| fit(field.data_type()));
    let others: Vec<String> = fields.take(MAX_NAMED).map(|field| format!("'{}'", shown(field.name()))).collect();
    let hint = if others.is_empty() {
        "no column is one".to_owned()
    } else {
        format!("did you mean {}?", others.join(" or "))
    };
    warnings.push(format!("{key}: '{}' is no number, and a {} needs {wanted}; {hint}", shown(name), look.kind));
}

fn shown(name: &str) -> String {
    clean(&cut_chars(name, 40)).into_owned()
}

fn nearest(look: &Look, name: &str) -> Option<String> {
    let word = name.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&word, &other.to_lowercase());
    let nearest = look.schema.fields().iter().map(|field| field.name()).min_by_key(|other| distance(other))?;
    (distance(nearest) <= nearest.chars().count().div_ceil(3)).then(|| shown(nearest))
}

fn all_columns(look: &Look) -> String {
    let fields = look.schema.fields();
    let names: Vec<String> = fields.iter().take(MAX_NAMED).map(|field| shown(field.name())).collect();
    let more = if fields.len() > MAX_NAMED { ", …" } else { "" };
    format!("(columns: {}{more})", names.join(", "))
}
