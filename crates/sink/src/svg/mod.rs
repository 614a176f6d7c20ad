//! Rows as pictures for a page and for files: SVG, and HTML where text should stay text.
//!
//! ```text
//!                      ┌─▶ picture     a piece of a page; colours from the page's style sheet, hover by its script
//!   Look ──▶ columns ──┤
//!           or a warning└─▶ standalone  a whole `.svg` file with its own style
//! ```
//!
//! A picture is a pure function of its [`PictureSpec`], so the same rows give the same bytes to every tab.
//!
//! # How a picture fits any screen
//! Bars, lines and scatters are drawn across whatever width there is (`x` in per cent) at a fixed height (`y` in pixels), so
//! that text keeps its size from a phone to a wall. The server assumes [`PictureSpec::width`] when it chooses ticks and cuts
//! labels. Maps keep their shape instead: they scale as a whole, their strokes and dots do not.
//!
//! # Contract with a page
//! - The page's style sheet includes [`CSS`]; there are no inline styles. A theme is `data-theme="light"` or `"dark"` on the
//!   root, or the system's choice.
//! - Every mark has `data-tip`: lines of `column: value`, plain text. Rows and bars have `data-key`, stable while their order
//!   changes.
//! - A map's `svg` has `data-lat0`, `data-lon0` (the centre) and `data-px-per-km`; the centre is the middle of its `viewBox` and
//!   the projection is azimuthal equidistant, so `viewBox` pans and zooms it. A script that zooms sets `--zoom` on it, so
//!   labels keep their size. Its marks have `data-at="lat,lon"`.
//! - Event data is hostile: everything passes through [`sanitize`](crate::sanitize) and is escaped.

mod bars;
mod columns;
mod extent;
mod ink;
mod lines;
mod map;
mod marks;
mod number;
mod table;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use maud::{Markup, PreEscaped, html};

pub use self::extent::MapExtent;
use crate::chart::Axes;
use crate::readable::showing;
use crate::trend::Trend;
use tallgrass_chart::ChartKind;

/// The style of every picture: variables for light and dark, and the classes that use them.
pub const CSS: &str = include_str!("pictures.css");

/// Pixels above a file's picture: its title.
const TITLE_HEIGHT: f64 = 34.0;
/// Pixels around a file's picture.
const MARGIN: f64 = 16.0;

/// What to draw, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct PictureSpec<'a> {
    /// The requested picture; a table is drawn if the columns do not fit
    pub kind: ChartKind,
    /// The rows' columns
    pub schema: &'a Schema,
    /// The rows
    pub batches: &'a [RecordBatch],
    /// The column along the picture, by name; guessed when left out
    pub x: Option<&'a str>,
    /// The measured columns, by name; guessed when empty
    pub y: &'a [&'a str],
    /// The heading
    pub title: &'a str,
    /// Earlier values of a number
    pub trend: Option<&'a Trend>,
    /// The picture's width in CSS pixels on a usual screen
    pub width: u16,
    /// CSS pixels at most
    pub height: u16,
    /// Milliseconds since 1970, for ages; `None` shows none
    pub now_ms: Option<i64>,
    /// The prefix of every id in this picture: letters, digits and hyphens, unique among the tiles of a page
    pub id: &'a str,
    /// Rows of a table at most
    pub max_rows: usize,
    /// The extents of the previous picture's maps ([`Picture::extents`]): they stay as long as their marks fit, for a map
    /// that moves with every record cannot be read
    pub extents: &'a [MapExtent],
}

impl<'a> PictureSpec<'a> {
    /// A picture of these rows in a tile of medium size.
    pub fn new(kind: ChartKind, schema: &'a Schema, batches: &'a [RecordBatch]) -> Self {
        Self {
            kind,
            schema,
            batches,
            x: None,
            y: &[],
            title: "",
            trend: None,
            width: 560,
            height: 300,
            now_ms: None,
            id: "p",
            max_rows: 200,
            extents: &[],
        }
    }

