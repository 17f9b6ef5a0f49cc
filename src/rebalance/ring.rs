//! Placement of empty shards, which are moved by changing the directory only.

use crate::catalog::{self, Node, NodeId, ShardId};
use crate::error::Result;
use crate::settings;
use helios_core::ring::{self, Held, Member};
use std::rc::Rc;

/// Assigns the ring's nodes their shares of the empty shards.
pub fn place_empty_shards(nodes: &[Rc<Node>]) -> Result<()> {
    let takes = |node: &&Rc<Node>| !node.is_local && node.takes_schemas && node.state != "draining";
    let mut members: Vec<Member> = nodes
        .iter()
        .filter(takes)
        .map(|node| Member { id: node.id.0, weight: node.weight })
        .collect();
    if members.is_empty() {
        members.push(Member { id: NodeId::LOCAL.0, weight: 1.0 });
    }
    let held = || -> Result<Vec<Held>> {
        let shards = catalog::shards()?.into_iter();
        let pooled = shards.filter(|shard| shard.rectangle().is_some());
        Ok(pooled
            .map(|shard| Held { shard: shard.id.0, node: shard.node.0, empty: shard.schemas == 0 })
            .collect())
    };
    let tokens = u32::try_from(settings::VIRTUAL_NODES.get()).unwrap_or(ring::VIRTUAL_NODES);
    for shard in held()?.iter().filter(|shard| shard.empty) {
        catalog::lock_shard_exclusive(ShardId(shard.shard));
    }
    // A schema may have been created in one of them while waiting for the locks.
    let moves = ring::rebalance_empty(&held()?, &members, tokens);
    let moves: Vec<_> = moves.iter().map(|m| (ShardId(m.shard), NodeId(m.to))).collect();
    catalog::move_shards(&moves)
}
