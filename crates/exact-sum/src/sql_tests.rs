//! `sum` and `avg` through SQL: the same, correct bits for any batches, partitions and stages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use proptest::collection::vec;
use proptest::prelude::*;

use super::functions::{ExactKind, exact_kind, functions};
use super::number_tests::{any_double, expected};

#[derive(Clone, Debug)]
struct TestRow {
    k: Option<i64>,
    x: Option<f64>,
    y: Option<f64>,
    r: f32,
    flag: Option<bool>,
}

prop_compose! {
    fn row()(
        k in proptest::option::weighted(0.9, 0..4_i64),
        x in proptest::option::weighted(0.8, any_double()),
        y in proptest::option::weighted(0.9, -1e9..1e9_f64),
        r in -1e3..1e3_f32,
        flag in proptest::option::weighted(0.9, any::<bool>()),
    ) -> TestRow {
        TestRow { k, x, y, r, flag }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("k", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("y", DataType::Float64, true),
        Field::new("r", DataType::Float32, true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

fn batch(rows: &[TestRow]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..rows.len() as i64).map(Some).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.k).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.x).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.y).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.r)).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Cuts `whole` into batches of the given lengths, in a cycle.
fn cut(whole: &RecordBatch, lengths: &[usize]) -> Vec<RecordBatch> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for length in lengths.iter().cycle() {
        if start >= whole.num_rows() {
            break;
        }
        let length = (*length).min(whole.num_rows() - start);
        parts.push(whole.slice(start, length));
        start += length;
    }
    parts
}

/// Deals batches out to partitions.
fn deal(batches: Vec<RecordBatch>, partitions: usize) -> Vec<Vec<RecordBatch>> {
    let mut dealt = vec![Vec::new(); partitions];
    for (i, batch) in batches.into_iter().enumerate() {
        dealt[i % partitions].push(batch);
    }
    dealt
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn session(config: SessionConfig, partitions: Vec<Vec<RecordBatch>>) -> SessionContext {
    let context = SessionContext::new_with_config(config);
    for function in functions() {
        context.register_udaf(function);
    }
    context.register_table("t", Arc::new(MemTable::try_new(schema(), partitions).unwrap())).unwrap();
    context
}

fn one_partition() -> SessionConfig {
    SessionConfig::new().with_target_partitions(1)
}

/// Sessions that execute the same query in different ways.
fn sessions(whole: &RecordBatch, lengths: &[usize]) -> Vec<SessionContext> {
    let parts = || cut(whole, lengths);
    let four = || SessionConfig::new().with_target_partitions(4).with_batch_size(7);
    // Partial aggregation is skipped at once, and rows are turned into states one by one.
    let skipping = four()
        .set_usize("datafusion.execution.skip_partial_aggregation_probe_rows_threshold", 1)
        .set_str("datafusion.execution.skip_partial_aggregation_probe_ratio_threshold", "0.0");
    vec![
        session(one_partition(), vec![vec![whole.clone()]]),
        session(one_partition(), vec![parts()]),
        session(four(), deal(parts(), 4)),
        session(four(), deal(parts().into_iter().rev().collect(), 3)),
        session(skipping, deal(parts(), 4)),
    ]
}

async fn query(context: &SessionContext, sql: &str) -> RecordBatch {
    let frame = tallgrass_planner::sql(context, sql).await.unwrap();
    let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap();
    concat_batches(&batches.first().map_or(schema, RecordBatch::schema), &batches).unwrap()
}

/// A result as bits, doubles too: equality of these is equality to the last bit.
fn bits(result: &RecordBatch) -> Vec<Vec<Option<u64>>> {
    let column = |column: &ArrayRef| -> Vec<Option<u64>> {
        if let Some(doubles) = column.as_any().downcast_ref::<Float64Array>() {
            doubles.iter().map(|value| value.map(f64::to_bits)).collect()
        } else {
            let integers = column.as_any().downcast_ref::<Int64Array>().expect("a double or an integer");
            integers.iter().map(|value| value.map(|value| value as u64)).collect()
        }
    };
    let columns: Vec<_> = result.columns().iter().map(column).collect();
    (0..result.num_rows()).map(|row| columns.iter().map(|column| column[row]).collect()).collect()
}

/// The exact `sum` and `avg` as SQL gives them.
fn sum_and_avg(values: impl IntoIterator<Item = f64>) -> [Option<u64>; 2] {
    let values: Vec<_> = values.into_iter().map(|value| (value, 1)).collect();
    if values.is_empty() {
        return [None, None];
    }
    let sum = expected(&values);
    let avg = if sum.is_nan() { sum } else { sum / values.len() as f64 };
    [Some(sum.to_bits()), Some(avg.to_bits())]
}

/// One of each value, the two zeros being one.
fn distinct(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let key = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() };
    values.into_iter().map(|value| (key(value), value)).collect::<BTreeMap<_, _>>().into_values().collect()
}

