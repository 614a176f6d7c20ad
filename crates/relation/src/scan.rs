//! A topic as a bounded DataFusion table: `replay`, `query` and `--once` are plain DataFusion over this.
//!
//! ```text
//!  KafkaTable::scan ── filters, projection, limit, ReadBounds ──▶ KafkaScan: plain data (topic, columns, offset ranges)
//!  KafkaScan::execute(p) ──▶ thread: BatchReader ──▶ TopicDecoder ──▶ (KeyedTable) ──▶ bounded channel ──▶ stream
//! ```
//!
//! One DataFusion partition reads one Kafka partition, and since a key's newest record wins within its partition, a table
//! is assembled without any exchange between them.
//!
//! What this table does *not* say: row counts are inexact (offsets may be missing, records may be bad), so the optimizer
//! never answers `count(*)` from them; and no PRIMARY KEY constraint is declared, because a producer that sends one key to
//! two partitions makes two rows of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};

use super::bad_records::BadRecords;
use super::catalog::KafkaRelation;
use super::partition_reader::{self, PartitionRead, SharedRead};
use super::reach;
use super::read_bounds::{PartitionRange, ReadBounds, ReadProgress};
use super::row_stream::row_stream;
use super::topic_decoder::Wanted;
use tallgrass_kafka::KafkaConfig;

/// Ranges that EXPLAIN lists one by one.
const MAX_RANGES_SHOWN: usize = 16;

/// A Kafka relation for batch queries.
#[derive(Debug)]
pub struct KafkaTable {
    relation: Arc<KafkaRelation>,
    bounds: Arc<ReadBounds>,
    bad: BadRecords,
}

impl KafkaTable {
    /// A relation under the bounds that it shares with the other relations of a statement.
    pub fn new(relation: Arc<KafkaRelation>, bounds: Arc<ReadBounds>, bad: BadRecords) -> Self {
        Self { relation, bounds, bad }
    }
}

#[async_trait]
impl TableProvider for KafkaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.relation.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Never exact: a range of offsets holds more than a filter accepts, and the filter costs little above the scan.
        let support = |filter: &&Expr| {
            if reach::reads_metadata(filter) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let relation = Arc::clone(&self.relation);
        let bounds = Arc::clone(&self.bounds);
        let filtered: Vec<Expr> = filters.to_vec();
        let ranges = tokio::task::spawn_blocking(move || bounds.ranges(&relation, &filtered))
            .await
            .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.bounds.progress().plan(&ranges);
        let projection = projection.cloned().unwrap_or_else(|| (0..self.relation.schema().fields().len()).collect());
        // A limit counts rows that pass the filters, and those are checked above the scan.
        let limit = limit.filter(|_| filters.is_empty());
        let reader = ScanContext {
            config: self.bounds.config().clone(),
            progress: Arc::clone(self.bounds.progress()),
            bad: self.bad.clone(),
        };
        Ok(Arc::new(KafkaScan::try_new(Arc::clone(&self.relation), projection, ranges, limit, reader)?))
    }
}

/// What a scan needs of the process that runs it: not part of the plan, so that a plan carries no secrets.
#[derive(Clone)]
pub struct ScanContext {
    /// How to reach the cluster.
    pub config: KafkaConfig,
    /// Where progress is counted.
    pub progress: Arc<ReadProgress>,
    /// Where bad records are counted.
    pub bad: BadRecords,
}

/// Reads frozen ranges of one topic.
pub struct KafkaScan {
    relation: Arc<KafkaRelation>,
    projection: Vec<usize>,
    ranges: Vec<PartitionRange>,
    limit: Option<usize>,
    context: ScanContext,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    shared: Option<SharedRead>,
}

impl KafkaScan {
    /// A scan of `ranges`, one DataFusion partition each (none is one empty partition, for DataFusion wants one at least).
    /// `projection` indexes the relation's full schema; a `limit` holds for each partition.
    pub fn try_new(
        relation: Arc<KafkaRelation>,
        projection: Vec<usize>,
        ranges: Vec<PartitionRange>,
        limit: Option<usize>,
        context: ScanContext,
    ) -> Result<Self> {
        let schema: SchemaRef = Arc::new(relation.schema().project(&projection)?);
        let emission = if relation.is_keyed() { EmissionType::Final } else { EmissionType::Incremental };
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(ranges.len().max(1)),
            emission,
            Boundedness::Bounded,
        ));
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { relation, projection, ranges, limit, context, schema, properties, metrics, shared: None })
    }

    /// The same scan as one of several that share a read.
    pub(super) fn sharing(&self, shared: SharedRead) -> Self {
        Self {
            relation: Arc::clone(&self.relation),
            projection: self.projection.clone(),
            ranges: self.ranges.clone(),
            limit: self.limit,
            context: self.context.clone(),
            schema: Arc::clone(&self.schema),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
            shared: Some(shared),
        }
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted { relation: Arc::clone(&self.relation), columns: self.projection.clone() }
    }

    /// The relation that is read.
    pub fn relation(&self) -> &Arc<KafkaRelation> {
        &self.relation
    }

    /// Columns by their index in the relation's full schema.
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// One range per partition that is read.
    pub fn ranges(&self) -> &[PartitionRange] {
        &self.ranges
    }

    /// Rows that each partition gives at most.
    pub fn limit(&self) -> Option<usize> {
        self.limit
    }
}

