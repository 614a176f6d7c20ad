//! Rows as a table: HTML in a page, text in a file.

use maud::html;

use super::ink::{MarkKeys, Px, Share, clean, cut_chars, fit, width};
use super::{Drawing, PictureSpec};
use crate::cells::{group_digits, is_number, is_text, numbers};
use crate::readable::{NULL, ReadableColumn, column, showing};
use crate::scale::share;

/// Columns of a table: a page has to stay small.
const MAX_COLUMNS: usize = 24;
/// Characters of a cell; its hover text has more.
const MAX_CELL: usize = 48;
/// Characters that the style sheet leaves room for.
const SURE_CELL: usize = 22;
/// Pixels of a row in a file.
const ROW: f64 = 22.0;
/// Size of a file's text.
const SIZE: f64 = 12.5;
/// Pixels between two columns of a file.
const GAP: f64 = 18.0;
/// Pixels of a column with bars in a file at least.
const MIN_BAR: f64 = 84.0;
/// Pixels of a text column in a file at most.
const MAX_TEXT: f64 = 180.0;

/// The readable columns and what they have in common.
struct TableContent {
    columns: Vec<ReadableColumn>,
    shown: usize,
    total: usize,
    /// Columns that identify the rows
    labels: Vec<usize>,
    /// The measure with a bar behind it, and the share of each row
    lead: Option<(usize, Vec<f64>)>,
    left_out: String,
    summary: String,
}

fn table(spec: &PictureSpec, room: usize) -> TableContent {
    let total = spec.rows();
    let shown = total.min(room).min(spec.max_rows);
    let fields: Vec<_> = spec.schema.fields().iter().take(MAX_COLUMNS).collect();
    let columns: Vec<ReadableColumn> =
        fields.iter().enumerate().map(|(index, field)| column(field, spec.batches, index, shown)).collect();
    let labels: Vec<usize> = (0..columns.len()).filter(|index| is_text(fields[*index].data_type())).collect();
    let labels = if labels.is_empty() { (0..columns.len()).take(1).collect() } else { labels };
    let hidden = spec.schema.fields().len() - columns.len();
    let mut left_out = showing(shown, total);
    if hidden > 0 {
        let note = if hidden == 1 { "1 column hidden".to_owned() } else { format!("{hidden} columns hidden") };
        left_out = if left_out.is_empty() { note } else { format!("{left_out}, {note}") };
    }
    let names: Vec<_> = columns.iter().map(|column| column.header.as_str()).collect();
    let rows = if total == 1 { "1 row".to_owned() } else { format!("{} rows", group_digits(&total.to_string())) };
    let summary = clean(&cut_chars(&format!("Table of {}, {rows}", names.join(", ")), 200)).into_owned();
    let lead = lead(spec, shown);
    TableContent { columns, shown, total, labels, lead, left_out, summary }
}

/// The first number that measures something, and does not merely name or place it.
fn lead(spec: &PictureSpec, shown: usize) -> Option<(usize, Vec<f64>)> {
    const NAMES: [&str; 12] =
        ["id", "number", "no", "nr", "rank", "lat", "latitude", "lon", "lng", "longitude", "year", "generation"];
    let measures = |name: &str| !name.starts_with('_') && !name.ends_with("_id") && !NAMES.contains(&name);
    let named = spec.y.first().and_then(|name| spec.schema.index_of(name).ok());
    let mut fields = spec.schema.fields().iter().take(MAX_COLUMNS);
    let first = || fields.position(|field| is_number(field.data_type()) && measures(&field.name().to_lowercase()));
    let column = named.or_else(first).filter(|column| *column < MAX_COLUMNS)?;
    let values = numbers(spec.batches, column);
    // A bar cannot show a value below zero, and one bar compares with nothing.
    let comparable = shown > 1
        && is_number(spec.schema.field(column).data_type())
        && values.iter().flatten().all(|value| *value >= 0.0);
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let shares = values.iter().take(shown).map(|value| value.map_or(0.0, |value| share(value, (0.0, most)))).collect();
    (comparable && most > 0.0).then_some((column, shares))
}

impl TableContent {
    fn key(&self, row: usize, keys: &mut MarkKeys) -> String {
        let cells = self.labels.iter().map(|column| self.cell(row, *column).unwrap_or(NULL));
        keys.key(&cells.collect::<Vec<_>>().join(" · "))
    }

    fn cell(&self, row: usize, column: usize) -> Option<&str> {
        self.columns[column].cells.get(row)?.as_deref()
    }
}

