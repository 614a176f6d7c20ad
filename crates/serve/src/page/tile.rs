//! One tile as HTML, in each of its states.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use maud::{Markup, html};

use crate::app::App;
use crate::captions;
use crate::selection::RefusedValues;
use tallgrass_chart::ChartKind;
use tallgrass_pipeline::{FileState, Published, Status, Swap, Variant};
use tallgrass_sink::cells::group_digits;
use tallgrass_sink::sanitize::{sanitize, sanitize_lines};
use tallgrass_sink::svg::{self, MapExtent, Picture};
use tallgrass_sink::trend::{Trend, measured};
use tallgrass_view::{Param, SqlFile};

/// Rows of a tile's table at most; the tile's own page and the API have all.
const MAX_ROWS: usize = 60;

/// Warnings of a tile at most: each is about one key of the front matter.
const MAX_WARNINGS: usize = 5;

/// The part of a tile that is not in the refresh itself.
#[derive(Debug, Clone)]
pub struct Look {
    /// The last edit, for a while after it.
    pub swap: Option<Swap>,
    /// How it is maintained, and the cost of that.
    pub foot: String,
    /// The last good picture; none before the first.
    pub picture: Option<Arc<Picture>>,
}

/// The picture that a file names, or that fits the columns.
pub fn kind(file: Option<&SqlFile>, schema: &SchemaRef, rows: &[RecordBatch]) -> ChartKind {
    let named = file.and_then(|file| file.front_matter().chart);
    named.unwrap_or_else(|| tallgrass_sink::chart::chart_for(schema, rows))
}

/// The value of a tile that is one number.
pub fn number(file: Option<&SqlFile>, schema: &SchemaRef, rows: &[RecordBatch]) -> Option<f64> {
    let is_number = kind(file, schema, rows) == ChartKind::Number;
    is_number.then(|| measured(schema, rows, &measures(file))).flatten()
}

fn measures(file: Option<&SqlFile>) -> Vec<&str> {
    file.map(|file| file.front_matter().y.iter().map(|column| column.name.as_str()).collect()).unwrap_or_default()
}

/// Draws a result for a tile.
pub fn picture(
    name: &str,
    file: Option<&SqlFile>,
    schema: &SchemaRef,
    rows: &[RecordBatch],
    trend: &Trend,
    now_ms: i64,
    extents: &[MapExtent],
) -> Picture {
    let kind = kind(file, schema, rows);
    let measures = measures(file);
    let id: String = format!("p-{name}").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut spec = svg::PictureSpec::new(kind, schema, rows).sized(width(file, kind).into(), height(kind));
    spec.x = file.and_then(|file| file.front_matter().x.as_ref()).map(|column| column.name.as_str());
    spec.y = &measures;
    spec.title = file.map_or(name, SqlFile::title);
    spec.trend = Some(trend);
    spec.now_ms = Some(now_ms);
    spec.id = &id;
    spec.max_rows = MAX_ROWS;
    spec.extents = extents;
    svg::picture(&spec)
}

/// Columns of twelve.
fn width(file: Option<&SqlFile>, kind: ChartKind) -> u8 {
    let fitting = match kind {
        ChartKind::Number => 3,
        ChartKind::Bar | ChartKind::Table => 4,
        ChartKind::Line | ChartKind::Scatter | ChartKind::Map => 6,
    };
    file.and_then(|file| file.front_matter().width).unwrap_or(fitting)
}

fn height(kind: ChartKind) -> u16 {
    match kind {
        ChartKind::Number => 110,
        ChartKind::Map => 380,
        ChartKind::Line => 260,
        _ => 330,
    }
}

/// The state of a tile, for style sheets and tests.
fn state(published: &Published, file: Option<&FileState>, name: &str) -> &'static str {
    let failed = published.result(name).is_some_and(|result| result.rows.is_err());
    if file.is_some_and(|file| file.error.is_some()) || failed {
        "broken"
    } else if rebuild(&published.status, name) {
        "rebuilding"
    } else if !published.status.caught_up() {
        "catching-up"
    } else if published.result(name).is_none() {
        "waiting"
    } else {
        "ok"
    }
}

