//! Colocation: schemas that refer to each other share a dedicated shard, so that whatever moves one of them moves all.
//!
//! Such a shard is never split or merged, because it has no bounds, and a migration takes all of its schemas. A schema
//! leaves it only when it is dropped or returns to the coordinator.

use super::moves::start_move;
use super::shards::{by_size, invalid, lock, refuse_moving};
use crate::catalog::{self, NodeId, Shard, ShardId};
use crate::error::Result;
use crate::migration::refuse_copies;
use crate::migration::start::{self, ResolvedShard, Subject};

/// Lets two distributed schemas share a shard. If they are on different nodes, the shard with fewer bytes moves to the
/// other's node first; returns the migration that does so, after which the worker completes the colocation.
///
/// Errors: 22023 a schema with itself, 3F000 and 42809 not a distributed schema, 55006 being moved, 55000 replicas,
/// 55P03 the shard is in use for too long, and those of the move.
pub fn colocate(schema: &str, with: &str) -> Result<Option<i64>> {
    if schema == with {
        return Err(invalid(format!("cannot colocate schema \"{schema}\" with itself"))
            .hint("Specify two schemas."));
    }
    let subjects = [schema, with].map(|name| Subject::Schema(name.to_owned()));
    let [joins, stays] = claim(&subjects)?;
    if joins.shard == stays.shard && !stays.is_pooled {
        return Ok(None);
    }
    for found in [&joins, &stays] {
        refuse_copies(found.shard, &found.shown)?;
    }
    let pooled = [&joins, &stays].into_iter().filter(|found| found.is_pooled);
    // Statements that hold a shard's lock have read the placement of its schemas.
    lock(&pooled.map(|found| found.shard).collect::<Vec<_>>())?;
    let stays = own_shard(with, &stays)?;
    let joins = own_shard(schema, &joins)?;
    let (stays, joins) = (catalog::shard(stays)?, catalog::shard(joins)?);
    if stays.node == joins.node {
        join(&stays, &joins)?;
        return Ok(None);
    }
    let (stays, moves, to) = choose(&stays, &joins)?;
    let migration = start_move(moves, to)?;
    catalog::note_merge(stays, moves, migration)?;
    Ok(Some(migration))
}

/// Lets the schemas of one dedicated shard join those of another on the same node.
pub(super) fn join_dedicated(stays: &Shard, goes: &Shard) -> Result<()> {
    [stays, goes].into_iter().try_for_each(|shard| refuse_moving(shard, "colocate"))?;
    join(stays, goes)
}

fn join(stays: &Shard, goes: &Shard) -> Result<()> {
    lock(&[stays.id, goes.id])?;
    catalog::join_dedicated(stays.id, goes.id)
}

/// Keeps other moves of both shards away until the transaction ends; in the order of the shards' IDs.
fn claim([first, second]: &[Subject; 2]) -> Result<[ResolvedShard; 2]> {
    if start::find(first)?.shard <= start::find(second)?.shard {
        let first = start::claim(first)?;
        return Ok([first, start::claim(second)?]);
    }
    let second = start::claim(second)?;
    Ok([start::claim(first)?, second])
}

/// The schema's dedicated shard, created if the schema is in a pooled one.
fn own_shard(schema: &str, found: &ResolvedShard) -> Result<ShardId> {
    if !found.is_pooled {
        return Ok(found.shard);
    }
    let own = catalog::dedicated_shard(schema, found.node)?;
    catalog::put_schema(schema, own)?;
    Ok(own)
}

/// The shard that stays, the one that moves, and the node that it moves to.
fn choose(stays: &Shard, joins: &Shard) -> Result<(ShardId, ShardId, NodeId)> {
    let (stays, moves) = by_size(stays, joins)?;
    Ok((stays.id, moves.id, stays.node))
}
