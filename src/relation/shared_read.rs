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
//! may want one of them whole before it looks at the other, while a shared reader waits for whoever is slowest.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;

use super::partition_reader::{self, Input, Output, PartitionRead};
use super::scan::KafkaScan;

/// One member's share of a read.
pub(super) struct SharedRead {
    group: Arc<Group>,
    /// By DataFusion partition; taken by its execution, dropped with the plan.
    inputs: Vec<Mutex<Option<Input>>>,
}

/// What all members of a read have in common: by partition the ends to write to, until somebody starts it.
struct Group {
    outputs: Vec<Mutex<Option<Vec<Output>>>>,
}

impl SharedRead {
    /// Starts to read a partition for all members, unless one of them has, and gives this member's stream.
    pub(super) fn start(&self, partition: usize, read: PartitionRead) -> Result<Input> {
        if let Some(outputs) = take(&self.group.outputs[partition]) {
            partition_reader::start(read, outputs)?;
        }
        take(&self.inputs[partition])
            .ok_or_else(|| datafusion::common::exec_datafusion_err!("a shared read can be executed once"))
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Lets plans that read the same ranges of a topic read them together. The plans come back in their order; `true` stands
/// for one that shares, and all of those must run at the same time.
pub fn share_reads(plans: Vec<Arc<dyn ExecutionPlan>>) -> Result<Vec<(Arc<dyn ExecutionPlan>, bool)>> {
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
        let mut outputs: Vec<Vec<Output>> = scan.ranges().iter().map(|_| Vec::new()).collect();
        let mut inputs: Vec<Vec<Mutex<Option<Input>>>> = Vec::with_capacity(members.len());
        for member in &members {
            let Some(scan) = only_scan(&shared[*member].0) else { continue };
            let mut own = Vec::with_capacity(outputs.len());
            for (range, outputs) in scan.ranges().iter().zip(&mut outputs) {
                let (output, input) = partition_reader::channel(scan.wanted(), range.partition)?;
                outputs.push(output);
                own.push(Mutex::new(Some(input)));
            }
            inputs.push(own);
        }
        let group = Arc::new(Group { outputs: outputs.into_iter().map(|outputs| Mutex::new(Some(outputs))).collect() });
        for (member, inputs) in members.into_iter().zip(inputs) {
            let plan = replace_scan(Arc::clone(&shared[member].0), SharedRead { group: Arc::clone(&group), inputs })?;
            shared[member] = (plan, true);
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
