//! One SQL file is one view: the file's name is the view's name, comments above describe how to show it, and one SELECT
//! defines what it is.
//!
//! A file's life: [`SqlFile::load`] reads and parses it without knowing any table; [`plan`] plans it against the tables of
//! a session and finds every error that needs types. Values of parameters are bound to the plan's placeholders.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Statement as SqlStatement, Value, visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use crate::files::diagnose::{self, KnownNames};
use crate::files::front_matter::{self, FrontMatter};
use crate::files::param::{self, Param};
use crate::files::statement::{allow_statement, by_hand, check_placeholders, parse_query};
use tallgrass_diagnostics::{Diagnostic, Span, SqlText, did_you_mean, is_significant};
use tallgrass_relation::Sealed;
use tallgrass_sql::logical_plan;

/// A parsed SQL file.
#[derive(Debug, Clone)]
pub struct SqlFile {
    name: String,
    path: PathBuf,
    text: Arc<str>,
    front_matter: FrontMatter,
    warnings: Vec<Diagnostic>,
    /// The query; its parameters are positional, in the order of `front_matter.params`
    statement: Sealed<SqlStatement>,
}

/// A file of a folder: parsed, or why it cannot be.
pub type LoadedFile = Result<SqlFile, Diagnostic>;

/// A value for each parameter of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Bindings(Vec<ScalarValue>);

impl Bindings {
    /// The values, in the order of the parameters.
    pub fn into_values(self) -> Vec<ScalarValue> {
        self.0
    }
}

impl SqlFile {
    /// Reads and parses a file; its name without `.sql` is the view's name.
    pub fn load(path: &Path) -> Result<Self, Diagnostic> {
        let bytes = read_regular(path)
            .map_err(|error| Diagnostic::error(path, "", None, format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let span = Span::at(before.matches('\n').count() + 1, column);
            Diagnostic::error(path, &before, Some(span), "the file is not UTF-8")
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, path, text)
    }

    /// Parses `text`, the content of `path`, as the view `name`.
    pub fn parse(name: &str, path: impl Into<PathBuf>, text: impl Into<String>) -> Result<Self, Diagnostic> {
        Self::parse_ordered(name, &path.into(), &text.into()).1
    }

    /// Also gives the file's `@order`, which a broken file still has.
    fn parse_ordered(name: &str, path: &Path, text: &str) -> (Option<i32>, Result<Self, Diagnostic>) {
        // A byte order mark is the editor's business.
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
        let source = SqlText { file: path, text: &text };
        let tokens = source.tokens();
        let parsed = front_matter::parse(source, &tokens);
        let order = parsed.front_matter.order;
        (order, Self::from_parsed(name, source, &tokens, parsed))
    }

    fn from_parsed(
        name: &str,
        source: SqlText<'_>,
        tokens: &[TokenWithSpan],
        parsed: front_matter::ParsedFrontMatter,
    ) -> Result<Self, Diagnostic> {
        if !param::is_identifier(name) {
            let error = source.error(None, format!("'{name}' cannot name a view: use a-z, 0-9 and _, no digit first"));
            return Err(error.with_hint(format!("rename the file to {}.sql", identifier_like(name))));
        }
        if let Some(error) = parsed.error {
            return Err(error);
        }
        let (front_matter, mut warnings) = (parsed.front_matter, parsed.warnings);
        let mut statement = parse_query(source, tokens)?;
        let used = check_placeholders(source, tokens, &front_matter.params)?;
        for param in front_matter.params.iter().filter(|param| !used.contains(&param.name)) {
            let message = format!("parameter '{}' is never used", param.name);
            warnings.push(source.warning(Some(param.span), message));
        }
        number_placeholders(&mut statement, &front_matter.params);
        warnings.sort_by_key(|warning| warning.span);
        Ok(Self {
            name: name.to_owned(),
            path: source.file.to_owned(),
            text: source.text.into(),
            front_matter,
            warnings,
            statement: Sealed::new(statement),
        })
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The heading: `@title`, or the name.
    pub fn title(&self) -> &str {
        self.front_matter.title.as_deref().unwrap_or(&self.name)
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's content, front matter too.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How to show the view.
    pub fn front_matter(&self) -> &FrontMatter {
        &self.front_matter
    }

    /// Its parameters in the order of their declaration.
    pub fn params(&self) -> &[Param] {
        &self.front_matter.params
    }

    /// What has no effect in the front matter, in the order of the text.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The names of the tables and views that the statement reads, as SQL sees them, ordered.
    pub fn references(&self) -> Vec<String> {
        references(&Statement::Statement(Box::new(self.statement().clone())))
    }

    /// Warnings that need the result's columns: `@x` or `@y` names none of them.
    pub fn check_columns(&self, schema: &Schema) -> Vec<Diagnostic> {
        self.front_matter.check_columns(self.source(), schema)
    }

    /// Gives each parameter its value, cast to the declared type (so a text from a command line will do), or its default.
    pub fn bind<'a>(&self, given: impl IntoIterator<Item = (&'a str, ScalarValue)>) -> Result<Bindings, Diagnostic> {
        let mut values: Vec<Option<ScalarValue>> = self.params().iter().map(|param| param.default.clone()).collect();
        for (name, value) in given {
            let Some(index) = self.params().iter().position(|param| param.name == name) else {
                let hint = did_you_mean(name, self.params().iter().map(|param| param.name.as_str()));
                return Err(self.source().error(None, format!("there is no parameter '{name}'")).with_hint(hint));
            };
            let param = &self.params()[index];
            let value =
                param::coerce(param, &value).map_err(|message| self.source().error(Some(param.span), message))?;
            values[index] = Some(value);
        }
        let values = values.into_iter().zip(self.params()).map(|(value, param)| {
            value.ok_or_else(|| {
                let error = self.source().error(Some(param.span), format!("parameter '{}' has no value", param.name));
                let form = format!("give one, or declare a default: @param {} {} = …", param.name, param.sql_type);
                error.with_hint(form)
            })
        });
        values.collect::<Result<_, _>>().map(Bindings)
    }

    /// Values to look at a plan with: the defaults, and any value where there is none. They change neither the types nor
    /// where the plan is cut.
    pub fn bind_any(&self) -> Result<Bindings, Diagnostic> {
        let required = self.params().iter().filter(|param| param.default.is_none());
        let any = |param: &'_ Param| ScalarValue::new_default(&param.data_type).ok();
        self.bind(required.filter_map(|param| Some((param.name.as_str(), any(param)?))))
    }

    /// The same file with other values for its parameters, under a name of its own.
    #[must_use]
    pub fn with_values(&self, name: &str, Bindings(values): &Bindings) -> Self {
        let mut file = self.clone();
        name.clone_into(&mut file.name);
        for (param, value) in file.front_matter.params.iter_mut().zip(values) {
            param.default = Some(value.clone());
        }
        file
    }

    /// The statement and its parameters' values without comments and blanks: files that mean the same have the same.
    pub fn meaning(&self) -> String {
        let values: Vec<_> = self.params().iter().map(|param| (&param.data_type, &param.default)).collect();
        format!("{} {values:?}", *self.statement)
    }

    /// An error of the statement as a whole, which stands where it begins.
    pub fn refused(&self, message: impl Into<String>) -> Diagnostic {
        self.source().error(self.start(), message)
    }

    /// A warning of the statement as a whole.
    pub fn warned(&self, message: impl Into<String>) -> Diagnostic {
        self.source().warning(self.start(), message)
    }

    fn start(&self) -> Option<Span> {
        let tokens = self.source().tokens();
        let first = tokens.iter().find(|token| is_significant(&token.token))?;
        Span::of(first.span)
    }

    pub(super) fn source(&self) -> SqlText<'_> {
        SqlText { file: &self.path, text: &self.text }
    }

