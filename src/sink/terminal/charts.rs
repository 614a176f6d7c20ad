//! Numbers, bars, lines and scatters inside of a tile.
//!
//! Each returns `None` where the rows lack the columns that it needs (the tile then shows a table), else what of the
//! rows it left out, in words.

use std::cmp::Ordering;

use datafusion::arrow::array::RecordBatch;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};

use super::course::sparkline;
use super::draw::{fit, width};
use super::rows::{self, column, showing};
use super::{ChartKind, Look, Palette, Tile, big};
use crate::sink::cells::{group_digits, is_time, numbers, show_double};
use crate::sink::chart::Axes;

/// Marks of one picture at most: more than the dots of any terminal, and bounds what a refresh costs.
pub const MAX_MARKS: usize = 50_000;

/// One number, as big as fits, and how it moved.
pub fn number(tile: &Tile, look: &Look, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, None, tile.y.as_deref())?;
    let column = column(tile.schema.fields().get(axes.x)?, &tile.rows, axes.x, 1);
    let text = column.cells.first()?.clone().unwrap_or_else(|| rows::NULL.to_owned());
    let style = look.palette.accent();
    let columns = if big::draw(&text, style, area, buf) {
        big::width(&text)?
    } else {
        // On the middle line of the big ones beside it.
        let y = area.y + area.height.min(big::HEIGHT) / 2;
        buf.set_string(area.x, y, fit(&text, usize::from(area.width)), style.patch(look.palette.title()));
        width(&text).min(usize::from(area.width)) as u16
    };
    let left = columns.saturating_add(3).min(area.width);
    let beside = Rect { x: area.x + left, width: area.width - left, ..area };
    draw_course(&look.courses.tile(&tile.name), look.palette, beside, buf);
    Some(showing(1, tile.total_rows()))
}

/// The last samples beside a number: a sparkline, and above it by how much the number changed meanwhile.
fn draw_course(samples: &[f64], palette: Palette, area: Rect, buf: &mut Buffer) {
    let (Some(newest), 10..) = (samples.last(), area.width) else { return };
    if samples.iter().all(|sample| sample.total_cmp(newest).is_eq()) {
        return; // a flat line says nothing
    }
    let spark = sparkline(samples, usize::from(area.width.min(60)));
    let row = area.y + area.height.min(big::HEIGHT) - 1;
    buf.set_stringn(area.x, row, spark, usize::from(area.width), palette.quiet());
    let span = (samples.len() - 1).min(60);
    let change = newest - samples[samples.len() - 1 - span];
    if row > area.y && span >= 5 && change != 0.0 {
        let decimals = if change.fract() == 0.0 { 0 } else { 2 };
        let sign = if change > 0.0 { "+" } else { "" };
        let words = format!("{sign}{} in {span}s", show_double(change, decimals));
        buf.set_string(area.x, row - 1, fit(&words, usize::from(area.width)), palette.quiet());
    }
}

/// A bar for each row: label, value, and a length that can be compared at a glance.
pub fn bars(tile: &Tile, look: &Look, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, tile.x.as_deref(), tile.y.as_deref())?;
    let (measure, room) = (*axes.y.first()?, usize::from(area.height));
    let labels = column(tile.schema.fields().get(axes.x)?, &tile.rows, axes.x, room);
    let values = column(tile.schema.fields().get(measure)?, &tile.rows, measure, room);
    // Every row counts for the scale, so that bars keep their length when the window's height changes.
    let sizes = numbers(&tile.rows, measure);
    let largest = sizes.iter().flatten().fold(0.0_f64, |largest, size| largest.max(size.abs()));
    let texts = |column: &rows::Column| -> Vec<String> {
        column.cells.iter().map(|cell| cell.clone().unwrap_or_else(|| rows::NULL.to_owned())).collect()
    };
    let (labels, values) = (texts(&labels), texts(&values));
    let widest = |texts: &[String]| texts.iter().map(|text| width(text)).max().unwrap_or(0);
    let total = usize::from(area.width);
    let value_width = widest(&values).min(total / 2);
    let label_width =
        widest(&labels).min((total * 2 / 5).max(total.saturating_sub(value_width + 12)).min(28).min(total));
    let bar_from = label_width + value_width + 4;
    for (row, ((y, label), value)) in (area.y..area.bottom()).zip(&labels).zip(&values).enumerate() {
        buf.set_string(area.x, y, fit(label, label_width), look.palette.text());
        let value = fit(value, value_width);
        let value_x = label_width + 2 + value_width.saturating_sub(width(&value));
        if value_x + width(&value) <= total {
            buf.set_string(area.x + value_x as u16, y, &value, look.palette.title());
        }
        let size = sizes.get(row).copied().flatten().unwrap_or(0.0);
        if bar_from < total && largest > 0.0 {
            let style = if size < 0.0 { look.palette.series(1) } else { look.palette.accent() };
            buf.set_string(area.x + bar_from as u16, y, bar(size.abs() / largest, total - bar_from), style);
        }
    }
    Some(showing(labels.len(), tile.total_rows()))
}

