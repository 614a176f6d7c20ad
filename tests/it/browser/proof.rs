//! The harness itself, against pages of its own: it acts as a person does, and it notices errors.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::browser;

const PAGE: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>proof</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">
<button id="button" onclick="clicks.textContent = +clicks.textContent + 1">more</button> <output id="clicks">0</output>
<input id="field" oninput="typed.textContent = this.value"> <output id="typed"></output> <output id="key"></output>
<div id="pad" style="width:300px;height:100px;background:tan"></div><output id="path"></output>
<div style="position:relative"><button id="under">under</button>
<div style="position:absolute;inset:0;background:tan">over</div></div>
<noscript><p id="plain">no scripts here</p></noscript>
<div style="height:3000px"></div><button id="far" onclick="clicks.textContent = 'far'">far</button>
<script>
  const [clicks, typed, key, path, pad] = ['clicks', 'typed', 'key', 'path', 'pad'].map(id => document.getElementById(id));
  addEventListener('keydown', e => key.textContent += [e.shiftKey ? 'Shift+' : '', e.key, ' '].join(''));
  for (const kind of ['pointerdown', 'pointermove', 'pointerup', 'wheel'])
    pad.addEventListener(kind, e => { if (!path.textContent.endsWith(kind)) path.textContent += ' ' + kind; });
</script></html>"#;

const STYLE: &str = "body { background: white } @media (prefers-color-scheme: dark) { body { background: black } }";

/// Serves the pages of these tests until the test's process ends; returns the address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream).ok());
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (kind, body) = match first.split(' ').nth(1).unwrap_or_default() {
        "/" => ("text/html", PAGE.to_owned()),
        "/style.css" => ("text/css", STYLE.to_owned()),
        "/numbers" => ("application/json", format!("[{}1]", "1,".repeat(5_000))),
        script => (
            "text/html",
            format!("<!doctype html><link rel=icon href='data:,'><body><script>{}</script>", scripts(script)),
        ),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Pages with one fault each.
fn scripts(path: &str) -> &'static str {
    match path {
        "/console" => "console.log('fine', 1); console.error('not', {a: 1}, 'fine')",
        "/exception" => "setTimeout(() => { throw new Error('not caught') })",
        "/dialog" => "alert('<script> of a name')",
        "/refused" => "fetch('http://127.0.0.1:9/').catch(() => document.title = 'refused')",
        "/outside" => "document.body.append(Object.assign(new Image(), {src: 'http://elsewhere.example/x.png'}))",
        "/busy" => "setInterval(() => { const end = performance.now() + 15; while (performance.now() < end); }, 20)",
        _ => "",
    }
}

#[test]
fn it_clicks_types_presses_and_drags_as_a_person_does() {
    let Some(browser) = browser() else { return };
    let page = browser.open(&serve());
    page.click("#button");
    page.click("#button");
    assert_eq!(page.text("#clicks"), "2");
    page.click("#far");
    assert_eq!(page.text("#clicks"), "far");
    page.click("#field");
    page.type_text("Flabébé ♀");
    assert_eq!(page.text("#typed"), "Flabébé ♀");
    page.press("Shift+Tab");
    page.press("Enter");
    page.press("?");
    assert_eq!(page.text("#key"), "Shift+Tab Enter ?");
    assert_eq!(page.text("#clicks"), "NaN", "the button had the focus");
    let (x, y) = page.centre("#pad");
    page.drag((x, y), (x + 40.0, y));
    page.wheel(x, y, 10.0);
    page.wait_until("path.textContent.endsWith('wheel')");
    assert_eq!(page.text("#path"), "pointermove pointerdown pointermove pointerup wheel");
    assert_eq!(page.count("button"), 3);
    assert_eq!(page.eval("Promise.resolve({a: [1, null]})"), json!({ "a": [1, null] }));
    assert_eq!((page.errors(), page.outside_requests()), (vec![], vec![]));
}

#[test]
fn it_fails_where_a_person_would_not_get_on() {
    let Some(browser) = browser() else { return };
    let page = browser.open(&serve());
    let fails = |what: &dyn Fn()| catch_unwind(AssertUnwindSafe(what)).is_err();
    assert!(fails(&|| page.click("#under")), "another element is in front");
    assert!(fails(&|| page.click("#nowhere")));
    assert!(fails(&|| {
        page.wait_until_within(Duration::from_millis(100), "false");
    }));
    assert!(fails(&|| {
        page.eval("not.defined");
    }));
    assert!(fails(&|| page.go("http://127.0.0.1:9/")));
}