fn rebuild(status: &Status, name: &str) -> bool {
    status.rebuild.as_ref().is_some_and(|(names, _)| names.iter().any(|rebuilt| **rebuilt == *name))
}

/// The tile: an `article` for its file, whichever values its parameters have. Refused values stay in the form, and the
/// picture is that of the file's own values.
pub fn html(app: &App, published: &Published, name: &str, look: &Look, refused: Option<&RefusedValues>) -> Markup {
    let state_of = published.file(name);
    let slot = Variant::base(name).unwrap_or(name);
    let file = state_of.and_then(|state| state.file.as_ref());
    let running = state_of.and_then(|state| state.running.as_ref()).or(file);
    let title = file.map_or(slot, SqlFile::title);
    let kind = look.picture.as_ref().map_or(ChartKind::Table, |picture| picture.kind);
    let is_broken = state_of.is_some_and(|state| state.error.is_some());
    let width = width(if is_broken { running } else { file }, kind);
    let state = if refused.is_some() { "broken" } else { state(published, state_of, name) };
    html! {
        article class={ "tile w" (width) " is-" (kind) } id={ "tile-" (slot) } data-testid={ "tile-" (slot) } data-slot=(slot)
            data-view=(name) data-state=(state) aria-labelledby={ "title-" (slot) } tabindex="-1" {
            header {
                h2 id={ "title-" (slot) } {
                    a href={ "/view/" (slot) } data-detail title="SQL and details" { (sanitize(title)) }
                }
                @if let Some((_, values)) = name.split_once('?') { span.values { (sanitize(values)) } }
            }
            (progress(published, name))
            @if let Some(file) = file.filter(|file| !file.params().is_empty()) { (form(file, slot, refused)) }
            (banner(published, state_of, name, refused))
            (notes(app, published, running, name, look))
            @match &look.picture {
                Some(picture) if published.result(name).is_some() || is_broken => (picture.body),
                _ => div.picture { p.none { @if state == "broken" { "No result yet" } @else { "…" } } },
            }
            (foot(published, name, look))
        }
    }
}

/// How far reading or rebuilding is.
fn progress(published: &Published, name: &str) -> Markup {
    let status = &published.status;
    let rebuilding = status.rebuild.as_ref().filter(|(names, _)| names.iter().any(|rebuilt| **rebuilt == *name));
    let (share, caption) = match rebuilding {
        Some((_, rebuild)) => (rebuild.progress, captions::rebuilding(status, name).unwrap_or_default()),
        None if !status.caught_up() => (status.progress(), captions::catching_up(status)),
        None => return html! {},
    };
    html! {
        div.progress {
            progress max="100" value=(format!("{:.0}", (share * 100.0).floor())) aria-label=(caption) {}
            span { (caption) }
        }
    }
}

/// What is wrong with the given values, with the file, or with its rows. The last good picture stays below it.
fn banner(published: &Published, file: Option<&FileState>, name: &str, refused: Option<&RefusedValues>) -> Markup {
    let has_rows = published.result(name).is_some_and(|result| result.rows.is_ok());
    if let Some(refused) = refused {
        return html! {
            div.banner.bad role="alert" {
                (report(&refused.message))
                @if has_rows { p.older { "Below: the result with the file's own values." } }
            }
        };
    }
    let broken = file.and_then(|file| file.error.as_ref()).map(|error| (error.to_string(), true));
    let failed = || {
        let error = published.result(name)?.rows.as_ref().err()?;
        Some((tallgrass_diagnostics::message_of(error), false))
    };
    let Some((error, has_older)) = broken.or_else(failed) else { return html! {} };
    html! {
        div.banner.bad role="alert" {
            (report(&error))
            @if has_older && has_rows { p.older { "Below: the file before its last edit, still live." } }
        }
    }
}

