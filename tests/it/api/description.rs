//! The `OpenAPI` document against the server: it is true, and it is complete.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::served::Served;
use crate::support::{skip, wait_for};

/// The tag of routes that only the page uses: listed, without a promise.
const PAGE: &str = "page";

fn document(served: &Served) -> Value {
    let answer = served.get("/api/openapi.json").good();
    assert_eq!(answer.content_type(), "application/json");
    answer.json()
}

/// Every `$ref` in a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_route_answers_as_documented() {
    let files = [("n", "-- @title: N\nSELECT count(*) AS n FROM s"), ("typo", "SELECT nope FROM s")];
    let served = Served::verified(&files, Duration::from_millis(50));
    served.produce(&["a"]);
    wait_for("rows", || (served.get("/api/views/n").json()["rows"][0]["n"] == 1).then_some(()));
    wait_for("a proof", || (served.get("/api/proof").status == 200).then_some(()));
    let document = document(&served);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut asked = 0;
    for (template, methods) in document["paths"].as_object().unwrap() {
        assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["get"], "{template}");
        if methods["get"]["tags"][0] == PAGE {
            continue;
        }
        let responses = methods["get"]["responses"].as_object().unwrap();
        for view in ["n", "nowhere", "typo"] {
            let path = template.replace("{view}", view);
            if template.ends_with("/changes") && view != "nowhere" {
                served.follow(view, None);
                continue;
            }
            let answer = served.get(&path);
            let documented = &responses
                .get(&answer.status.to_string())
                .unwrap_or_else(|| panic!("{path}: {} is not documented", answer.status))["content"];
            assert!(
                documented.get(answer.content_type()).is_some(),
                "{path}: {} {}",
                answer.status,
                answer.content_type()
            );
            asked += 1;
        }
        // Each content type of a good answer is available.
        for content_type in responses["200"]["content"].as_object().unwrap().keys() {
            if content_type != "text/event-stream" {
                let path = template.replace("{view}", "n");
                let answer = served.ask("GET", &path, &[("accept", content_type)]).good();
                assert_eq!(answer.content_type(), content_type, "{path}");
            }
        }
        if responses.contains_key("406") {
            let answer = served.ask("GET", &template.replace("{view}", "n"), &[("accept", "text/html")]);
            assert_eq!(answer.status, 406);
        }
    }
    assert!(asked > 20, "{asked}");
    let mut all = Vec::new();
    references(&document, &mut all);
    for reference in all {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn no_route_is_undocumented() {
    let served = Served::start(&[("n", "SELECT count(*) AS n FROM s")]);
    let document = document(&served);
    let mut routes = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["api", "page", "panel"].map(|part| Path::new("crates/serve/src").join(part)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let found = text.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
                routes.extend(found);
            }
        }
    }
    assert!(routes.len() > 10, "{routes:?}");
    // These say that there is nothing; files of the page are one path.
    let is_listed = |route: &&String| !["/api", "/api/{*rest}"].contains(&&***route) && !route.starts_with("/assets/");
    for route in routes.iter().filter(is_listed) {
        assert!(document["paths"].get(route).is_some(), "{route} is not documented");
    }
}

#[test]
fn objects_have_the_documented_fields_and_no_others() {
    let files = [("n", "-- @title: N\nSELECT count(*) AS n FROM s"), ("typo", "SELECT nope FROM s")];
    let served = Served::verified(&files, Duration::from_millis(50));
    served.produce(&["a"]);
    wait_for("rows", || (served.get("/api/views/n").json()["rows"][0]["n"] == 1).then_some(()));
    let document = document(&served);
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let check = |name: &str, object: &Value| {
        let schema = schema(name);
        let properties = schema["properties"].as_object().unwrap();
        for field in object.as_object().unwrap().keys() {
            assert!(properties.contains_key(field), "{name} has no '{field}': {object}");
        }
        for required in schema["required"].as_array().unwrap() {
            assert!(object.get(required.as_str().unwrap()).is_some(), "{name} needs {required}: {object}");
        }
    };
    check("View", &served.get("/api/views/n").json());
    check("Problem", &served.get("/api/views/m").json());
    check("Broken", &served.get("/api/views/typo").json()["error"]);
    check("Health", &served.get("/healthz").json());
    check("Ready", &served.get("/readyz").json());
    let list = served.get("/api/views").json();
    check("Views", &list);
    list["views"].as_array().unwrap().iter().for_each(|view| check("ViewState", view));
    let proof = wait_for("a proof", || Some(served.get("/api/proof")).filter(|proof| proof.status == 200)).json();
    check("Proof", &proof);
    proof["views"].as_array().unwrap().iter().for_each(|view| check("ViewProof", view));
    let mut events = served.follow("n", None);
    check("Change", &events.next_of("reset").data);
    served.produce(&["b"]);
    check("Change", &events.next_of("change").data);
}

#[test]
fn a_checker_accepts_the_document() {
    let required = std::env::var_os("TALLGRASS_REQUIRE_CLIENTS").is_some();
    if Command::new("mvn").arg("--version").output().is_err() {
        assert!(!required, "mvn is missing, and TALLGRASS_REQUIRE_CLIENTS asks for it");
        return skip("mvn is missing: it fetches the checker");
    }
    let served = Served::start(&[("n", "SELECT count(*) AS n FROM s")]);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, served.get("/api/openapi.json").good().body).unwrap();
    let check = |file: &Path| {
        let output = Command::new("mvn")
            .args(["-q", "-B", "-f", "tests/clients/openapi/pom.xml", "compile", "exec:java"])
            .arg(format!("-DbuildDirectory={}", folder.path().join("target").display()))
            .arg(format!("-Dexec.args={}", file.display()))
            .output()
            .unwrap();
        let output_text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), output_text)
    };
    let (accepted, text) = check(&file);
    if !accepted && !required && (text.contains("Unknown host") || text.contains("Could not transfer")) {
        return skip("the checker cannot be fetched");
    }
    assert!(accepted && text.contains("no objections"), "{text}");
    // The check fails for a wrong document.
    std::fs::write(&file, served.get("/api/openapi.json").text().replace("\"responses\"", "\"answers\"")).unwrap();
    let (accepted, text) = check(&file);
    assert!(!accepted && text.contains("responses"), "{text}");
}
