//! Our decoder beside arrow-json on the same records: `cargo bench --bench decode`.
//!
//! The records are those of `pokemon-gen`: the thirteen columns of the pokedex, `lat` and `lon` at full precision.
//! Both build batches of 8,192 rows. With three columns wanted ours still checks the other twelve, and every byte of the
//! grammar; arrow-json does neither.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::arrow::json::ReaderBuilder;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tallgrass_decode::Decoder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_ROWS: usize = 8_192;
const BATCHES: usize = 12;
const THREE: [&str; 3] = ["type_1", "total", "name"];

struct Input {
    declared: Fields,
    records: Vec<Vec<u8>>,
}

static INPUT: LazyLock<Input> = LazyLock::new(|| {
    let mut pokedex = csv::Reader::from_path("data/pokemon.csv").unwrap();
    let header = pokedex.headers().unwrap().clone();
    let species: Vec<csv::StringRecord> = pokedex.records().map(Result::unwrap).collect();
    let data_type = |name: &str| match name {
        "name" | "type_1" | "type_2" => DataType::Utf8View,
        "legendary" => DataType::Boolean,
        "lat" | "lon" => DataType::Float64,
        _ => DataType::Int64,
    };
    let names = header.iter().chain(["lat", "lon"]);
    let declared = names.map(|name| Field::new(name, data_type(name), true)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(151);
    let records = (0..BATCH_ROWS * BATCHES)
        .map(|_| {
            let row = &species[rng.random_range(0..species.len())];
            let mut record: Vec<String> = header
                .iter()
                .zip(row)
                .map(|(name, cell)| match (cell, data_type(name)) {
                    ("", _) => format!("\"{name}\":null"),
                    (cell, DataType::Utf8View) => format!("\"{name}\":{}", serde_json::to_string(cell).unwrap()),
                    (cell, _) => format!("\"{name}\":{cell}"),
                })
                .collect();
            let (lat, lon) = (40.4168 + rng.random_range(-0.045..0.045), -3.7038 + rng.random_range(-0.06..0.06));
            record.push(format!("\"lat\":{lat},\"lon\":{lon}"));
            format!("{{{}}}", record.join(",")).into_bytes()
        })
        .collect();
    Input { declared, records }
});

fn wanted(input: &Input, columns: usize) -> Vec<usize> {
    let all = 0..input.declared.len();
    if columns == all.len() {
        return all.collect();
    }
    THREE.iter().map(|name| input.declared.find(name).unwrap().0).collect()
}

#[divan::bench(args = [15, 3])]
fn tallgrass(bencher: Bencher, columns: usize) {
    let input = &*INPUT;
    let mut decoder = Decoder::new(&input.declared, &wanted(input, columns)).unwrap();
    bencher
        .counter(ItemsCount::new(input.records.len()))
        .counter(BytesCount::new(input.records.iter().map(Vec::len).sum::<usize>()))
        .bench_local(|| {
            for batch in input.records.chunks(BATCH_ROWS) {
                for record in batch {
                    decoder.decode(record).unwrap();
                }
                divan::black_box_drop(decoder.finish());
            }
        });
}

#[divan::bench(args = [15, 3])]
fn arrow_json(bencher: Bencher, columns: usize) {
    let input = &*INPUT;
    let schema: Fields = wanted(input, columns).into_iter().map(|index| Arc::clone(&input.declared[index])).collect();
    let builder = ReaderBuilder::new(Arc::new(Schema::new(schema))).with_batch_size(BATCH_ROWS);
    let mut decoder = builder.build_decoder().unwrap();
    bencher
        .counter(ItemsCount::new(input.records.len()))
        .counter(BytesCount::new(input.records.iter().map(Vec::len).sum::<usize>()))
        .bench_local(|| {
            for batch in input.records.chunks(BATCH_ROWS) {
                for record in batch {
                    decoder.decode(record).unwrap();
                }
                divan::black_box_drop(decoder.flush().unwrap());
            }
        });
}

fn main() {
    divan::main();
}
