//! A horizontal bar for each row: label, length, value.

use maud::html;

use super::ink::{BOLD, MarkKeys, Px, Share, clean, fit, tip, width};
use super::{Drawing, Gutters, Medium, PictureSpec};
use crate::cells::{group_digits, numbers};
use crate::chart::Axes;
use crate::readable::{NULL, column};
use crate::scale::share;

/// Pixels of a row: enough to read, and no more than looks like a bar.
const ROW: (f64, f64) = (18.0, 32.0);
/// Bars of one picture: a page of twelve tiles has to stay small.
const MAX_BARS: usize = 60;
/// Pixels of the labels: a phone still has as much left for the bars.
const MAX_LABEL: f64 = 140.0;
/// Pixels of the values.
const MAX_VALUE: f64 = 120.0;
/// Size of the text.
const SIZE: f64 = 12.5;

/// Draws as many rows as fit.
pub fn draw(spec: &PictureSpec, axes: &Axes, medium: Medium) -> Drawing {
    let (total, measure) = (spec.rows(), axes.y.first().copied().unwrap_or(axes.x));
    let room = ((f64::from(spec.height) / ROW.0) as usize).clamp(2, MAX_BARS);
    // The last line says how many more there are.
    let fits = if total > room { room - 1 } else { total };
    let lines = if total > room { room } else { total };
    let row_height = (f64::from(spec.height) / lines.max(1) as f64).clamp(ROW.0, ROW.1).floor();
    let labels = column(spec.schema.field(axes.x), spec.batches, axes.x, fits);
    let values = column(spec.schema.field(measure), spec.batches, measure, fits);
    // Every row counts for the scale, so that bars keep their length when more of them fit.
    let sizes = numbers(spec.batches, measure);
    let ends = sizes.iter().flatten().fold((0.0_f64, 0.0_f64), |(low, high), size| (low.min(*size), high.max(*size)));
    let ends = if ends.0 < ends.1 { ends } else { (0.0, 1.0) };
    let shown = |cells: &[Option<String>], most: f64| -> Vec<String> {
        let cells = cells.iter().map(|cell| cell.as_deref().unwrap_or(NULL));
        cells.map(|cell| fit(&clean(cell), most, SIZE).into_owned()).collect()
    };
    let (label_texts, value_texts) = (shown(&labels.cells, MAX_LABEL), shown(&values.cells, MAX_VALUE));
    let widest = |texts: &[String]| texts.iter().map(|text| width(text, SIZE)).fold(0.0, f64::max);
    let gutters = Gutters::new(widest(&label_texts) + 8.0, widest(&value_texts) * BOLD + 8.0);
    let from = gutters.left;
    let middle = row_height / 2.0 + 4.5;
    let thickness = (row_height * 0.66).round();
    let mut keys = MarkKeys::default();
    let body = html! {
        @for row in 0..label_texts.len() {
            @let label = labels.cells[row].as_deref().unwrap_or(NULL);
            @let value = values.cells[row].as_deref().unwrap_or(NULL);
            @let size = sizes.get(row).copied().flatten();
            @let tip = tip([(labels.header.as_str(), label), (values.header.as_str(), value)]);
            @let (start, end) = (share(size.unwrap_or(0.0).min(0.0), ends), share(size.unwrap_or(0.0).max(0.0), ends));
            g.bar data-key=(keys.key(label)) data-tip=[medium.tip(&tip)] transform={ "translate(0 " (Px(row_height * row as f64)) ")" } {
                (medium.title(&tip))
                text x=(Px(-from)) y=(Px(middle)) { (label_texts[row]) }
                @if size.is_some() {
                    rect class=[size.filter(|size| *size < 0.0).map(|_| "neg")] x=(Share(start)) y=(Px((row_height - thickness) / 2.0))
                        width=(Share((end - start).max(if size == Some(0.0) { 0.0 } else { 0.003 }))) height=(Px(thickness)) rx="2" {}
                }
                text.value x=(Share(end)) y=(Px(middle)) dx="6" { (value_texts[row]) }
            }
        }
        @if fits < total {
            text.quiet x=(Px(-from)) y=(Px(row_height * fits as f64 + middle)) { (group_digits(&(total - fits).to_string())) " more" }
        }
    };
    let name = |column: usize| clean(spec.schema.field(column).name()).into_owned();
    let largest = sizes.iter().enumerate().filter_map(|(row, size)| Some((row, (*size)?)));
    let largest =
        largest.max_by(|left, right| left.1.total_cmp(&right.1)).map(|(row, _)| row).filter(|row| *row < fits);
    let largest = largest.map_or_else(String::new, |row| {
        let cell = |cells: &[Option<String>]| clean(cells[row].as_deref().unwrap_or(NULL)).into_owned();
        format!(", largest {} with {}", cell(&labels.cells), cell(&values.cells))
    });
    let bars = if total == 1 { "1 bar".to_owned() } else { format!("{} bars", group_digits(&total.to_string())) };
    let summary = format!("Bar chart of {} by {}, {bars}{largest}", name(measure), name(axes.x));
    // The last line of the picture says what is left out.
    Drawing { left_out: String::new(), gutters, ..Drawing::new(body, row_height * lines as f64, summary, fits, total) }
}
