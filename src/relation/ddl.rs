//! `sources.sql`: DataFusion's own DDL, read by DataFusion's own parser and planner.
//!
//! The statements are cut apart at their semicolons first, so that each fault can say where it is: the parser knows the
//! place of a token, the planner (types, constraints) does not, and there the name of the column or the clause is looked
//! up among the tokens of the statement.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{CreateExternalTable as PlannedTable, DdlStatement, LogicalPlan};
use datafusion::sql::parser::{CreateExternalTable, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Ident, Spanned};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use futures::FutureExt;

use super::catalog::{Position, Relation, StaticRelation};
use super::error::CatalogError;
use super::kafka_ddl;

/// The formats of static files, as DataFusion knows them in this build.
const FILE_FORMATS: [&str; 5] = ["CSV", "PARQUET", "JSON", "NDJSON", "ARROW"];

/// One statement: what it says and the tokens that say it.
pub(super) struct Source<'a> {
    file: &'a str,
    tokens: &'a [TokenWithSpan],
    state: &'a SessionState,
}

/// Reads every declaration.
pub(super) fn parse(sql: &str, base_dir: &Path, file: &str) -> Result<Vec<Relation>, CatalogError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| CatalogError {
        file: file.to_owned(),
        line: error.location.line.max(1),
        column: error.location.column.max(1),
        message: error.message,
    })?;
    let state = SessionContext::new().state();
    let mut relations: Vec<Relation> = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF)) {
            continue;
        }
        let source = Source { file, tokens, state: &state };
        let create = source.create_external_table()?;
        let relation = source.relation(&create, base_dir)?;
        match relations.iter().position(|other| other.name() == relation.name()) {
            None => relations.push(relation),
            Some(index) if create.or_replace => relations[index] = relation,
            Some(_) if create.if_not_exists => {}
            Some(index) => {
                let line = relations[index].position().line;
                let message = format!("relation '{}' is declared in line {line} already", relation.name());
                return Err(source.fault_at(relation.position(), message));
            }
        }
    }
    Ok(relations)
}

/// An error of DataFusion as a person wants to read it: without its class and its stack.
pub(super) fn message(error: &DataFusionError) -> String {
    let text = match error.find_root() {
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "nested too deeply".to_owned(),
        },
        DataFusionError::Plan(text) | DataFusionError::Configuration(text) | DataFusionError::NotImplemented(text) => {
            text.clone()
        }
        other => other.strip_backtrace(),
    };
    text.split("\n\nbacktrace:").next().unwrap_or_default().trim_end().to_owned()
}

