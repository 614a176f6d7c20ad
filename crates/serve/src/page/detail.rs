//! All details of one tile, and the page of bad records.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use datafusion::arrow::array::RecordBatch;
use maud::{Markup, PreEscaped, html};

use super::render::Rendered;
use super::{Page, document, refuse, strip};
use crate::app::App;
use crate::captions::{show_bytes, show_time};
use crate::selection::{Selection, encoded};
use tallgrass_pipeline::{Published, Variant};
use tallgrass_sink::cells::group_digits;
use tallgrass_sink::sanitize::{sanitize, sanitize_lines};

/// Reasons of bad records listed at most.
const MAX_REASONS: usize = 100;

/// The tile's own page.
pub fn view(app: &App, picture: &Rendered, selection: &Selection, name: &str) -> Option<Markup> {
    let own = picture.tile(name)?;
    let tile = picture.selected(app, own, selection, 0)?;
    let view = picture.tile(selection.view_of(name)).unwrap_or(own);
    let published = picture.published.as_deref()?;
    let content = html! {
        div.strip id="strip" { (PreEscaped(&*picture.strip)) }
        div.offline id="offline" role="status" hidden {}
        div.tiles.alone data-only=(name) data-seq=(picture.seq) { (PreEscaped(tile)) }
        section.detail { (about(published, &view.name, selection)) }
    };
    let title = published.file(name).and_then(|file| file.file.as_ref()).map_or(name, |file| file.title());
    Some(document::plain(app, &sanitize(title), &content))
}

/// `GET /view/NAME/detail`: the same without the tile, for a dialog.
pub async fn fragment(
    State(page): State<Arc<Page>>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let Some(published) = page.app.newest() else { return refuse(StatusCode::NOT_FOUND, "there is no result yet") };
    let selection = match page.selection(&query) {
        Ok(selection) => selection,
        Err(refused) => return refused.into_response(),
    };
    let selected = selection.view_of(&name);
    let view = if published.result(selected).is_some() { selected } else { &name };
    if published.file(view).is_none() {
        return refuse(StatusCode::NOT_FOUND, &format!("there is no view '{name}'"));
    }
    let title = published.file(&name).and_then(|file| file.file.as_ref()).map_or(&*name, |file| file.title());
    Html(html! { h2 { (sanitize(title)) } (about(&published, view, &selection)) }.into_string()).into_response()
}

/// SQL, maintenance, offsets, downloads.
fn about(published: &Published, view: &str, selection: &Selection) -> Markup {
    let name = Variant::base(view).unwrap_or(view);
    let file = published.file(view).and_then(|file| file.file.as_ref());
    let result = published.result(view);
    let values =
        selection.variants.get(name).filter(|variant| **variant.name() == *view).map(values).unwrap_or_default();
    html! {
        p.links {
            @for form in ["csv", "json", "arrow", "svg"] {
                a href={ "/api/views/" (name) "." (form) (values) } download={ (name) "." (form) } { (form.to_uppercase()) }
            }
            a href={ "/view/" (name) (values) } { "This tile only" }
            a href={ "/api/views/" (name) "/changes" (values) } { "Changes, as a stream" }
        }
        @if let Some(file) = file {
            h3 { "SQL" }
            p.path { (sanitize(&file.path().display().to_string())) }
            pre.sql tabindex="0" { (sanitize_lines(file.text())) }
        }
        @if let Some(result) = result {
            @if let Some(described) = &result.description {
                h3 { "How it is maintained" }
                dl {
                    dt { "Maintained" } dd { (described.maintained) }
                    dt { "An event" } dd { (described.per_event) }
                    dt { "A refresh" } dd { (described.per_refresh) }
                    dt { "State" } dd { (described.state) }
                }
            }
            h3 { "What it costs" }
            dl {
                dt { "Rows received" } dd { (group_digits(&result.cost.rows.to_string())) }
                dt { "Time spent on them" } dd { (show_time(result.cost.reducing)) }
                dt { "Last refresh" } dd { (show_time(result.cost.refresh)) }
                dt { "State" } dd { (group_digits(&result.cost.state.rows.to_string())) " entries, " (show_bytes(result.cost.state.bytes)) }
                @if let Ok(rows) = &result.rows {
                    dt { "Result" } dd {
                        (group_digits(&rows.iter().map(RecordBatch::num_rows).sum::<usize>().to_string())) " rows of "
                        (result.schema.fields().len()) " columns"
                    }
                }
            }
            h3 { "Columns" }
            table.plain {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Type" } } }
                tbody {
                    @for field in result.schema.fields() {
                        tr { td { (sanitize(field.name())) } td { (field.data_type().to_string()) } }
                    }
                }
            }
        }
        h3 { "As of" }
        p { (strip::time_of_day(published.at)) ": everything below these offsets is in the result, nothing at or above." }
        (offsets(published))
        @if let Some(swap) = published.file(view).and_then(|file| file.swap.as_ref()) {
            h3 { "Last edit" }
            p { @match &swap.changes { Some(changes) => (changes), None => "the first result" } }
            p.offsets { "as of " (sanitize(&swap.as_of.to_string())) }
        }
    }
}

/// The values of a variant as the page's addresses have them: `?near.lat=41`.
fn values(variant: &Variant) -> String {
    let name = Variant::base(variant.name()).unwrap_or_default();
    let pairs = variant.values().iter().map(|(param, value)| format!("{name}.{param}={}", encoded(value)));
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Topic by topic, partition by partition.
fn offsets(published: &Published) -> Markup {
    let as_of = &published.snapshot.as_of;
    html! {
        table.plain.offsets {
            thead { tr { th scope="col" { "Topic" } th scope="col" { "Next offset of each partition" } } }
            tbody {
                @for topic in published.status.topics.keys() {
                    tr {
                        th scope="row" { (sanitize(topic)) }
                        td { @for (partition, next) in as_of.topic(topic).into_iter().flatten() { span.offset { (partition) ":" (next) } " " } }
                    }
                }
            }
        }
    }
}

/// `GET /bad-records`
pub async fn bad_records(State(page): State<Arc<Page>>) -> Response {
    let published = page.app.newest();
    let examples = published.map(|published| published.status.bad.examples()).unwrap_or_default();
    let content = html! {
        h2 { "Bad records" }
        p { "A record that does not fit its declaration is not a row. It is counted here and stops nothing; each reason shows one of its newest records." }
        @if examples.is_empty() {
            p.none { "None so far." }
        } @else {
            table.plain {
                thead { tr { th scope="col" { "Topic" } th scope="col" { "What" } th.num scope="col" { "Records" } th scope="col" { "Example" } } }
                tbody {
                    @for bad in examples.iter().take(MAX_REASONS) {
                        tr {
                            td { (sanitize(&bad.topic)) }
                            td { (bad.kind.replace('_', " ")) }
                            td.num { (group_digits(&bad.count.to_string())) }
                            td { code { (sanitize(&bad.example)) } }
                        }
                    }
                }
            }
        }
    };
    Html(document::plain(&page.app, "Bad records", &content).into_string()).into_response()
}
