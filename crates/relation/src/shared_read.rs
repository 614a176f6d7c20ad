//! Several plans that read the same topic, each once, at the same time: one reader for all of them.
//!
//! ```text
//!              ┌─▶ plan of by_type
//!  partition ──┼─▶ plan of top_species      each with its own columns; a record is parsed once
//!              └─▶ plan of users_online
//! ```
//!
//! # Contract
//! All plans that share run at the same time, and each reads one topic once. A plan that joins two scans is left alone: it
//! may want one of them whole before it looks at the other, while a shared reader waits for the slowest plan.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;

use super::partition_reader::SharedRead;
use super::scan::KafkaScan;
use super::topic_decoder::Wanted;

/// Lets plans that read the same ranges of a topic read them together. The plans come back in their order; `true` stands
/// for one that shares, and all of those must run at the same time.
pub(super) fn share_reads(plans: Vec<Arc<dyn ExecutionPlan>>) -> Result<Vec<(Arc<dyn ExecutionPlan>, bool)>> {
    let mut shared: Vec<(Arc<dyn ExecutionPlan>, bool)> = plans.into_iter().map(|plan| (plan, false)).collect();
    for first in 0..shared.len() {
        if shared[first].1 {
            continue;
        }
        let Some(scan) = only_scan(&shared[first].0) else { continue };
        let same = |(plan, done): &(Arc<dyn ExecutionPlan>, bool)| {
            let reads_the_same = |other: Arc<KafkaScan>| {
                other.relation().topic() == scan.relation().topic() && other.ranges() == scan.ranges()
            };
            !done && only_scan(plan).is_some_and(reads_the_same)
        };
        let members: Vec<usize> = (first..shared.len()).filter(|index| same(&shared[*index])).collect();
        if members.len() < 2 {
            continue;
        }
        let wanted: Vec<Wanted> =
            members.iter().filter_map(|member| Some(only_scan(&shared[*member].0)?.wanted())).collect();
        for (member, share) in members.into_iter().zip(SharedRead::of(scan.ranges(), &wanted)?) {
            shared[member] = (replace_scan(Arc::clone(&shared[member].0), share)?, true);
        }
    }
    Ok(shared)
}

/// The one Kafka scan of a plan, if it has one only and reads all of it: what ends early, or needs its own order of
/// reading, stays alone.
fn only_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<KafkaScan>> {
    let mut scans = Vec::new();
    collect_scans(plan, &mut scans);
    match scans.as_slice() {
        [scan] if scan.limit().is_none() && reduces(plan) => Some(Arc::clone(scan)),
        _ => None,
    }
}

fn collect_scans(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Arc<KafkaScan>>) {
    let any: Arc<dyn Any + Send + Sync> = Arc::clone(plan) as _;
    if let Ok(scan) = any.downcast::<KafkaScan>() {
        found.push(scan);
    }
    for child in plan.children() {
        collect_scans(child, found);
    }
}

/// Whether little of what is read comes out, so that results can be kept until it is their turn to be written.
fn reduces(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() == "AggregateExec" || plan.fetch().is_some() || plan.children().into_iter().any(reduces)
}

fn replace_scan(plan: Arc<dyn ExecutionPlan>, shared: SharedRead) -> Result<Arc<dyn ExecutionPlan>> {
    let mut shared = Some(shared);
    let replaced = plan.transform_up(|node| {
        let any: &dyn Any = node.as_ref();
        Ok(match any.downcast_ref::<KafkaScan>().and_then(|scan| Some(scan.sharing(shared.take()?))) {
            Some(scan) => Transformed::yes(Arc::new(scan)),
            None => Transformed::no(node),
        })
    })?;
    Ok(replaced.data)
}
