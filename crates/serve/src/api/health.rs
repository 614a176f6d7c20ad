//! Whether the process lives, and whether its numbers are current.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Api;
use super::state::short;
use tallgrass_pipeline::Shot;

/// Fine as long as results may still come.
pub(super) async fn healthz(State(api): State<Arc<Api>>) -> Response {
    let ended = api.app.shots.has_changed().is_err();
    let age_s = api.app.newest().map(|shot| shot.taken.elapsed().as_secs_f64());
    let status = if ended { "ended" } else { "ok" };
    answer(!ended, json!({"status": status, "last_refresh_age_s": age_s}))
}

/// Fine once what was there at the start has been read, while the broker answers.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let Some(shot) = api.app.newest() else {
        return answer(false, json!({"ready": false, "waits_for": ["the first refresh"], "read": 0.0}));
    };
    let ended = api.app.shots.has_changed().is_err();
    let waits_for = waits_for(&shot, ended, &api.app.queries);
    let ready = waits_for.is_empty();
    let mut said = json!({
        "ready": ready,
        "as_of": shot.snapshot.as_of.to_json(),
        "read": shot.status.progress(),
    });
    if !ready {
        said["waits_for"] = waits_for.into();
    }
    if !shot.status.missing.is_empty() {
        said["missing_topics"] = shot.status.missing.iter().map(|topic| Value::from(&**topic)).collect();
    }
    if let Some((views, status)) = &shot.status.rebuild {
        let views: Vec<&str> = views.iter().map(|view| &**view).collect();
        said["rebuilding"] = json!({"views": views, "progress": status.progress});
    }
    answer(ready, said)
}

/// What is missing, in words. A view that is rebuilt while its old rows go on is not.
fn waits_for(shot: &Shot, ended: bool, queries: &std::path::Path) -> Vec<String> {
    let mut waits_for = Vec::new();
    if ended {
        waits_for.push("nothing any more: the run has ended".to_owned());
    }
    if let Some(trouble) = &shot.status.trouble {
        waits_for.push(format!("the broker: {}", short(trouble, queries)));
    }
    waits_for.extend(shot.status.missing.iter().map(|topic| format!("topic '{topic}', which does not exist")));
    if !shot.status.caught_up() {
        waits_for.push(format!("history: {:.1}% is read", (shot.status.progress() * 1000.0).floor() / 10.0));
    }
    if let Some((views, status)) = &shot.status.rebuild {
        let without_rows = views.iter().filter(|view| shot.result(view).is_none());
        let percent = (status.progress * 100.0).floor();
        waits_for.extend(without_rows.map(|view| format!("view '{view}', which is {percent:.0}% built")));
    }
    waits_for
}

fn answer(fine: bool, said: Value) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(said)).into_response()
}
