//! The cost of an exact sum compared to a rounding one.
//!
//! `cargo bench --bench exact_sum`; each figure is for one batch of 8,192 values, throughput in values.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{AggregateUDF, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use tallgrass_exact_sum::{ExactSum, functions};

const VALUES: usize = 8_192;
const BATCHES: usize = 32;
const GROUPS: [usize; 2] = [18, 100_000];

fn main() {
    divan::main();
}

/// Coordinates, as typical doubles of a dashboard, and the group of each; several batches, so that the same groups are not
/// in the cache already.
fn batches(groups: usize) -> Vec<(Vec<f64>, Vec<usize>)> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let batch = |random: &mut rand_chacha::ChaCha8Rng| {
        let values = (0..VALUES).map(|_| random.random_range(-180.0..180.0)).collect();
        (values, (0..VALUES).map(|_| random.random_range(0..groups)).collect())
    };
    (0..BATCHES).map(|_| batch(&mut random)).collect()
}

fn over_batches(bencher: Bencher, groups: usize, mut add: impl FnMut(&[f64], &[usize])) {
    let batches = batches(groups);
    let mut next = batches.iter().cycle();
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        if let Some((values, groups)) = next.next() {
            add(values, groups);
        }
    });
}

#[divan::bench(args = GROUPS)]
fn plain_addition(bencher: Bencher, groups: usize) {
    let mut sums = vec![0.0; groups];
    over_batches(bencher, groups, |values, groups| {
        values.iter().zip(groups).for_each(|(value, group)| sums[*group] += value);
        black_box(&mut sums);
    });
}

#[divan::bench(args = GROUPS)]
fn exact_addition(bencher: Bencher, groups: usize) {
    let mut sums = vec![ExactSum::new(); groups];
    over_batches(bencher, groups, |values, groups| {
        values.iter().zip(groups).for_each(|(value, group)| sums[*group].add(*value));
        black_box(&mut sums);
    });
}

/// The vectorised accumulator of a `sum` over the only column.
fn accumulator(function: AggregateUDF) -> Option<Box<dyn GroupsAccumulator>> {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, false)]));
    let expr = AggregateExprBuilder::new(Arc::new(function), vec![Arc::new(Column::new("x", 0))]);
    expr.schema(schema).alias("sum").build().ok()?.create_groups_accumulator().ok()
}

fn built_in() -> Option<Box<dyn GroupsAccumulator>> {
    accumulator(sum_udaf().as_ref().clone())
}

fn exact() -> Option<Box<dyn GroupsAccumulator>> {
    accumulator(functions().swap_remove(0))
}

fn update(bencher: Bencher, groups: usize, accumulator: Option<Box<dyn GroupsAccumulator>>) {
    let Some(mut accumulator) = accumulator else { return };
    let batches: Vec<(ArrayRef, Vec<usize>)> = batches(groups)
        .into_iter()
        .map(|(values, groups)| (Arc::new(Float64Array::from(values)) as ArrayRef, groups))
        .collect();
    let mut next = batches.iter().cycle();
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        let (values, indices) = next.next()?;
        accumulator.update_batch(std::slice::from_ref(values), indices, None, groups).ok()
    });
}

#[divan::bench(args = GROUPS)]
fn built_in_sum(bencher: Bencher, groups: usize) {
    update(bencher, groups, built_in());
}

#[divan::bench(args = GROUPS)]
fn exact_sum(bencher: Bencher, groups: usize) {
    update(bencher, groups, exact());
}

/// States of as many groups written, and added to as many others; throughput in groups.
#[divan::bench(args = GROUPS)]
fn exact_states_through_bytes(bencher: Bencher, groups: usize) {
    let (Some(mut from), Some(mut to)) = (exact(), exact()) else { return };
    let indices: Vec<_> = (0..groups).collect();
    let values = batches(groups).into_iter().flat_map(|(values, _)| values).cycle().take(groups);
    let values: ArrayRef = Arc::new(values.collect::<Float64Array>());
    bencher.counter(ItemsCount::new(groups)).bench_local(|| {
        from.update_batch(std::slice::from_ref(&values), &indices, None, groups).ok()?;
        let states = from.state(EmitTo::All).ok()?;
        to.merge_batch(&states, &indices, groups).ok()
    });
}