#[test]
fn it_notices_errors_exceptions_dialogs_and_requests_to_elsewhere() {
    let Some(browser) = browser() else { return };
    let address = serve();
    let errors = |path: &str, count: usize| {
        let page = browser.open(&format!("{address}{path}"));
        for _ in 0..100 {
            if page.errors().len() >= count {
                break;
            }
            page.listen(Duration::from_millis(50));
        }
        page.errors().into_iter().map(|line| format!("{}: {}", line.level, line.text)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(errors("/console", 1), "error: not Object fine");
    assert!(errors("/exception", 1).starts_with("exception: Error: not caught"));
    assert_eq!(errors("/dialog", 1), "dialog: <script> of a name");
    assert!(errors("/refused", 1).contains("127.0.0.1:9"));
    let page = browser.open(&format!("{address}/outside"));
    let outside: Vec<String> = page.outside_requests().into_iter().map(|request| request.url).collect();
    assert_eq!(outside, ["http://elsewhere.example/x.png"]);
    page.wait_until("performance.now() > 0");
    let other = browser.open(&format!("{address}/nothing"));
    assert_eq!((other.errors(), other.outside_requests()), (vec![], vec![]), "each tab has its own log");
}

#[test]
fn it_counts_the_bytes_and_tells_the_answers_of_requests() {
    let Some(browser) = browser() else { return };
    let page = browser.open(&serve());
    assert_eq!(page.eval("fetch('/numbers').then(r => r.json()).then(a => a.length)"), 5_001);
    let find = |end: &str| page.requests().into_iter().find(|request| request.url.ends_with(end)).expect("a request");
    let bytes = |end: &str| {
        (0..100).find_map(|_| {
            find(end).bytes.or_else(|| {
                page.listen(Duration::from_millis(20));
                None
            })
        })
    };
    let numbers = bytes("/numbers").expect("an end");
    assert!((10_003..10_300).contains(&numbers), "{numbers}");
    assert_eq!((find("/numbers").status, find("/numbers").kind.as_str()), (Some(200), "Fetch"));
    assert_eq!(find("/style.css").kind, "Stylesheet");
    assert_eq!(page.requests().iter().filter(|request| request.is_of_network()).count(), 3);
}

#[test]
fn it_sets_size_preferences_scripts_and_network() {
    let Some(browser) = browser() else { return };
    let address = serve();
    let page = browser.open(&address);
    let background = "getComputedStyle(document.body).backgroundColor";
    page.set_viewport(1234, 567);
    assert_eq!(page.eval("[innerWidth, innerHeight]"), json!([1234, 567]));
    page.set_preferences(&[("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")]);
    assert_eq!(page.eval(background), "rgb(0, 0, 0)");
    assert_eq!(page.eval("matchMedia('(prefers-reduced-motion: reduce)').matches"), true);
    page.set_preferences(&[("prefers-color-scheme", "light")]);
    assert_eq!(page.eval(background), "rgb(255, 255, 255)");

    let folder = TempDir::new().unwrap();
    let (window, whole) = (folder.path().join("a/window.png"), folder.path().join("whole.png"));
    page.screenshot(&window, false);
    page.screenshot(&whole, true);
    let size = |file| {
        let png: Vec<u8> = fs::read(file).unwrap();
        assert_eq!(png[..4], *b"\x89PNG");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    };
    assert_eq!(size(&window), (1234, 567));
    assert!(size(&whole).1 > 3_000);

    let fetched = "fetch('/numbers').then(() => 'arrived', () => 'failed')";
    page.set_offline(true);
    assert_eq!(page.eval(fetched), "failed");
    page.set_offline(false);
    assert_eq!(page.eval(fetched), "arrived");
    page.block(&["*/numbers*"]);
    assert_eq!(page.eval(fetched), "failed");
    page.block(&[]);
    assert_eq!(page.eval(fetched), "arrived");

    page.set_scripts(false);
    page.reload();
    assert_eq!(page.text("#plain"), "no scripts here");
    page.set_scripts(true);
    page.set_phone(390, 844);
    page.reload();
    assert_eq!(page.eval("[innerWidth, devicePixelRatio, navigator.maxTouchPoints > 0]"), json!([390, 2, true]));
}

#[test]
fn it_tells_a_busy_main_thread_from_an_idle_one() {
    let Some(browser) = browser() else { return };
    let address = serve();
    let share = |path: &str| browser.open(&format!("{address}{path}")).main_thread_share(Duration::from_secs(1));
    let (busy, idle) = (share("/busy"), share("/nothing"));
    assert!(busy > 0.4 && idle < 0.2, "busy {busy}, idle {idle}");
}
