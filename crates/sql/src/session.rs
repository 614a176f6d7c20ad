//! DataFusion sessions: one for each execution, with the same functions and the same SQL.

use datafusion::prelude::{SessionConfig, SessionContext};

use crate::{functions, rules};

/// For bounded reads: `replay`, `query`, `verify`.
pub fn batch() -> SessionContext {
    session(config())
}

/// For live plans: one partition, no state of a run but what `reset_plan_states` clears, and nothing skipped.
pub fn live() -> SessionContext {
    let mut config = config().with_target_partitions(1);
    let options = config.options_mut();
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.execution.skip_partial_aggregation_probe_ratio_threshold = 1.0;
    session(config)
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(true);
    // `TIMESTAMP WITH TIME ZONE` in a cast is the type that it is in `sources.sql`.
    config.options_mut().execution.time_zone = Some(tallgrass_relation::TIME_ZONE.to_owned());
    // Errors point at the place in the file.
    config.options_mut().sql_parser.collect_spans = true;
    config
}

fn session(config: SessionConfig) -> SessionContext {
    let context = SessionContext::new_with_config(config);
    for function in tallgrass_exact_sum::functions() {
        context.register_udaf(function);
    }
    tallgrass_geo::register(&context);
    functions::register(&context);
    for rule in rules::rules() {
        context.add_analyzer_rule(rule);
    }
    context
}
