//! A folder of SQL: `sources.sql`, the dashboard's files, and the sessions that plan them.
//!
//! ```text
//!  queries/
//!    sources.sql              the relations
//!    dashboard/NAME.sql       a view each; one may read another by its name
//!    panels/NAME.sql          what appears near a place; a panel each
//!    login_checker.sql        the view of `login-checker`
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::MemTable;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use crate::files::lint;
use crate::files::panel::{PanelFile, choose_panel, load_panels};
use crate::files::sql_file::{LoadedFile, SqlFile, Unusable, load_folder, plan, read_regular};
use crate::incremental::cut::Use;
use crate::incremental::live_view::LiveView;
use crate::incremental::source::{LiveRelation, RelationKind};
use tallgrass_diagnostics::{Diagnostic, message_of};
use tallgrass_relation::{
    BadRecords, Catalog, KafkaRelation, KafkaTable, PlannedQuery, ReadBounds, Relation, StaticRelation,
};
use tallgrass_sql::session;

/// Name of the file that declares the relations.
pub const SOURCES: &str = "sources.sql";

/// Name of the folder whose files are the dashboard.
pub const DASHBOARD: &str = "dashboard";

/// Name of the file of `login-checker`.
const LOGIN_CHECKER: &str = "login_checker.sql";

/// Why a folder of SQL cannot be used at all; a single broken view is none of these.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The declarations cannot be read.
    #[error("cannot read {path} (`tallgrass init TOPIC… -o {path}` writes one for your topics)", path = path.display())]
    Sources {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A declaration, or a file that the command needs, is wrong.
    #[error(transparent)]
    Sql(#[from] Diagnostic),
    /// The dashboard's folder cannot be read.
    #[error("cannot read {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A relation cannot be registered.
    #[error("cannot use relation {relation}")]
    Relation {
        /// Its name.
        relation: String,
        /// DataFusion's error.
        source: DataFusionError,
    },
}

/// The declared relations of a folder, ready to plan its views.
#[derive(Debug, Clone)]
pub struct Workspace {
    dir: PathBuf,
    catalog: Catalog,
}

impl Workspace {
    /// Reads `sources.sql` of a folder.
    pub fn load(dir: &Path) -> Result<Self, WorkspaceError> {
        let path = dir.join(SOURCES);
        let text = |bytes| {
            String::from_utf8(bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        };
        let sql = match read_regular(&path).and_then(text) {
            Ok(sql) => sql,
            Err(source) => return Err(WorkspaceError::Sources { path, source }),
        };
        let catalog = Catalog::parse(&sql, dir, &path)?;
        Ok(Self { dir: dir.to_owned(), catalog })
    }

    /// The relations.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The dashboard's files by `@order` and name, broken ones too.
    pub fn dashboard(&self) -> Vec<LoadedFile> {
        load_folder(&self.dir.join(DASHBOARD))
    }

    /// The file of `login-checker`.
    pub fn login_checker(&self) -> LoadedFile {
        SqlFile::load(&self.dir.join(LOGIN_CHECKER))
    }

    /// The panel of this name, or the first one by `@order` and name.
    pub fn panel(&self, name: Option<&str>) -> LoadedFile {
        choose_panel(&self.dir, name)
    }

    /// The files whose rows are handed on as they are read: the login checker's, if it is there, and the panels.
    pub fn appending(&self) -> Vec<LoadedFile> {
        let checker = self.dir.join(LOGIN_CHECKER).exists().then(|| self.login_checker());
        checker.into_iter().chain(load_panels(&self.dir).into_iter().map(|PanelFile { file, .. }| file)).collect()
    }

    /// The stream that a view reads, if it reads nothing else that changes, and the columns that it needs, ascending.
    pub fn only_stream(&self, view: &LiveView) -> Option<(Arc<KafkaRelation>, Vec<usize>)> {
        let inputs = view.inputs();
        let (name, _) = inputs.first()?;
        let relation = self.catalog.get(name)?.as_kafka()?;
        if inputs.iter().any(|(other, _)| other != name) {
            return None;
        }
        let columns: BTreeSet<usize> = inputs.iter().flat_map(|(_, columns)| columns.iter().copied()).collect();
        Some((Arc::clone(relation), columns.into_iter().collect()))
    }

    /// A session for live plans: relations without rows; static ones in memory, since every micro-batch may join them.
    pub async fn live_session(&self) -> Result<SessionContext, WorkspaceError> {
        let context = session::live();
        for relation in self.catalog.kafka_relations() {
            let kind = if relation.is_keyed() { RelationKind::Table } else { RelationKind::Stream };
            let key = relation.key().map(|key| relation.declared().field(key.column).name().as_str());
            let live = LiveRelation::new(relation.name(), Arc::clone(relation.schema()), kind).with_key(key);
            let name = datafusion::common::TableReference::bare(relation.name());
            let failed = |source| WorkspaceError::Relation { relation: relation.name().to_owned(), source };
            context.register_table(name, Arc::new(live)).map_err(failed)?;
        }
        let mut unusable = BTreeMap::new();
        for relation in self.catalog.relations() {
            let Relation::Static(relation) = relation else { continue };
            if let Err(why) = load(&context, relation).await {
                unusable.insert(relation.name().to_owned(), why);
            }
        }
        let state = context.state_ref();
        let mut state = state.write();
        state.config_mut().set_extension(Arc::new(Unusable(unusable)));
        state.config_mut().set_extension(Arc::new(self.catalog.clone()));
        drop(state);
        Ok(context)
    }

    /// A session whose relations are bounded reads. It lacks static ones that cannot be opened: what reads them is refused.
    pub async fn batch_session(
        &self,
        bounds: &Arc<ReadBounds>,
        bad: &BadRecords,
    ) -> Result<SessionContext, WorkspaceError> {
        let context = session::batch();
        let unusable = self
            .catalog
            .register(&context, |relation: &Arc<KafkaRelation>| {
                Arc::new(KafkaTable::new(Arc::clone(relation), Arc::clone(bounds), bad.clone()))
            })
            .await;
        let unusable = unusable.into_iter().map(|(name, why)| (name, why.to_string())).collect();
        context.state_ref().write().config_mut().set_extension(Arc::new(Unusable(unusable)));
        Ok(context)
    }

    /// Plans the dashboard's files in a session of this workspace, each with its parameters' defaults. A file may read
    /// another by its name. The plans come in the order of the files, not yet optimized.
    pub async fn plan_dashboard(
        &self,
        context: &SessionContext,
        files: &[SqlFile],
    ) -> Vec<Result<LogicalPlan, Diagnostic>> {
        let mut plans: BTreeMap<&str, Result<LogicalPlan, Diagnostic>> = BTreeMap::new();
        for file in in_order_of_reading(files, &|name| self.catalog.get(name).is_some()) {
            let planned = match file {
                Err(error) => Err(error),
                Ok(file) if self.catalog.get(file.name()).is_some() => {
                    let message =
                        format!("'{}' is already a relation of {SOURCES}: name the file otherwise", file.name());
                    Err((file, Diagnostic::error(file.path(), file.text(), None, message)))
                }
                Ok(file) => match self.plan_over(context, file, &plans).await {
                    Ok(plan) => {
                        let view = Arc::new(ViewTable::new(plan.clone(), None));
                        match context.register_table(datafusion::common::TableReference::bare(file.name()), view) {
                            Ok(_) => Ok((file, plan)),
                            Err(error) => {
                                Err((file, Diagnostic::error(file.path(), file.text(), None, message_of(&error))))
                            }
                        }
                    }
                    Err(error) => Err((file, error)),
                },
            };
            match planned {
                Ok((file, plan)) => plans.insert(file.name(), Ok(plan)),
                Err((file, error)) => plans.insert(file.name(), Err(error)),
            };
        }
        files.iter().filter_map(|file| plans.remove(file.name())).collect()
    }

    /// Plans a file after those that it reads.
    async fn plan_over(
        &self,
        context: &SessionContext,
        file: &SqlFile,
        plans: &BTreeMap<&str, Result<LogicalPlan, Diagnostic>>,
    ) -> Result<LogicalPlan, Diagnostic> {
        for name in file.references().iter().filter(|name| self.catalog.get(name).is_none()) {
            if let Some(Err(error)) = plans.get(name.as_str()) {
                let message = format!("reads '{name}', which cannot be used: {}", error.message);
                return Err(Diagnostic::error(file.path(), file.text(), file.source().find_word(name), message));
            }
        }
        plan(context, file).await
    }
}

/// Loads a static relation into memory, or gives the reason why that fails, with its files.
async fn load(context: &SessionContext, relation: &StaticRelation) -> Result<(), String> {
    relation.check_files()?;
    let loaded = async {
        let provider = relation.provider(context).await.map_err(|error| error.to_string())?;
        let frame = context.read_table(provider).map_err(|error| message_of(&error))?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let (_, plan) = frame.into_parts();
        let query = PlannedQuery::new(context, plan).await.map_err(|error| message_of(&error))?;
        let rows = query.collect().await.map_err(|error| message_of(&error))?;
        // One that went away in the midst of it had no rows.
        relation.check_files()?;
        let table = MemTable::try_new(schema, vec![rows]).map_err(|error| message_of(&error))?;
        let name = datafusion::common::TableReference::bare(relation.name());
        context.register_table(name, Arc::new(table)).map_err(|error| message_of(&error))
    };
    let failed = |why: String| format!("cannot load {}: {why}", relation.locations().join(", "));
    loaded.await.map(|_| ()).map_err(failed)
}

/// Makes a live view of a planned file, or explains in its own terms why there can be none.
pub async fn live_view(
    context: &SessionContext,
    file: &SqlFile,
    plan: LogicalPlan,
    usage: Use,
    max_rows: usize,
) -> Result<LiveView, Diagnostic> {
    LiveView::plan(&context.state(), plan, usage, max_rows).await.map_err(|error| {
        if let DataFusionError::External(inner) = &error
            && let Some(refusal) = inner.downcast_ref()
        {
            return lint::refused(file, refusal);
        }
        match usage {
            Use::NewRows => file.refused(message_of(&error)),
            Use::Result => Diagnostic::error(file.path(), file.text(), None, message_of(&error)),
        }
    })
}

/// Every file after those that it reads; files in a circle, and those that read one of them, are errors.
/// A file named like a relation is refused later, and no file reads it: the name means the relation.
fn in_order_of_reading<'a>(
    files: &'a [SqlFile],
    is_relation: &dyn Fn(&str) -> bool,
) -> Vec<Result<&'a SqlFile, (&'a SqlFile, Diagnostic)>> {
    let reads = reads_of(files, is_relation);
    let mut ordered = Vec::with_capacity(files.len());
    let mut done: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ready: Vec<&SqlFile> = files
            .iter()
            .filter(|file| !done.contains(file.name()))
            .filter(|file| reads[file.name()].iter().all(|read| done.contains(read)))
            .collect();
        if ready.is_empty() {
            break;
        }
        for file in ready {
            done.insert(file.name());
            ordered.push(Ok(file));
        }
    }
    for file in files.iter().filter(|file| !done.contains(file.name())) {
        let (span, message) = if let Some(circle) = circle(file.name(), &reads) {
            let path: Vec<String> = circle.iter().chain([&file.name()]).map(|name| format!("{name}.sql")).collect();
            (
                file.source().find_word(circle.get(1).unwrap_or(&file.name())),
                format!("reads itself: {}", path.join(" → ")),
            )
        } else {
            let stuck = reads[file.name()].iter().find(|read| !done.contains(*read)).copied().unwrap_or_default();
            (file.source().find_word(stuck), format!("reads '{stuck}', which is in a circle of files or reads one"))
        };
        ordered.push(Err((file, Diagnostic::error(file.path(), file.text(), span, message))));
    }
    ordered
}

