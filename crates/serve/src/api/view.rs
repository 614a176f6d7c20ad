//! `GET /api/views/NAME`: one view's rows at the newest moment.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::body::{Body, body};
use super::form::Form;
use super::state::ViewState;
use super::svg;
use crate::problem::Problem;
use tallgrass_pipeline::Published;

/// The handler.
pub(super) async fn view(
    Shared(api): Shared<Arc<Api>>,
    Path(named): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A variant's name may have a dot in one of its values.
    let whole = api.published_with(&named).ok().map(|_| (&*named, None));
    let (name, by_suffix) = whole.unwrap_or_else(|| name_and_form(&named));
    let (published, selection) = api.asked(name, &query).await?;
    let name = selection.view_of(name);
    let negotiated = by_suffix.is_none();
    let form = match by_suffix {
        Some(form) => form?,
        None => Form::wanted(&headers).ok_or_else(|| {
            let message = format!("no form of '{name}' is acceptable");
            Problem::new(StatusCode::NOT_ACCEPTABLE, message).with_help(format!("there are {}", Form::all_listed()))
        })?,
    };
    let body = body_of(&api, &published, name, form).await?;
    let mut answer = HeaderMap::new();
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.insert(name, value);
        }
    };
    say(header::ETAG, &body.etag);
    say(header::CACHE_CONTROL, "no-cache");
    say(HeaderName::from_static("x-as-of"), &published.snapshot.as_of.to_string());
    if negotiated {
        say(header::VARY, "accept");
    }
    if is_known(&headers, &body.etag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    say(header::CONTENT_TYPE, form.content_type());
    // A browser saves what it cannot show; both get a file name.
    let kind = if matches!(form, Form::Json | Form::Svg) { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.=".contains(c) { c } else { '_' };
    let file: String = name.chars().map(plain).collect();
    say(header::CONTENT_DISPOSITION, &format!("{kind}; filename=\"{file}.{}\"", form.suffix()));
    if form == Form::Svg {
        answer.insert(header::CONTENT_SECURITY_POLICY, svg::POLICY);
    }
    Ok((answer, body.bytes).into_response())
}

/// The view's name, and the form of its suffix.
fn name_and_form(named: &str) -> (&str, Option<Result<Form, Problem>>) {
    match named.rsplit_once('.') {
        None => (named, None),
        Some((name, suffix)) => {
            let form = Form::of_suffix(suffix).ok_or_else(|| {
                let message = format!("there is no form '.{}'", suffix.escape_debug());
                let all = Form::BY_SUFFIX.map(|form| format!(".{}", form.suffix())).join(", ");
                Problem::new(StatusCode::NOT_FOUND, message).with_help(format!("there are {all}"))
            });
            (name, Some(form))
        }
    }
}

/// The rows in a form, or the reason why there are none.
async fn body_of(api: &Api, published: &Arc<Published>, name: &str, form: Form) -> Result<Body, Problem> {
    let key = (published.snapshot.now_ns, name.to_owned(), form);
    let (published, name, queries) = (Arc::clone(published), name.to_owned(), api.app.queries.clone());
    let encode = move || {
        let state = ViewState::of(&published, &name, &queries);
        let unavailable = |message: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, message);
        match (published.result(&name).filter(|result| result.rows.is_ok()), &state) {
            (Some(result), Some(ViewState::Broken(broken))) => body(&published, result, Some(broken), form),
            (Some(result), _) => body(&published, result, None, form),
            (None, Some(ViewState::Broken(broken))) => {
                Err(Problem::of(StatusCode::SERVICE_UNAVAILABLE, broken.value()))
            }
            (None, Some(ViewState::Rebuilding(status))) => {
                let message = format!("'{name}' has no rows yet: {:.0}% of history read", status.progress * 100.0);
                Err(unavailable(message).with_retry(1))
            }
            (None, _) => Err(unavailable(format!("'{name}' has no rows yet")).with_retry(1)),
        }
    };
    let made = api.bodies.get(key, encode).await;
    made.unwrap_or_else(|error| Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
}

/// Whether a client has it already, by the weak comparison.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|tag| tag.trim() == "*" || bare(tag) == bare(etag))
}
