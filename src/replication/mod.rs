//! Logical replication between the two copies of a schema: everything that involves two servers and does not depend on
//! a migration's state. Read [`endpoint`] first (what a server at one end is), then [`channel`] (one direction of
//! replication).
//!
//! Invariant: everything created on a server is recorded in `helios.cleanup` before it is created, so that a crash
//! leaves no unknown objects behind. No tenants' code runs with more privileges than its owner's: subscriptions are
//! owned by separate roles ([`apply_role`]), and planned queries do not refer to tables of tenants.
//!
//! Lock order: the shard's lock on the coordinator, then the tables on the server with the active copy ([`fence`]).
//! Where that is the coordinator itself, the tables come first, because clients lock them before the shard.

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
