//! How a view is doing, in the words of the API.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use tallgrass_pipeline::{FileState, RebuildStatus, Shot};
use crate::line;
use tallgrass_view::{SqlReport, words};

/// What keeps a file from being what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// An object: message, file, and where known line, column and a way out.
    pub(super) json: String,
    /// The message alone.
    pub(super) message: String,
}

/// How a view is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Its rows are those of its file.
    Ok,
    /// Its file is wrong, or its view failed. Rows of before may go on.
    Broken(Broken),
    /// A new meaning is on its way; rows of the old one may go on.
    Rebuilding(RebuildStatus),
    /// There is no result yet.
    Waiting,
}

impl State {
    /// Of a view of a shot; none of a name that nothing has.
    pub(super) fn of(shot: &Shot, view: &str, queries: &Path) -> Option<Self> {
        let (file, result) = (shot.file(view), shot.result(view));
        if file.is_none() && result.is_none() {
            return None;
        }
        if let Some(broken) = file.and_then(|file| Broken::of_file(file, queries)) {
            return Some(Self::Broken(broken));
        }
        if let Some((_, status)) =
            shot.status.rebuild.as_ref().filter(|(names, _)| names.iter().any(|name| **name == *view))
        {
            return Some(Self::Rebuilding(*status));
        }
        Some(match result.map(|result| &result.rows) {
            Some(Ok(_)) => Self::Ok,
            Some(Err(error)) => Self::Broken(Broken::of_words(&words(error), queries)),
            None => Self::Waiting,
        })
    }

    /// In a word.
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
    /// Of a file that cannot be a view as it is.
    pub(super) fn of_file(file: &FileState, queries: &Path) -> Option<Self> {
        let report: &SqlReport = file.error.as_ref()?;
        let mut error = json!({"message": short(&report.message, queries), "file": short_path(&report.file, queries)});
        if let (Some(span), Some(sql_line)) = (report.span, &report.sql_line) {
            error["line"] = span.line.into();
            error["column"] = span.column.into();
            error["width"] = span.width.into();
            error["text"] = Value::from(sql_line.as_str());
        }
        if let Some(hint) = &report.hint {
            error["help"] = Value::from(short(hint, queries));
        }
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        Some(Self { json: tallgrass_sink::sanitize::escape_json(&error.to_string()).into_owned(), message })
    }

    /// Of a view that failed while it ran.
    pub(super) fn of_words(words: &str, queries: &Path) -> Self {
        let message = short(words, queries);
        Self { json: format!("{{\"message\":{}}}", line::text(&message)), message }
    }

    /// As a value, for what is built of values.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_else(|_| Value::from(self.message.as_str()))
    }
}

/// A path from the folder of queries on: where that folder lies is nobody's business.
pub(super) fn short_path(path: &Path, queries: &Path) -> String {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    let inside = path.strip_prefix(queries).map_or(name, Path::to_owned);
    inside.to_string_lossy().into_owned()
}

/// Words without the way to the folder of queries, however an error has spelt it.
pub(super) fn short(words: &str, queries: &Path) -> String {
    let full = std::path::absolute(queries).unwrap_or_default();
    let mut words = words.to_owned();
    for folder in [full.as_path(), queries] {
        let folder = folder.to_string_lossy();
        let folder = folder.trim_end_matches('/');
        if folder.len() > 1 && folder != "." {
            words = words.replace(&format!("{folder}/"), "");
            // An object store's paths have no slash in front.
            words = words.replace(&format!("{}/", folder.trim_start_matches('/')), "");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_learns_where_the_folder_lies() {
        let queries = Path::new("/home/ann/secret/queries");
        assert_eq!(short_path(Path::new("/home/ann/secret/queries/dashboard/a.sql"), queries), "dashboard/a.sql");
        assert_eq!(short_path(Path::new("/elsewhere/a.sql"), queries), "a.sql");
        let words =
            "Object at location home/ann/secret/queries/names.csv not found (/home/ann/secret/queries/names.csv)";
        assert_eq!(short(words, queries), "Object at location names.csv not found (names.csv)");
        assert_eq!(short("a / b", Path::new("/")), "a / b");
    }
}
