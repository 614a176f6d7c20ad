//! Whether the process lives, and whether its numbers are current.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Api;
use super::state::short;
use tallgrass_pipeline::Published;

/// Healthy as long as results may still arrive.
pub(super) async fn healthz(State(api): State<Arc<Api>>) -> Response {
    let ended = api.app.newest.has_changed().is_err();
    let age_s = api.app.newest().map(|published| published.taken.elapsed().as_secs_f64());
    let status = if ended { "ended" } else { "ok" };
    answer(!ended, json!({"status": status, "last_refresh_age_s": age_s}))
}

/// Ready once the records that existed at the start have been read, while the broker answers.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let Some(published) = api.app.newest() else {
        return answer(false, json!({"ready": false, "waits_for": ["the first refresh"], "read": 0.0}));
    };
    let ended = api.app.newest.has_changed().is_err();
    let waits_for = waits_for(&published, ended, &api.app.queries);
    let ready = waits_for.is_empty();
    let mut body = json!({
        "ready": ready,
        "as_of": published.snapshot.as_of.to_json(),
        "read": published.status.progress(),
    });
    if !ready {
        body["waits_for"] = waits_for.into();
    }
    if !published.status.missing.is_empty() {
        body["missing_topics"] = published.status.missing.iter().map(|topic| Value::from(&**topic)).collect();
    }
    if let Some((views, status)) = &published.status.rebuild {
        let views: Vec<&str> = views.iter().map(|view| &**view).collect();
        body["rebuilding"] = json!({"views": views, "progress": status.progress});
    }
    answer(ready, body)
}

/// What is missing, as a sentence. A view that is rebuilt while its old rows go on is not.
fn waits_for(published: &Published, ended: bool, queries: &std::path::Path) -> Vec<String> {
    let mut waits_for = Vec::new();
    if ended {
        waits_for.push("nothing: the run has ended".to_owned());
    }
    if let Some(trouble) = &published.status.trouble {
        waits_for.push(format!("the broker: {}", short(trouble, queries)));
    }
    waits_for.extend(published.status.missing.iter().map(|topic| format!("topic '{topic}', which does not exist")));
    if !published.status.caught_up() {
        waits_for.push(format!("history: {:.1}% is read", (published.status.progress() * 1000.0).floor() / 10.0));
    }
    if let Some((views, status)) = &published.status.rebuild {
        let without_rows = views.iter().filter(|view| published.result(view).is_none());
        let percent = (status.progress * 100.0).floor();
        waits_for.extend(without_rows.map(|view| format!("view '{view}', which is {percent:.0}% built")));
    }
    waits_for
}

fn answer(fine: bool, body: Value) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