/// A bar of this share of the columns, to an eighth of one; a share above nothing is never invisible.
fn bar(share: f64, columns: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * columns as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

struct Series {
    name: String,
    marks: Vec<(f64, f64)>,
}

const MINUTE_MS: f64 = 60_000.0;

/// Marks or lines over time or another number, one colour a series.
pub fn course(tile: &Tile, look: &Look, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, tile.x.as_deref(), tile.y.as_deref())?;
    let newest = newest_rows(&tile.rows);
    let mut series = all_series(tile, &axes, &newest);
    let dropped = series.len().saturating_sub(Palette::max_series());
    series.truncate(Palette::max_series());
    let marks = || series.iter().flat_map(|series| &series.marks);
    let timed = is_time(tile.schema.field(axes.x).data_type());
    let xs = bounds(marks().map(|mark| mark.0))?;
    // A lone moment stands in the middle of two minutes, not of half of all time.
    let lone = marks().map(|mark| mark.0).min_by(f64::total_cmp) == marks().map(|mark| mark.0).max_by(f64::total_cmp);
    let xs = if timed && lone { (xs.0.midpoint(xs.1) - MINUTE_MS, xs.0.midpoint(xs.1) + MINUTE_MS) } else { xs };
    let ys = bounds(marks().map(|mark| mark.1))?;
    let area = if series.len() > 1 { legend(&series, dropped, look.palette, area, buf) } else { area };
    let (ys, step) = scale(ys, tile.chart == ChartKind::Line);
    let plot = draw_axes(xs, (ys, step), timed, look.palette, area, buf);
    if plot.is_empty() {
        return Some(String::new());
    }
    // Shares of the plot rather than values: a canvas computes with differences that doubles may not have.
    for mark in series.iter_mut().flat_map(|series| &mut series.marks) {
        *mark = (share(mark.0, xs), share(mark.1, ys));
    }
    let named = series.len() > 1;
    Canvas::default()
        .x_bounds([0.0, 1.0])
        .y_bounds([0.0, 1.0])
        .paint(|context| {
            for (number, series) in series.iter().enumerate() {
                let style = look.palette.series(number);
                let color = look.palette.paint(style);
                context.draw(&Points { coords: &series.marks, color });
                if tile.chart == ChartKind::Line {
                    for pair in series.marks.windows(2) {
                        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
                        context.draw(&Stroke { x1, y1, x2, y2, color });
                    }
                }
                // Its number in the legend, for whoever cannot tell the colours apart.
                if let Some((x, y)) = series.marks.last().filter(|_| named) {
                    context.print(*x, *y, Span::styled((number + 1).to_string(), style.patch(look.palette.title())));
                }
            }
        })
        .render(plot, buf);
    let total = tile.total_rows();
    Some(showing(newest.iter().map(RecordBatch::num_rows).sum(), total))
}

/// The last rows, no more than can be drawn.
pub fn newest_rows(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let (mut left, mut newest) = (MAX_MARKS, Vec::new());
    for batch in batches.iter().rev() {
        let rows = batch.num_rows().min(left);
        newest.push(batch.slice(batch.num_rows() - rows, rows));
        left -= rows;
    }
    newest.reverse();
    newest
}

