//! Views in every form, their states, and refused requests.

use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpStream;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};
use serde_json::json;

use super::served::Served;
use crate::support::wait_for;

const BY_NAME: &str = "-- @title: By name\nSELECT name, count(*) AS seen FROM s GROUP BY name ORDER BY name";

/// A name that a user might choose.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "a,\"b\"\nc\r\nd",
    "=1+1",
    "\u{202e}right to left\u{2066}",
    "\u{1b}[31mred\u{7}\u{0}",
    "\u{1f984} ünï\u{2028}cöde",
];

fn by_name() -> Served {
    let served = Served::start(&[("by_name", BY_NAME)]);
    served.produce(&["a", "b", "a"]);
    wait_for("rows", || (served.get("/api/views/by_name").json()["rows"][0]["seen"] == 2).then_some(()));
    served
}

#[test]
fn a_view_is_there_in_every_form_by_suffix_and_by_accept() {
    let served = by_name();
    let object = served.get("/api/views/by_name").good();
    assert_eq!(object.json()["rows"], json!([{"name": "a", "seen": 2}, {"name": "b", "seen": 1}]));
    assert_eq!(object.json()["view"], "by_name");
    assert_eq!(object.json()["digest"].as_str().unwrap().len(), 32);
    let read: i64 =
        object.json()["as_of"][&*served.topic].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum();
    assert_eq!(read, 3);
    let csv = "name,seen\na,2\nb,1\n";
    for (path, accept, content_type) in [
        ("by_name", "", "application/json"),
        ("by_name", "text/csv", "text/csv"),
        ("by_name", "text/csv;q=0.3, application/json;q=0.2", "text/csv"),
        ("by_name.csv", "application/json", "text/csv"),
        ("by_name.json", "text/csv", "application/json"),
        ("by_name.arrow", "", "application/vnd.apache.arrow.file"),
        ("by_name", "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
    ] {
        let answer = served.ask("GET", &format!("/api/views/{path}"), &[("accept", accept)]).good();
        assert_eq!(answer.content_type(), content_type, "{path} {accept}");
        match content_type {
            "text/csv" => assert_eq!(answer.text(), csv),
            "application/json" => assert_eq!(answer.json()["rows"].as_array().unwrap().len(), 2),
            "application/vnd.apache.arrow.file" => {
                let batches: Vec<_> =
                    FileReader::try_new(Cursor::new(answer.body), None).unwrap().map(Result::unwrap).collect();
                assert_eq!(batches[0].column(0).as_string::<i32>().value(1), "b");
            }
            _ => {
                let batches: Vec<_> =
                    StreamReader::try_new(Cursor::new(answer.body), None).unwrap().map(Result::unwrap).collect();
                assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
            }
        }
        let head = served.ask("HEAD", &format!("/api/views/{path}"), &[("accept", accept)]).good();
        assert_eq!((head.content_type(), head.body.len()), (content_type, 0));
        assert!(head.header("x-as-of").starts_with(&*served.topic));
    }
    assert_eq!(
        served.get("/api/views/by_name.csv").header("content-disposition"),
        "attachment; filename=\"by_name.csv\""
    );
}

#[test]
fn a_picture_stands_alone_and_may_do_nothing() {
    let served = by_name();
    let picture =
        served.ask("GET", "/api/views/by_name", &[("accept", "image/avif,image/svg+xml,image/*;q=0.8")]).good();
    assert_eq!(picture.content_type(), "image/svg+xml");
    assert!(picture.text().starts_with("<svg") && picture.text().contains("By name"), "{}", picture.text());
    let policy = picture.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("sandbox") && !policy.contains("script"),
        "{policy}"
    );
}

#[test]
fn what_is_not_there_is_explained() {
    let served = by_name();
    let nearly = served.get("/api/views/by_nam");
    assert_eq!((nearly.status, nearly.json()["help"].as_str()), (404, Some("did you mean 'by_name'?")));
    let form = served.get("/api/views/by_name.xml");
    assert_eq!((form.status, form.json()["help"].as_str()), (404, Some("there are .json, .csv, .arrow, .svg")));
    let accept = served.ask("GET", "/api/views/by_name", &[("accept", "text/html")]);
    assert_eq!(accept.status, 406);
    assert!(accept.json()["help"].as_str().unwrap().contains("text/csv"), "{}", accept.text());
    assert_eq!(served.get("/api/nowhere").json()["error"], "there is nothing at '/api/nowhere'");
    assert_eq!(served.get("/api/views/%3Cscript%3E").status, 404);
    assert_eq!(served.get("/api/views/..%2fsources").status, 404);
}

