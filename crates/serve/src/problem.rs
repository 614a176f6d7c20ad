//! The error of a request: JSON for programs, text for people.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that refuses a request, with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    status: StatusCode,
    error: Value,
    help: Option<String>,
    retry_after_s: Option<u32>,
}

impl Problem {
    /// The message: lower case, no full stop.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Value::String(message.into()), help: None, retry_after_s: None }
    }

    /// An error with parts, such as a position in a file.
    pub fn of(status: StatusCode, error: Value) -> Self {
        Self { status, error, help: None, retry_after_s: None }
    }

    /// What to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// When to try again.
    #[must_use]
    pub fn with_retry(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The status.
    #[cfg(test)]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// As a line of text.
    pub fn into_text(self) -> Response {
        let help = self.help.map(|help| format!("\n{help}")).unwrap_or_default();
        let message = self.error.as_str().map_or_else(|| self.error.to_string(), str::to_owned);
        (self.status, format!("{message}{help}\n")).into_response()
    }
}

/// `{"error":"…","help":"…"}`
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = match &self.help {
            Some(help) => json!({"error": self.error, "help": help}),
            None => json!({"error": self.error}),
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
