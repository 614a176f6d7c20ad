//! The relations of the random queries, and random rows for them: nulls, duplicates, ties, and values at the edges of
//! their types.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::Schema;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tallgrass_view::Workspace;

use super::executions::decide_deletes;
use super::history::{History, RecordOrigin, TopicRecords};

/// Two streams, a topic as a stream and as a table, a table with a text key, a static relation.
const SOURCES: &str = "
CREATE EXTERNAL TABLE s (k VARCHAR, n BIGINT, big BIGINT, x DOUBLE, d DECIMAL(12,2), b BOOLEAN, at TIMESTAMP)
  STORED AS KAFKA LOCATION 's';
CREATE EXTERNAL TABLE r (k VARCHAR, n BIGINT, big BIGINT, x DOUBLE, d DECIMAL(12,2), b BOOLEAN, at TIMESTAMP)
  STORED AS KAFKA LOCATION 'r';
CREATE EXTERNAL TABLE u_events (id BIGINT, k VARCHAR, n BIGINT, x DOUBLE, b BOOLEAN, at TIMESTAMP)
  STORED AS KAFKA LOCATION 'u';
CREATE EXTERNAL TABLE u (id BIGINT, k VARCHAR, n BIGINT, x DOUBLE, b BOOLEAN, at TIMESTAMP, PRIMARY KEY (id))
  STORED AS KAFKA LOCATION 'u' OPTIONS ('deleted_when' 'b AND n > 20');
CREATE EXTERNAL TABLE v (code VARCHAR, k VARCHAR, n BIGINT, d DECIMAL(12,2), x DOUBLE, PRIMARY KEY (code))
  STORED AS KAFKA LOCATION 'v';
CREATE EXTERNAL TABLE dex (k VARCHAR, kind VARCHAR, level BIGINT)
  STORED AS CSV LOCATION 'dex.csv' OPTIONS ('has_header' 'true');
";

/// A key without a match, keys with two, and one that is null.
const DEX: &str = "k,kind,level\nk0,red,1\nk1,green,2\nk1,red,3\nk2,blue,4\nk3,green,5\nk4,,6\n,blue,7\nk9,red,8\n";

/// The relations in a folder of their own.
pub fn workspace(dir: &Path) -> Workspace {
    std::fs::write(dir.join("sources.sql"), SOURCES).unwrap();
    std::fs::write(dir.join("dex.csv"), DEX).unwrap();
    Workspace::load(dir).unwrap()
}

/// A random history; some topics stay empty.
pub async fn history(workspace: &Workspace, random: &mut ChaCha8Rng) -> History {
    let mut history = History::default();
    for (name, relation, most) in [("s", "s", 120), ("r", "r", 60), ("u", "u", 90), ("v", "v", 60)] {
        let relation = workspace.catalog().get(relation).unwrap().as_kafka().unwrap();
        let count = if random.random_bool(0.05) { 0 } else { random.random_range(1..=most) };
        let origins = origins(random, count, relation.is_keyed());
        let columns: Vec<ArrayRef> =
            relation.declared().fields().iter().map(|field| column(random, field.name(), &origins)).collect();
        let fields = relation.declared().fields().clone();
        let declared = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        history.topics.push(TopicRecords::new(name, &declared, origins, random.random_range(2..40)));
    }
    decide_deletes(workspace, &mut history).await;
    history
}

/// Keys of a table repeat, mostly in the partition that is theirs; a few records have none.
fn origins(random: &mut ChaCha8Rng, count: usize, keyed: bool) -> Vec<RecordOrigin> {
    let partitions = random.random_range(1..=3);
    let keys = random.random_range(1..=15);
    let tombstones = if keyed { 0.15 } else { 0.02 };
    let mut origin = |index: usize| {
        let key = random.random_range(0..keys);
        let strays = random.random_bool(0.05) || !keyed;
        RecordOrigin {
            partition: if strays { random.random_range(0..partitions) } else { key % partitions },
            key: random.random_bool(if keyed { 0.97 } else { 0.5 }).then(|| key.to_string()),
            timestamp_ms: 1_700_000_000_000 + index as i64 / 3 * 1_000,
            tombstone: random.random_bool(tombstones),
        }
    };
    (0..count).map(&mut origin).collect()
}

/// Values for the column of a name; a tombstone has none.
fn column(random: &mut ChaCha8Rng, name: &str, origins: &[RecordOrigin]) -> ArrayRef {
    let nulls = [0.0, 0.1, 0.5][random.random_range(0..3)];
    let random = &mut *random;
    macro_rules! values {
        ($array:ty, $value:expr) => {{
            let mut value: Box<dyn FnMut(&mut ChaCha8Rng) -> _> = Box::new($value);
            let values = origins
                .iter()
                .map(|origin| (!origin.tombstone && !random.random_bool(nulls)).then(|| value(random)))
                .collect::<Vec<_>>();
            <$array>::from(values)
        }};
    }
    match name {
        // The primary key's value is the record's key.
        "id" => {
            let id = |origin: &RecordOrigin| origin.key.as_ref().filter(|_| !origin.tombstone)?.parse::<i64>().ok();
            Arc::new(origins.iter().map(id).collect::<Int64Array>())
        }
        "code" => {
            let code = |origin: &'_ RecordOrigin| origin.key.clone().filter(|_| !origin.tombstone);
            Arc::new(origins.iter().map(code).collect::<StringViewArray>())
        }
        "k" => Arc::new(values!(StringViewArray, |random| {
            ["k0", "k1", "k2", "k3", "k4", "k5", "", "schön, länger als zwölf Bytes"][random.random_range(0..8)]
        })),
        "n" => Arc::new(values!(Int64Array, |random| random.random_range(-50..=50_i64))),
        "big" => Arc::new(values!(Int64Array, |random| {
            let near = random.random_range(0..3_i64);
            if random.random_bool(0.5) { i64::MAX - near } else { i64::MIN + near }
        })),
        "x" => Arc::new(values!(Float64Array, double)),
        "d" => Arc::new(
            values!(Decimal128Array, |random| i128::from(random.random_range(-99_999_i64..=99_999)))
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        "b" => Arc::new(values!(BooleanArray, |random| random.random_bool(0.5))),
        "at" => Arc::new(values!(TimestampNanosecondArray, |random| {
            (1_700_000_000 + random.random_range(0..240_i64) * 900) * 1_000_000_000
        })),
        other => panic!("no values for a column {other}"),
    }
}

/// Over 18 decades, often one of a few values, sometimes a zero of either sign.
fn double(random: &mut ChaCha8Rng) -> f64 {
    match random.random_range(0..10) {
        0 => 0.0,
        1 => -0.0,
        2..5 => [0.1, 0.2, 0.3, -0.1, 1e9, -1e9][random.random_range(0..6)],
        _ => random.random_range(-1.0..1.0) * 10f64.powi(random.random_range(-9..=9)),
    }
}
