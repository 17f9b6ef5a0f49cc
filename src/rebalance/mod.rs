//! Shards made, joined and spread over the nodes: by hand, by plan, and by themselves.
//!
//! Invariant: the pooled shards cover every slot and key once, before and after whatever is done here; a shard that
//! holds schemas changes its node by a migration alone.
//!
//! Lock order: that of the directory: the cluster's lock, then shards by ascending id, all at once; whoever cannot have
//! them soon lets go of them, so that statements never wait long behind.

mod shards;

use crate::directory::{NodeId, ShardId};
use crate::error::{Error, Result};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

pub use shards::{At, Merged, assign, merge, split};

/// Starts the move of a shard that holds schemas; gives the number of the migration.
pub fn start_move(shard: ShardId, to: NodeId) -> Result<i64> {
    Err(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot move shard {} to node {}", shard.0, to.0),
    )
    .detail("It holds schemas, and migrations are not part of this version yet."))
}
