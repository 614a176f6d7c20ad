//! All there is to know about one tile; and the records that were no rows.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use datafusion::arrow::array::RecordBatch;
use maud::{Markup, PreEscaped, html};

use super::render::Rendered;
use super::{Page, document, refuse, strip};
use tallgrass_pipeline::{Shot, Variant};
use crate::app::App;
use crate::wish::{Wish, encoded};
use crate::words::{show_bytes, show_time};
use tallgrass_sink::cells::group_digits;
use tallgrass_sink::sanitize::{sanitize, sanitize_lines};

/// Reasons of bad records that are listed at most.
const MAX_REASONS: usize = 100;

/// The tile alone.
pub fn view(app: &App, picture: &Rendered, wish: &Wish, name: &str) -> Option<Markup> {
    let own = picture.tile(name)?;
    let tile = picture.wished(app, own, wish, 0)?;
    let view = picture.tile(wish.view_of(name)).unwrap_or(own);
    let shot = picture.shot.as_deref()?;
    let content = html! {
        div.strip id="strip" { (PreEscaped(&*picture.strip)) }
        div.offline id="offline" role="status" hidden {}
        div.tiles.alone data-only=(name) data-seq=(picture.seq) { (PreEscaped(tile)) }
        section.detail { (about(shot, &view.name, wish)) }
    };
    let title = shot.file(name).and_then(|file| file.file.as_ref()).map_or(name, |file| file.title());
    Some(document::plain(app, &sanitize(title), &content))
}

/// `GET /view/NAME/detail`: the same without the tile, for a dialog.
pub async fn fragment(
    State(page): State<Arc<Page>>,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let Some(shot) = page.app.newest() else { return refuse(StatusCode::NOT_FOUND, "there is no result yet") };
    let wish = match page.wish(&query) {
        Ok(wish) => wish,
        Err(refused) => return refused.into_response(),
    };
    let wished = wish.view_of(&name);
    let view = if shot.result(wished).is_some() { wished } else { &name };
    if shot.file(view).is_none() {
        return refuse(StatusCode::NOT_FOUND, &format!("there is no view '{name}'"));
    }
    let title = shot.file(&name).and_then(|file| file.file.as_ref()).map_or(&*name, |file| file.title());
    Html(html! { h2 { (sanitize(title)) } (about(&shot, view, &wish)) }.into_string()).into_response()
}

/// SQL, how it is kept up to date, offsets, downloads.
fn about(shot: &Shot, view: &str, wish: &Wish) -> Markup {
    let name = Variant::base(view).unwrap_or(view);
    let file = shot.file(view).and_then(|file| file.file.as_ref());
    let result = shot.result(view);
    let values = wish.variants.get(name).filter(|variant| **variant.name() == *view).map(values).unwrap_or_default();
    html! {
        p.links {
            @for form in ["csv", "json", "arrow", "svg"] {
                a href={ "/api/views/" (name) "." (form) (values) } download={ (name) "." (form) } { (form.to_uppercase()) }
            }
            a href={ "/view/" (name) (values) } { "This tile alone" }
            a href={ "/api/views/" (name) "/changes" (values) } { "Changes, as a stream" }
        }
        @if let Some(file) = file {
            h3 { "SQL" }
            p.path { (sanitize(&file.path().display().to_string())) }
            pre.sql tabindex="0" { (sanitize_lines(file.text())) }
        }
        @if let Some(result) = result {
            @if let Some(described) = &result.description {
                h3 { "How it is kept up to date" }
                dl {
                    dt { "Maintained" } dd { (described.maintained) }
                    dt { "An event" } dd { (described.per_event) }
                    dt { "A refresh" } dd { (described.per_refresh) }
                    dt { "State" } dd { (described.state) }
                }
            }
            h3 { "What it costs" }
            dl {
                dt { "Rows taken in" } dd { (group_digits(&result.cost.rows.to_string())) }
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
        p { (strip::time_of_day(shot.at)) ": everything below these offsets is in the result, nothing at or above." }
        (offsets(shot))
        @if let Some(swap) = shot.file(view).and_then(|file| file.swap.as_ref()) {
            h3 { "Last edit" }
            p { @match &swap.difference { Some(difference) => (difference), None => "the first result" } }
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
fn offsets(shot: &Shot) -> Markup {
    let as_of = &shot.snapshot.as_of;
    html! {
        table.plain.offsets {
            thead { tr { th scope="col" { "Topic" } th scope="col" { "Next offset of each partition" } } }
            tbody {
                @for topic in shot.status.topics.keys() {
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
    let shot = page.app.newest();
    let examples = shot.map(|shot| shot.status.bad.examples()).unwrap_or_default();
    let content = html! {
        h2 { "Bad records" }
        p { "A record that does not fit its declaration is no row. It is counted here and stops nothing; each reason has one of its newest records." }
        @if examples.is_empty() {
            p.none { "None so far." }
        } @else {
            table.plain {
                thead { tr { th scope="col" { "Topic" } th scope="col" { "What" } th.num scope="col" { "Records" } th scope="col" { "One of them" } } }
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