    /// The query as a syntax tree.
    pub(super) fn statement(&self) -> &SqlStatement {
        &self.statement
    }

    /// What DataFusion plans: the query, inside a PREPARE that carries the parameters' types.
    fn prepared(&self) -> Statement {
        let query = Box::new(self.statement().clone());
        if self.params().is_empty() {
            return Statement::Statement(query);
        }
        let data_types = self.params().iter().map(|param| param.sql_type.clone()).collect();
        Statement::Statement(Box::new(SqlStatement::Prepare { name: Ident::new("view"), data_types, statement: query }))
    }
}

/// A file's content. Only that of a regular one: reading a pipe would wait for its writer, and the dashboard with
/// it.
pub fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    std::fs::read(path)
}

/// Every `*.sql` file of a folder (not of folders inside it), by `@order` and name; a broken file is an error at the
/// place that it would have. A folder that cannot be read is one error.
pub fn load_folder(dir: &Path) -> Vec<LoadedFile> {
    let entries = match std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) => return vec![Err(Diagnostic::error(dir, "", None, format!("cannot be read: {error}")))],
    };
    let mut files: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql") && !path.is_dir())
        // Editors keep `.#by_type.sql` and the like beside the file.
        .filter(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")))
        .map(|path| {
            let file = SqlFile::load(&path);
            // A file that fails after its front matter keeps its place on the dashboard.
            let order = match &file {
                Ok(file) => file.front_matter.order,
                Err(_) => read_regular(&path)
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .and_then(|text| SqlFile::parse_ordered("broken", &path, &text).0),
            };
            (order, path, file)
        })
        .collect();
    files.sort_by(|(order_a, path_a, _), (order_b, path_b, _)| {
        let absent_last = |order: &Option<i32>| order.map_or(i64::MAX, i64::from);
        absent_last(order_a).cmp(&absent_last(order_b)).then_with(|| path_a.cmp(path_b))
    });
    files.into_iter().map(|(_, _, file)| file).collect()
}