    /// Pixels of a tile of so many of twelve columns, on a page of 1,160 pixels.
    #[must_use]
    pub fn sized(mut self, span: u16, height: u16) -> Self {
        let span = span.clamp(1, 12);
        (self.width, self.height) = (span * 98 - 24, height);
        self
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The title, or the kind of picture.
    fn heading(&self) -> String {
        if self.title.is_empty() { self.kind.to_string() } else { ink::clean(self.title).into_owned() }
    }
}

/// A piece of a page.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The markup
    pub body: Markup,
    /// What was drawn
    pub kind: ChartKind,
    /// The picture in one sentence
    pub summary: String,
    /// What the author of the query should fix
    pub warnings: Vec<String>,
    /// Rows that can be seen in it
    pub rows_shown: usize,
    /// Rows of the result
    pub rows_total: usize,
    /// A note for the foot line about what is left out; empty where nothing is
    pub left_out: String,
    /// The extents of its maps; pass them to the next picture
    pub extents: Vec<MapExtent>,
}

/// The destination of a drawing: a page scales it and shows hover texts by script, a file does neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    Page,
    File,
}

impl Medium {
    /// A mark's hover text as an attribute.
    fn tip(self, tip: &str) -> Option<&str> {
        (self == Self::Page).then_some(tip)
    }

    /// A mark's hover text as an element: in a page it would show a second one beside the script's.
    fn title(self, tip: &str) -> Markup {
        html! { @if self == Self::File { title { (tip) } } }
    }
}

/// Pixels beside a plot, whatever the plot's width. A page sets them by classes of [`CSS`], which has steps of eight
/// pixels, because a style sheet can subtract pixels from a width and SVG's own attributes cannot.
#[derive(Debug, Clone, Copy, Default)]
struct Gutters {
    left: f64,
    right: f64,
}

impl Gutters {
    const STEP: f64 = 8.0;

    fn new(left: f64, right: f64) -> Self {
        let whole = |pixels: f64| (pixels / Self::STEP).ceil() * Self::STEP;
        Self { left: whole(left), right: whole(right) }
    }

    /// Pixels of the plot on a usual screen.
    fn plot(self, spec: &PictureSpec) -> f64 {
        (f64::from(spec.width) - self.left - self.right).max(40.0)
    }

    fn classes(self) -> String {
        let steps = |pixels: f64| (pixels / Self::STEP) as u32;
        format!("l{} g{}", steps(self.left), steps(self.left + self.right))
    }
}

/// A drawing before it has a frame.
struct Drawing {
    /// Inside an `svg`
    body: Markup,
    height: f64,
    summary: String,
    shown: usize,
    left_out: String,
    extents: Vec<MapExtent>,
    /// The body's origin is at the left of its plot
    gutters: Gutters,
}

impl Drawing {
    fn new(body: Markup, height: f64, summary: String, shown: usize, total: usize) -> Self {
        Self {
            body,
            height,
            summary,
            shown,
            left_out: showing(shown, total),
            extents: Vec::new(),
            gutters: Gutters::default(),
        }
    }
}