impl ExecutionPlan for KafkaScan {
    fn name(&self) -> &'static str {
        "KafkaScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no inputs") }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = Arc::clone(&self.schema);
        let Some(range) = self.ranges.get(partition).filter(|range| range.start < range.end && self.limit != Some(0))
        else {
            // Nothing to read: low = high, or every partition was ruled out.
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::empty())));
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let read = PartitionRead {
            topic: Arc::clone(self.relation.topic()),
            range: range.clone(),
            limit: self.limit,
            batch_rows: context.session_config().batch_size(),
            config: self.context.config.clone(),
            bad: self.context.bad.clone(),
            progress: Arc::clone(&self.context.progress),
            records: MetricBuilder::new(&self.metrics).counter("records_read", partition),
        };
        let order = Reorder::new(&self.projection);
        let receiver = if let Some(shared) = &self.shared {
            shared.start(partition, read)?
        } else {
            let (sender, receiver) = row_stream(self.wanted(), range.partition)?;
            partition_reader::start(read, vec![sender])?;
            receiver
        };
        let batches = receiver
            .stream()
            .map(move |batch| batch.and_then(|batch| order.apply(&batch)))
            .inspect_ok(move |batch| baseline.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    /// Inexact: what joins need to put the smaller side into the hash table, and too little for `count(*)`.
    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let ranges = match args.partition() {
            None => &self.ranges[..],
            Some(partition) => self.ranges.get(partition..=partition).unwrap_or_default(),
        };
        let offsets: i64 = ranges.iter().map(|range| range.end - range.start).sum();
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Inexact(usize::try_from(offsets).unwrap_or(usize::MAX));
        Ok(Arc::new(statistics))
    }
}

/// Decoders give columns in the order of the schema; a projection may want another order, or a column twice.
struct Reorder {
    places: Option<Vec<usize>>,
}

impl Reorder {
    fn new(projection: &[usize]) -> Self {
        if projection.is_sorted_by(|a, b| a < b) {
            return Self { places: None };
        }
        let mut given = projection.to_vec();
        given.sort_unstable();
        given.dedup();
        Self { places: Some(projection.iter().filter_map(|column| given.binary_search(column).ok()).collect()) }
    }

    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        match &self.places {
            None => Ok(batch.clone()),
            Some(places) => Ok(batch.project(places)?),
        }
    }
}

/// `KafkaScan: topic=users, table by id, columns=[id, name], partitions=[0: 0..120, 1: 7..98], limit=5`
impl DisplayAs for KafkaScan {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = matches!(format, DisplayFormatType::TreeRender);
        let between = if lines { "\n" } else { ", " };
        if !lines {
            f.write_str("KafkaScan: ")?;
        }
        write!(f, "topic={}", self.relation.topic())?;
        if let Some(key) = self.relation.key() {
            write!(f, "{between}table by {}", self.relation.declared().field(key.column).name())?;
        }
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "{between}columns=[{}]{between}partitions=[", columns.join(", "))?;
        for (index, range) in self.ranges.iter().take(MAX_RANGES_SHOWN).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {}..{}", range.partition, range.start, range.end)?;
            if let Some(from_ms) = range.skip_before_ms {
                write!(f, " from time {from_ms}")?;
            }
        }
        if self.ranges.len() > MAX_RANGES_SHOWN {
            write!(f, ", {} more", self.ranges.len() - MAX_RANGES_SHOWN)?;
        }
        f.write_str("]")?;
        self.limit.map_or(Ok(()), |limit| write!(f, "{between}limit={limit}"))
    }
}

/// Without the context, whose configuration may hold passwords.
impl fmt::Debug for KafkaScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaScan")
            .field("relation", &self.relation.name())
            .field("projection", &self.projection)
            .field("ranges", &self.ranges)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