/// Plans a file against the tables of `ctx`, with its parameters' defaults. See [`plan_with`].
pub async fn plan(ctx: &SessionContext, file: &SqlFile) -> Result<LogicalPlan, Diagnostic> {
    plan_with(ctx, file, &file.bind([])?).await
}

/// Plans a file against the tables of `ctx`, with values for its parameters.
///
/// The plan is optimized once, so that every error of types surfaces here, and handed back as it was before: a run
/// optimizes it again (then `now()` is the time of the run), and a cut calls `ctx.state().optimize`.
pub async fn plan_with(ctx: &SessionContext, file: &SqlFile, bindings: &Bindings) -> Result<LogicalPlan, Diagnostic> {
    plan_checked(ctx, file.source(), file.prepared(), Some(bindings)).await
}

/// Plans a file whose parameters have no values yet: for `check`. The plan keeps typed placeholders and cannot run.
pub async fn plan_unbound(ctx: &SessionContext, file: &SqlFile) -> Result<LogicalPlan, Diagnostic> {
    plan_checked(ctx, file.source(), file.prepared(), None).await
}

/// Plans a statement given by hand, if it is one that only reads: see [`allow_statement`].
///
/// SHOW needs `information_schema` switched on in the session.
pub async fn plan_statement(ctx: &SessionContext, sql: &str) -> Result<LogicalPlan, Diagnostic> {
    let statement = match allow_statement(sql)? {
        // DataFusion's own lists the tables of the catalog too.
        Statement::Statement(show) if matches!(*show, SqlStatement::ShowTables { .. }) => allow_statement(RELATIONS)?,
        statement => statement,
    };
    plan_checked(ctx, by_hand(sql), statement, None).await
}

/// What is wrong with a statement given by hand that does not plan in this session, and where.
pub fn explain_statement(state: &SessionState, sql: &str, error: &DataFusionError) -> Diagnostic {
    diagnose::explain(by_hand(sql), error, &KnownNames::of(state))
}

/// What SHOW TABLES shows.
const RELATIONS: &str = "SELECT table_name, table_type FROM information_schema.tables \
                         WHERE table_schema <> 'information_schema' ORDER BY table_name";

async fn plan_checked(
    ctx: &SessionContext,
    source: SqlText<'_>,
    statement: Statement,
    bindings: Option<&Bindings>,
) -> Result<LogicalPlan, Diagnostic> {
    let mut state = ctx.state();
    state.config_mut().options_mut().sql_parser.collect_spans = true;
    check_usable(&state, source, &statement)?;
    let explain = |error| diagnose::explain(source, &error, &KnownNames::of(&state));
    let plan = logical_plan(&state, statement).await.map_err(explain)?;
    let plan = match (plan, bindings) {
        (plan @ LogicalPlan::Statement(PlanStatement::Prepare(_)), Some(Bindings(values))) => {
            plan.with_param_values(values.clone()).map_err(explain)?
        }
        (LogicalPlan::Statement(PlanStatement::Prepare(prepare)), None) => Arc::unwrap_or_clone(prepare.input),
        (plan, _) => plan,
    };
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(explain)?;
    state.optimize(&plan).map_err(explain)?;
    Ok(plan)
}

fn references(statement: &Statement) -> Vec<String> {
    let references = datafusion::sql::resolve::resolve_table_references(statement, true);
    references.map(|(tables, _)| tables.iter().map(|table| table.table().to_owned()).collect()).unwrap_or_default()
}

/// Static relations of a session that could not be opened, and why. What reads one is refused with that.
#[derive(Debug)]
pub(super) struct Unusable(pub(super) BTreeMap<String, String>);

fn check_usable(state: &SessionState, source: SqlText<'_>, statement: &Statement) -> Result<(), Diagnostic> {
    let Some(unusable) = state.config().get_extension::<Unusable>().filter(|unusable| !unusable.0.is_empty()) else {
        return Ok(());
    };
    let named = references(statement).into_iter().find_map(|name| Some((unusable.0.get(&name)?.clone(), name)));
    named.map_or(Ok(()), |(why, name)| Err(source.error(source.find_word(&name), why)))
}