/// The marks by series, each in the order of x; a series is a text's value, or else a measure.
fn all_series(tile: &Tile, axes: &Axes, rows: &[RecordBatch]) -> Vec<Series> {
    let xs = numbers(rows, axes.x);
    let mut all: Vec<Series> = Vec::new();
    if let (Some(text), Some(measure)) = (axes.series, axes.y.first()) {
        let names = column(tile.schema.field(text), rows, text, MAX_MARKS).cells;
        for ((x, y), name) in xs.iter().zip(numbers(rows, *measure)).zip(names) {
            let (Some(x), Some(y)) = (*x, y) else { continue };
            let name = name.unwrap_or_else(|| rows::NULL.to_owned());
            match all.iter().position(|series| series.name == name) {
                Some(at) => all[at].marks.push((x, y)),
                // Past a few more than can be told apart, looking for a series in a list would be slow.
                None if all.len() < 2 * Palette::max_series() => all.push(Series { name, marks: vec![(x, y)] }),
                None => {}
            }
        }
    } else {
        for measure in &axes.y {
            let marks = xs.iter().zip(numbers(rows, *measure)).filter_map(|(x, y)| Some(((*x)?, y?))).collect();
            let name = crate::sink::sanitize::sanitize(tile.schema.field(*measure).name()).into_owned();
            all.push(Series { name, marks });
        }
    }
    for series in &mut all {
        series.marks.sort_by(|left, right| left.0.total_cmp(&right.0));
    }
    all
}

fn legend(series: &[Series], dropped: usize, palette: Palette, area: Rect, buf: &mut Buffer) -> Rect {
    let mut line = Line::default();
    for (number, series) in series.iter().enumerate() {
        line.push_span(Span::styled(format!("{} ", number + 1), palette.series(number).patch(palette.title())));
        line.push_span(Span::styled(format!("{}  ", fit(&series.name, 20)), palette.text()));
    }
    if dropped > 0 {
        line.push_span(Span::styled(format!("+{dropped} not drawn"), palette.quiet()));
    }
    buf.set_line(area.x, area.y, &line, area.width);
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

/// The smallest and the largest value, moved apart where they are one.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    match low.partial_cmp(&high)? {
        Ordering::Less => Some((low, high)),
        // So far that doubles notice it.
        Ordering::Equal => {
            let room = (low.abs() / 2.0).max(0.5);
            Some(((low - room).max(f64::MIN), (low + room).min(f64::MAX)))
        }
        Ordering::Greater => None,
    }
}

/// Where between both ends the value lies, 0 to 1.
fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    // Halves, because the difference of two doubles may be no double.
    let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
}

/// Round numbers around the values, and the step between them. Counts start at nothing, unless that would flatten them.
fn scale((low, high): (f64, f64), from_zero: bool) -> ((f64, f64), f64) {
    let low = if from_zero && low >= 0.0 && low < high * 0.7 { 0.0 } else { low };
    let step = round_up(high / 4.0 - low / 4.0);
    let round = ((low / step).floor() * step, (high / step).ceil() * step);
    if round.0.is_finite() && round.1.is_finite() && round.0 < round.1 {
        (round, step)
    } else {
        // At the ends of the doubles there are no round numbers.
        ((low, high), high / 4.0 - low / 4.0)
    }
}

/// The next of 1, 2, 5, 10, 20, 50 …
pub fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.abs().max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|round| *round >= value).unwrap_or(10.0 * power)
}

