//! `sources.sql`: DataFusion's own DDL, read by DataFusion's own parser and planner, one statement after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::Spanned;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use tallgrass_diagnostics::{Diagnostic, SqlText, did_you_mean, is_significant};

use super::catalog::{Catalog, Relation, StaticRelation};
use super::declaration::Declaration;
use super::kafka_ddl;
use super::sealed::Sealed;

/// The zone of `TIMESTAMP WITH TIME ZONE`, as PostgreSQL keeps it: moments are UTC, and a query converts them.
pub const TIME_ZONE: &str = "+00:00";

/// The formats of static files, as DataFusion knows them in this build.
const FILE_FORMATS: [&str; 5] = ["CSV", "PARQUET", "JSON", "NDJSON", "ARROW"];

impl Catalog {
    /// Reads the declarations of a `sources.sql`.
    ///
    /// `base_dir` is the folder of that file and `file` its path for messages. The LOCATION of static files is
    /// looked for in the working directory first, because that is how a user who runs from the root of a project writes
    /// it (and what DataFusion does), and beside the SQL file second, so that a folder of queries can carry its data.
    /// Needs no broker.
    pub fn parse(sql: &str, base_dir: &Path, file: impl AsRef<Path>) -> Result<Self, Diagnostic> {
        let text = SqlText { file: file.as_ref(), text: sql };
        let tokens = Tokenizer::new(&GenericDialect {}, sql)
            .tokenize_with_location()
            .map_err(|error| text.syntax_error(&[], &error.into()))?;
        let mut config = SessionConfig::new();
        config.options_mut().execution.time_zone = Some(TIME_ZONE.to_owned());
        let state = SessionContext::new_with_config(config).state();
        let mut relations: Vec<Relation> = Vec::new();
        for tokens in tokens.split(|token| token.token == Token::SemiColon) {
            if !tokens.iter().any(|token| is_significant(&token.token)) {
                continue;
            }
            let declaration = Declaration { text, tokens, state: &state };
            let create = declaration.parse()?;
            let relation = relation(&declaration, &create, base_dir)?;
            match relations.iter().position(|other| other.name() == relation.name()) {
                None => relations.push(relation),
                Some(index) if create.or_replace => relations[index] = relation,
                Some(_) if create.if_not_exists => {}
                Some(index) => {
                    let line = relations[index].span().line;
                    let message = format!("relation '{}' is declared in line {line} already", relation.name());
                    return Err(text.error(relation.span(), message));
                }
            }
        }
        Ok(Self::new(text.file, relations))
    }
}

fn relation(
    declaration: &Declaration<'_>,
    create: &CreateExternalTable,
    base_dir: &Path,
) -> Result<Relation, Diagnostic> {
    if create.name.0.len() != 1 {
        let message = format!("'{}': a relation has a plain name, without a schema", create.name);
        return Err(declaration.fault_of(create.name.span(), message));
    }
    if create.temporary {
        return Err(declaration.fault(None, "TEMPORARY has no meaning here: leave it out"));
    }
    if create.unbounded {
        let message = "UNBOUNDED has no meaning here: the command decides whether a topic is read live or to its end";
        return Err(declaration.fault(declaration.word("UNBOUNDED"), message));
    }
    if create.file_type == "KAFKA" {
        return kafka_ddl::relation(declaration, create).map(|relation| Relation::Kafka(Arc::new(relation)));
    }
    if !FILE_FORMATS.contains(&create.file_type.as_str()) {
        let known = FILE_FORMATS.iter().copied().chain(["KAFKA"]);
        let hint =
            did_you_mean(&create.file_type, known).unwrap_or_else(|| "use KAFKA, CSV, PARQUET or JSON".to_owned());
        let message = format!("unknown format {}", create.file_type);
        return Err(declaration.fault(declaration.word(&create.file_type), message).with_hint(hint));
    }
    let mut planned = declaration.plan(create)?;
    // DataFusion's parser takes NDJSON, but its reader of JSON lines goes by the name of JSON.
    if planned.file_type == "NDJSON" {
        "JSON".clone_into(&mut planned.file_type);
    }
    let candidates: Vec<_> = planned.locations.iter().map(|location| paths(location, base_dir)).collect();
    for (location, candidates) in planned.locations.iter_mut().zip(&candidates) {
        if let Some(found) = candidates.iter().find(|path| path.exists()) {
            *location = found.to_string_lossy().into_owned();
        }
    }
    Ok(Relation::Static(Arc::new(StaticRelation {
        name: planned.name.table().to_owned(),
        create: Sealed::new(planned),
        candidates,
        file: declaration.text.file.to_owned(),
        span: declaration.span_of(create.name.span()),
    })))
}