/// The rows as a piece of a page.
pub fn picture(spec: &PictureSpec) -> Picture {
    let (kind, axes, warnings) = columns::choose(spec);
    let total = spec.rows();
    if total == 0 {
        let body = html! { div.picture { p.none { "No rows" } } };
        let summary = "No rows".to_owned();
        let (left_out, extents) = (String::new(), spec.extents.to_vec());
        return Picture { body, kind, summary, warnings, rows_shown: 0, rows_total: 0, left_out, extents };
    }
    let drawing = match (kind, &axes) {
        (ChartKind::Number, Some(axes)) => number::html(spec, axes),
        (ChartKind::Map, Some(axes)) => map::draw(spec, axes, Medium::Page),
        (ChartKind::Bar | ChartKind::Line | ChartKind::Scatter, Some(axes)) => {
            let mut drawing = plot(kind, spec, axes, Medium::Page);
            drawing.body = html! {
                svg.pic.(drawing.gutters.classes()) role="img" aria-labelledby={ (spec.id) "-t " (spec.id) "-d" } height=(ink::Px(drawing.height)) {
                    title id={ (spec.id) "-t" } { (spec.heading()) }
                    desc id={ (spec.id) "-d" } { (drawing.summary) }
                    (drawing.body)
                }
            };
            drawing
        }
        _ => table::html(spec),
    };
    Picture {
        body: html! { div.picture { (drawing.body) } },
        kind,
        summary: drawing.summary,
        warnings,
        rows_shown: drawing.shown,
        rows_total: total,
        left_out: drawing.left_out,
        extents: drawing.extents,
    }
}

/// The rows as a whole SVG file, [`PictureSpec::width`] wide and at most [`PictureSpec::height`] high.
pub fn standalone(spec: &PictureSpec) -> String {
    let (kind, axes, _) = columns::choose(spec);
    let (outer, spec) = (*spec, inset(spec));
    let drawing = match (kind, &axes) {
        _ if spec.rows() == 0 => {
            let body = html! { text.quiet y="20" font-size="14" { "No rows" } };
            Drawing::new(body, 40.0, "No rows".to_owned(), 0, 0)
        }
        (ChartKind::Number, Some(axes)) => number::svg(&spec, axes),
        (ChartKind::Map, Some(axes)) => map::draw(&spec, axes, Medium::File),
        (ChartKind::Bar | ChartKind::Line | ChartKind::Scatter, Some(axes)) => plot(kind, &spec, axes, Medium::File),
        _ => table::svg(&spec),
    };
    let foot = if drawing.left_out.is_empty() { 0.0 } else { 20.0 };
    let (width, height) = (f64::from(outer.width), drawing.height + TITLE_HEIGHT + foot + 2.0 * MARGIN);
    let markup = html! {
        svg.pic.alone xmlns="http://www.w3.org/2000/svg" role="img" width=(ink::Px(width)) height=(ink::Px(height))
            viewBox={ "0 0 " (ink::Px(width)) " " (ink::Px(height)) } {
            title { (spec.heading()) }
            desc { (drawing.summary) }
            // The sheet is ours and has none of XML's special characters.
            style { (PreEscaped(CSS)) }
            rect.surface width="100%" height="100%" {}
            text.heading x=(ink::Px(MARGIN)) y=(ink::Px(MARGIN + 15.0)) { (ink::fit(&spec.heading(), f64::from(spec.width), 15.0)) }
            g transform={ "translate(" (ink::Px(MARGIN)) " " (ink::Px(MARGIN + TITLE_HEIGHT)) ")" } {
                svg x=(ink::Px(drawing.gutters.left)) width=(ink::Px(drawing.gutters.plot(&spec))) height=(ink::Px(drawing.height)) overflow="visible" { (drawing.body) }
                @if foot > 0.0 { text.quiet y=(ink::Px(drawing.height + 16.0)) { (drawing.left_out) } }
            }
        }
    };
    markup.into_string()
}

fn inset<'a>(spec: &PictureSpec<'a>) -> PictureSpec<'a> {
    let width = spec.width.saturating_sub(2 * MARGIN as u16).max(120);
    let height = spec.height.saturating_sub((TITLE_HEIGHT + 2.0 * MARGIN) as u16).max(60);
    PictureSpec { width, height, ..*spec }
}

fn plot(kind: ChartKind, spec: &PictureSpec, axes: &Axes, medium: Medium) -> Drawing {
    if kind == ChartKind::Bar { bars::draw(spec, axes, medium) } else { lines::draw(kind, spec, axes, medium) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::too_many_lines)]
mod gallery;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
