//! What a reader reads, and what it hands over.

use std::sync::Arc;

/// A message where it lies in librdkafka's memory: valid during the callback only, so nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Index into the reader's `topics()`.
    pub topic: usize,
    /// The partition within the topic.
    pub partition: i32,
    /// The message's own offset; the next offset is this plus one.
    pub offset: i64,
    /// Milliseconds since 1970 UTC; `None` where the record carries no time.
    pub timestamp_ms: Option<i64>,
    /// The key; an empty key is not the same as none.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone, an empty value is not.
    pub value: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

/// One partition and the offset from which to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition within the topic.
    pub partition: i32,
    /// The first offset to read; it may be the end.
    pub next_offset: i64,
}
