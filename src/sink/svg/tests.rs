//! What a reader of a page would notice.