/// File → the files that it reads.
pub fn reads_of<'a>(files: &'a [SqlFile], is_relation: &dyn Fn(&str) -> bool) -> BTreeMap<&'a str, Vec<&'a str>> {
    let names: Vec<&str> = files.iter().map(SqlFile::name).filter(|name| !is_relation(name)).collect();
    let reads = |file: &SqlFile| {
        let references = file.references();
        names.iter().copied().filter(|name| references.iter().any(|read| read == name)).collect()
    };
    files.iter().map(|file| (file.name(), reads(file))).collect()
}

/// The shortest way from a file through those that it reads back to itself, without the end.
fn circle<'a>(from: &'a str, reads: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut paths = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        for read in path.last().and_then(|last| reads.get(last)).into_iter().flatten() {
            if *read == from {
                return Some(path);
            }
            if seen.insert(*read) {
                paths.push_back(path.iter().chain([read]).copied().collect());
            }
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Vec<SqlFile> {
        texts.iter().map(|(name, sql)| SqlFile::parse(name, format!("q/{name}.sql"), *sql).unwrap()).collect()
    }

    #[test]
    fn a_file_comes_after_those_that_it_reads() {
        let files = files(&[("c", "SELECT * FROM b, a"), ("b", "SELECT * FROM a"), ("a", "SELECT 1")]);
        let ordered = in_order_of_reading(&files, &|_| false);
        let names: Vec<&str> = ordered.iter().map(|file| file.as_ref().unwrap().name()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_circle_names_its_files_and_not_their_readers() {
        let files = files(&[
            ("a", "SELECT * FROM b"),
            ("b", "SELECT 1 FROM\n  c"),
            ("c", "SELECT * FROM a"),
            ("reader", "SELECT * FROM a"),
            ("alone", "SELECT 1"),
            ("self", "SELECT * FROM self"),
        ]);
        let ordered = in_order_of_reading(&files, &|_| false);
        let errors: Vec<String> = ordered.iter().filter_map(|file| Some(file.as_ref().err()?.1.to_string())).collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        q/a.sql:1:15: error: reads itself: a.sql → b.sql → c.sql → a.sql
          1 | SELECT * FROM b
            |               ^
        q/b.sql:2:3: error: reads itself: b.sql → c.sql → a.sql → b.sql
          2 |   c
            |   ^
        q/c.sql:1:15: error: reads itself: c.sql → a.sql → b.sql → c.sql
          1 | SELECT * FROM a
            |               ^
        q/reader.sql:1:15: error: reads 'a', which is in a circle of files or reads one
          1 | SELECT * FROM a
            |               ^
        q/self.sql:1:15: error: reads itself: self.sql → self.sql
          1 | SELECT * FROM self
            |               ^^^^
        ");
    }
}