#[test]
fn rows_that_are_known_are_not_sent_again() {
    let served = by_name();
    for path in ["by_name.json", "by_name.csv", "by_name.arrow"] {
        let path = format!("/api/views/{path}");
        let first = served.get(&path).good();
        let etag = first.header("etag").to_owned();
        assert_eq!(first.header("cache-control"), "no-cache");
        let known = served.ask("GET", &path, &[("if-none-match", &format!("\"other\", {etag}"))]);
        assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, &*etag));
        assert!(!known.header("x-as-of").is_empty());
        // Records that do not change the rows leave the validator.
        assert_eq!(served.ask("GET", &path, &[("if-none-match", "\"other\"")]).status, 200);
    }
    let etag = served.get("/api/views/by_name.csv").header("etag").to_owned();
    served.produce(&["b"]);
    wait_for("another validator", || {
        (served.ask("GET", "/api/views/by_name.csv", &[("if-none-match", &etag)]).status == 200).then_some(())
    });
}

#[test]
fn hostile_names_arrive_as_they_are() {
    let served = Served::start(&[("named", "SELECT DISTINCT name FROM s")]);
    served.produce(&HOSTILE);
    let rows = wait_for("all names", || {
        let rows = served.get("/api/views/named.json").json()["rows"].clone();
        (rows.as_array()?.len() == HOSTILE.len()).then_some(rows)
    });
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let expected = sorted(HOSTILE.iter().map(|name| (*name).to_owned()).collect());
    let names = rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sorted(names), expected);
    let csv = served.get("/api/views/named.csv");
    assert_eq!(csv.header("x-content-type-options"), "nosniff");
    let mut reader = csv::Reader::from_reader(&*csv.body);
    let names = reader.records().map(|record| record.unwrap()[0].to_owned()).collect();
    assert_eq!(sorted(names), expected);
    // JSON is safe on a terminal.
    let json = served.get("/api/views/named.json").text();
    assert!(json.chars().all(|c| c == '\n' || !c.is_control()) && !json.contains('\u{202e}'), "{json}");
}

#[test]
fn the_list_says_how_each_file_is_doing() {
    let served = Served::start(&[
        ("by_name", BY_NAME),
        ("typo", "SELECT nam FROM s"),
        ("fails", "SELECT 1 / (count(*) - count(*)) AS x FROM s"),
    ]);
    served.produce(&["a", "b"]);
    let list = wait_for("all states", || {
        let list = served.get("/api/views").good().json();
        let rows = list["views"].as_array()?.iter().find(|view| view["name"] == "by_name")?["rows"].as_u64()?;
        (rows == 2 && list["caught_up"] == true).then_some(list)
    });
    let view = |name: &str| list["views"].as_array().unwrap().iter().find(|view| view["name"] == name).unwrap().clone();
    let by_name = view("by_name");
    assert_eq!((by_name["state"].as_str(), by_name["title"].as_str()), (Some("ok"), Some("By name")));
    assert_eq!((by_name["chart"].as_str(), by_name["file"].as_str()), (Some("bar"), Some("dashboard/by_name.sql")));
    assert_eq!(by_name["columns"], json!([{"name": "name", "type": "Utf8"}, {"name": "seen", "type": "Int64"}]));
    assert_eq!(by_name["maintenance"]["kind"], "incremental");
    assert!(by_name["cost"]["state_bytes"].as_u64().unwrap() > 0);
    for form in ["json", "csv", "arrow", "svg"] {
        served.get(by_name["links"][form].as_str().unwrap()).good();
    }
    let typo = view("typo");
    assert_eq!(typo["state"], "broken");
    assert_eq!((typo["error"]["line"].as_u64(), typo["error"]["column"].as_u64()), (Some(1), Some(8)));
    assert_eq!(typo["error"]["help"], "did you mean 'name'?");
    assert_eq!(typo["error"]["file"], "dashboard/typo.sql");
    let broken = served.get("/api/views/typo");
    assert_eq!((broken.status, broken.json()["error"]["line"].as_u64()), (503, Some(1)));
    assert_eq!((view("fails")["state"].as_str(), served.get("/api/views/fails.csv").status), (Some("broken"), 503));
    assert!(!list.to_string().contains(&served.folder()), "{list}");
}

