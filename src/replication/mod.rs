//! Logical replication between two copies of a schema: endpoints, channels, the write fence, backfill and verification.

pub mod apply_role;
pub mod backfill;
pub mod channel;
pub mod connection_settings;
pub mod endpoint;
pub mod endpoints;
pub mod fence;
pub mod foreign_server;
pub mod pull;
pub mod relay;
pub mod tables;
pub mod verify;
pub mod wait_policy;
