//! The session that plans one statement: the functions of the tiles, the tables of one moment, the system's own tables.

use std::fmt;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;

use super::settings::Settings;
use super::tables::{NewestTables, TableSource, Tables};
use super::{functions, measured};
use tallgrass_relation::Sealed;
use tallgrass_sql::session;

/// The one database.
pub const DATABASE: &str = "tallgrass";

/// The schema of views and relations.
const SCHEMA: &str = "public";

/// The system's own tables.
const PG_CATALOG: &str = "pg_catalog";

/// Memory of all statements together: enough for a query about a dashboard, and little compared to a live run. Nothing is
/// spilled to disk: for more there is `tallgrass query`, which has a process of its own.
pub const MEMORY_BYTES: usize = 512 << 20;

/// Creates sessions.
pub struct Sessions {
    source: Arc<TableSource>,
    base: Sealed<SessionContext>,
    /// One for all statements, for it assigns the object ids that clients use in later queries.
    pg_catalog: Arc<dyn SchemaProvider>,
}

impl Sessions {
    /// Sessions over a live run, whose statements use this many partitions at once.
    pub fn new(source: Arc<TableSource>, target_partitions: usize) -> Result<Self> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(MEMORY_BYTES)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        let batch = session::batch().state();
        let config = batch.config().clone().with_target_partitions(target_partitions);
        let config = config.with_default_catalog_and_schema(DATABASE, SCHEMA);
        let newest: Arc<dyn SchemaProvider> = Arc::new(NewestTables(Arc::clone(&source)));
        let state = SessionStateBuilder::new_from_existing(batch)
            .with_config(config.with_create_default_catalog_and_schema(false))
            .with_runtime_env(runtime)
            .with_catalog_list(catalogs([(SCHEMA, newest)])?)
            .build();
        let base = SessionContext::new_with_state(state);
        setup_pg_catalog(&base, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
        let known = base.state();
        for function in measured::functions(|name| known.scalar_functions().get(name).cloned()) {
            base.register_udf(function);
        }
        for function in functions::of_the_catalog() {
            if !known.scalar_functions().contains_key(function.name()) {
                base.register_udf(function);
            }
        }
        base.register_udf(functions::version());
        let catalog = base.catalog(DATABASE).and_then(|catalog| catalog.schema(PG_CATALOG));
        let pg_catalog = catalog.ok_or_else(|| internal_datafusion_err!("no {PG_CATALOG}"))?;
        Ok(Self { source, base: Sealed::new(base), pg_catalog })
    }

    /// A session for one statement: all its reads of the dashboard are of one moment.
    pub fn open(&self, settings: &Settings) -> Result<(SessionContext, Arc<Tables>)> {
        let tables = Arc::new(self.source.now());
        let frozen: Arc<dyn SchemaProvider> = Arc::clone(&tables) as _;
        let base = self.base.state();
        let mut config = base.config().clone();
        let zone = settings.time_zone();
        config.options_mut().execution.time_zone =
            zone.parse::<datafusion::arrow::array::timezone::Tz>().ok().map(|_| zone);
        if let Some(declared) = tables.declared() {
            config.set_extension(Arc::new(declared.clone()));
        }
        let state = SessionStateBuilder::new_from_existing(base)
            .with_config(config)
            .with_catalog_list(catalogs([(SCHEMA, frozen), (PG_CATALOG, Arc::clone(&self.pg_catalog))])?)
            .build();
        let context = SessionContext::new_with_state(state);
        context.register_udf(functions::current_setting(settings.all()));
        Ok((context, tables))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("source", &self.source).finish_non_exhaustive()
    }
}

fn catalogs<const N: usize>(schemas: [(&str, Arc<dyn SchemaProvider>); N]) -> Result<Arc<dyn CatalogProviderList>> {
    let database = MemoryCatalogProvider::new();
    for (name, schema) in schemas {
        database.register_schema(name, schema)?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(DATABASE.to_owned(), Arc::new(database));
    Ok(Arc::new(catalogs))
}
