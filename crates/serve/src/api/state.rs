//! How a view is doing, in the terms of the API.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use tallgrass_diagnostics::{Diagnostic, message_of};
use tallgrass_pipeline::{FileState, Published, RebuildStatus};
use tallgrass_proof::line;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// An object: message, file, and where known line, column and a hint.
    pub(super) json: String,
    /// The message alone.
    pub(super) message: String,
}

/// The state of a view.
#[derive(Debug)]
pub(super) enum ViewState {
    /// Its rows are those of its file.
    Ok,
    /// Its file is wrong, or its view failed. Rows from before may stay up.
    Broken(Broken),
    /// It is being rebuilt after an edit; rows from before may stay up.
    Rebuilding(RebuildStatus),
    /// There is no result yet.
    Waiting,
}

impl ViewState {
    /// The state of a view in a refresh; `None` for an unknown name.
    pub(super) fn of(published: &Published, view: &str, queries: &Path) -> Option<Self> {
        let (file, result) = (published.file(view), published.result(view));
        if file.is_none() && result.is_none() {
            return None;
        }
        if let Some(broken) = file.and_then(|file| Broken::of_file(file, queries)) {
            return Some(Self::Broken(broken));
        }
        if let Some((_, status)) =
            published.status.rebuild.as_ref().filter(|(names, _)| names.iter().any(|name| **name == *view))
        {
            return Some(Self::Rebuilding(*status));
        }
        Some(match result.map(|result| &result.rows) {
            Some(Ok(_)) => Self::Ok,
            Some(Err(error)) => Self::Broken(Broken::of_message(&message_of(error), queries)),
            None => Self::Waiting,
        })
    }

    /// Its name.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Broken(_) => "broken",
            Self::Rebuilding(_) => "rebuilding",
            Self::Waiting => "waiting",
        }
    }
}

impl Broken {
    /// A file that cannot be planned.
    pub(super) fn of_file(file: &FileState, queries: &Path) -> Option<Self> {
        let report: &Diagnostic = file.error.as_ref()?;
        let mut error = json!({"message": short(&report.message, queries), "file": short_path(&report.file, queries)});
        if let (Some(span), Some(excerpt)) = (report.span, &report.excerpt) {
            error["line"] = span.line.into();
            error["column"] = span.column.into();
            error["width"] = span.width.into();
            error["text"] = Value::from(excerpt.as_str());
        }
        if let Some(hint) = &report.hint {
            error["help"] = Value::from(short(hint, queries));
        }
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        Some(Self { json: tallgrass_sink::sanitize::escape_json(&error.to_string()).into_owned(), message })
    }

    /// A view that failed while it ran.
    pub(super) fn of_message(message: &str, queries: &Path) -> Self {
        let message = short(message, queries);
        Self { json: format!("{{\"message\":{}}}", line::text(&message)), message }
    }

    /// As a JSON value.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_else(|_| Value::from(self.message.as_str()))
    }
}

/// A path from the folder of queries on: where that folder is must not be disclosed.
pub(super) fn short_path(path: &Path, queries: &Path) -> String {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    let inside = path.strip_prefix(queries).map_or(name, Path::to_owned);
    inside.to_string_lossy().into_owned()
}

/// A message without the path of the folder of queries, however an error has spelt it.
pub(super) fn short(message: &str, queries: &Path) -> String {
    let full = std::path::absolute(queries).unwrap_or_default();
    let mut message = message.to_owned();
    for folder in [full.as_path(), queries] {
        let folder = folder.to_string_lossy();
        let folder = folder.trim_end_matches('/');
        if folder.len() > 1 && folder != "." {
            message = message.replace(&format!("{folder}/"), "");
            // An object store's paths have no slash in front.
            message = message.replace(&format!("{}/", folder.trim_start_matches('/')), "");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_of_the_folder_is_not_disclosed() {
        let queries = Path::new("/home/ann/secret/queries");
        assert_eq!(short_path(Path::new("/home/ann/secret/queries/dashboard/a.sql"), queries), "dashboard/a.sql");
        assert_eq!(short_path(Path::new("/elsewhere/a.sql"), queries), "a.sql");
        let message =
            "Object at location home/ann/secret/queries/names.csv not found (/home/ann/secret/queries/names.csv)";
        assert_eq!(short(message, queries), "Object at location names.csv not found (names.csv)");
        assert_eq!(short("a / b", Path::new("/")), "a / b");
    }
}
