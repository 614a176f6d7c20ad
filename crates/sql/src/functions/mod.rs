//! Functions of PostgreSQL's names, with PostgreSQL's meaning.

mod date_bin;
mod interval_times;
mod percentile;
mod replaced;
mod small;
mod timezone;
mod to_char;

use datafusion::prelude::SessionContext;

/// Registers them; a function of `DataFusion`'s with the same name is replaced.
pub fn register(context: &SessionContext) {
    for function in [date_bin::date_bin(), interval_times::interval_times(), timezone::timezone(), to_char::to_char()] {
        context.register_udf(function);
    }
    for function in small::functions() {
        context.register_udf(function);
    }
    context.register_udaf(percentile::percentile_cont());
}
