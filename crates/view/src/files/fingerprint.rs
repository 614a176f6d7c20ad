//! What a SQL file means, as a number: two files with one fingerprint give the same rows, so that a save which changes
//! only comments, blanks or the front matter's looks rebuilds nothing, and a renamed file keeps its state.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::files::sql_file::SqlFile;
use tallgrass_relation::Catalog;

/// Of one process only: the hash function may be another one in the next version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(u64);

/// The fingerprint of each file by its name: its statement, its parameters' values, and all that it reads, down to the
/// declarations of relations and the state of static files on disk.
pub fn fingerprints<'a>(files: &'a [SqlFile], catalog: &Catalog) -> BTreeMap<&'a str, Fingerprint> {
    let by_name: BTreeMap<&str, &SqlFile> = files.iter().map(|file| (file.name(), file)).collect();
    let relations: BTreeMap<&str, String> =
        catalog.relations().map(|relation| (relation.name(), relation.declaration())).collect();
    let fingerprint = |file: &SqlFile| {
        let mut hasher = DefaultHasher::new();
        hash_file(file, &by_name, &relations, &mut Vec::new(), &mut hasher);
        Fingerprint(hasher.finish())
    };
    files.iter().map(|file| (file.name(), fingerprint(file))).collect()
}

fn hash_file<'a>(
    file: &'a SqlFile,
    files: &BTreeMap<&str, &'a SqlFile>,
    relations: &BTreeMap<&str, String>,
    path: &mut Vec<&'a str>,
    hasher: &mut DefaultHasher,
) {
    file.meaning().hash(hasher);
    path.push(file.name());
    for name in file.references() {
        name.hash(hasher);
        if let Some(declaration) = relations.get(name.as_str()) {
            declaration.hash(hasher);
        } else if let Some(read) = files.get(name.as_str())
            && !path.contains(&read.name())
        {
            hash_file(read, files, relations, path, hasher);
        }
    }
    path.pop();
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::Path;

    use super::*;

    const SOURCES: &str = "CREATE EXTERNAL TABLE s (id BIGINT) STORED AS KAFKA LOCATION 't'";

    fn of(files: &[(&str, &str)], sources: &str) -> Vec<Fingerprint> {
        let catalog = Catalog::parse(sources, Path::new("."), "sources.sql").unwrap();
        let files: Vec<SqlFile> =
            files.iter().map(|(name, sql)| SqlFile::parse(name, format!("{name}.sql"), *sql).unwrap()).collect();
        let all = fingerprints(&files, &catalog);
        files.iter().map(|file| all[file.name()]).collect()
    }

    #[test]
    fn looks_and_comments_mean_nothing() {
        let plain = of(&[("a", "SELECT count(*) FROM s")], SOURCES);
        assert_eq!(plain, of(&[("b", "-- @title: Ours\n-- why\nSELECT  count(*)\nFROM s;")], SOURCES));
        assert_ne!(plain, of(&[("a", "SELECT count(id) FROM s")], SOURCES));
    }

    #[test]
    fn a_parameter_s_value_counts() {
        let with =
            |value| of(&[("a", &format!("-- @param n BIGINT = {value}\nSELECT id FROM s WHERE id > $n"))], SOURCES);
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn what_a_file_reads_counts_however_far_away() {
        let files = |sql| [("a", "SELECT * FROM b"), ("b", "SELECT * FROM c"), ("c", sql), ("d", "SELECT id FROM s")];
        let before = of(&files("SELECT id FROM s"), SOURCES);
        let after = of(&files("SELECT id + 1 FROM s"), SOURCES);
        assert!(before[..3].iter().zip(&after).all(|(before, after)| before != after));
        assert_eq!(before[3], after[3]);
        let declared_anew = of(&files("SELECT id FROM s"), &SOURCES.replace("BIGINT", "INT"));
        assert!(before.iter().zip(&declared_anew).all(|(before, after)| before != after));
        // A comment above the declaration moves it, no more.
        assert_eq!(before, of(&files("SELECT id FROM s"), &format!("-- ours\n{SOURCES}")));
    }

    #[test]
    fn a_circle_has_an_end() {
        of(&[("a", "SELECT * FROM b"), ("b", "SELECT * FROM a")], SOURCES);
    }
}
