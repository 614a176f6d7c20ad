//! Why a dashboard ended.

use datafusion::error::DataFusionError;

use super::feed::FeedError;
use tallgrass_kafka::KafkaError;
use tallgrass_relation::RelationError;
use tallgrass_view::WorkspaceError;

/// Why a dashboard ended.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The SQL cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The topics cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Rows could not be put together.
    #[error(transparent)]
    Relation(#[from] RelationError),
    /// The views could not be wired.
    #[error(transparent)]
    Engine(#[from] DataFusionError),
    /// The reader thread could not be started.
    #[error("cannot start the reader thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A rebuild died.
    #[error("a rebuild ended: {0}")]
    Rebuild(String),
}

impl From<KafkaError> for LiveError {
    fn from(error: KafkaError) -> Self {
        Self::Feed(error.into())
    }
}
