//! Measures over time or over another number: lines, and marks without lines.

use datafusion::arrow::array::RecordBatch;
use maud::{Markup, html};

use super::ink::{BOLD, Px, Share, clean, dots, fit, polyline, width};
use super::marks::ReadableRows;
use super::{Drawing, Gutters, Medium, PictureSpec};
use crate::cells::{group_digits, is_time};
use crate::chart::Axes;
use crate::scale::{bounds, decimals_of, multiples, scale, share, show_tick, ticks, time_ticks};
use crate::series::{Series, all_series, newest_rows};
use tallgrass_chart::ChartKind;

/// Series that colours can tell apart.
const MAX_SERIES: usize = 8;
/// Points of lines that get marks of their own; more would look like a band, and a page swaps them four times a second.
const MAX_POINTS: usize = 120;
/// Marks of a scatter that are elements; the others are one path.
const MAX_MARKS: usize = 500;
/// Size of the axis labels.
const SIZE: f64 = 11.0;
/// Pixels of a series' name beside its line.
const MAX_NAME: f64 = 96.0;
/// Pixels between two gridlines at least.
const GRID: f64 = 44.0;
/// Pixels between two labels of the lower axis at least.
const TICK: f64 = 84.0;
/// Pixels between two names beside their lines.
const NAME_LINE: f64 = 14.0;
const MINUTE_MS: f64 = 60_000.0;

/// Positions of marks, in shares of the plot and in its pixels.
struct Plot {
    xs: (f64, f64),
    ys: (f64, f64),
    top: f64,
    width: f64,
    height: f64,
}

impl Plot {
    fn x(&self, x: f64) -> Share {
        Share(share(x, self.xs))
    }

    fn y(&self, y: f64) -> f64 {
        self.top + (1.0 - share(y, self.ys)) * self.height
    }

    /// Where the lower axis is.
    fn foot(&self) -> f64 {
        self.top + self.height
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (share(x, self.xs) * self.width, self.y(y))
    }
}

