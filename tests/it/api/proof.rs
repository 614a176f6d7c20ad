//! Whether the numbers are correct, for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::served::Served;
use crate::support::wait_for;

/// Reads a file, whose edits can be hidden.
const KINDS: &str = "SELECT kind, count(*) AS n FROM s JOIN dex ON s.name = dex.name GROUP BY kind";

const INTERVAL: Duration = Duration::from_millis(50);

fn of<'a>(proof: &'a Value, view: &str) -> &'a Value {
    proof["views"].as_array().unwrap().iter().find(|proved| proved["view"] == view).unwrap()
}

#[test]
fn a_proof_says_of_each_view_whether_a_replay_gives_the_same_rows() {
    let served = Served::verified(&[("n", "SELECT count(*) AS n FROM s"), ("typo", "SELECT nope FROM s")], INTERVAL);
    served.produce(&["a", "b"]);
    let proof = wait_for("a proof of both records", || {
        let proof = served.get("/api/proof");
        assert!([200, 503].contains(&proof.status), "{}", proof.text());
        let read = proof.json()["as_of"][&*served.topic].as_object()?.values().filter_map(Value::as_i64).sum::<i64>();
        (read == 2).then(|| proof.json())
    });
    assert_eq!(proof["verdict"], "agrees", "{proof}");
    assert!(
        proof["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok() && proof["took_s"].as_f64().unwrap() > 0.0
    );
    // The digest is that of the rows; a broken file claims nothing.
    let digest = &served.get("/api/views/n").json()["digest"];
    assert_eq!(proof["views"], json!([{"view": "n", "verdict": "agrees", "rows": 1, "digest": digest}]));
    assert!(served.get("/metrics").text().contains("proof_agrees 1"));
}

#[test]
fn a_difference_is_shown_row_by_row() {
    let served = Served::verified(&[("kinds", KINDS), ("n", "SELECT count(*) AS n FROM s")], INTERVAL);
    served.produce(&["a", "b"]);
    let proof_where = |verdict: &str, holds: fn(&Value) -> bool| {
        wait_for(verdict, || {
            let proof = served.get("/api/proof").json();
            (proof["verdict"] == verdict && holds(&proof)).then_some(proof)
        })
    };
    proof_where("agrees", |proof| of(proof, "kinds")["rows"] == 1);
    // A file has no offsets, and this one hides that it is another now.
    served.edit_unseen("even", "EVEN");
    let proof = proof_where("differs", |_| true);
    let kinds = of(&proof, "kinds");
    let side = |side: &str| (&kinds[side]["rows"], &kinds[side]["unmatched"], &kinds[side]["first"]);
    assert_eq!(side("live"), (&json!(1), &json!(1), &json!([{"kind": "even", "n": "1"}])));
    assert_eq!(side("replay"), (&json!(1), &json!(1), &json!([{"kind": "EVEN", "n": "1"}])));
    assert_ne!(kinds["live"]["digest"], kinds["replay"]["digest"]);
    assert_eq!(of(&proof, "n")["verdict"], "agrees");
    assert!(served.get("/metrics").text().contains("proof_agrees 0"));
}

#[test]
fn a_run_that_is_not_verified_says_so() {
    let served = Served::start(&[("n", "SELECT count(*) AS n FROM s")]);
    let none = served.get("/api/proof");
    assert_eq!((none.status, &none.json()["error"]), (404, &json!("live results are not verified here")));
    assert!(!served.get("/metrics").text().contains("proof_agrees"));
    // Nor is there an answer before the first proof.
    let later = Served::verified(&[("n", "SELECT count(*) AS n FROM s")], Duration::from_hours(1));
    let not_yet = later.get("/api/proof");
    assert_eq!((not_yet.status, not_yet.header("retry-after")), (503, "1"));
}