impl Source<'_> {
    fn create_external_table(&self) -> Result<CreateExternalTable, CatalogError> {
        let mut statements = DFParserBuilder::new(self.tokens.to_vec())
            .build()
            .and_then(|mut parser| parser.parse_statements())
            .map_err(|error| self.parser_fault(&error))?;
        match statements.pop_front() {
            Some(Statement::CreateExternalTable(create)) => Ok(create),
            _ => Err(self.fault_at(
                self.position(),
                "only CREATE EXTERNAL TABLE has a place in this file; queries live in files of their own",
            )),
        }
    }

    fn relation(&self, create: &CreateExternalTable, base_dir: &Path) -> Result<Relation, CatalogError> {
        let name = create.name.span().start;
        if create.name.0.len() != 1 {
            return Err(self.fault(name, format!("'{}': a relation has a plain name, without a schema", create.name)));
        }
        if create.temporary {
            return Err(self.fault_at(self.position(), "TEMPORARY has no meaning here: leave it out"));
        }
        if create.unbounded {
            let message =
                "UNBOUNDED has no meaning here: the command decides whether a topic is read live or to its end";
            return Err(self.fault(self.word("UNBOUNDED"), message));
        }
        if create.file_type == "KAFKA" {
            return kafka_ddl::relation(self, create).map(|relation| Relation::Kafka(Arc::new(relation)));
        }
        if !FILE_FORMATS.contains(&create.file_type.as_str()) {
            let known = FILE_FORMATS.iter().copied().chain(["KAFKA"]);
            let hint =
                did_you_mean(&create.file_type, known).unwrap_or_else(|| "use KAFKA, CSV, PARQUET or JSON".to_owned());
            return Err(
                self.fault(self.word(&create.file_type), format!("unknown format {}: {hint}", create.file_type))
            );
        }
        let mut planned = self.plan(create)?;
        // DataFusion's parser takes NDJSON, but its reader of JSON lines goes by the name of JSON.
        if planned.file_type == "NDJSON" {
            "JSON".clone_into(&mut planned.file_type);
        }
        let places: Vec<_> = planned.locations.iter().map(|location| places(location, base_dir)).collect();
        for (location, places) in planned.locations.iter_mut().zip(&places) {
            if let Some(found) = places.iter().find(|place| place.exists()) {
                *location = found.to_string_lossy().into_owned();
            }
        }
        Ok(Relation::Static(Arc::new(StaticRelation {
            name: bare_name(&planned.name),
            create: planned,
            places,
            file: self.file.to_owned(),
            position: self.position_of(name),
        })))
    }

    /// Types, constraints and options as DataFusion understands them.
    pub(super) fn plan(&self, create: &CreateExternalTable) -> Result<PlannedTable, CatalogError> {
        match self.try_plan(create) {
            Ok(planned) => Ok(planned),
            Err(error) => {
                // The planner does not say which column it means: the first that fails alone.
                let culprit = create.columns.iter().find(|column| {
                    let alone = CreateExternalTable {
                        columns: vec![(*column).clone()],
                        constraints: Vec::new(),
                        options: Vec::new(),
                        order_exprs: Vec::new(),
                        table_partition_cols: Vec::new(),
                        ..create.clone()
                    };
                    self.try_plan(&alone).is_err()
                });
                Err(match culprit {
                    Some(column) => {
                        let message = format!("column '{}': {}", column.name.value, message(&error));
                        self.fault(column.name.span.start, message)
                    }
                    None => self.fault(create.name.span().start, message(&error)),
                })
            }
        }
    }

    fn try_plan(&self, create: &CreateExternalTable) -> Result<PlannedTable, DataFusionError> {
        let statement = Statement::CreateExternalTable(create.clone());
        // Planning is asynchronous because statements may name tables of remote catalogs; a DDL names none, so the future
        // is ready at once.
        match self.state.statement_to_plan(statement).now_or_never() {
            Some(Ok(LogicalPlan::Ddl(DdlStatement::CreateExternalTable(planned)))) => Ok(*planned),
            Some(Err(error)) => Err(error),
            _ => Err(DataFusionError::Plan("cannot be planned without a catalog".to_owned())),
        }
    }

    /// The session whose functions and rules plan expressions of a declaration.
    pub(super) fn state(&self) -> &SessionState {
        self.state
    }

    /// Where the statement begins.
    pub(super) fn position(&self) -> Position {
        let first = self.tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
        first.map_or(Position { line: 1, column: 1 }, |token| place(token.span.start))
    }

    /// A location of the parser, or the beginning of the statement where it has none.
    pub(super) fn position_of(&self, location: Location) -> Position {
        if location.line == 0 { self.position() } else { place(location) }
    }

    /// An error at a location of the parser.
    pub(super) fn fault(&self, location: Location, message: impl Into<String>) -> CatalogError {
        self.fault_at(self.position_of(location), message)
    }

    fn fault_at(&self, position: Position, message: impl Into<String>) -> CatalogError {
        let Position { line, column } = position;
        CatalogError { file: self.file.to_owned(), line, column, message: message.into() }
    }

    /// Where a bare word stands for the first time.
    pub(super) fn word(&self, word: &str) -> Location {
        self.find(|token| matches!(token, Token::Word(other) if other.value.eq_ignore_ascii_case(word)))
    }

    /// Where a quoted string (or, for option keys, a word) stands for the last time: options come after columns.
    pub(super) fn string(&self, text: &str) -> Location {
        let quoted = |token: &Token| match token {
            Token::SingleQuotedString(other) => other == text,
            Token::Word(other) => other.value == text,
            _ => false,
        };
        self.tokens
            .iter()
            .rev()
            .find(|token| quoted(&token.token))
            .map_or_else(Location::empty, |token| token.span.start)
    }

    fn find(&self, wanted: impl Fn(&Token) -> bool) -> Location {
        self.tokens.iter().find(|token| wanted(&token.token)).map_or_else(Location::empty, |token| token.span.start)
    }

    /// The parser puts the place into the text, " at Line: 3, Column: 5"; at the end of input it has none.
    fn parser_fault(&self, error: &DataFusionError) -> CatalogError {
        let text = message(error);
        let stated = text.rsplit_once(" at Line: ").and_then(|(before, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            let position = Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? };
            Some((before.to_owned(), position))
        });
        match stated {
            Some((text, position)) => self.fault_at(position, text),
            None if text.contains("found: EOF") => {
                let last =
                    self.tokens.iter().rev().find(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
                self.fault(last.map_or_else(Location::empty, |token| token.span.end), text)
            }
            None => self.fault_at(self.position(), text),
        }
    }
}

