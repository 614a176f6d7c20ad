//! Kafka topics as SQL tables.
//!
//! A *relation* is what SQL reads from: a topic under a declared schema, or files. Without a PRIMARY KEY a topic is a
//! **stream**: every record is a row, for ever, and a tombstone is a row of nulls. With one it is a **table**: the newest
//! record of each Kafka key is the row, and a tombstone, or a record for which `deleted_when` holds, deletes it.
//!
//! ```text
//!  sources.sql ──▶ Catalog ──▶ KafkaRelation ─┬─ batch:  KafkaTable ─▶ KafkaScan (bounded, ReadBounds)
//!                     │                       └─ live:   the pipeline reads the topic
//!                     └──▶ StaticRelation: DataFusion's own readers
//!
//!  both:  Message ──▶ TopicDecoder ──▶ RelationRows ──▶ (KeyedTable) ──▶ rows, or a Delta of what changed
//! ```
//!
//! Both executions decode and assemble rows with the same code, so that they can only differ above it.
//!
//! ```
//! use std::path::Path;
//! use tallgrass_relation::Catalog;
//!
//! let sql = "CREATE EXTERNAL TABLE users (id BIGINT, name VARCHAR, PRIMARY KEY (id)) STORED AS KAFKA LOCATION 'users'";
//! let catalog = Catalog::parse(sql, Path::new("."), "sources.sql")?;
//! let users = catalog.kafka_relations().next().unwrap();
//! assert_eq!((&**users.topic(), users.is_keyed()), ("users", true));
//!
//! let misspelt = "CREATE EXTERNAL TABLE users (id BIGNT) STORED AS KAFKA LOCATION 'users'";
//! let error = Catalog::parse(misspelt, Path::new("."), "sources.sql").unwrap_err();
//! assert!(error.to_string().starts_with("sources.sql:1:"));
//! # Ok::<(), tallgrass_diagnostics::Diagnostic>(())
//! ```

mod bad_records;
mod catalog;
mod ddl;
mod declaration;
mod deleted_when;
mod delta;
mod epoch;
mod error;
pub mod infer;
mod kafka_ddl;
mod keyed;
mod partition_reader;
mod planned_query;
mod reach;
mod read_bounds;
mod record_key;
mod record_reader;
mod row_stream;
mod scan;
mod sealed;
mod segment;
mod shared_read;
mod topic_decoder;

pub use bad_records::{BadCount, BadExample, BadRecords, LOG_INTERVAL, MissingRows};
pub use catalog::{Catalog, KafkaRelation, METADATA_COLUMNS, Relation, StaticRelation, TableKey};
pub use ddl::TIME_ZONE;
pub use deleted_when::DeletedWhen;
pub use delta::Delta;
pub use error::RelationError;
pub use keyed::KeyedTable;
pub use planned_query::PlannedQuery;
pub use read_bounds::{CONNECT_TIMEOUT, PartitionRange, ReadBounds, ReadProgress, Until};
pub use record_reader::{Arrived, RecordReader, TopicPartition, TopicRows};
pub use scan::{KafkaScan, KafkaTable, ScanContext};
pub use sealed::Sealed;
pub use segment::compacted;
pub use topic_decoder::{RelationRows, TopicDecoder, Wanted};
