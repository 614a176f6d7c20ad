//! Distances on the sphere as SQL functions.
/// stub
pub fn register(_: &datafusion::prelude::SessionContext) {}