const GROUPED: &str = "SELECT k, sum(x), avg(x), sum(x) FILTER (WHERE flag), mean(x) FILTER (WHERE flag), \
     sum(DISTINCT x), avg(DISTINCT x), sum(r), avg(r), sum(x + y), count(x) FROM t GROUP BY k ORDER BY k";

fn grouped(rows: &[TestRow]) -> Vec<Vec<Option<u64>>> {
    let mut groups = BTreeMap::<_, Vec<&TestRow>>::new();
    // ORDER BY puts nulls last.
    for row in rows {
        groups.entry((row.k.is_none(), row.k)).or_default().push(row);
    }
    groups
        .into_iter()
        .map(|((_, k), rows)| {
            let all = || rows.iter().filter_map(|row| row.x);
            let filtered = rows.iter().filter(|row| row.flag == Some(true)).filter_map(|row| row.x);
            let both = rows.iter().filter_map(|row| Some(row.x? + row.y?));
            [
                &[k.map(|k| k as u64)][..],
                &sum_and_avg(all()),
                &sum_and_avg(filtered),
                &sum_and_avg(distinct(all())),
                &sum_and_avg(rows.iter().map(|row| f64::from(row.r))),
                &sum_and_avg(both)[..1],
                &[Some(all().count() as u64)],
            ]
            .concat()
        })
        .collect()
}

