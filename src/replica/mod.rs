//! Replicas: further copies of a shard that are kept in step with the one in use.
//!
//! A replica is made by a migration that stops short of its switch (`keeps`): the same slot and snapshot, the same rows
//! pulled, the same comparison. From then on it follows, fenced against writers, without a worker of its own; one worker
//! of the database writes markers for all of them and notes how far each has come. What has more than one copy does not
//! change its definition.
//!
//! Invariant: what `helios.replica` names is complete, follows the node in use, and cannot be removed or promoted while
//! anybody holds the shard's lock. A row there is gone, and everybody who may have read it has let go of the shard,
//! before anything is taken from the copy.
//!
//! Lock order: that of migrations.

pub mod applied;
pub mod positions;
pub mod promote;
pub mod set;
pub mod take_over;
pub mod watch;

pub use applied::wait_for_replicas;
pub use positions::advance_sequences;
pub use promote::promote;
pub use set::set_replicas;
pub use take_over::take_over;
pub use watch::watch;

use crate::catalog::migration::{self, Migration};
use crate::catalog::{self, NodeId, ShardId};
use crate::error::{Error, Result};
use crate::pg::ipc::worker;
use crate::replication::endpoints;
use helios_core::migration::{State, Wish};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Duration;

/// For how long statements may wait behind a copy that waits for those that read it.
const LEAVE: Duration = Duration::from_millis(100);

/// Copies of a shard that are there or being made, the oldest first; those about to be removed are not counted.
fn of_shard(shard: ShardId) -> Result<Vec<Migration>> {
    let ids = catalog::replica::of_shard(shard)?;
    let all = ids.into_iter().map(migration::load).collect::<Result<Vec<_>>>()?;
    let stays = |one: &Migration| !matches!(one.wish, Some(Wish::Cancel | Wish::Finish));
    Ok(all.into_iter().filter(stays).collect())
}

/// 55000 for a shard that has copies, or is to have some.
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
        format!("{shown} has copies on other nodes"),
    )
    .detail(format!("Nodes with a copy: {}.", nodes.join(", ")))
    .hint("helios_promote_replica() makes one of them the one in use; helios_set_replicas(…, 1) removes them."))
}

/// 55006 for a node that has copies, or what has copies elsewhere.
pub fn refuse_node(node: NodeId, message: String) -> Result<()> {
    match catalog::replica::shards_at(node)? {
        None => Ok(()),
        Some(shards) => Err(Error::new(Code::ERRCODE_OBJECT_IN_USE, message)
            .detail(format!("It has copies of shards that are kept, or shards that have copies: {shards}."))
            .hint("helios_replicas shows them. helios_promote_replica() makes a copy elsewhere the one in use, helios_set_replicas(shard, 1) removes copies.")),
    }
}

/// Waits for those who may still read a copy that does not count any more, and leaves the other copies of the shard what
/// they need on the node in use.
///
/// 55P03 while somebody does.
pub fn leave(migration: &Migration) -> Result<()> {
    if !catalog::lock_shards_within(&[migration.shard], LEAVE)? {
        return Err(Error::new(Code::ERRCODE_LOCK_NOT_AVAILABLE, "transactions use the schemas"));
    }
    catalog::replica::hand_over_identities(migration)
}

/// A copy that cannot follow any more: it goes, and the reason is kept.
fn give_up(migration: &Migration, reason: &str) -> Result<()> {
    let outcome = match migration.state.is_before_switch() {
        true => State::Failed,
        false => State::Finished,
    };
    migration::end(migration.id, outcome, Some(reason))
}

/// Whether a node takes connections. One that says that it is starting up does, soon (57P03).
pub fn answers(node: NodeId) -> Result<bool> {
    const TRIES: u32 = 2;
    for _ in 0..TRIES {
        match worker::attempt(|| endpoints::session(node)?.query("SELECT 1").map(|_| ())) {
            Ok(()) => return Ok(true),
            Err(error) if error.is_class("08") => worker::rest(Duration::from_millis(250)),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
