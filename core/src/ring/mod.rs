//! The ring that spreads pooled shards over nodes.
//!
//! Job: say which node a key, or a shard, belongs to, such that few of them change hands when the
//! nodes change. Sources: Karger et al., "Consistent Hashing and Random Trees" (1997); Mirrokni,
//! Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2018).
//! Invariant: equal input gives equal output on every machine, whatever the order of the input.
//! Locks: none; the whole folder is pure.

mod assign;

#[cfg(test)]
mod tests;

pub use assign::{Held, Move, assign, rebalance_empty, shard_limit};

use std::io::Cursor;

/// Number of tokens of a node of weight 1, unless `helios.virtual_nodes` is set.
pub const VIRTUAL_NODES: u32 = 150;

/// A node that takes part in the ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// The node's id; its tokens depend on nothing else.
    pub id: i32,
    /// Its capacity, 1 by default. A member without a weight above zero is not on the ring.
    pub weight: f64,
}

impl Member {
    fn takes_part(&self) -> bool {
        self.weight.is_finite() && self.weight > 0.0
    }
}

/// Tokens in the order of their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ring {
    /// Hash and node. Equal hashes are ordered by node ID: the lower ID owns the arc.
    tokens: Vec<(u32, i32)>,
}

impl Ring {
    /// A ring of these members with `virtual_nodes` tokens per unit of weight (at least one per member).
    pub fn new(members: &[Member], virtual_nodes: u32) -> Self {
        let mut tokens = Vec::new();
        for member in members.iter().filter(|member| member.takes_part()) {
            let count = (member.weight * f64::from(virtual_nodes)).round().max(1.0) as u32;
            tokens.extend(
                (0..count).map(|i| (hash(format!("node/{}/{i}", member.id).as_bytes()), member.id)),
            );
        }
        tokens.sort_unstable();
        Ring { tokens }
    }

    /// The node of a key: that of the first token at or after the key's hash, around the ring. None if the ring has no
    /// members.
    pub fn owner(&self, key: &[u8]) -> Option<i32> {
        self.walk(key).next().map(|(_, id)| id)
    }

    /// The tokens from a key's hash on, once around: distance from the key, node.
    fn walk(&self, key: &[u8]) -> impl Iterator<Item = (u32, i32)> + '_ {
        let start = hash(key);
        let first = self.tokens.partition_point(|&(token, _)| token < start);
        let (before, after) = self.tokens.split_at(first);
        after.iter().chain(before).map(move |&(token, id)| (token.wrapping_sub(start), id))
    }
}

/// murmur3 x86_32 with seed 0.
fn hash(key: &[u8]) -> u32 {
    match murmur3::murmur3_32(&mut Cursor::new(key), 0) {
        Ok(hash) => hash,
        Err(error) => unreachable!("reading from memory failed: {error}"),
    }
}
