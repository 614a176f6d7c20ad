//! `GET /api/views/NAME`: one view's rows at the newest moment.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::body::{Body, body};
use super::form::Form;
use super::state::State;
use super::svg;
use tallgrass_pipeline::Shot;
use crate::problem::Problem;

/// The handler.
pub(super) async fn view(
    Shared(api): Shared<Arc<Api>>,
    Path(named): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A variant's name may have a dot in one of its values.
    let whole = api.shot_with(&named).ok().map(|_| (&*named, None));
    let (name, by_suffix) = whole.unwrap_or_else(|| name_and_form(&named));
    let (shot, wish) = api.asked(name, &query).await?;
    let name = wish.view_of(name);
    let negotiated = by_suffix.is_none();
    let form = match by_suffix {
        Some(form) => form?,
        None => Form::wanted(&headers).ok_or_else(|| {
            let words = format!("no form of '{name}' is acceptable");
            Problem::new(StatusCode::NOT_ACCEPTABLE, words).with_help(format!("there are {}", Form::all_in_words()))
        })?,
    };
    let body = body_of(&api, &shot, name, form).await?;
    let mut answer = HeaderMap::new();
    let mut say = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.insert(name, value);
        }
    };
    say(header::ETAG, &body.etag);
    say(header::CACHE_CONTROL, "no-cache");
    say(HeaderName::from_static("x-as-of"), &shot.snapshot.as_of.to_string());
    if negotiated {
        say(header::VARY, "accept");
    }
    if is_known(&headers, &body.etag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    say(header::CONTENT_TYPE, form.content_type());
    // What a browser cannot show is saved, under a name of its own in either case.
    let kind = if matches!(form, Form::Json | Form::Svg) { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.=".contains(c) { c } else { '_' };
    let file: String = name.chars().map(plain).collect();
    say(header::CONTENT_DISPOSITION, &format!("{kind}; filename=\"{file}.{}\"", form.suffix()));
    if form == Form::Svg {
        answer.insert(header::CONTENT_SECURITY_POLICY, svg::POLICY);
    }
    Ok((answer, body.bytes).into_response())
}

/// The view's name, and the form that its suffix asks for.
fn name_and_form(named: &str) -> (&str, Option<Result<Form, Problem>>) {
    match named.rsplit_once('.') {
        None => (named, None),
        Some((name, suffix)) => {
            let form = Form::of_suffix(suffix).ok_or_else(|| {
                let words = format!("there is no form '.{}'", suffix.escape_debug());
                let all = Form::BY_SUFFIX.map(|form| format!(".{}", form.suffix())).join(", ");
                Problem::new(StatusCode::NOT_FOUND, words).with_help(format!("there are {all}"))
            });
            (name, Some(form))
        }
    }
}

/// The rows in a form, or why there are none.
async fn body_of(api: &Api, shot: &Arc<Shot>, name: &str, form: Form) -> Result<Body, Problem> {
    let key = (shot.snapshot.now_ns, name.to_owned(), form);
    let (shot, name, queries) = (Arc::clone(shot), name.to_owned(), api.app.queries.clone());
    let encode = move || {
        let state = State::of(&shot, &name, &queries);
        let unavailable = |words: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, words);
        match (shot.result(&name).filter(|result| result.rows.is_ok()), &state) {
            (Some(result), Some(State::Broken(broken))) => body(&shot, result, Some(broken), form),
            (Some(result), _) => body(&shot, result, None, form),
            (None, Some(State::Broken(broken))) => Err(Problem::of(StatusCode::SERVICE_UNAVAILABLE, broken.value())),
            (None, Some(State::Rebuilding(status))) => {
                let words = format!("'{name}' has no rows yet: {:.0}% of history read", status.progress * 100.0);
                Err(unavailable(words).with_retry(1))
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
