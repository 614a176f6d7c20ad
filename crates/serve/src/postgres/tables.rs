//! The tables at one moment: the dashboard's views with their rows, and the declared relations.
//!
//! # Contract
//! One [`Tables`] is one moment: it takes the newest refresh once, so that a statement over several views sees one as-of,
//! and all its Kafka relations share their bounds: the same as-of beside a view, else the ends of their topics. A name that is both a relation's and a file's means the relation, as on
//! the dashboard.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use tokio::sync::OnceCell;

use super::errors::code;
use crate::App;
use tallgrass_diagnostics::message_of;
use tallgrass_pipeline::{Definitions, FileState, Published, Variant};
use tallgrass_relation::{BadRecords, Catalog, KafkaTable, ReadBounds, Relation, Sealed, StaticRelation, Until};
use tallgrass_sql::session;
use tallgrass_view::Workspace;

/// The source of tables for statements.
pub struct TableSource {
    app: App,
    /// The relations of the newest refresh that has any.
    relations: Mutex<Option<Arc<Relations>>>,
}

/// A static relation's table, once it has been read.
type Opened = OnceCell<Arc<dyn TableProvider>>;

/// The declared relations of one version of `sources.sql`.
struct Relations {
    /// Their definitions; `None` where they were read from the folder.
    definitions: Option<Arc<Definitions>>,
    workspace: Workspace,
    /// Opened once: to infer a file's columns is to read it.
    files: Vec<(Arc<StaticRelation>, Opened)>,
}

/// The tables at one moment.
pub struct Tables {
    published: Option<Arc<Published>>,
    relations: Option<Arc<Relations>>,
    bounds: Arc<ReadBounds>,
}

/// A view without rows to read, and the reason.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UnreadableView {
    message: String,
    /// The whole report, of several lines.
    detail: Option<String>,
    hint: Option<String>,
}

impl TableSource {
    /// Of a live run.
    pub fn new(app: App) -> Self {
        Self { app, relations: Mutex::default() }
    }

    /// The tables of this moment.
    pub fn now(&self) -> Tables {
        let published = self.app.newest();
        let relations = self.relations(published.as_deref());
        Tables { published, relations, bounds: Arc::new(ReadBounds::new(self.app.kafka.clone())) }
    }

    /// The relations of this refresh; while an edit of them is being rebuilt, those before it.
    fn relations(&self, published: Option<&Published>) -> Option<Arc<Relations>> {
        let mut known = self.relations.lock().unwrap_or_else(PoisonError::into_inner);
        let definitions = published.and_then(|published| published.definitions.as_ref());
        let fresh = match (&*known, definitions) {
            (Some(known), Some(definitions)) if known.is_of(definitions) => None,
            (_, Some(definitions)) => {
                Some(Relations::new(definitions.workspace.clone(), Some(Arc::clone(definitions))))
            }
            (Some(_), None) => None,
            // Before the first refresh; a folder that cannot be read has no relations yet.
            (None, None) => Workspace::load(&self.app.queries).ok().map(|workspace| Relations::new(workspace, None)),
        };
        if let Some(fresh) = fresh {
            *known = Some(Arc::new(fresh));
        }
        known.clone()
    }
}

impl Relations {
    fn new(workspace: Workspace, definitions: Option<Arc<Definitions>>) -> Self {
        let files = workspace.catalog().relations().filter_map(|relation| match relation {
            Relation::Static(relation) => Some((Arc::clone(relation), OnceCell::new())),
            Relation::Kafka(_) => None,
        });
        let files = files.collect();
        Self { definitions, workspace, files }
    }

    fn is_of(&self, definitions: &Arc<Definitions>) -> bool {
        self.definitions.as_ref().is_some_and(|own| Arc::ptr_eq(own, definitions))
    }
}

impl Tables {
    fn files(&self) -> &[FileState] {
        self.published.as_ref().map(|published| published.files.as_slice()).unwrap_or_default()
    }

    /// What `sources.sql` declares.
    pub fn declared(&self) -> Option<&Catalog> {
        self.relations.as_ref().map(|relations| relations.workspace.catalog())
    }

    /// A declared relation.
    async fn relation(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(relations) = &self.relations else { return Ok(None) };
        match relations.workspace.catalog().get(name) {
            None => Ok(None),
            Some(Relation::Kafka(relation)) => {
                let table = KafkaTable::new(Arc::clone(relation), Arc::clone(&self.bounds), BadRecords::quiet());
                Ok(Some(Arc::new(table)))
            }
            Some(Relation::Static(_)) => {
                let found = relations.files.iter().find(|(relation, _)| relation.name() == name);
                let Some((relation, opened)) = found else { return Ok(None) };
                let open = async || relation.provider(&Sealed::new(session::batch())).await;
                let table = opened.get_or_try_init(open).await;
                let external = |error| DataFusionError::External(Box::new(error));
                Ok(Some(Arc::clone(table.map_err(external)?)))
            }
        }
    }

