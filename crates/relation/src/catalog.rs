//! The relations that `sources.sql` declares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::CreateExternalTable;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tallgrass_diagnostics::{Span, message_of};

use super::deleted_when::DeletedWhen;
use super::error::RelationError;
use super::sealed::Sealed;

/// The columns that every Kafka relation has besides the declared ones, in this order after them.
pub const METADATA_COLUMNS: [&str; 4] = ["_key", "_partition", "_offset", "_timestamp"];

/// Every relation of one `sources.sql`, in the order of their declarations.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    file: PathBuf,
    relations: Vec<Relation>,
}

/// Something that SQL can read from.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A topic, as a stream or as a keyed table.
    Kafka(Arc<KafkaRelation>),
    /// Files that do not change while a command runs, read by DataFusion itself.
    Static(Arc<StaticRelation>),
}

/// A topic under a declared schema.
#[derive(Debug)]
pub struct KafkaRelation {
    pub(super) name: String,
    pub(super) topic: Arc<str>,
    pub(super) declared: SchemaRef,
    pub(super) schema: SchemaRef,
    pub(super) key: Option<TableKey>,
    pub(super) span: Span,
}

/// What makes a relation a table: the newest record of each Kafka key is the row.
#[derive(Debug)]
pub struct TableKey {
    /// Index of the PRIMARY KEY column among the declared ones; its value comes from the record key.
    pub column: usize,
    /// Deletes rows besides tombstones.
    pub deleted_when: Option<DeletedWhen>,
}

/// Files under a declared or inferred schema.
#[derive(Debug)]
pub struct StaticRelation {
    pub(super) name: String,
    pub(super) create: Sealed<CreateExternalTable>,
    /// For each location the paths that it may mean; none of a pattern or a URL.
    pub(super) candidates: Vec<Vec<PathBuf>>,
    pub(super) file: PathBuf,
    pub(super) span: Span,
}

impl Catalog {
    pub(super) fn new(file: &Path, relations: Vec<Relation>) -> Self {
        Self { file: file.to_owned(), relations }
    }

    /// All relations, as declared one after the other.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter()
    }

    /// All topics under a schema, as declared one after the other.
    pub fn kafka_relations(&self) -> impl Iterator<Item = &Arc<KafkaRelation>> {
        self.relations.iter().filter_map(Relation::as_kafka)
    }

    /// The relation of a name, as SQL sees it after its rules of upper and lower case.
    pub fn get(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name() == name)
    }

    /// Whether a file of a static relation is missing.
    pub fn misses_files(&self) -> bool {
        self.relations.iter().any(|relation| matches!(relation, Relation::Static(it) if it.check_files().is_err()))
    }

    /// Registers every relation: static ones as DataFusion's own, Kafka ones as `kafka` makes them (a bounded scan for
    /// batch, a planning stub for live). What cannot be used is left out: the answer names it.
    pub async fn register(
        &self,
        context: &SessionContext,
        mut kafka: impl FnMut(&Arc<KafkaRelation>) -> Arc<dyn TableProvider>,
    ) -> BTreeMap<String, RelationError> {
        let mut unusable = BTreeMap::new();
        for relation in &self.relations {
            let provider = match relation {
                Relation::Kafka(relation) => Ok(kafka(relation)),
                Relation::Static(relation) => relation.provider(context).await,
            };
            let registered = provider.and_then(|provider| {
                let name = TableReference::bare(relation.name());
                let failed =
                    |error| unusable_relation(&self.file, relation.span(), relation.name(), message_of(&error));
                context.register_table(name, provider).map_err(failed)
            });
            if let Err(error) = registered {
                unusable.insert(relation.name().to_owned(), error);
            }
        }
        // Planning asks which columns were declared.
        context.state_ref().write().config_mut().set_extension(Arc::new(self.clone()));
        unusable
    }
}

fn unusable_relation(file: &Path, span: Span, relation: &str, reason: String) -> RelationError {
    let Span { line, column, .. } = span;
    RelationError::Unusable { file: file.to_owned(), line, column, relation: relation.to_owned(), reason }
}

impl Relation {
    /// The name in SQL.
    pub fn name(&self) -> &str {
        match self {
            Self::Kafka(relation) => &relation.name,
            Self::Static(relation) => &relation.name,
        }
    }

    /// Where its declaration names it.
    pub fn span(&self) -> Span {
        match self {
            Self::Kafka(relation) => relation.span,
            Self::Static(relation) => relation.span,
        }
    }