/// `$lat` → `$1`: DataFusion types parameters by their position in a PREPARE. A name would stay without a type until its
/// value comes, too late for functions that choose their result by their arguments.
fn number_placeholders(statement: &mut SqlStatement, params: &[Param]) {
    _ = visit_expressions_mut(statement, |expr: &mut SqlExpr| {
        if let SqlExpr::Value(value) = expr
            && let Value::Placeholder(placeholder) = &mut value.value
        {
            let name = placeholder.trim_start_matches('$').to_lowercase();
            if let Some(index) = params.iter().position(|param| param.name == name) {
                *placeholder = format!("${}", index + 1);
            }
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The nearest valid name: `By-Type` → `by_type`.
fn identifier_like(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { format!("v{name}") } else { name }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_is_the_views_name() {
        let parse = |name| SqlFile::parse(name, format!("q/{name}.sql"), "SELECT 1 AS a");
        assert_eq!(parse("by_type").unwrap().name(), "by_type");
        let error = parse("By-Type").unwrap_err().to_string();
        assert_eq!(
            error,
            "q/By-Type.sql: error: 'By-Type' cannot name a view: use a-z, 0-9 and _, no digit first\nhelp: rename the file to by_type.sql"
        );
        assert!(parse("2_types").unwrap_err().to_string().contains("v2_types.sql"));
    }

    #[test]
    fn select_with_union_and_values_are_queries_and_a_semicolon_may_end_them() {
        for sql in [
            "SELECT 1;",
            "WITH t AS (SELECT 1 AS a) SELECT a FROM t",
            "SELECT 1 UNION SELECT 2 ;;",
            "VALUES (1), (2)",
            "(SELECT 1)",
        ] {
            SqlFile::parse("a", "a.sql", sql).unwrap();
        }
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
        let file = SqlFile::parse("a", "a.sql", "\u{feff}-- @title: One\r\n-- @order: 3\r\nSELECT 1 AS a\r\n").unwrap();
        assert_eq!((file.title(), file.front_matter().order), ("One", Some(3)));
        assert!(file.warnings().is_empty(), "{:?}", file.warnings());
    }

    fn panel() -> SqlFile {
        let text = "-- @param lat DOUBLE = 2 * 20.2084\n-- @param radius_km DOUBLE\n-- @param since DATE = '2026-01-31'\n\
                    SELECT $radius_km + $lat AS a, $since AS d, '$text' AS t";
        SqlFile::parse("panel", "panel.sql", text).unwrap()
    }

    #[test]
    fn parameters_take_values_defaults_and_texts_of_their_type() {
        let file = panel();
        let bindings = file.bind([("radius_km", ScalarValue::from("3.5"))]).unwrap();
        assert_eq!(bindings.0, [ScalarValue::from(40.4168), ScalarValue::from(3.5), ScalarValue::Date32(Some(20_484))]);
        let wrong = |name, value: &str| file.bind([(name, ScalarValue::from(value))]).unwrap_err();
        assert_eq!(wrong("radius_mk", "3").hint.as_deref(), Some("did you mean 'radius_km'?"));
        assert!(
            wrong("radius_km", "far")
                .message
                .starts_with("'far' is not a value for parameter 'radius_km' of type DOUBLE")
        );
        assert_eq!(file.bind([]).unwrap_err().span, Some(Span { line: 2, column: 11, width: 9 }));
    }

    #[tokio::test]
    async fn values_are_bound_and_never_become_sql() {
        let ctx = SessionContext::new();
        let file =
            SqlFile::parse("a", "a.sql", "-- @param who VARCHAR\nSELECT $who AS who, upper($who) AS loud").unwrap();
        let nasty = "x'; DROP TABLE t --";
        let plan = plan_with(&ctx, &file, &file.bind([("who", ScalarValue::from(nasty))]).unwrap()).await.unwrap();
        let batches = tallgrass_planner::dataframe(&ctx, plan).await.unwrap().collect().await.unwrap();
        let shown = datafusion::arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap();
        assert_eq!(shown, nasty);
    }

    #[test]
    fn a_folder_is_read_in_order_and_a_broken_file_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("z.sql", "-- @order: 1\nSELECT 1 AS a");
        write("m.sql", "-- @order: 2\nSELEC 1 AS a");
        write("b.sql", "SELECT 1 AS a");
        write("a.sql", "SELECT 1 AS a");
        write(".#a.sql", "half");
        write("notes.txt", "no SQL");
        let files = load_folder(dir.path());
        let names: Vec<&str> = files.iter().map(|file| file.as_ref().map_or("broken", SqlFile::name)).collect();
        assert_eq!(names, ["z", "broken", "a", "b"]);
        assert!(load_folder(&dir.path().join("absent"))[0].is_err());
    }

    #[test]
    fn a_file_that_is_not_text_is_refused_at_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sql");
        std::fs::write(&path, b"-- \xc3\xa9\nSELECT '\xe9'").unwrap();
        assert_eq!(SqlFile::load(&path).unwrap_err().span, Some(Span::at(2, 9)));
    }
}