#[test]
fn a_broken_edit_leaves_the_rows_and_says_so() {
    let served = by_name();
    served.save("by_name", "SELECT nope FROM s");
    let object = wait_for("the error", || {
        let object = served.get("/api/views/by_name").good().json();
        object["broken"].is_object().then_some(object)
    });
    assert_eq!(object["broken"]["line"], 1);
    assert_eq!(object["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn health_tells_a_run_that_lives_from_one_that_has_ended() {
    let mut served = by_name();
    assert_eq!(served.get("/healthz").good().json()["status"], "ok");
    assert_eq!(served.get("/readyz").good().json()["ready"], true);
    served.end_live();
    assert_eq!((served.get("/healthz").status, served.get("/readyz").status), (503, 503));
    assert!(served.get("/readyz").json()["waits_for"][0].as_str().unwrap().contains("ended"));
}

#[test]
fn other_hosts_and_origins_get_nothing() {
    let served = by_name();
    let own = served.address().to_string();
    let ask = |head: &str| {
        let mut stream = TcpStream::connect(served.address()).unwrap();
        write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let path = "GET /api/views/by_name.csv HTTP/1.1";
    assert!(ask(&format!("{path}\r\nHost: {own}")).contains("a,2"));
    for (head, status) in [
        (format!("{path}\r\nHost: rebound.example:{}", served.address().port()), 421),
        (format!("{path}\r\nHost: {own}\r\nOrigin: http://evil.example"), 403),
        (format!("{path}\r\nHost: {own}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors"), 403),
        (format!("POST /api/views HTTP/1.1\r\nHost: {own}"), 405),
        (path.to_owned(), 400),
    ] {
        let answer = ask(&head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        assert!(!answer.contains("a,2") && answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    }
}

#[test]
fn a_parameter_has_the_value_that_the_address_gives_and_nothing_else_is_understood() {
    let least =
        "-- @param least BIGINT = 1\nSELECT name, count(*) AS seen FROM s GROUP BY name HAVING count(*) >= $least";
    let served = Served::start(&[("least", least)]);
    served.produce(&["a", "b", "a"]);
    let names = |path: &str| {
        let answer = served.get(path).good().json();
        let mut names: Vec<String> =
            answer["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        (answer["view"].as_str().unwrap().to_owned(), names)
    };
    wait_for("rows", || (names("/api/views/least").1.len() == 2).then_some(()));
    let other = names("/api/views/least?least.least=2");
    assert_eq!(other, ("least?least=2".to_owned(), vec!["a".to_owned()]));
    assert_eq!(names("/api/views/least?least.least=1").0, "least", "the file's own");
    let csv = served.get("/api/views/least.csv?least.least=2").good();
    assert_eq!(csv.text(), "name,seen\na,2\n");
    for (query, message) in [
        ("least=2", "there is no parameter 'least' here"),
        ("least.least=many", "is not a value for parameter 'least'"),
        ("least.most=2", "there is no parameter 'most'"),
        ("other.least=2", "there is no parameter 'other.least' here"),
    ] {
        let answer = served.get(&format!("/api/views/least?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(message), "{query}: {}", answer.text());
    }
    // It is one of the views while it is in use, but not an entry of its own.
    assert_eq!(served.get("/api/views").json()["views"].as_array().unwrap().len(), 1);
}

#[test]
fn a_view_whose_parameter_has_no_default_is_there_with_a_value() {
    let served = Served::start(&[
        ("least", "-- @param n BIGINT\nSELECT name, count(*) AS seen FROM s GROUP BY name HAVING count(*) >= $n"),
        ("by_name", BY_NAME),
    ]);
    served.produce(&["a", "b", "a"]);
    wait_for("rows", || (served.get("/api/views/by_name").json()["rows"][0]["seen"] == 2).then_some(()));
    let own = served.get("/api/views/least");
    assert_eq!(own.status, 503);
    assert!(own.text().contains("parameter 'n' has no value"), "{}", own.text());
    let given = || served.get("/api/views/least?least.n=2").good().json();
    wait_for("rows", || (given()["rows"] == json!([{"name": "a", "seen": 2}])).then_some(()));
    assert_eq!(given()["view"], "least?n=2");
    let wrong = served.get("/api/views/least?least.n=");
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("'' is not a value for parameter 'n'"), "{}", wrong.text());
}
