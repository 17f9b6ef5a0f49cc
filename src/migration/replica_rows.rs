//! Replicas of a shard as recorded in the catalog ([`crate::catalog::replica`]), for the migrations that create and
//! maintain them.
//!
//! Invariant: a row of `helios.replica` exists only while its replica is complete and follows the primary. The row is
//! deleted first; then [`leave`] waits for the transactions that may have read it; only then is anything removed.

use crate::catalog::migration::{self, Migration};
use crate::catalog::{self, ShardId};
use crate::error::{Error, Result};
use helios_core::migration::{Request, State};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// Limits the time for which statements may have to queue behind a replica's removal.
const LEAVE: Duration = Duration::from_millis(100);

/// Replicas of a shard that exist or are being created, oldest first, without those about to be removed.
pub fn of_shard(shard: ShardId) -> Result<Vec<Migration>> {
    let ids = catalog::replica::of_shard(shard)?;
    let all = ids.into_iter().map(migration::load).collect::<Result<Vec<_>>>()?;
    let stays = |one: &Migration| !matches!(one.request, Some(Request::Cancel | Request::Finish));
    Ok(all.into_iter().filter(stays).collect())
}

/// 55000 for a shard that has replicas or shall have some.
pub fn refuse_copies(shard: ShardId, shown: &str) -> Result<()> {
    let copies = of_shard(shard)?;
    let wanted = catalog::shard(shard)?.replicas > 1;
    if copies.is_empty() && !wanted {
        return Ok(());
    }
    let nodes = copies.iter().map(|copy| Ok(catalog::node(copy.follower())?.name.clone()));
    let nodes: Vec<String> = nodes.collect::<Result<_>>()?;
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("{shown} has replicas on other nodes"),
    )
    .detail(format!("Nodes with a replica: {}.", nodes.join(", ")))
    .hint("Use helios_promote_replica() to switch to one of them, or helios_set_replicas(…, 1) to remove them."))
}

/// Waits for transactions that may still read a deregistered replica, and hands the replica identities that other
/// replicas need on the primary over to them.
///
/// 55P03 while there are such transactions.
pub fn leave(migration: &Migration) -> Result<()> {
    if !catalog::lock_shards_within(&[migration.shard], LEAVE)? {
        return Err(Error::new(
            Code::ERRCODE_LOCK_NOT_AVAILABLE,
            "transactions are still using the schemas",
        ));
    }
    catalog::replica::hand_over_identities(migration)
}

/// Removes a replica that cannot follow anymore and records the reason.
pub fn give_up(migration: &Migration, reason: &str) -> Result<()> {
    let outcome = match migration.state.is_before_switch() {
        true => State::Failed,
        false => State::Finished,
    };
    migration::end(migration.id, outcome, Some(reason))
}