    /// The rows of a view.
    fn view(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(published) = &self.published else { return Ok(None) };
        let Some(file) = published.file(name) else { return Ok(None) };
        let refused = |error: UnreadableView| DataFusionError::External(Box::new(error));
        match published.result(name).map(|result| (&result.schema, &result.rows)) {
            Some((schema, Ok(rows))) => Ok(Some(Arc::new(MemTable::try_new(Arc::clone(schema), vec![rows.clone()])?))),
            Some((_, Err(error))) => Err(refused(UnreadableView::broken(name, &message_of(error), file))),
            None => match &file.error {
                Some(error) => Err(refused(UnreadableView::broken(name, &error.message, file))),
                None => Err(refused(UnreadableView::unbuilt(name))),
            },
        }
    }

    fn is_declared(&self, name: &str) -> bool {
        self.relations.as_ref().is_some_and(|relations| relations.workspace.catalog().get(name).is_some())
    }

    fn is_view(&self, name: &str) -> bool {
        !self.is_declared(name) && self.files().iter().any(|file| &*file.name == name)
    }

    /// Before the first scan of a statement that reads `names`: together with a view, relations end where its rows do.
    pub fn settle_bounds(&self, names: &[String]) {
        if let Some(published) = &self.published
            && names.iter().any(|name| self.is_view(name))
        {
            self.bounds.end_at(Until::Beside(published.snapshot.as_of.clone()));
        }
    }

    /// The warning for a view that still shows the rows of an older version of its file.
    pub fn warning(&self, name: &str) -> Option<String> {
        let file = self.published.as_ref()?.file(name)?;
        let error = file.error.as_ref()?;
        Some(format!("view \"{name}\" shows its last good result, for its file is broken now: {}", error.message))
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        // Not the variants: values that one client has entered are not a table for others.
        let files = self.files().iter().filter(|file| !Variant::is_name(&file.name));
        let mut names: BTreeSet<String> = files.map(|file| file.name.to_string()).collect();
        if let Some(relations) = &self.relations {
            names.extend(relations.workspace.catalog().relations().map(|relation| relation.name().to_owned()));
        }
        names.into_iter().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.relation(name).await? {
            Some(table) => Ok(Some(table)),
            None => self.view(name),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        // Clients list tables, and a view with rows is one.
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.is_declared(name) || self.is_view(name)
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("names", &self.table_names()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TableSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSource").field("app", &self.app).finish_non_exhaustive()
    }
}

/// The tables of the current moment, for the system's own tables, which describe them at each query.
#[derive(Debug)]
pub struct NewestTables(pub Arc<TableSource>);

#[async_trait]
impl SchemaProvider for NewestTables {
    fn table_names(&self) -> Vec<String> {
        self.0.now().table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let tables = self.0.now();
        if let Some(Relation::Kafka(relation)) = tables.declared().and_then(|catalog| catalog.get(name)) {
            // As system columns, the metadata are not among a table's columns.
            return Ok(Some(Arc::new(EmptyTable::new(Arc::clone(relation.declared())))));
        }
        match tables.table(name).await {
            // One broken table must not prevent a list of tables.
            Err(_) => Ok(Some(Arc::new(EmptyTable::new(Arc::new(Schema::empty()))))),
            found => found,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.0.now().table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.now().table_exist(name)
    }
}

impl UnreadableView {
    fn broken(name: &str, why: &str, file: &FileState) -> Self {
        Self {
            message: format!("view \"{name}\" is broken: {why}"),
            detail: file.error.as_ref().map(ToString::to_string),
            hint: file.error.as_ref().and_then(|error| error.hint.clone()),
        }
    }

    fn unbuilt(name: &str) -> Self {
        Self {
            message: format!("view \"{name}\" has no result yet: it is still being built"),
            detail: None,
            hint: Some("try again in a moment".to_owned()),
        }
    }

    /// The same in the protocol's form.
    pub fn to_client(&self) -> PgWireError {
        let mut info = ErrorInfo::new("ERROR".to_owned(), code::NOT_READY.to_owned(), self.message.clone());
        info.detail.clone_from(&self.detail);
        info.hint.clone_from(&self.hint);
        PgWireError::UserError(Box::new(info))
    }
}