/// Draws the newest rows; the series are the values of a text column, or the measures.
pub fn draw(kind: ChartKind, spec: &PictureSpec, axes: &Axes, medium: Medium) -> Drawing {
    let rows = newest_rows(spec.batches);
    let mut series = all_series(spec.schema, axes, &rows, MAX_SERIES);
    let mut drawn = vec![false; rows.iter().map(RecordBatch::num_rows).sum()];
    series.iter().flat_map(|series| &series.rows).for_each(|row| drawn[*row] = true);
    let nowhere = drawn.iter().filter(|drawn| !**drawn).count();
    series.retain(|series| !series.marks.is_empty());
    let dropped = series.len().saturating_sub(MAX_SERIES);
    series.truncate(MAX_SERIES);
    let field = |column: usize| clean(spec.schema.field(column).name()).into_owned();
    let names: Vec<String> = axes.y.iter().map(|column| field(*column)).collect();
    let what = format!(
        "{} of {} over {}",
        if kind == ChartKind::Line { "Line chart" } else { "Scatter" },
        names.join(", "),
        field(axes.x)
    );
    let marks = || series.iter().flat_map(|series| series.marks.iter().copied());
    let (Some(xs), Some(ys)) = (bounds(marks().map(|mark| mark.0)), bounds(marks().map(|mark| mark.1))) else {
        let body = html! { text.quiet y="20" font-size="14" { "No row has both numbers" } };
        return Drawing::new(body, 40.0, format!("{what}, no marks"), 0, spec.rows());
    };
    let timed = is_time(spec.schema.field(axes.x).data_type());
    // A lone moment is in the middle of two minutes, not of half of all time.
    let mut distinct = marks().map(|mark| mark.0);
    let first = distinct.next().unwrap_or_default();
    let lone = distinct.all(|x| x.total_cmp(&first).is_eq());
    let xs = if timed && lone { (first - MINUTE_MS, first + MINUTE_MS) } else { xs };
    let whole = |column: &usize| spec.schema.field(*column).data_type().is_integer();
    let legend_height = if kind == ChartKind::Scatter && series.len() > 1 { 22.0 } else { 0.0 };
    let (top, bottom) = (8.0 + legend_height, 22.0);
    let height = (f64::from(spec.height) - top - bottom).max(30.0);
    let (ys, step) =
        scale(ys, kind == ChartKind::Line, (height / GRID).clamp(1.0, 6.0).floor(), axes.y.iter().all(whole));
    let y_ticks: Vec<(f64, String)> =
        multiples(ys, step).into_iter().map(|tick| (tick, show_tick(tick, decimals_of(step)))).collect();
    let gutter = y_ticks.iter().map(|(_, word)| width(word, SIZE)).fold(0.0, f64::max) + 8.0;
    let named = kind == ChartKind::Line && (series.len() > 1 || dropped > 0);
    let texts: Vec<String> =
        series.iter().map(|series| fit(&clean(&series.name), MAX_NAME, 12.0).into_owned()).collect();
    let beside =
        if named { texts.iter().map(|name| width(name, 12.0 * BOLD)).fold(0.0, f64::max) + 10.0 } else { 12.0 };
    let gutters = Gutters::new(gutter, beside);
    let plot = Plot { xs, ys, top, width: gutters.plot(spec), height };
    let most = ((plot.width / TICK) as usize).clamp(2, 12);
    let x_ticks = if timed {
        time_ticks(xs, most)
    } else {
        let places = ticks(xs, most, whole(&axes.x));
        let step = places.first().zip(places.get(1)).map_or(1.0, |(first, second)| second - first);
        places.into_iter().map(|tick| (tick, show_tick(tick, decimals_of(step)))).collect()
    };
    let count = marks().count();
    let body = html! {
        @if legend_height > 0.0 { (legend(&texts, 4.0 - gutters.left)) }
        (grid(&plot, &y_ticks, &x_ticks, timed))
        @if kind == ChartKind::Line {
            (strokes(&plot, &series))
            (points(&plot, &series, (spec, &rows, axes), medium))
            @if named { (beside_lines(&plot, &series, &texts)) }
        } @else {
            (scatter(&plot, &series, (spec, &rows), medium))
        }
    };
    let lines = match series.len() {
        1 => String::new(),
        many => format!(", {many} series"),
    };
    let ends = format!(
        ", {} to {}",
        show_tick(bounds_low(marks().map(|mark| mark.1)), 2),
        show_tick(marks().map(|mark| mark.1).fold(f64::MIN, f64::max), 2)
    );
    let points = if count == 1 { "1 point".to_owned() } else { format!("{} points", group_digits(&count.to_string())) };
    let summary = format!("{what}{lines}, {points}{ends}");
    let mut drawing =
        Drawing::new(body, f64::from(spec.height), summary, rows.iter().map(RecordBatch::num_rows).sum(), spec.rows());
    drawing.gutters = gutters;
    let note = match (dropped, nowhere) {
        (1.., _) => format!("{MAX_SERIES} series of more are drawn"),
        (0, 0) => String::new(),
        (0, 1) => "1 row has no number to draw".to_owned(),
        (0, many) => format!("{} rows have no number to draw", group_digits(&many.to_string())),
    };
    drawing.left_out =
        [drawing.left_out, note].into_iter().filter(|note| !note.is_empty()).collect::<Vec<_>>().join(", ");
    drawing
}

fn bounds_low(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::MAX, f64::min)
}

