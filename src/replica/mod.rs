//! Replicas: further copies of a shard that are kept in step with the one in use. Read [`set`] first (how many there are to
//! be), then [`mod@watch`] (the worker that follows them all).
//!
//! A replica is made by a migration that stops short of its switch ([`crate::migration::kind::Kind::Replica`]): the same slot
//! and snapshot, the same rows pulled, the same comparison. From then on it follows, fenced against writers, without a worker
//! of its own: one worker of the database writes markers for all replicas and notes how far each has come. The definition of
//! a shard with replicas cannot change.
//!
//! Invariant: a copy that `helios.replica` names is complete, follows the node in use, and cannot be removed or promoted
//! while anybody holds the shard's lock. Before anything is removed from a copy, its row is deleted and everybody who may
//! have read the row has released the shard ([`crate::migration::replica_rows`]).
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

/// 55006 for a node that has copies, or what has copies elsewhere.
pub fn refuse_node(node: NodeId, message: String) -> Result<()> {
    match catalog::replica::shards_at(node)? {
        None => Ok(()),
        Some(shards) => Err(Error::new(Code::ERRCODE_OBJECT_IN_USE, message)
            .detail(format!("The node has replicas of shards, or shards with replicas: {shards}."))
            .hint("The view helios_replicas shows them. Use helios_promote_replica() to switch to a replica on another \
                node, or helios_set_replicas(shard, 1) to remove replicas.")),
    }
}
