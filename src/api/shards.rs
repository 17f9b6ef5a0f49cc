//! Manual splitting, merging and placement of shards.

use super::given;
use crate::catalog::{self, ShardId};
use crate::error::Result;
use crate::pg::error::OrRaise;
use crate::rebalance::{self, At, Merged};
use crate::transaction;
use pgrx::prelude::*;

/// Splits a shard; returns the new one's ID.
#[pg_extern(sql = false)]
fn helios_split_shard(shard: Option<i64>, at: Option<&str>) -> i64 {
    let split = || -> Result<i64> {
        let _path = transaction::SafePath::begin();
        let shard = ShardId(given(shard, "shard")?);
        let at = given(at, "at")?;
        Ok(rebalance::split(shard, |bounds| At::parse(at, bounds))?.0)
    };
    split().or_raise()
}

type Joined = TableIterator<'static, (name!(shard, i64), name!(migration, Option<i64>))>;

/// Merges two shards; returns the remaining one, and the ID of the migration that must end first.
#[pg_extern(sql = false)]
fn helios_merge_shards(shard: Option<i64>, other: Option<i64>) -> Joined {
    let merge = || -> Result<(i64, Option<i64>)> {
        let _path = transaction::SafePath::begin();
        let (one, other) = (given(shard, "shard")?, given(other, "other")?);
        match rebalance::merge(ShardId(one), ShardId(other))? {
            Merged::Done(left) => Ok((left.0, None)),
            Merged::NeedsMove { moves, stays, to } => {
                let migration = rebalance::start_move(moves, to)?;
                catalog::note_merge(stays, moves, migration)?;
                Ok((stays.0, Some(migration)))
            }
        }
    };
    TableIterator::once(merge().or_raise())
}

/// Assigns slots to a node; returns the migrations that move their contents.
#[pg_extern(sql = false)]
fn helios_assign_slots(
    from: Option<i32>,
    to: Option<i32>,
    node: Option<&str>,
) -> SetOfIterator<'static, i64> {
    let assign = || -> Result<Vec<i64>> {
        let _path = transaction::SafePath::begin();
        let (from, to, node) = (given(from, "from")?, given(to, "to")?, given(node, "node")?);
        catalog::lock_cluster_shared();
        let node = catalog::node_named(node)?;
        node.check_ours()?;
        let full = rebalance::assign(from, to, &node)?;
        full.into_iter().map(|shard| rebalance::start_move(shard, node.id)).collect()
    };
    SetOfIterator::new(assign().or_raise())
}

/// Lets two schemas share a shard; returns the migration that must end first, if any.
#[pg_extern(sql = false)]
fn helios_colocate(schema: Option<&str>, with: Option<&str>) -> Option<i64> {
    let colocate = || -> Result<Option<i64>> {
        let _path = transaction::SafePath::begin();
        rebalance::colocate(given(schema, "schema")?, given(with, "with")?)
    };
    colocate().or_raise()
}