    /// The topic's relation, if it is one.
    pub fn as_kafka(&self) -> Option<&Arc<KafkaRelation>> {
        match self {
            Self::Kafka(relation) => Some(relation),
            Self::Static(_) => None,
        }
    }

    /// What is declared, and of static files how they are on disk now, as a text that only tells whether two are the same.
    pub fn declaration(&self) -> String {
        match self {
            Self::Kafka(relation) => relation.declaration(),
            Self::Static(relation) => {
                let CreateExternalTable { schema, locations, file_type, options, table_partition_cols, .. } =
                    &*relation.create;
                let options: BTreeMap<_, _> = options.iter().collect();
                let stamp = |file: PathBuf| {
                    let now = std::fs::metadata(&file).ok().map(|file| (file.len(), file.modified().ok()));
                    (file, now)
                };
                let files: Vec<_> = relation.files().into_iter().map(stamp).collect();
                format!(
                    "{file_type} {:?} {locations:?} {table_partition_cols:?} {options:?} {files:?}",
                    schema.fields()
                )
            }
        }
    }
}

impl KafkaRelation {
    fn declaration(&self) -> String {
        let key = self.key.as_ref().map(|key| (key.column, key.deleted_when.as_ref().map(DeletedWhen::sql)));
        format!("{} {:?} {key:?}", self.topic, self.declared)
    }

    /// Whether both give the same rows under the same name.
    pub fn same_declaration(&self, other: &Self) -> bool {
        self.name == other.name && self.declaration() == other.declaration()
    }

    /// The name in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic that holds the records.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The columns as declared: what a record must fit.
    pub fn declared(&self) -> &SchemaRef {
        &self.declared
    }

    /// The declared columns and [`METADATA_COLUMNS`]: what SQL sees.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What makes it a table; `None` for a stream.
    pub fn key(&self) -> Option<&TableKey> {
        self.key.as_ref()
    }

    /// Whether the newest record of each key is the row.
    pub fn is_keyed(&self) -> bool {
        self.key.is_some()
    }
}

impl StaticRelation {
    /// The name in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// CSV, PARQUET, JSON …
    pub fn format(&self) -> &str {
        &self.create.file_type
    }

    /// The files, as found.
    pub fn locations(&self) -> &[String] {
        &self.create.locations
    }

    /// The files behind the locations, one level deep; a location that is not a local file or folder is left out.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for location in self.locations() {
            let path = PathBuf::from(location);
            match std::fs::read_dir(&path) {
                Ok(entries) => files.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
                Err(_) if path.exists() => files.push(path),
                Err(_) => {}
            }
        }
        files.sort();
        files
    }

    /// Every path whose change may change the rows: the files, and where they are looked for.
    pub fn watched(&self) -> Vec<PathBuf> {
        self.files().into_iter().chain(self.candidates.iter().flatten().cloned()).collect()
    }

    /// Which file is missing, if one is: to DataFusion it would be one without rows.
    pub fn check_files(&self) -> Result<(), String> {
        let mut located = self.locations().iter().zip(&self.candidates);
        let missing = located.find(|(location, paths)| !paths.is_empty() && !Path::new(location).exists());
        let Some((_, paths)) = missing else { return Ok(()) };
        let absolute = |path: &PathBuf| std::path::absolute(path).as_ref().unwrap_or(path).display().to_string();
        let paths: Vec<String> = paths.iter().map(absolute).collect();
        Err(format!("no such file: {}", paths.join(", nor ")))
    }

    /// Opens the files with DataFusion, inferring the schema if none is declared.
    pub fn provider<'a>(
        &'a self,
        context: &'a SessionContext,
    ) -> BoxFuture<'a, Result<Arc<dyn TableProvider>, RelationError>> {
        async {
            let state = context.state();
            let unusable = |reason| unusable_relation(&self.file, self.span, &self.name, reason);
            self.check_files().map_err(unusable)?;
            let factory = state.table_factories().get(&self.create.file_type);
            let factory = factory.ok_or_else(|| unusable(format!("no reader for {}", self.create.file_type)))?;
            factory.create(&state, &self.create).await.map_err(|error| unusable(message_of(&error)))
        }
        .boxed()
    }
}

/// The declared columns with the metadata after them.
pub(super) fn full_schema(declared: &Schema) -> SchemaRef {
    let metadata = [
        Field::new("_key", DataType::Utf8View, true),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ];
    Arc::new(Schema::new(declared.fields().iter().cloned().chain(metadata.map(Arc::new)).collect::<Vec<_>>()))
}
