//! One number, as big as fits, and its trend.

use maud::{Markup, html};

use super::ink::{BOLD, Px, clean, fit, polyline};
use super::{Drawing, PictureSpec};
use crate::cells::{Cells, decimals_for, show_double};
use crate::chart::Axes;
use crate::readable::{NULL, column};
use crate::scale::{bounds, share};
use crate::trend::Trend;

/// Pixels of the trend; it stretches with the tile.
const SPARK: (f64, f64) = (120.0, 36.0);
/// Points of the trend: one for every one or two pixels.
const MAX_POINTS: usize = 75;
/// Characters of a big number; its hover text has the rest.
const MAX_TEXT: usize = 40;

struct Number {
    text: String,
    exact: String,
    change: Option<String>,
    summary: String,
}

fn number(spec: &PictureSpec, axes: &Axes) -> Number {
    let field = spec.schema.field(axes.x);
    let text = column(field, spec.batches, axes.x, 1).cells.into_iter().next().flatten();
    let text = clean(text.as_deref().unwrap_or(NULL)).into_owned();
    let array = spec.batches.iter().find(|batch| batch.num_rows() > 0).map(|batch| batch.column(axes.x));
    let exact = array.and_then(|array| Cells::new(array).ok()?.get(0)).unwrap_or_default();
    let change = spec.trend.and_then(Trend::per_minute).filter(|change| *change != 0.0);
    let change = change.map(|change| {
        // A rate of counts is read as a count.
        let rounded = if change.abs() >= 10.0 { change.round() } else { change };
        let sign = if change > 0.0 { "+" } else { "\u{2212}" };
        format!("{sign}{}/min", show_double(rounded.abs(), decimals_for(std::iter::once(rounded)).min(2)))
    });
    let moving = change.as_deref().map(|change| format!(", {change}")).unwrap_or_default();
    let summary = format!("{} is {text}{moving}", clean(field.name()));
    Number { text, exact: clean(&exact).into_owned(), change, summary }
}

/// The big text as HTML, with the trend beside it.
pub fn html(spec: &PictureSpec, axes: &Axes) -> Drawing {
    let number = number(spec, axes);
    let text = super::ink::cut_chars(&number.text, MAX_TEXT);
    // The style sheet has sizes for long numbers: they must fit, not wrap.
    let long = match text.chars().count() {
        0..=7 => "d0",
        8..=11 => "d1",
        12..=18 => "d2",
        _ => "d3",
    };
    let spark = spec.trend.and_then(spark);
    let body = html! {
        div.number {
            data.value.(long) value=(number.exact) title=(number.exact) { (text) }
            @if number.change.is_some() || spark.is_some() {
                div.trend {
                    @if let Some(path) = spark {
                        svg.pic.spark role="img" viewBox={ "0 0 " (Px(SPARK.0)) " " (Px(SPARK.1)) } preserveAspectRatio="none" {
                            title { (spec.heading()) ", the last minutes" }
                            desc { (number.summary) }
                            (path)
                        }
                    }
                    @if let Some(change) = &number.change { span.change { (change) } }
                }
            }
        }
    };
    Drawing::new(body, f64::from(spec.height), number.summary, 1, spec.rows())
}

/// The same in a file.
pub fn svg(spec: &PictureSpec, axes: &Axes) -> Drawing {
    let number = number(spec, axes);
    let width = f64::from(spec.width);
    let size = (44.0 * width / super::ink::width(&number.text, 44.0 * BOLD)).clamp(12.0, 44.0);
    let spark = spec.trend.and_then(spark);
    let change_width = number.change.as_deref().map_or(0.0, |change| super::ink::width(change, 13.0) + 10.0);
    let spark_width = (width - change_width).clamp(20.0, 2.0 * SPARK.0);
    let below = size + 14.0;
    let moving = spark.is_some() || number.change.is_some();
    let body = html! {
        text.big y=(Px(size * 0.85)) font-size=(Px(size)) { title { (number.exact) } (fit(&number.text, width, size)) }
        @if let Some(path) = spark {
            svg viewBox={ "0 0 " (Px(SPARK.0)) " " (Px(SPARK.1)) } preserveAspectRatio="none"
                y=(Px(below)) width=(Px(spark_width)) height=(Px(SPARK.1)) { (path) }
        }
        @if let Some(change) = &number.change {
            text.quiet x=(Px(spark_width + 10.0)) y=(Px(below + 24.0)) font-size="13" { (change) }
        }
    };
    let height = if moving { below + SPARK.1 } else { size };
    Drawing::new(body, height, number.summary, 1, spec.rows())
}

/// The trend as a line over a faint ground; `None` as long as nothing changed.
fn spark(trend: &Trend) -> Option<Markup> {
    let samples: Vec<(f64, f64)> = trend.samples().collect();
    let low_high =
        samples.iter().fold((f64::MAX, f64::MIN), |(low, high), (_, value)| (low.min(*value), high.max(*value)));
    if samples.len() < 3 || low_high.0 >= low_high.1 {
        return None;
    }
    let values = bounds(samples.iter().map(|sample| sample.1))?;
    let oldest = samples.first()?.0.max(1.0);
    let every = samples.len().div_ceil(MAX_POINTS);
    // Counted from the newest, so that the last point is always the present.
    let kept: Vec<(f64, f64)> = samples.iter().rev().step_by(every).copied().collect();
    let line: Vec<(f64, f64)> = kept
        .iter()
        .rev()
        .map(|(ago, value)| ((1.0 - ago / oldest) * SPARK.0, 2.0 + (1.0 - share(*value, values)) * (SPARK.1 - 4.0)))
        .collect();
    let (first, last) = (line.first()?.0, line.last()?.0);
    let ground = [(last, SPARK.1), (first, SPARK.1)];
    Some(html! {
        g.s1 {
            path.area d=(polyline(line.iter().copied().chain(ground))) {}
            path.line d=(polyline(line.iter().copied())) {}
        }
    })
}
