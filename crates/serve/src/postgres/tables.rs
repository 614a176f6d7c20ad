//! What can be read by name at one moment: the dashboard's views as they are, and the declared relations.
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
use datafusion::prelude::SessionContext;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use tokio::sync::OnceCell;

use super::errors::code;
use tallgrass_pipeline::{FileState, Shot, Sources, Variant};
use tallgrass_relation::{BadRecords, KafkaTable, ReadBounds, Relation, StaticRelation, Until};
use crate::App;
use tallgrass_view::{Workspace, session, words};

/// Where statements find their tables.
pub struct Source {
    app: App,
    /// The relations of the newest refresh that had any.
    relations: Mutex<Option<Arc<Relations>>>,
}

/// A static relation's table, once somebody has read it.
type Opened = OnceCell<Arc<dyn TableProvider>>;

/// The declared relations of one meaning of `sources.sql`.
struct Relations {
    /// What they were taken from; none where they were read from the folder.
    sources: Option<Arc<Sources>>,
    workspace: Workspace,
    /// Opened once: to infer a file's columns is to read it.
    files: Vec<(Arc<StaticRelation>, Opened)>,
}

/// What can be read at one moment.
pub struct Tables {
    shot: Option<Arc<Shot>>,
    relations: Option<Arc<Relations>>,
    bounds: Arc<ReadBounds>,
}

/// A view that has no rows to read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    message: String,
    /// The whole report, of several lines.
    detail: Option<String>,
    hint: Option<String>,
}

impl Source {
    /// Of a live run.
    pub fn new(app: App) -> Self {
        Self { app, relations: Mutex::default() }
    }

    /// What can be read now.
    pub fn now(&self) -> Tables {
        let shot = self.app.newest();
        let relations = self.relations(shot.as_deref());
        Tables { shot, relations, bounds: Arc::new(ReadBounds::new(self.app.kafka.clone())) }
    }

    /// The relations of this refresh; while they are on their way to another meaning, those of before.
    fn relations(&self, shot: Option<&Shot>) -> Option<Arc<Relations>> {
        let mut known = self.relations.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = shot.and_then(|shot| shot.sources.as_ref());
        let fresh = match (&*known, sources) {
            (Some(known), Some(sources)) if known.is_of(sources) => None,
            (_, Some(sources)) => Some(Relations::new(sources.workspace.clone(), Some(Arc::clone(sources)))),
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
    fn new(workspace: Workspace, sources: Option<Arc<Sources>>) -> Self {
        let files = workspace.catalog().relations().filter_map(|relation| match relation {
            Relation::Static(relation) => Some((Arc::clone(relation), OnceCell::new())),
            Relation::Kafka(_) => None,
        });
        let files = files.collect();
        Self { sources, workspace, files }
    }

    fn is_of(&self, sources: &Arc<Sources>) -> bool {
        self.sources.as_ref().is_some_and(|own| Arc::ptr_eq(own, sources))
    }
}

impl Tables {
    fn files(&self) -> &[FileState] {
        self.shot.as_ref().map(|shot| shot.files.as_slice()).unwrap_or_default()
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
                let context: SessionContext = session::batch();
                let open = async || relation.provider(&context).await;
                let table = opened.get_or_try_init(open).await;
                let external = |error| DataFusionError::External(Box::new(error));
                Ok(Some(Arc::clone(table.map_err(external)?)))
            }
        }
    }

    /// The rows of a view.
    fn view(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(shot) = &self.shot else { return Ok(None) };
        let Some(file) = shot.file(name) else { return Ok(None) };
        let refused = |error: Unreadable| DataFusionError::External(Box::new(error));
        match shot.result(name).map(|result| (&result.schema, &result.rows)) {
            Some((schema, Ok(rows))) => Ok(Some(Arc::new(MemTable::try_new(Arc::clone(schema), vec![rows.clone()])?))),
            Some((_, Err(error))) => Err(refused(Unreadable::broken(name, &words(error), file))),
            None => match &file.error {
                Some(error) => Err(refused(Unreadable::broken(name, &error.message, file))),
                None => Err(refused(Unreadable::unbuilt(name))),
            },
        }
    }

    fn is_declared(&self, name: &str) -> bool {
        self.relations.as_ref().is_some_and(|relations| relations.workspace.catalog().get(name).is_some())
    }

    fn is_view(&self, name: &str) -> bool {
        !self.is_declared(name) && self.files().iter().any(|file| &*file.name == name)
    }

    /// Before the first scan of a statement that reads `names`: beside a view, relations end where its rows do.
    pub fn settle_bounds(&self, names: &[String]) {
        if let Some(shot) = &self.shot
            && names.iter().any(|name| self.is_view(name))
        {
            self.bounds.end_at(Until::Beside(shot.snapshot.as_of.clone()));
        }
    }

    /// The warning that belongs to a view that still shows what an older form of its file means.
    pub fn warning(&self, name: &str) -> Option<String> {
        let file = self.shot.as_ref()?.file(name)?;
        let error = file.error.as_ref()?;
        Some(format!("view \"{name}\" shows its last good form, for its file is broken now: {}", error.message))
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        // Not the variants: what somebody has typed into a form is nobody else's table.
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
        // Clients list tables, and a view whose rows are here is one.
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

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("app", &self.app).finish_non_exhaustive()
    }
}

/// The tables of each moment, for the system's own tables, which describe what is there whenever they are asked.
#[derive(Debug)]
pub struct Newest(pub Arc<Source>);

#[async_trait]
impl SchemaProvider for Newest {
    fn table_names(&self) -> Vec<String> {
        self.0.now().table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.0.now().table(name).await {
            // A list of tables is to be had although one of them is broken.
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

impl Unreadable {
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