/// " did you mean 'x'?" for the nearest known name, if one is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = |name: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase());
    let nearest = known.into_iter().min_by_key(|name| near(name))?;
    (near(nearest) <= nearest.len().div_ceil(3)).then(|| format!("did you mean {nearest}?"))
}

/// The name of an identifier under DataFusion's rule: lower case unless quoted.
pub(super) fn normalized(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// The name of a table reference that has been found to be bare.
pub(super) fn bare_name(reference: &TableReference) -> String {
    reference.table().to_owned()
}

/// The paths that a location may mean, best first; none for a pattern or a URL, which are DataFusion's to resolve.
fn places(location: &str, base_dir: &Path) -> Vec<PathBuf> {
    if location.contains("://") || location.contains(['*', '?', '[']) {
        return Vec::new();
    }
    let mut places = vec![PathBuf::from(location), base_dir.join(location)];
    places.dedup_by_key(|place| std::path::absolute(place).ok());
    places
}

fn place(location: Location) -> Position {
    Position { line: location.line, column: location.column }
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
    fn the_second_declaration_of_a_name_needs_a_word() {
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
        assert_eq!(error, "sources.sql:2:23: relation 't' is declared in line 1 already");
    }

    /// Declarations, each with what is said of it.
    const FAULTS: [(&str, &str); 24] = [
        ("SELECT 1", "1:1: only CREATE EXTERNAL TABLE has a place in this file; queries live in files of their own"),
        ("CREATE VIEW v AS SELECT 1", "1:1: only CREATE EXTERNAL TABLE"),
        (
            "CREATE EXTERNAL TABLE t (x INT)\n  STORED AS KAFKA LOCATON 't'",
            "2:19: Expected: end of statement or ;, found: LOCATON",
        ),
        ("CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA", "1:1: Missing LOCATION clause"),
        ("CREATE EXTERNAL TABLE t (x INT", "1:31: Expected: ',' or ')' after column definition, found: EOF"),
        ("CREATE EXTERNAL TABLE t (x 'INT) STORED", "1:28: Unterminated string literal"),
        (
            "CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'orders'",
            "1:23: relation 't' declares no columns: `tallgrass init orders`",
        ),
        ("CREATE EXTERNAL TABLE a.t (x INT) STORED AS KAFKA LOCATION 't'", "1:23: 'a.t': a relation has a plain name"),
        (
            "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKO LOCATION 't'",
            "1:43: unknown format KAFKO: did you mean KAFKA?",
        ),
        ("CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION 'a b'", "1:58: 'a b' is no name of a topic"),
        (
            "CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION ('a', 'b')",
            "1:49: LOCATION of a KAFKA relation is one topic",
        ),
        (
            "CREATE EXTERNAL TABLE t (x INT,\n _offset INT) STORED AS KAFKA LOCATION 't'",
            "2:2: column '_offset' is every topic's own",
        ),
        ("CREATE EXTERNAL TABLE t (x INT, X INT) STORED AS KAFKA LOCATION 't'", "1:33: column 'x' is declared twice"),
        (
            "CREATE EXTERNAL TABLE t (x INT NOT NULL) STORED AS KAFKA LOCATION 't'",
            "1:26: column 'x': NOT NULL cannot be promised",
        ),
        ("CREATE EXTERNAL TABLE t (x INT, y MONEYS) STORED AS KAFKA LOCATION 't'", "1:33: column 'y': "),
        ("CREATE EXTERNAL TABLE t (x INTERVAL) STORED AS KAFKA LOCATION 't'", "1:26: column 'x': "),
        (
            "CREATE EXTERNAL TABLE t (name INT, PRIMARY KEY (nam)) STORED AS KAFKA LOCATION 't'",
            "1:49: PRIMARY KEY names no column 'nam': did you mean name?",
        ),
        ("CREATE EXTERNAL TABLE t (a STRUCT<b INT>, PRIMARY KEY (a.b)) STORED AS KAFKA LOCATION 't'", "PRIMARY KEY"),
        (
            "CREATE EXTERNAL TABLE t (a STRUCT<b INT>, PRIMARY KEY (a)) STORED AS KAFKA LOCATION 't'",
            "1:56: PRIMARY KEY 'a' is nested",
        ),
        (
            "CREATE EXTERNAL TABLE t (a INT, b INT, PRIMARY KEY (a, b)) STORED AS KAFKA LOCATION 't'",
            "1:56: PRIMARY KEY is one column",
        ),
        (
            "CREATE EXTERNAL TABLE t (a INT, PRIMARY KEY (a)) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_wen' 'true')",
            "1:88: unknown option 'deleted_wen': did you mean deleted_when?",
        ),
        (
            "CREATE EXTERNAL TABLE t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_when' 'true')",
            "1:71: deleted_when deletes rows of a table",
        ),
        (
            "CREATE EXTERNAL TABLE t (a INT PRIMARY KEY) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_when' 'now() > ''2026-01-01''')",
            "deleted_when: now() may answer differently",
        ),
        (
            "CREATE EXTERNAL TABLE t (a INT PRIMARY KEY) STORED AS KAFKA LOCATION 't' OPTIONS ('deleted_when' 'a + 1')",
            "deleted_when must be true or false",
        ),
    ];

    #[test]
    fn each_fault_says_where_it_is() {
        for (sql, expected) in FAULTS {
            let error = catalog(sql).map(|_| "no fault").unwrap_err();
            assert!(
                error.starts_with("sources.sql:") && error.contains(expected),
                "{sql}\n  expected {expected}\n  found    {error}"
            );
        }
    }

    #[test]
    fn a_fault_in_a_later_statement_counts_its_lines_from_the_top() {
        let error = catalog("CREATE EXTERNAL TABLE t (x INT) STORED AS KAFKA LOCATION 't';\n\n-- next\nDROP TABLE t;")
            .unwrap_err();
        assert!(error.starts_with("sources.sql:4:1: only CREATE EXTERNAL TABLE"), "{error}");
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
        catalog.register(&context, |_| unreachable!("no topic is declared")).await.unwrap();
        let rows = context.sql("SELECT * FROM towns CROSS JOIN kinds").await.unwrap().count().await.unwrap();
        assert_eq!(rows, 4);
    }
}
