//! What a user would notice, in one test binary (each would link all of `DataFusion`).

// A test that cannot continue panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod browser;
mod cli;
mod columns;
mod config;
mod feed;
mod generators;
mod hot_reload;
mod init;
mod kafka;
mod kafka_cluster;
mod kafka_group;
mod live;
mod oracle;
mod page;
mod panel;
mod postgres;
mod program;
mod role_lines;
mod roles;
mod scan;
mod support;
mod topics;
mod verify;
