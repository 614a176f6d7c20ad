//! The cost of views, without a broker: `cargo bench --bench views`.
//!
//! Each figure is the best of a few runs (the machine is shared, so the fastest run is the one that was disturbed least),
//! and printed with its unit. `docs/performance.md` has a table of them.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{BinaryArray, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use tallgrass_relation::{KeyedTable, RelationRows};
use tallgrass_sql::session;
use tallgrass_view::incremental::cut::Use;
use tallgrass_view::incremental::source::{LiveRelation, RelationKind};
use tallgrass_view::{InputRows, LiveView};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of a micro-batch.
const BATCH: usize = 8192;
/// Runs of which the best counts.
const RUNS: usize = 3;
const COLUMNS: [usize; 2] = [0, 1];

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("x", DataType::Float64, false)]))
}

/// Rows whose keys run through `groups` numbers in a scattered order.
fn batch(first: u64, groups: u64) -> Result<RecordBatch, ArrowError> {
    let key = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % groups;
    let keys = Int64Array::from_iter_values((first..first + BATCH as u64).map(|row| key(row) as i64));
    let values = Float64Array::from_iter_values((first..first + BATCH as u64).map(|row| row as f64 * 0.1));
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)])
}

async fn view(sql: &str) -> Result<LiveView, Box<dyn Error>> {
    let context = session::live();
    context.register_table("s", Arc::new(LiveRelation::new("s", schema(), RelationKind::Stream)))?;
    let plan = tallgrass_planner::logical_plan(&context.state(), tallgrass_planner::parse(sql)?).await?;
    Ok(LiveView::plan(&context.state(), plan, Use::Result, 0).await?)
}

async fn feed(view: &mut LiveView, batches: &[RecordBatch]) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    for batch in batches {
        let rows = InputRows { relation: "s", columns: &COLUMNS, batches: std::slice::from_ref(batch) };
        view.apply(rows).await?;
    }
    Ok(started.elapsed())
}

async fn refresh(view: &mut LiveView) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let started = Instant::now();
        let rows = view.evaluate(&[], 0).await?;
        best = best.min(started.elapsed());
        assert!(rows.iter().map(RecordBatch::num_rows).sum::<usize>() > 0, "a result");
    }
    Ok(best)
}

async fn groups() -> Result<(), Box<dyn Error>> {
    println!("\nreduce: SELECT k, count(*), sum(x) FROM s GROUP BY k, micro-batches of {BATCH} rows");
    println!("{:>10}  {:>14}  {:>14}  {:>12}", "groups", "M rows/s", "refresh, ms", "state, MB");
    for groups in [10_u64, 1_000, 100_000, 1_000_000] {
        let count = 400;
        let batches = (0..count).map(|at| batch(at * BATCH as u64, groups)).collect::<Result<Vec<_>, _>>()?;
        let (mut best, mut last) = (Duration::MAX, None);
        for _ in 0..RUNS {
            let mut view = view("SELECT k, count(*), sum(x) FROM s GROUP BY k").await?;
            best = best.min(feed(&mut view, &batches).await?);
            last = Some(view);
        }
        let mut view = last.ok_or("no run")?;
        let rows = (count as usize * BATCH) as f64;
        let refreshed = refresh(&mut view).await?;
        let state = view.state_size();
        println!(
            "{groups:>10}  {:>14.2}  {:>14.3}  {:>12.1}",
            rows / best.as_secs_f64() / 1e6,
            refreshed.as_secs_f64() * 1e3,
            state.bytes as f64 / 1e6
        );
    }
    Ok(())
}

async fn history() -> Result<(), Box<dyn Error>> {
    println!("\ncost per event as history grows (1,000 groups)");
    println!("{:>14}  {:>14}  {:>14}  {:>12}", "events so far", "ns per event", "refresh, ms", "state, MB");
    let mut view = view("SELECT k, count(*), sum(x) FROM s GROUP BY k").await?;
    let stretch: u64 = 1_000_000;
    for million in 1..=20_u64 {
        let first = (million - 1) * stretch;
        let batches = (0..stretch.div_ceil(BATCH as u64))
            .map(|at| batch(first + at * BATCH as u64, 1_000))
            .collect::<Result<Vec<_>, _>>()?;
        let took = feed(&mut view, &batches).await?;
        if [1, 5, 10, 20].contains(&million) {
            let events = (batches.len() * BATCH) as f64;
            println!(
                "{:>14}  {:>14.1}  {:>14.3}  {:>12.2}",
                million * stretch,
                took.as_secs_f64() * 1e9 / events,
                refresh(&mut view).await?.as_secs_f64() * 1e3,
                view.state_size().bytes as f64 / 1e6
            );
        }
    }
    Ok(())
}

fn keyed() -> Result<(), Box<dyn Error>> {
    println!("\nkeyed table of 1 M keys (8 bytes each), two columns of 8 bytes");
    let keys: u64 = 1_000_000;
    let rows = |first: u64| {
        let batch = batch(first, keys)?;
        let ids: Vec<[u8; 8]> = (first..first + BATCH as u64)
            .map(|row| ((row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8) % keys).to_be_bytes())
            .collect();
        Ok::<_, ArrowError>(RelationRows { batch, keys: Some(BinaryArray::from_iter_values(ids)), deletes: None })
    };
    let mut table = KeyedTable::new(schema());
    let mut at = 0;
    while table.len() < keys as usize * 99 / 100 {
        table.absorb(rows(at)?)?;
        at += BATCH as u64;
    }
    let per_key = table.memory_size() as f64 / table.len() as f64;
    let batches = (0..100).map(|step| rows(at + step * BATCH as u64)).collect::<Result<Vec<_>, _>>()?;
    let updates = (batches.len() * BATCH) as f64;
    for (name, with_delta) in [("updates, result only", false), ("updates with their changes", true)] {
        let batches = batches.clone();
        let started = Instant::now();
        for batch in batches {
            if with_delta {
                table.apply(batch)?;
            } else {
                table.absorb(batch)?;
            }
        }
        println!("{name:>28}: {:.2} M/s", updates / started.elapsed().as_secs_f64() / 1e6);
    }
    println!(
        "{:>28}: {per_key:.0} bytes, {:.0} after the updates",
        "memory per key",
        table.memory_size() as f64 / table.len() as f64
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(groups())?;
    runtime.block_on(history())?;
    keyed()
}
