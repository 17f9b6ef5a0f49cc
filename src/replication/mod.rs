//! Logical replication between the two copies of a schema: everything that works between two servers and needs no state of
//! a migration. Read [`endpoint`] first (what a server at one end is), then [`channel`] (one direction of replication).
//!
//! Invariant: what is created on a server is in `helios.cleanup` before it is created, so that a crash leaves nothing behind
//! that nobody knows of. No code of tenants runs with more rights than its owner's: subscriptions belong to roles of their
//! own ([`apply_role`]), and queries that are planned name no table of a tenant.
//!
//! Lock order: the shard's lock on the coordinator, then the tables on the server whose copy is in use ([`fence`]). Where that
//! is the coordinator itself, the tables come first: clients lock them before the shard.

pub mod apply_role;
pub mod backfill;
pub mod channel;
pub mod connection_settings;
pub mod endpoint;
pub mod endpoints;
pub mod fence;
pub mod foreign_server;
pub mod interruptible;
pub mod pull;
pub mod relay;
pub mod source_catalogs;
pub mod verify;