/// The paths that a location may mean, best first; none for a pattern or a URL, which are DataFusion's to resolve.
fn paths(location: &str, base_dir: &Path) -> Vec<PathBuf> {
    if location.contains("://") || location.contains(['*', '?', '[']) {
        return Vec::new();
    }
    let mut paths = vec![PathBuf::from(location), base_dir.join(location)];
    paths.dedup_by_key(|path| std::path::absolute(path).ok());
    paths
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, TimeUnit};

    use super::super::catalog::{Catalog, KafkaRelation};
    use super::*;

    fn catalog(sql: &str) -> Result<Catalog, String> {
        Catalog::parse(sql, Path::new("."), "sources.sql").map_err(|error| error.to_string())
    }

    fn kafka(sql: &str) -> Arc<KafkaRelation> {
        Arc::clone(catalog(sql).unwrap().kafka_relations().next().unwrap())
    }

    #[test]
    fn the_shipped_shapes_parse() {
        let catalog = catalog(
            "-- what the world sends
             CREATE EXTERNAL TABLE pokemons (number BIGINT, name VARCHAR, lat DOUBLE) STORED AS KAFKA LOCATION 'pokemons';
             CREATE EXTERNAL TABLE users (id BIGINT, name VARCHAR, action VARCHAR, PRIMARY KEY (id))
               STORED AS KAFKA LOCATION 'users' OPTIONS ('deleted_when' 'action = ''logoff''');
             CREATE EXTERNAL TABLE pokedex STORED AS CSV LOCATION 'data/pokemon.csv' OPTIONS ('has_header' 'true');",
        )
        .unwrap();
        let names: Vec<&str> = catalog.relations().map(Relation::name).collect();
        assert_eq!(names, ["pokemons", "users", "pokedex"]);
        let Some(Relation::Kafka(users)) = catalog.get("users") else { panic!("users is a topic") };
        let key = users.key().unwrap();
        assert_eq!(key.column, 0);
        let condition = key.deleted_when.as_ref().unwrap();
        assert_eq!((condition.sql(), condition.columns()), ("action = 'logoff'", &[2][..]));
        let columns: Vec<&str> = users.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(columns, ["id", "name", "action", "_key", "_partition", "_offset", "_timestamp"]);
    }

    #[test]
    fn types_are_those_of_datafusion() {
        let relation = kafka(
            "CREATE EXTERNAL TABLE t (a BIGINT, b VARCHAR, c DECIMAL(10, 2), d TIMESTAMP(3), e DATE, f DOUBLE[],
               g STRUCT<x INT, \"innerName\" VARCHAR>, \"userId\" BOOLEAN) STORED AS KAFKA LOCATION 't'",
        );
        let types: Vec<&DataType> = relation.declared().fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(types[..2], [&DataType::Int64, &DataType::Utf8View]);
        assert_eq!(
            types[2..5],
            [&DataType::Decimal128(10, 2), &DataType::Timestamp(TimeUnit::Millisecond, None), &DataType::Date32]
        );
        assert!(matches!(types[5], DataType::List(item) if item.data_type() == &DataType::Float64));
        assert!(matches!(types[6], DataType::Struct(fields) if fields[1].name() == "innerName"));
        assert_eq!(relation.declared().field(7).name(), "userId");
    }

    #[test]
    fn an_inline_key_may_say_not_null() {
        let relation =
            kafka("CREATE EXTERNAL TABLE t (Id INT NOT NULL PRIMARY KEY, x INT) STORED AS KAFKA LOCATION 't'");
        assert_eq!(relation.key().unwrap().column, 0);
        let relation = kafka(
            "CREATE EXTERNAL TABLE t (x INT, id VARCHAR NOT NULL, PRIMARY KEY (ID)) STORED AS KAFKA LOCATION 't'",
        );
        assert_eq!(relation.key().unwrap().column, 1);
    }

    #[test]
    fn the_second_declaration_of_a_name_needs_or_replace() {
        let two = |how: &str| {
            catalog(&format!(
                "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION 'one';\nCREATE {how} (x INT) STORED AS KAFKA LOCATION 'two'"
            ))
        };
        let topic = |catalog: Catalog| {
            catalog.kafka_relations().map(|relation| relation.topic().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(topic(two("OR REPLACE EXTERNAL TABLE t").unwrap()), ["two"]);
        assert_eq!(topic(two("EXTERNAL TABLE IF NOT EXISTS t").unwrap()), ["one"]);
        let error = two("EXTERNAL TABLE T").unwrap_err();
        assert!(error.starts_with("sources.sql:2:23: error: relation 't' is declared in line 1 already\n"), "{error}");
    }

    const FAULTS: [&str; 24] = [
        "SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t (x INT)\n  STORED AS KAFKA LOCATON 't'",
        "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA",
        "CREATE EXTERNAL TABLE t (x INT",
        "CREATE EXTERNAL TABLE t (x 'INT) STORED",
        "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'orders'",
        "CREATE EXTERNAL TABLE a.t (x INT) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKO LOCATION 't'",
        "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION 'a b'",
        "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION ('a', 'b')",
        "CREATE EXTERNAL TABLE t (x INT,\n _offset INT) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (x INT, X INT) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (x INT NOT NULL) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (x INT, y MONEYS) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (x INTERVAL) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (name INT, PRIMARY KEY (nam)) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (a STRUCT<b INT>, PRIMARY KEY (a.b)) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (a STRUCT<b INT>, PRIMARY KEY (a)) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (a INT, b INT, PRIMARY KEY (a, b)) STORED AS KAFKA LOCATION 't'",
        "CREATE EXTERNAL TABLE t (a INT, PRIMARY KEY (a)) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_wen' 'true')",
        "CREATE EXTERNAL TABLE t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_when' 'true')",
        "CREATE EXTERNAL TABLE t (a INT PRIMARY KEY) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_when' 'now() > ''2026-01-01''')",
        "CREATE EXTERNAL TABLE t (a INT PRIMARY KEY) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_when' 'a + 1')",
    ];

    #[test]
    fn each_fault_is_shown_where_it_is() {
        let shown = FAULTS.map(|sql| catalog(sql).map_or_else(|error| error, |_| format!("no fault: {sql}")));
        insta::assert_snapshot!("faults", shown.join("\n\n"));
        assert!(shown.iter().all(|fault| fault.starts_with("sources.sql:")));
    }

    #[test]
    fn a_fault_in_a_later_statement_counts_its_lines_from_the_top() {
        let error = catalog("CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION 't';\n\n-- next\nDROP TABLE t;")
            .unwrap_err();
        assert!(error.starts_with("sources.sql:4:1: error: only CREATE EXTERNAL TABLE"), "{error}");
    }

    #[test]
    fn files_are_found_from_the_working_directory_or_beside_the_sql() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("towns.csv"), "name,people\nSol,1\n").unwrap();
        let sql = "CREATE EXTERNAL TABLE towns STORED AS CSV LOCATION 'towns.csv'";
        let catalog = Catalog::parse(sql, folder.path(), "sources.sql").unwrap();
        let Some(Relation::Static(towns)) = catalog.get("towns") else { panic!("towns is a file") };
        assert!(towns.locations()[0].ends_with("towns.csv"));
    }

    #[tokio::test]
    async fn a_file_that_is_missing_is_its_relation_s_trouble_only() {
        let sql = "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION 't';
                   CREATE EXTERNAL TABLE towns (name VARCHAR) STORED AS CSV LOCATION 'towns.csv'";
        let here = std::env::current_dir().unwrap();
        for (base_dir, nor) in
            [(".", String::new()), ("nowhere", format!(", nor {}/nowhere/towns.csv", here.display()))]
        {
            let catalog = Catalog::parse(sql, Path::new(base_dir), "sources.sql").unwrap();
            let Some(Relation::Static(towns)) = catalog.get("towns") else { panic!("towns is a file") };
            let error = towns.provider(&SessionContext::new()).await.unwrap_err().to_string();
            let path = here.join("towns.csv");
            assert_eq!(error, format!("sources.sql:2:42: towns: no such file: {}{nor}", path.display()));
        }
    }

    #[tokio::test]
    async fn static_relations_are_datafusions_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("towns.csv"), "name,people\nSol,1\nLuna,2\n").unwrap();
        std::fs::write(folder.path().join("kinds.ndjson"), "{\"kind\":\"a\"}\n{\"kind\":\"b\"}\n").unwrap();
        let sql = "CREATE EXTERNAL TABLE towns (name VARCHAR, people BIGINT) STORED AS CSV LOCATION 'towns.csv' OPTIONS ('has_header' 'true');
                   CREATE EXTERNAL TABLE kinds STORED AS NDJSON LOCATION 'kinds.ndjson'";
        let catalog = Catalog::parse(sql, folder.path(), "sources.sql").unwrap();
        let context = SessionContext::new();
        let unusable = catalog.register(&context, |_| unreachable!("no topic is declared")).await;
        assert!(unusable.is_empty(), "{unusable:?}");
        let rows = tallgrass_planner::sql(&context, "SELECT * FROM towns CROSS JOIN kinds")
            .await
            .unwrap()
            .count()
            .await
            .unwrap();
        assert_eq!(rows, 4);
    }
}