fn find_aggregate(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if plan.is::<AggregateExec>() {
        return Some(Arc::clone(plan));
    }
    plan.children().into_iter().find_map(find_aggregate)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_split_changes_a_bit(rows in vec(row(), 0..150), lengths in vec(1..40_usize, 1..5)) {
        let whole = batch(&rows);
        let expected = grouped(&rows);
        for context in sessions(&whole, &lengths) {
            prop_assert_eq!(&bits(&run(query(&context, GROUPED))), &expected);
        }
    }

    #[test]
    fn neither_without_groups(rows in vec(row(), 0..150), lengths in vec(1..40_usize, 1..5)) {
        let all = || rows.iter().filter_map(|row| row.x);
        let sql = "SELECT sum(x), avg(x), sum(DISTINCT x), avg(DISTINCT x) FROM t";
        let expected = [sum_and_avg(all()), sum_and_avg(distinct(all()))].concat();
        for context in sessions(&batch(&rows), &lengths) {
            prop_assert_eq!(&bits(&run(query(&context, sql)))[0], &expected);
        }
    }

    #[test]
    fn a_window_frame_forgets_what_left_it(rows in vec(row(), 1..80)) {
        let context = session(one_partition(), vec![vec![batch(&rows)]]);
        let sql = "SELECT sum(x) OVER w, avg(x) OVER w, sum(DISTINCT x) OVER w, sum(x) OVER (ORDER BY id) \
                   FROM t WINDOW w AS (ORDER BY id ROWS BETWEEN 4 PRECEDING AND 1 FOLLOWING) ORDER BY id";
        let expected: Vec<Vec<_>> = (0..rows.len())
            .map(|i| {
                let frame = || rows[i.saturating_sub(4)..(i + 2).min(rows.len())].iter().filter_map(|row| row.x);
                let so_far = sum_and_avg(rows[..=i].iter().filter_map(|row| row.x));
                [&sum_and_avg(frame())[..], &sum_and_avg(distinct(frame()))[..1], &so_far[..1]].concat()
            })
            .collect();
        prop_assert_eq!(bits(&run(query(&context, sql))), expected);
    }

    /// As a reducer does: states of small batches, folded a few at a time, finished at last.
    #[test]
    fn folded_partial_states_finish_as_one_aggregate(
        rows in vec(row(), 1..200),
        lengths in vec(1..40_usize, 1..5),
        fold in 1..5_usize,
    ) {
        let context = session(one_partition(), vec![vec![batch(&rows)]]);
        let (single, folded) = run(async {
            let sql = "SELECT k, sum(x), avg(x), sum(x) FILTER (WHERE flag), sum(DISTINCT x), avg(r) FROM t GROUP BY k";
            let plan = tallgrass_planner::sql(&context, sql).await.unwrap().create_physical_plan().await.unwrap();
            let plan = find_aggregate(&plan).unwrap();
            let single = plan.downcast_ref::<AggregateExec>().unwrap();
            prop_assert_eq!(single.mode(), &AggregateMode::Single);
            let input_schema = single.input().schema();
            let input = collect(Arc::clone(single.input()), context.task_ctx()).await.unwrap();
            let whole = concat_batches(&input_schema, &input).unwrap();

            let aggregate = |mode, batches: &[RecordBatch], schema: &SchemaRef| {
                let of_states = mode != AggregateMode::Partial;
                let groups = if of_states { single.group_expr().as_final() } else { single.group_expr().clone() };
                let filters = if of_states { vec![None; 5] } else { single.filter_expr().to_vec() };
                let source = MemorySourceConfig::try_new_exec(&[batches.to_vec()], Arc::clone(schema), None).unwrap();
                let source = Arc::new(CoalescePartitionsExec::new(source));
                let aggregates = single.aggr_expr().to_vec();
                let plan = AggregateExec::try_new(mode, groups, aggregates, filters, source, Arc::clone(&input_schema));
                Arc::new(plan.unwrap())
            };
            let mut states = Vec::new();
            for part in cut(&whole, &lengths) {
                let partial = aggregate(AggregateMode::Partial, &[part], &input_schema);
                states.extend(collect(partial, context.task_ctx()).await.unwrap());
            }
            let state_schema = states[0].schema();
            while states.len() > 2 {
                let rest = states.split_off(states.len().min(fold + 1));
                let reduce = aggregate(AggregateMode::PartialReduce, &states, &state_schema);
                states = rest;
                states.extend(collect(reduce, context.task_ctx()).await.unwrap());
            }
            let finished = collect(aggregate(AggregateMode::Final, &states, &state_schema), context.task_ctx());
            let finished = concat_batches(&plan.schema(), &finished.await.unwrap()).unwrap();
            let at_once = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
            Ok((concat_batches(&plan.schema(), &at_once).unwrap(), finished))
        })?;
        let sorted = |result| {
            let mut rows = bits(result);
            rows.sort();
            rows
        };
        prop_assert_eq!(sorted(&single), sorted(&folded));
    }

    #[test]
    fn a_distinct_beside_it_does_not_round_twice(rows in vec(row(), 0..100), lengths in vec(1..40_usize, 1..5)) {
        let ys = || rows.iter().filter_map(|row| row.y);
        let expected = [&sum_and_avg(ys())[..1], &sum_and_avg(distinct(ys()))[..1]].concat();
        for context in sessions(&batch(&rows), &lengths) {
            let result = run(query(&context, "SELECT sum(y), count(DISTINCT k) FROM t"));
            prop_assert_eq!(&bits(&result)[0][0], &expected[0]);
            let result = run(query(&context, "SELECT s FROM (SELECT sum(y) AS s, sum(DISTINCT r) FROM t)"));
            prop_assert_eq!(&bits(&result)[0][0], &expected[0]);
            let result = run(query(&context, "SELECT sum(y) AS a, sum(DISTINCT y) AS b FROM t HAVING sum(y) IS NOT NULL OR true"));
            prop_assert_eq!(&bits(&result)[0], &expected);
        }
    }

    #[test]
    fn several_sums_of_one_column_are_each_their_own(rows in vec(row(), 0..100)) {
        let context = session(one_partition(), vec![vec![batch(&rows)]]);
        let result = run(query(&context, "SELECT sum(y + 0.1), sum(y + 0.7), sum(y + 1e20) FROM t"));
        let expected: Vec<_> = [0.1, 0.7, 1e20]
            .map(|more| sum_and_avg(rows.iter().filter_map(|row| row.y).map(|y| y + more))[0])
            .to_vec();
        prop_assert_eq!(&bits(&result)[0], &expected);
    }
}

