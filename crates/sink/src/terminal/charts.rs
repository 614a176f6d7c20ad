//! Numbers, bars, lines and scatters inside a tile.
//!
//! Each returns `None` where the rows lack the columns that it needs (the tile then shows a table), else a note about rows
//! that it left out.

use datafusion::arrow::array::RecordBatch;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};

use super::draw::{fit, width};
use super::trend::sparkline;
use super::{ChartKind, Palette, ScreenState, Tile, big};
use crate::cells::{is_time, numbers, show_double};
use crate::chart::Axes;
use crate::readable::{self, column, showing};
use crate::scale::{bounds, scale, share, show_instant, show_short};
use crate::series::{Series, all_series, newest_rows};

/// One number, as big as fits, and its trend.
pub fn number(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, None, tile.y.as_deref().as_slice())?;
    let column = column(tile.schema.fields().get(axes.x)?, &tile.rows, axes.x, 1);
    let text = column.cells.first()?.clone().unwrap_or_else(|| readable::NULL.to_owned());
    let style = state.palette.accent();
    let columns = if big::draw(&text, style, area, buf) {
        big::width(&text)?
    } else {
        // On the middle line of the big ones beside it.
        let y = area.y + area.height.min(big::HEIGHT) / 2;
        buf.set_string(area.x, y, fit(&text, usize::from(area.width)), style.patch(state.palette.title()));
        width(&text).min(usize::from(area.width)) as u16
    };
    let left = columns.saturating_add(3).min(area.width);
    let beside = Rect { x: area.x + left, width: area.width - left, ..area };
    draw_trend(&state.trends.tile(&tile.name), state.palette, beside, buf);
    Some(showing(1, tile.total_rows()))
}

/// The last samples beside a number: a sparkline, and above it the change over that time.
fn draw_trend(samples: &[f64], palette: Palette, area: Rect, buf: &mut Buffer) {
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
        let text = format!("{sign}{} in {span}s", show_double(change, decimals));
        buf.set_string(area.x, row - 1, fit(&text, usize::from(area.width)), palette.quiet());
    }
}

/// A bar for each row: label, value, and a length to compare at a glance.
pub fn bars(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, tile.x.as_deref(), tile.y.as_deref().as_slice())?;
    let (measure, room) = (*axes.y.first()?, usize::from(area.height));
    let labels = column(tile.schema.fields().get(axes.x)?, &tile.rows, axes.x, room);
    let values = column(tile.schema.fields().get(measure)?, &tile.rows, measure, room);
    // Every row counts for the scale, so that bars keep their length when the window's height changes.
    let sizes = numbers(&tile.rows, measure);
    let largest = sizes.iter().flatten().fold(0.0_f64, |largest, size| largest.max(size.abs()));
    let texts = |column: &readable::ReadableColumn| -> Vec<String> {
        column.cells.iter().map(|cell| cell.clone().unwrap_or_else(|| readable::NULL.to_owned())).collect()
    };
    let (labels, values) = (texts(&labels), texts(&values));
    let widest = |texts: &[String]| texts.iter().map(|text| width(text)).max().unwrap_or(0);
    let total = usize::from(area.width);
    let value_width = widest(&values).min(total / 2);
    let label_width =
        widest(&labels).min((total * 2 / 5).max(total.saturating_sub(value_width + 12)).min(28).min(total));
    let bar_from = label_width + value_width + 4;
    for (row, ((y, label), value)) in (area.y..area.bottom()).zip(&labels).zip(&values).enumerate() {
        buf.set_string(area.x, y, fit(label, label_width), state.palette.text());
        let value = fit(value, value_width);
        let value_x = label_width + 2 + value_width.saturating_sub(width(&value));
        if value_x + width(&value) <= total {
            buf.set_string(area.x + value_x as u16, y, &value, state.palette.title());
        }
        let size = sizes.get(row).copied().flatten().unwrap_or(0.0);
        if bar_from < total && largest > 0.0 {
            let style = if size < 0.0 { state.palette.series(1) } else { state.palette.accent() };
            buf.set_string(area.x + bar_from as u16, y, bar(size.abs() / largest, total - bar_from), style);
        }
    }
    Some(showing(labels.len(), tile.total_rows()))
}

/// A bar of this share of the columns, to an eighth of one; a share above zero is never invisible.
fn bar(share: f64, columns: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * columns as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

const MINUTE_MS: f64 = 60_000.0;

/// Marks or lines over time or another number, one colour a series.
pub fn trend(tile: &Tile, state: &ScreenState, area: Rect, buf: &mut Buffer) -> Option<String> {
    let axes = Axes::of(tile.chart, &tile.schema, tile.x.as_deref(), tile.y.as_deref().as_slice())?;
    let newest = newest_rows(&tile.rows);
    let mut series = all_series(&tile.schema, &axes, &newest, Palette::max_series());
    let dropped = series.len().saturating_sub(Palette::max_series());
    series.truncate(Palette::max_series());
    let marks = || series.iter().flat_map(|series| &series.marks);
    let timed = is_time(tile.schema.field(axes.x).data_type());
    let xs = bounds(marks().map(|mark| mark.0))?;
    // A lone moment is in the middle of two minutes, not of half of all time.
    let lone = marks().map(|mark| mark.0).min_by(f64::total_cmp) == marks().map(|mark| mark.0).max_by(f64::total_cmp);
    let xs = if timed && lone { (xs.0.midpoint(xs.1) - MINUTE_MS, xs.0.midpoint(xs.1) + MINUTE_MS) } else { xs };
    let ys = bounds(marks().map(|mark| mark.1))?;
    let area = if series.len() > 1 { legend(&series, dropped, state.palette, area, buf) } else { area };
    let (ys, step) = scale(ys, tile.chart == ChartKind::Line, 4.0, false);
    let plot = draw_axes(xs, (ys, step), timed, state.palette, area, buf);
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
                let style = state.palette.series(number);
                let color = state.palette.paint(style);
                context.draw(&Points { coords: &series.marks, color });
                if tile.chart == ChartKind::Line {
                    for pair in series.marks.windows(2) {
                        let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
                        context.draw(&Stroke { x1, y1, x2, y2, color });
                    }
                }
                // Its number in the legend, for readers who cannot tell the colours apart.
                if let Some((x, y)) = series.marks.last().filter(|_| named) {
                    context.print(*x, *y, Span::styled((number + 1).to_string(), style.patch(state.palette.title())));
                }
            }
        })
        .render(plot, buf);
    let total = tile.total_rows();
    Some(showing(newest.iter().map(RecordBatch::num_rows).sum(), total))
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

/// Labels at the left and below; returns the area for the picture.
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
}