fn grid(plot: &Plot, y_ticks: &[(f64, String)], x_ticks: &[(f64, String)], timed: bool) -> Markup {
    let middle = |share: f64| if share > 0.97 { Some("end") } else { None };
    html! {
        g.grid {
            @for (tick, word) in y_ticks {
                @let y = plot.y(*tick);
                line class=[(*tick == 0.0).then_some("zero")] x2="100%" y1=(Px(y)) y2=(Px(y)) {}
                text x="-8" y=(Px(y + 3.5)) text-anchor="end" { (word) }
            }
            // No zero among the ticks: a base line for the labels below.
            @if y_ticks.iter().all(|(tick, _)| *tick != 0.0) {
                line x2="100%" y1=(Px(plot.foot())) y2=(Px(plot.foot())) {}
            }
            @for (number, (tick, word)) in x_ticks.iter().enumerate() {
                @let share = share(*tick, plot.xs);
                text.m[number % 2 == 1] x=(Share(share)) y=(Px(plot.foot() + 17.0)) text-anchor=[middle(share).or(Some("middle"))] {
                    (word) @if timed && number == 0 && word.contains(':') { " UTC" }
                }
            }
        }
    }
}

fn class(number: usize) -> String {
    format!("s{}", number % MAX_SERIES + 1)
}

fn strokes(plot: &Plot, series: &[Series]) -> Markup {
    // One series over a scale that starts at zero is an amount, and is filled down to the axis.
    let filled = series.len() == 1 && plot.ys.0 == 0.0;
    html! {
        svg viewBox={ "0 0 " (Px(plot.width)) " " (Px(plot.foot())) } width="100%" height=(Px(plot.foot())) preserveAspectRatio="none" overflow="visible" {
            @for (number, series) in series.iter().enumerate() {
                @let line = thin(series.marks.iter().map(|mark| plot.at(*mark)), plot.width);
                g class=(class(number)) {
                    @if let (true, Some(first), Some(last)) = (filled && line.len() > 1, line.first(), line.last()) {
                        @let ground = [(last.0, plot.foot()), (first.0, plot.foot())];
                        path.area d=(polyline(line.iter().copied().chain(ground))) {}
                    }
                    path.line d=(polyline(line.iter().copied())) {}
                }
            }
        }
    }
}

/// A line of as many points as pixels can show: of each column of pixels the first, lowest, highest and last.
fn thin(points: impl ExactSizeIterator<Item = (f64, f64)>, width: f64) -> Vec<(f64, f64)> {
    if points.len() as f64 <= 2.0 * width {
        return points.collect();
    }
    let mut line: Vec<(f64, f64)> = Vec::new();
    let mut column: Vec<(f64, f64)> = Vec::new();
    let mut flush = |column: &mut Vec<(f64, f64)>| {
        let by_y = |left: &&(f64, f64), right: &&(f64, f64)| left.1.total_cmp(&right.1);
        let ends = [column.first(), column.iter().min_by(by_y), column.iter().max_by(by_y), column.last()];
        line.extend(ends.into_iter().flatten().copied());
        column.clear();
    };
    for point in points {
        if column.first().is_some_and(|first| first.0.floor() < point.0.floor()) {
            flush(&mut column);
        }
        column.push(point);
    }
    flush(&mut column);
    line.dedup();
    line
}

type PlotSource<'a> = (&'a PictureSpec<'a>, &'a [RecordBatch], &'a Axes);

/// The points of the lines as marks: all where they are few, else where each line ends.
fn points(plot: &Plot, series: &[Series], (spec, rows, axes): PlotSource, medium: Medium) -> Markup {
    let few = series.iter().map(|series| series.marks.len()).sum::<usize>() <= MAX_POINTS;
    let from = |series: &Series| if few { 0 } else { series.marks.len() - 1 };
    let picked: Vec<usize> = series.iter().flat_map(|series| series.rows[from(series)..].iter().copied()).collect();
    let texts = ReadableRows::pick(spec.schema, rows, &picked);
    let mut next = 0;
    let mut groups = Vec::new();
    for (number, series) in series.iter().enumerate() {
        // A text column's series share one measure; without one, each has its own.
        let measure = axes.y.get(if axes.series.is_some() { 0 } else { number });
        let columns: Vec<usize> = [axes.x].into_iter().chain(axes.series).chain(measure.copied()).collect();
        let marks = series.marks[from(series)..].iter().map(|mark| {
            let tip = texts.tip(next, Some(&columns), None);
            next += 1;
            (*mark, tip)
        });
        groups.push((number, marks.collect::<Vec<_>>()));
    }
    let radius = if few && next <= 60 { "2.5" } else { "2" };
    html! {
        @for (number, marks) in groups {
            g.points.(class(number)) {
                @for ((x, y), tip) in marks {
                    circle cx=(plot.x(x)) cy=(Px(plot.y(y))) r=(radius) data-tip=[medium.tip(&tip)] { (medium.title(&tip)) }
                }
            }
        }
    }
}