/// A message with its excerpt of the file: the message wraps, the excerpt does not, or its caret would point elsewhere.
fn report(text: &str) -> Markup {
    let is_excerpt = |line: &&str| line.starts_with(' ');
    let lines: Vec<&str> = text.lines().collect();
    html! {
        @for part in lines.chunk_by(|a, b| is_excerpt(a) == is_excerpt(b)) {
            @if part.first().is_some_and(is_excerpt) {
                pre tabindex="0" { (sanitize_lines(&part.join("\n"))) }
            } @else {
                @for line in part { p { (sanitize(line)) } }
            }
        }
    }
}

/// Caveats about the numbers.
fn notes(app: &App, published: &Published, file: Option<&SqlFile>, name: &str, look: &Look) -> Markup {
    let status = &published.status;
    let state = published.file(name);
    let mut warnings: Vec<String> =
        state.into_iter().flat_map(|state| &state.warnings).map(ToString::to_string).collect();
    if warnings.is_empty() {
        warnings.extend(look.picture.iter().flat_map(|picture| picture.warnings.iter().cloned()));
    }
    let topics: Vec<&str> = file.map(|file| missing(published, file)).unwrap_or_default();
    let history = captions::counts_from(status);
    html! {
        @for warning in warnings.iter().take(MAX_WARNINGS) {
            div.banner.warn { (report(warning)) }
        }
        @for topic in topics {
            div.banner.quiet {
                p { "Waits for topic " b { (sanitize(topic)) } ". To feed it:" }
                pre tabindex="0" { (captions::feeder(&app.kafka, topic)) }
            }
        }
        @if let Some(swap) = look.swap.as_ref().and_then(|swap| swap.changes) {
            p.note.news role="status" { "Edited: " (swap) }
        }
        @if let Some(history) = history { p.note { (sanitize(&history)) } }
    }
}

/// Topics that this file reads, directly or through other files, and that do not exist.
fn missing<'a>(published: &'a Published, file: &SqlFile) -> Vec<&'a str> {
    let missing = &published.status.missing;
    let Some(definitions) = published.definitions.as_ref().filter(|_| !missing.is_empty()) else { return Vec::new() };
    let mut names = file.references();
    let (mut seen, mut topics) = (Vec::new(), Vec::new());
    while let Some(name) = names.pop() {
        if seen.contains(&name) {
            continue;
        }
        for relation in definitions.workspace.catalog().kafka_relations().filter(|relation| relation.name() == name) {
            let topic = missing.iter().find(|topic| *topic == relation.topic());
            topics.extend(topic.map(AsRef::<str>::as_ref).filter(|topic| !topics.contains(topic)));
        }
        names.extend(
            published.file(&name).and_then(|file| file.file.as_ref()).map(SqlFile::references).unwrap_or_default(),
        );
        seen.push(name);
    }
    topics
}

/// The form of the parameters' values. They are part of the address.
fn form(file: &SqlFile, slot: &str, refused: Option<&RefusedValues>) -> Markup {
    let value = |param: &Param| {
        let given = refused.and_then(|refused| refused.given.get(&param.name)).cloned();
        sanitize(&given.unwrap_or_else(|| param.text())).into_owned()
    };
    html! {
        form.params method="get" action="/" data-params=(slot) {
            @for param in file.params() {
                label {
                    span { (sanitize(&param.name)) }
                    input name={ (slot) "." (param.name) } value=(value(param)) autocomplete="off" spellcheck="false"
                        inputmode=[is_number(&param.data_type).then_some("decimal")];
                }
            }
            button type="submit" { "Apply" }
        }
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Age, rows, cost.
fn foot(published: &Published, name: &str, look: &Look) -> Markup {
    let rows = published.result(name).and_then(|result| result.rows.as_ref().ok()).map(|rows| {
        let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let grouped = group_digits(&rows.to_string());
        if rows == 1 { "1 row".to_owned() } else { format!("{grouped} rows") }
    });
    let left_out =
        look.picture.as_ref().map(|picture| picture.left_out.as_str()).filter(|left_out| !left_out.is_empty());
    html! {
        p.foot {
            @if rows.is_some() { span.age data-age {} }
            @if let Some(left_out) = left_out { span { (left_out) } } @else if let Some(rows) = rows { span { (rows) } }
            @for part in look.foot.split(" · ").filter(|part| !part.is_empty()) { span.cost { (part) } }
        }
    }
}
