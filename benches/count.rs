//! The lower bound of reading: counts the records of topics by batch reads, without decoding.
//!
//! `count BROKERS TOPIC…` reads every partition from the earliest offset to the end at its start, and prints how many
//! records there were. `scripts/bench.sh` runs it beside the workloads.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tallgrass_kafka::{BatchReader, Cluster, KafkaConfig, Signal, Start};

const READ_MAX: usize = 8192;
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [brokers, topics @ ..] = arguments.as_slice() else {
        println!("count BROKERS TOPIC…: run by scripts/bench.sh");
        return Ok(());
    };
    let config = KafkaConfig::new(brokers);
    let cluster = Cluster::connect(&config, TIMEOUT)?;
    let (mut starts, mut open) = (Vec::new(), 0);
    for topic in topics {
        let name: Arc<str> = topic.as_str().into();
        for (partition, marks) in cluster.watermarks(topic)? {
            starts.push(Start { topic: Arc::clone(&name), partition, next_offset: marks.low });
            open += 1;
        }
    }
    let mut reader = BatchReader::open(&config, &starts)?;
    let (mut records, mut bytes) = (0_u64, 0_u64);
    while open > 0 {
        let on_message = |message: tallgrass_kafka::Message<'_>| {
            records += 1;
            bytes += message.value.map_or(0, <[u8]>::len) as u64;
        };
        // No records are produced meanwhile, so each partition ends once.
        let mut ended = 0;
        reader.read(READ_MAX, TIMEOUT, on_message, |signal| {
            if let Signal::End { .. } = signal {
                ended += 1;
            }
        })?;
        open -= ended;
    }
    println!("{records} records, {bytes} bytes");
    Ok(())
}
