//! `GET /api/views`: every dashboard file, and its state.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use datafusion::arrow::array::RecordBatch;
use serde_json::{Map, Value, json};

use super::Api;
use super::form::Form;
use super::state::{ViewState, short, short_path};
use crate::problem::Problem;
use crate::selection::encoded;
use tallgrass_pipeline::{FileState, Published, ViewResult};
use tallgrass_proof::line;
use tallgrass_sink::sanitize::escape_json;
use tallgrass_view::results::{Digest, type_name};

/// The handler.
pub(super) async fn list(Shared(api): Shared<Arc<Api>>) -> Result<Response, Problem> {
    let published = api.published()?;
    let (key, name, queries) = (published.snapshot.now_ns, api.app.name.clone(), api.app.queries.clone());
    let made = api
        .lists
        .get(key, move || format!("{}\n", escape_json(&document(&name, &published, &queries).to_string())).into());
    let bytes = made.await.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], bytes).into_response())
}

fn document(name: &str, published: &Published, queries: &Path) -> Value {
    let mut document = json!({
        "name": name,
        "as_of": published.snapshot.as_of.to_json(),
        "now": line::moment(published.snapshot.now_ns).to_string(),
        "caught_up": published.status.caught_up() && published.status.missing.is_empty(),
        "views": published.files.iter().filter(|file| file.variant_of().is_none()).map(|file| of_file(published, file, queries)).collect::<Vec<_>>(),
    });
    let since = published.status.since();
    if since.iter().next().is_some() {
        document["since"] = since.to_json();
    }
    if let Some(error) = &published.status.sources_error {
        document["sources_error"] = short(error, queries).into();
    }
    document
}

fn of_file(published: &Published, state: &FileState, queries: &Path) -> Value {
    let name = &*state.name;
    let mut view = Map::new();
    let mut say = |key: &str, value: Value| _ = view.insert(key.to_owned(), value);
    say("name", name.into());
    let file = state.file.as_ref();
    say("title", file.map_or(name, |file| file.title()).into());
    if let Some(file) = file {
        say("file", short_path(file.path(), queries).into());
    }
    let warnings: Vec<&str> = state.warnings.iter().map(|warning| &*warning.message).collect();
    if !warnings.is_empty() {
        say("warnings", warnings.into());
    }
    let doing = ViewState::of(published, name, queries).unwrap_or(ViewState::Waiting);
    say("state", doing.word().into());
    match &doing {
        ViewState::Broken(broken) => say("error", broken.value()),
        ViewState::Rebuilding(status) => {
            let left = status.left.map(|left| left.as_secs_f64());
            say("rebuild", json!({"progress": status.progress, "records_per_s": status.records_per_s, "left_s": left}));
        }
        ViewState::Ok | ViewState::Waiting => {}
    }
    if let Some(swap) = &state.swap {
        let swap = format!("{{{}}}", line::swap_field(swap));
        say("swap", serde_json::from_str::<Value>(&swap).map(|mut swap| swap["swap"].take()).unwrap_or_default());
    }
    let result = published.result(name);
    let wanted = file.and_then(|file| file.front_matter().chart);
    let guessed = result
        .map(|result| tallgrass_sink::chart::chart_for(&result.schema, result.rows.as_deref().unwrap_or_default()));
    if let Some(chart) = wanted.or(guessed) {
        say("chart", chart.name().into());
    }
    if let Some(result) = result {
        of_result(&mut say, result);
    }
    say("links", links(name));
    Value::Object(view)
}

fn of_result(say: &mut impl FnMut(&str, Value), result: &ViewResult) {
    if let Ok(rows) = &result.rows {
        say("rows", rows.iter().map(RecordBatch::num_rows).sum::<usize>().into());
        if let Ok(digest) = Digest::of(&result.schema, rows) {
            say("digest", digest.to_string().into());
        }
        let column = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| json!({"name": field.name(), "type": type_name(field.data_type())});
        say("columns", result.schema.fields().iter().map(column).collect::<Vec<_>>().into());
    }
    if let Some(described) = &result.description {
        let maintenance = json!({
            "kind": described.maintenance.to_string(),
            "maintained": described.maintained,
            "per_event": described.per_event,
            "per_refresh": described.per_refresh,
            "state": described.state,
        });
        say("maintenance", maintenance);
    }
    let cost = &result.cost;
    let cost = json!({
        "rows": cost.rows,
        "reducing_s": cost.reducing.as_secs_f64(),
        "refresh_s": cost.refresh.as_secs_f64(),
        "state_bytes": cost.state.bytes,
        "state_rows": cost.state.rows,
    });
    say("cost", cost);
}

/// The addresses of its rows.
fn links(name: &str) -> Value {
    let path = format!("/api/views/{}", encoded(name));
    let mut links = Map::new();
    for form in Form::BY_SUFFIX {
        links.insert(form.suffix().to_owned(), format!("{path}.{}", form.suffix()).into());
    }
    links.insert("changes".to_owned(), format!("{path}/changes").into());
    Value::Object(links)
}