/// Labels at the left and below; returns the place for the picture.
fn draw_axes(
    xs: (f64, f64),
    (ys, step): ((f64, f64), f64),
    timed: bool,
    palette: Palette,
    area: Rect,
    buf: &mut Buffer,
) -> Rect {
    if area.height < 3 || area.width < 16 {
        return area;
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let label = |value: f64| show_short(value, decimals);
    let middle = ys.0 + ((ys.1 - ys.0) / step / 2.0).round() * step;
    let gutter = [ys.0, middle, ys.1].into_iter().map(|value| width(&label(value))).max().unwrap_or(0) as u16 + 1;
    let gutter = gutter.min(area.width / 3);
    let plot = Rect { x: area.x + gutter, width: area.width - gutter, height: area.height - 1, ..area };
    let mut put_y = |value: f64| {
        let text = label(value);
        let y = plot.y + ((1.0 - share(value, ys)) * f64::from(plot.height - 1)).round() as u16;
        let x = plot.x.saturating_sub(1 + width(&text) as u16).max(area.x);
        buf.set_stringn(x, y, text, usize::from(gutter - 1), palette.quiet());
    };
    put_y(ys.0);
    put_y(ys.1);
    if plot.height >= 5 && middle > ys.0 && middle < ys.1 {
        put_y(middle);
    }
    let show = |value| if timed { show_instant(value, xs.1 - xs.0) } else { show_short(value, 2) };
    put_ends(&show(xs.0), &show(xs.1), palette.quiet(), Rect { y: plot.bottom(), height: 1, ..plot }, buf);
    plot
}

/// One text at the left end of a line, another one at the right end if there is room for both.
pub fn put_ends(left: &str, right: &str, style: Style, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.width);
    buf.set_string(area.x, area.y, fit(left, room), style);
    if width(left) + width(right) + 2 <= room {
        buf.set_string(area.right() - width(right) as u16, area.y, right, style);
    }
}

/// A number for an axis: 1.5M rather than 1,500,000.
fn show_short(value: f64, decimals: usize) -> String {
    for (size, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M")] {
        if value.abs() >= size && value.abs() < 1e15 {
            return trim_zeros(&format!("{:.2}", value / size)) + unit;
        }
    }
    let text = show_double(value, decimals);
    if decimals > 0 { trim_zeros(&text) } else { group_digits(&text) }
}

fn trim_zeros(number: &str) -> String {
    if number.contains('e') || !number.contains('.') {
        return number.to_owned();
    }
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds since 1970 as a moment, as exact as the span of the axis calls for; UTC.
fn show_instant(ms: f64, span_ms: f64) -> String {
    let format = match span_ms {
        span if span < 10.0 * MINUTE_MS => "%H:%M:%S",
        span if span < 2.0 * 24.0 * 60.0 * MINUTE_MS => "%H:%M",
        span if span < 400.0 * 24.0 * 60.0 * MINUTE_MS => "%d %b",
        _ => "%Y-%m",
    };
    jiff::Timestamp::from_millisecond(ms as i64)
        .map_or_else(|_| show_short(ms, 0), |moment| moment.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_exact_to_an_eighth_and_never_vanish() {
        assert_eq!(bar(1.0, 3), "███");
        assert_eq!(bar(0.5, 3), "█▌");
        assert_eq!(bar(1e-9, 3), "▏");
        assert_eq!(bar(0.0, 3), "");
    }

    #[test]
    fn scales_are_round_and_hold_the_values() {
        assert_eq!(scale((3.0, 97.0), true), ((0.0, 100.0), 50.0));
        assert_eq!(scale((90.0, 97.0), true), ((90.0, 98.0), 2.0));
        assert_eq!(scale((-3.0, 4.0), true), ((-4.0, 4.0), 2.0));
        assert_eq!([0.7, 1.0, 13.0].map(|value| round_up(value).to_string()), ["1", "1", "20"]);
    }

    #[test]
    fn axis_labels_are_short() {
        assert_eq!(show_short(1_500_000.0, 0), "1.5M");
        assert_eq!(show_short(12_000.0, 0), "12,000");
        assert_eq!(show_short(0.25, 2), "0.25");
        assert_eq!(show_short(f64::MAX, 0), "1.798e308");
        assert_eq!(show_instant(1_767_225_600_000.0, 1000.0), "00:00:00");
        assert_eq!(show_instant(f64::MAX, 1000.0), "1.798e308");
    }

    #[test]
    fn one_value_and_extreme_values_still_have_a_span() {
        for values in [vec![5.0], vec![f64::MIN, f64::MAX], vec![0.0, 1e-320], vec![f64::MAX], vec![f64::MIN]] {
            let ends = bounds(values.into_iter()).unwrap_or_default();
            let ((low, high), step) = scale(ends, true);
            assert!(low < high && low.is_finite() && high.is_finite() && step.is_finite(), "{low} {high} {step}");
            assert_eq!((share(low, (low, high)), share(high, (low, high))), (0.0, 1.0));
        }
        assert_eq!(bounds(std::iter::empty()), None);
    }
}
