//! `GET /api/proof`: whether a replay gives the live results, view by view.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::state::short;
use crate::problem::Problem;
use tallgrass_proof::{Proof, Verdict};
use tallgrass_sink::sanitize::escape_json;

/// The handler: what the last proof found.
pub(super) async fn proof(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let not_verified = || {
        let problem = Problem::new(StatusCode::NOT_FOUND, "live results are not verified here");
        problem.with_help("`--verify 30s` replays and compares them every 30 seconds".to_owned())
    };
    let not_yet = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "nothing is verified yet").with_retry(1);
    let proof = api.app.proofs.as_ref().ok_or_else(not_verified)?.last().ok_or_else(not_yet)?;
    let mut proof = Proof::clone(&proof);
    for view in &mut proof.views {
        if let Verdict::Failed { reason } = &mut view.verdict {
            *reason = short(reason, &api.app.queries);
        }
    }
    proof.error = proof.error.map(|error| short(&error, &api.app.queries));
    let failed = |error: serde_json::Error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let body = format!("{}\n", escape_json(&serde_json::to_string(&proof).map_err(failed)?));
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], body).into_response())
}