/// A table element: what a screen reader and a page without scripts need.
pub fn html(spec: &PictureSpec) -> Drawing {
    let table = table(spec, usize::MAX);
    let mut keys = MarkKeys::default();
    let body = html! {
        div.rows tabindex="0" role="region" aria-label=(spec.heading()) {
            table {
                caption.unseen[table.left_out.is_empty()] {
                    @if table.left_out.is_empty() { (spec.heading()) } @else { (table.left_out) }
                }
                thead { tr { @for column in &table.columns { th.n[column.right] scope="col" { (clean(&cut_chars(&column.header, MAX_CELL))) } } } }
                tbody {
                    @for row in 0..table.shown {
                        tr data-key=(table.key(row, &mut keys)) {
                            @for (index, column) in table.columns.iter().enumerate() {
                                @let lead = table.lead.as_ref().filter(|(lead, _)| *lead == index).map(|(_, shares)| shares[row]);
                                @match table.cell(row, index) {
                                    None => td.n[column.right].null { (NULL) },
                                    Some(cell) => {
                                        @let cell = clean(cell);
                                        @let short = cut_chars(&cell, MAX_CELL);
                                        @let full = (cell.chars().count() > SURE_CELL).then(|| super::ink::tip([(column.header.as_str(), &*cell)]));
                                        td.n[column.right].t[column.moment].lead[lead.is_some()] data-tip=[full] {
                                            @if let Some(share) = lead {
                                                svg aria-hidden="true" width="100%" height="100%" { rect width=(Share(share)) height="100%" {} }
                                            }
                                            @if lead.is_some() { span { (short) } } @else { (short) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    let mut drawing = Drawing::new(body, f64::from(spec.height), table.summary, table.shown, table.total);
    drawing.left_out = table.left_out;
    drawing
}

/// The table as text in rows, as many rows and columns as fit.
pub fn svg(spec: &PictureSpec) -> Drawing {
    let room = ((f64::from(spec.height) / ROW) as usize).saturating_sub(1).max(1);
    let table = table(spec, room);
    let total_width = f64::from(spec.width);
    let text = |cell: Option<&str>| fit(&clean(cell.unwrap_or(NULL)), MAX_TEXT, SIZE).into_owned();
    let mut columns: Vec<(usize, f64, f64)> = Vec::new();
    let mut x = 0.0;
    for (index, column) in table.columns.iter().enumerate() {
        let cells = (0..table.shown).map(|row| width(&text(table.cell(row, index)), SIZE));
        let widest = cells.fold(width(&fit(&column.header, MAX_TEXT, SIZE), SIZE), f64::max);
        // A bar needs some room to be compared.
        let barred = table.lead.as_ref().is_some_and(|(lead, _)| *lead == index);
        let widest = if barred { widest.max(MIN_BAR) } else { widest };
        if x + widest > total_width && !columns.is_empty() {
            break;
        }
        columns.push((index, x, widest.min(total_width)));
        x += widest + GAP;
    }
    // Spare width is shared out, so that the table is as wide as its picture.
    let spare = ((total_width - (x - GAP)) / columns.len().saturating_sub(1).max(1) as f64).max(0.0);
    for (number, column) in columns.iter_mut().enumerate() {
        column.1 += number as f64 * if number > 0 { spare } else { 0.0 };
    }
    let hidden = table.columns.len() - columns.len();
    let body = html! {
        g.quiet { @for (index, x, widest) in &columns { (put(*x, *widest, 13.0, table.columns[*index].right, &text(Some(&table.columns[*index].header)))) } }
        line.rule x2=(Px(total_width)) y1=(Px(ROW - 2.0)) y2=(Px(ROW - 2.0)) {}
        @for row in 0..table.shown {
            @let y = ROW * (row + 1) as f64;
            @for (index, x, widest) in &columns {
                @if let Some((_, shares)) = table.lead.as_ref().filter(|(lead, _)| lead == index) {
                    rect.behind x=(Px(*x)) y=(Px(y + 2.0)) width=(Px(widest * shares[row])) height=(Px(ROW - 4.0)) {}
                }
                (put(*x, *widest, y + 15.0, table.columns[*index].right, &text(table.cell(row, *index))))
            }
        }
    };
    let mut drawing = Drawing::new(body, ROW * (table.shown + 1) as f64, table.summary, table.shown, table.total);
    drawing.left_out = table.left_out;
    if hidden > 0 {
        let note = if hidden == 1 { "1 column hidden".to_owned() } else { format!("{hidden} columns hidden") };
        drawing.left_out = if drawing.left_out.is_empty() { note } else { format!("{}, {note}", drawing.left_out) };
    }
    drawing
}

fn put(x: f64, widest: f64, y: f64, right: bool, text: &str) -> maud::Markup {
    html! { text x=(Px(if right { x + widest } else { x })) y=(Px(y)) text-anchor=[right.then_some("end")] { (text) } }
}