/// Sessions with the built-in functions, and with ours.
fn both() -> [SessionContext; 2] {
    let mut both = [(); 2].map(|()| SessionContext::new_with_config(one_partition()));
    for function in functions() {
        both[1].register_udaf(function);
    }
    for context in &mut both {
        context.register_table("t", Arc::new(MemTable::try_new(schema(), vec![vec![]]).unwrap())).unwrap();
    }
    both
}

#[test]
fn plans_and_results_look_like_the_built_in_functions() {
    let queries = [
        "SELECT sum(x), avg(x), mean(r), sum(r), sum(DISTINCT x) FROM t",
        "SELECT k, sum(x) FILTER (WHERE flag), avg(x) AS mean FROM t GROUP BY k HAVING sum(x) > 5 ORDER BY sum(x)",
        "SELECT sum(k), sum(k + 1), sum(k + 2), avg(k), count(DISTINCT k), sum(DISTINCT k) FROM t",
        "SELECT sum(k), count(DISTINCT id) FROM t",
        "SELECT sum(CAST(k AS DECIMAL(10, 2))), avg(CAST(k AS DECIMAL(10, 2))) FROM t",
        "SELECT sum(arrow_cast(k, 'UInt8')), avg(arrow_cast(k, 'Duration(Second)')) FROM t",
        "SELECT sum(x) OVER (ORDER BY id), avg(k) OVER (PARTITION BY k), sum(k) OVER (ORDER BY id) FROM t",
        "SELECT id FROM t WHERE x > (SELECT avg(x) FROM t)",
    ];
    run(async {
        for sql in queries {
            let mut seen = Vec::new();
            for context in both() {
                let frame = tallgrass_planner::sql(&context, sql).await.unwrap();
                let fields = frame.schema().as_arrow().clone();
                let logical = frame.clone().into_optimized_plan().unwrap().display_indent_schema().to_string();
                let physical = frame.create_physical_plan().await.unwrap();
                seen.push((fields, logical, displayable(physical.as_ref()).indent(true).to_string()));
            }
            assert_eq!(seen[0], seen[1], "{sql}");
        }
    });
}

#[test]
fn errors_are_those_of_the_built_in_functions() {
    run(async {
        for sql in
            ["SELECT sum('a') FROM t", "SELECT avg(flag) FROM t", "SELECT sum(x, y) FROM t", "SELECT sum() FROM t"]
        {
            let [theirs, ours] = both();
            let error = |context: SessionContext| async move {
                tallgrass_planner::sql(&context, sql)
                    .await
                    .and_then(DataFrame::into_optimized_plan)
                    .unwrap_err()
                    .to_string()
            };
            assert_eq!(error(ours).await, error(theirs).await);
        }
    });
}

#[test]
fn the_functions_are_known_by_what_they_are() {
    let kinds: Vec<_> = functions().iter().map(exact_kind).collect();
    assert_eq!(kinds, [Some(ExactKind::Sum), Some(ExactKind::Avg), Some(ExactKind::Sum)]);
    assert_eq!(exact_kind(&datafusion::functions_aggregate::sum::sum_udaf()), None);
}

#[test]
fn an_empty_table_has_no_sum() {
    let context = session(one_partition(), vec![vec![]]);
    let result = run(query(&context, "SELECT sum(x), avg(x), sum(DISTINCT x) FROM t"));
    assert_eq!(bits(&result), [[None, None, None]]);
}

#[test]
fn the_two_zeros_are_one_distinct_value_in_either_plan() {
    let rows: Vec<_> =
        [0.0, -0.0, 3.0, 3.0].map(|x| TestRow { k: None, x: Some(x), y: None, r: 0.0, flag: None }).to_vec();
    let context = session(one_partition(), vec![vec![batch(&rows)]]);
    // Alone it becomes a GROUP BY; beside another average it is done by the accumulator.
    for sql in ["SELECT avg(DISTINCT x) FROM t", "SELECT avg(DISTINCT x), avg(y) FROM t"] {
        assert_eq!(bits(&run(query(&context, sql)))[0][0], Some(1.5_f64.to_bits()), "{sql}");
    }
}