/// Names where the lines end, moved apart where the lines meet.
fn beside_lines(plot: &Plot, series: &[Series], texts: &[String]) -> Markup {
    let ends = series.iter().map(|series| series.marks.last().map_or(0.0, |mark| plot.y(mark.1)));
    let mut places: Vec<(usize, f64)> = ends.enumerate().collect();
    places.sort_by(|left, right| left.1.total_cmp(&right.1));
    let mut lowest = f64::MIN;
    for (_, y) in &mut places {
        *y = y.max(lowest + NAME_LINE);
        lowest = *y;
    }
    let mut highest = plot.foot() + NAME_LINE;
    for (_, y) in places.iter_mut().rev() {
        *y = y.min(highest - NAME_LINE);
        highest = *y;
    }
    html! {
        @for (number, y) in places {
            text.name.(class(number)) x="100%" dx="8" y=(Px(y + 4.0)) { (texts[number]) }
        }
    }
}

fn scatter(plot: &Plot, series: &[Series], (spec, rows): (&PictureSpec, &[RecordBatch]), medium: Medium) -> Markup {
    // Of too many marks some of every part of the picture are elements, and all look alike.
    let every = series.iter().map(|series| series.marks.len()).sum::<usize>().div_ceil(MAX_MARKS).max(1);
    let picked: Vec<usize> = series.iter().flat_map(|series| series.rows.iter().step_by(every).copied()).collect();
    let texts = ReadableRows::pick(spec.schema, rows, &picked);
    let mut next = 0;
    let mut groups = Vec::new();
    for (number, series) in series.iter().enumerate() {
        let marks = series.marks.iter().step_by(every).map(|mark| {
            let tip = texts.tip(next, None, None);
            next += 1;
            (*mark, tip)
        });
        let others = series.marks.iter().enumerate().filter(|(at, _)| at % every != 0);
        groups.push((number, marks.collect::<Vec<_>>(), dots(others.map(|(_, mark)| plot.at(*mark)))));
    }
    html! {
        @for (number, marks, others) in groups {
            @if !others.is_empty() {
                svg viewBox={ "0 0 " (Px(plot.width)) " " (Px(plot.foot())) } width="100%" height=(Px(plot.foot())) preserveAspectRatio="none" overflow="visible" {
                    path.dots.(class(number)) d=(others) {}
                }
            }
            g.marks.(class(number)) {
                @for ((x, y), tip) in marks {
                    circle cx=(plot.x(x)) cy=(Px(plot.y(y))) r="3.5" data-tip=[medium.tip(&tip)] { (medium.title(&tip)) }
                }
            }
        }
    }
}

fn legend(texts: &[String], mut x: f64) -> Markup {
    let places: Vec<f64> = texts
        .iter()
        .map(|text| {
            let place = x;
            x += width(text, 12.0) + 26.0;
            place
        })
        .collect();
    html! {
        @for (number, (text, x)) in texts.iter().zip(places).enumerate() {
            g.marks.(class(number)) { circle cx=(Px(x)) cy="9" r="4" {} }
            text.name.(class(number)) x=(Px(x + 9.0)) y="13" { (text) }
        }
    }
}
