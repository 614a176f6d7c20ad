//! A file of `panels/`: rows near a place, handed on as they are read.
//!
//! ```sql
//! -- @title: Free bikes nearby
//! -- @param lat DOUBLE
//! -- @param lon DOUBLE
//! -- @param radius_km DOUBLE = 3
//! -- @x: longitude  @y: latitude    -- needed only where the result's columns are not called lat and lon
//! SELECT bike, latitude, longitude FROM bikes WHERE haversine_km(latitude, longitude, $lat, $lon) <= $radius_km
//! ```
//!
//! # Contract
//! A panel that loads has the three parameters of its area, each of a type with fractions, and none under a name that its
//! links use for something else. Its own parameters may have any other name and any type.

use std::path::Path;

use crate::files::sql_file::{LoadedFile, SqlFile, load_folder};
use tallgrass_diagnostics::Diagnostic;

/// Name of the folder whose files are the panels.
pub const PANELS: &str = "panels";

/// The parameters of a panel's area: degrees north, degrees east, kilometres.
pub const AREA: [&str; 3] = ["lat", "lon", "radius_km"];

/// What a link says beside a file's parameters.
const LINK_ONLY: [&str; 2] = ["place", "own_group"];

/// The address of the first panel's events is `/panel/events`.
const TAKEN_NAME: &str = "events";

/// A file of the folder.
#[derive(Debug, Clone)]
pub struct PanelFile {
    /// Its name without `.sql`.
    pub name: String,
    /// The file, or what is wrong with it.
    pub file: LoadedFile,
}

impl PanelFile {
    /// Its heading; of a broken file its name.
    pub fn title(&self) -> &str {
        self.file.as_ref().map_or(&self.name, SqlFile::title)
    }
}

/// The panels of a folder of SQL by `@order` and name, broken ones too. A folder without `panels/` has none.
pub fn load_panels(queries: &Path) -> Vec<PanelFile> {
    let folder = queries.join(PANELS);
    if !folder.exists() {
        return Vec::new();
    }
    let panel = |loaded: LoadedFile| {
        let path = loaded.as_ref().map_or_else(|error| error.file.as_path(), SqlFile::path);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        PanelFile { name, file: loaded.and_then(checked) }
    };
    load_folder(&folder).into_iter().map(panel).collect()
}

/// The panel of this name, or the first one.
pub(super) fn choose_panel(queries: &Path, name: Option<&str>) -> Result<SqlFile, Diagnostic> {
    let mut panels = load_panels(queries);
    let found = match name {
        Some(name) => panels.iter().position(|panel| panel.name == name),
        None => (!panels.is_empty()).then_some(0),
    };
    if let Some(index) = found {
        return panels.swap_remove(index).file;
    }
    let folder = queries.join(PANELS);
    let refused = |message: String| Diagnostic::error(&folder, "", None, message);
    let Some(name) = name.filter(|_| !panels.is_empty()) else {
        let help =
            format!("save a SELECT with the parameters {} as {}", AREA.join(", "), folder.join("NAME.sql").display());
        return Err(refused("there is no panel".to_owned()).with_hint(help));
    };
    let names: Vec<&str> = panels.iter().map(|panel| panel.name.as_str()).collect();
    Err(refused(format!("no panel is called '{name}'")).with_hint(format!("there are {}", names.join(", "))))
}

/// The file, if it is a panel.
fn checked(file: SqlFile) -> Result<SqlFile, Diagnostic> {
    if file.name() == TAKEN_NAME {
        let error =
            Diagnostic::error(file.path(), file.text(), None, format!("a panel cannot be called '{TAKEN_NAME}'"));
        return Err(error.with_hint("rename the file: this address belongs to the first panel's events".to_owned()));
    }
    for name in AREA {
        let Some(param) = file.params().iter().find(|param| param.name == name) else {
            let error = file.refused(format!("a panel needs the parameter '{name}'"));
            return Err(error.with_hint(format!("declare it above the SELECT: -- @param {name} DOUBLE")));
        };
        if !param.data_type.is_floating() && !param.data_type.is_decimal() {
            let message = format!("'{name}' cannot be {}: a link gives it as a DOUBLE", param.sql_type);
            return Err(Diagnostic::error(file.path(), file.text(), Some(param.span), message));
        }
    }
    if let Some(param) = file.params().iter().find(|param| LINK_ONLY.contains(&param.name.as_str())) {
        let message = format!("'{}' cannot be a panel's parameter: its links use the name", param.name);
        return Err(Diagnostic::error(file.path(), file.text(), Some(param.span), message));
    }
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str =
        "-- @param lat DOUBLE\n-- @param lon DOUBLE\n-- @param radius_km FLOAT = 3\nSELECT $lat, $lon, $radius_km";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(PANELS)).unwrap();
        for (name, sql) in files {
            std::fs::write(folder.path().join(PANELS).join(format!("{name}.sql")), sql).unwrap();
        }
        folder
    }

    #[test]
    fn the_first_panel_is_the_one_that_no_name_asks_for() {
        let folder = folder(&[("a", GOOD), ("b", &format!("-- @order: 1\n{GOOD}")), ("broken", "SELECT 1")]);
        let panels = load_panels(folder.path());
        let names: Vec<&str> = panels.iter().map(|panel| panel.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "broken"]);
        assert_eq!(choose_panel(folder.path(), None).unwrap().name(), "b");
        assert_eq!(choose_panel(folder.path(), Some("a")).unwrap().name(), "a");
        let unknown = choose_panel(folder.path(), Some("c")).unwrap_err().to_string();
        assert!(unknown.ends_with("no panel is called 'c'\nhelp: there are b, a, broken"), "{unknown}");
    }

    #[test]
    fn a_folder_without_panels_says_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load_panels(folder.path()).is_empty());
        let error = choose_panel(folder.path(), None).unwrap_err().to_string();
        assert!(
            error.contains("there is no panel\nhelp: save a SELECT with the parameters lat, lon, radius_km as"),
            "{error}"
        );
    }

    #[test]
    fn what_a_panel_lacks_is_reported_at_its_position() {
        let error = |name: &str, sql: &str| {
            let folder = folder(&[(name, sql)]);
            let error = load_panels(folder.path()).remove(0).file.unwrap_err().to_string();
            error.replace(&folder.path().display().to_string(), "q")
        };
        let errors = [
            error("a", "-- é\n-- @param lat DOUBLE\n-- @param lon DOUBLE\n\nSELECT $lat, $lon"),
            error("b", &GOOD.replace("lat DOUBLE", "lat BIGINT")),
            error("c", &format!("-- @param place VARCHAR = 'x'\n{GOOD}, $place")),
            error("events", GOOD),
        ];
        insta::assert_snapshot!(errors.join("\n"), @r"
        q/panels/a.sql:5:1: error: a panel needs the parameter 'radius_km'
          5 | SELECT $lat, $lon
            | ^^^^^^
        help: declare it above the SELECT: -- @param radius_km DOUBLE
        q/panels/b.sql:1:11: error: 'lat' cannot be BIGINT: a link gives it as a DOUBLE
          1 | -- @param lat BIGINT
            |           ^^^
        q/panels/c.sql:1:11: error: 'place' cannot be a panel's parameter: its links use the name
          1 | -- @param place VARCHAR = 'x'
            |           ^^^^^
        q/panels/events.sql: error: a panel cannot be called 'events'
        help: rename the file: this address belongs to the first panel's events
        ");
    }
}
