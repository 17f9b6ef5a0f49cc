//! Replicas: additional copies of a shard that follow the primary. Read [`set`] first (how many copies are wanted),
//! then [`mod@watch`] (the worker that monitors them all).
//!
//! A replica is created by a migration that stops before its switch ([`crate::migration::kind::Kind::Replica`]): the
//! same slot and snapshot, the same copy of the rows, the same comparison. From then on it follows the primary, fenced
//! against writers, without a separate worker: one worker per database writes markers for all replicas and records
//! how far each has progressed. The definition of a shard with replicas cannot change.
//!
//! Invariant: a copy listed in `helios.replica` is complete, follows the primary, and cannot be removed or promoted
//! while anybody holds the shard's lock. Before anything is removed from a copy, its row is deleted and everybody who
//! may have read the row has released the shard ([`crate::migration::replica_rows`]).
//!
//! Lock order: that of [`crate::migration`].

pub mod positions;
pub mod promote;
pub mod set;
pub mod wait_for_apply;
pub mod watch;

pub use positions::advance_sequences;
pub use promote::promote;
pub use set::set_replicas;
pub use wait_for_apply::wait_for_replicas;
pub use watch::watch;

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// 55006 for a node that has replicas, or shards with replicas.
pub fn refuse_node(node: NodeId, message: String) -> Result<()> {
    match catalog::replica::shards_at(node)? {
        None => Ok(()),
        Some(shards) => Err(Error::new(Code::ERRCODE_OBJECT_IN_USE, message)
            .detail(format!("The node has replicas of shards, or shards with replicas: {shards}."))
            .hint("The view helios_replicas shows them. Use helios_promote_replica() to switch to a replica on another \
                node, or helios_set_replicas(shard, 1) to remove replicas.")),
    }
}
