//! The checks of a request, and the headers of an answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;

use super::hosts::Hosts;
use crate::problem::Problem;

/// No route takes a body, but some clients send an empty or small one.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;

/// Longest address: all parameters fit several times.
const MAX_URI_BYTES: usize = 8 << 10;

/// All header lines together. An event's id, which is sent back as a header, is the longest.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// How long an answer may take to start. Event streams start at once, and are not limited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a page of this server may do: show content from here, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Features that pages do not need.
const PERMISSIONS: &str =
    "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()";

/// The fence of one server.
#[derive(Debug)]
pub(super) struct Fence {
    hosts: Hosts,
}

impl Fence {
    pub(super) fn new(hosts: Hosts) -> Self {
        Self { hosts }
    }

    /// The reason to refuse a request, if there is one.
    fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
        let problem = |status, message: &str| Some(Problem::new(status, message));
        if method != Method::GET && method != Method::HEAD {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: nothing here can be changed");
        }
        if uri.to_string().len() > MAX_URI_BYTES {
            return problem(StatusCode::URI_TOO_LONG, "the address is longer than 8 kB");
        }
        if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
            return problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are longer than 32 kB");
        }
        let mut names = headers.get_all(header::HOST).iter();
        // An absolute address in the request line overrides the header.
        let named = uri.authority().map(Authority::as_str);
        let Some(host) = named.or_else(|| names.next()?.to_str().ok()) else {
            return problem(StatusCode::BAD_REQUEST, "the request has no Host header");
        };
        if !self.hosts.allow(host) || (named.is_none() && names.next().is_some()) {
            let message = format!("this server does not accept the host '{}'", host.escape_debug());
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, message).with_help(self.hosts.help()));
        }
        if let Some(origin) = headers.get(header::ORIGIN)
            && !origin.to_str().is_ok_and(|origin| self.hosts.allow_origin(origin))
        {
            return problem(StatusCode::FORBIDDEN, "pages of another origin may not use this server");
        }
        if is_foreign(headers) && !is_navigation(method, headers) {
            return problem(StatusCode::FORBIDDEN, "pages of another site may link here, but not use this server");
        }
        None
    }
}

fn is_one_of(headers: &HeaderMap, name: &str, values: &[&str]) -> bool {
    headers.get(name).is_some_and(|header| values.iter().any(|value| header == *value))
}

/// Whether a browser marks the request as from another site. Another port of the same machine is another program, too.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-site") && !is_one_of(headers, "sec-fetch-site", &["same-origin", "none"])
}

/// Whether a person follows a link: the answer is shown to them, and the page with the link never sees it.
fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET
        && is_one_of(headers, "sec-fetch-mode", &["navigate"])
        && is_one_of(headers, "sec-fetch-dest", &["document"])
}

/// Passes a request on or refuses it; every answer goes through here.
pub(super) async fn pass(State(fence): State<Arc<Fence>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let refused = fence.refusal(&method, &uri, request.headers());
    let mut response = match refused {
        Some(problem) => problem.answer(uri.path()),
        None => answer(next, request, uri.path()).await,
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        response = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a body of more than 64 kB").answer(uri.path());
    }
    add_headers(response.headers_mut());
    let status = response.status().as_u16();
    tracing::debug!(target: "http", %method, path = uri.path(), status, took_ms = started.elapsed().as_millis() as u64);
    response
}

/// The answer of the routes, or an error in its place.
async fn answer(next: Next, request: Request, path: &str) -> Response {
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    let (status, message) = match tokio::time::timeout(ANSWER_TIMEOUT, answering).await {
        Ok(Ok(response)) => return response,
        // The panic's own message is on stderr.
        Ok(Err(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "the answer failed: this is a bug, with details on stderr"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer within 10 s: the server has too much to do"),
    };
    Problem::new(status, message).answer(path)
}

/// Headers of every answer; those that a route has set are kept.
fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

impl Problem {
    /// In the form of the address: JSON for programs, a line of text for people.
    pub(crate) fn answer(self, path: &str) -> Response {
        let for_programs = path == "/api" || path.starts_with("/api/") || ["/healthz", "/readyz"].contains(&path);
        if for_programs { self.into_response() } else { self.into_text() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let fence = Fence::new(Hosts::new("127.0.0.1:8080".parse().unwrap(), Vec::new()));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let refused = fence.refusal(&method.parse().unwrap(), &uri.parse().unwrap(), &map);
        refused.map(|problem| problem.status().as_u16())
    }

    const OWN: (&str, &str) = ("host", "localhost:8080");

    #[test]
    fn what_is_asked_from_here_passes() {
        for (uri, headers) in [
            ("/", vec![OWN]),
            ("/", vec![OWN, ("origin", "http://localhost:8080")]),
            ("/", vec![OWN, ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]),
            ("/api/views", vec![OWN, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")]),
            ("http://127.0.0.1:8080/x", vec![("host", "evil.example")]),
        ] {
            assert_eq!(refusal("GET", uri, &headers), None, "{uri} {headers:?}");
        }
    }

    #[test]
    fn a_link_from_another_site_may_be_followed_but_nothing_else() {
        let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for site in ["cross-site", "same-site"] {
            let asked = |mode: &[(&'static str, &'static str)]| [&[OWN, ("sec-fetch-site", site)], mode].concat();
            assert_eq!(refusal("GET", "/", &asked(&navigation)), None);
            for mode in [
                vec![("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
                vec![("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
                vec![("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
                vec![],
            ] {
                assert_eq!(refusal("GET", "/", &asked(&mode)), Some(403), "{mode:?}");
            }
        }
    }

    #[test]
    fn other_names_origins_and_methods_are_refused() {
        for (method, uri, headers, status) in [
            ("GET", "/", vec![], 400),
            ("GET", "/", vec![("host", "evil.example:8080")], 421),
            ("GET", "http://evil.example/", vec![OWN], 421),
            ("GET", "/", vec![OWN, ("host", "evil.example")], 421),
            ("GET", "/", vec![OWN, ("origin", "http://evil.example")], 403),
            ("GET", "/", vec![OWN, ("origin", "null")], 403),
            ("GET", "/", vec![OWN, ("origin", "http://localhost:3000")], 403),
            ("POST", "/", vec![OWN], 405),
            ("OPTIONS", "/", vec![OWN, ("origin", "http://localhost:8080")], 405),
            ("GET", "/", vec![OWN, ("x", Box::leak("y".repeat(40_000).into_boxed_str()))], 431),
            ("GET", Box::leak(format!("/{}", "y".repeat(9000)).into_boxed_str()), vec![OWN], 414),
        ] {
            assert_eq!(refusal(method, uri, &headers), Some(status), "{method} {headers:?}");
        }
    }
}
