//! Functions of PostgreSQL's names, with PostgreSQL's meaning.

use datafusion::prelude::SessionContext;

/// Registers them; a function of `DataFusion`'s with the same name is replaced.
pub fn register(_context: &SessionContext) {}
