//! Assigns shards to nodes with bounded loads.

use super::{Member, Ring};
use std::collections::{BTreeMap, BTreeSet};

/// No node gets more than this many times its share of the shards.
const BOUND: f64 = 1.25;

/// A shard and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The shard's id.
    pub shard: i64,
    /// The node it is on.
    pub node: i32,
    /// Whether it contains no schemas, so that it moves by changing the directory only.
    pub empty: bool,
}

/// A shard to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// The shard's id.
    pub shard: i64,
    /// Its current node.
    pub from: i32,
    /// Its new node.
    pub to: i32,
}

/// Maximum number of shards of a member, out of `shards`: 1.25 times its share by weight, rounded up.
pub fn shard_limit(member: &Member, members: &[Member], shards: usize) -> usize {
    (BOUND * share(member, members, shards)).ceil() as usize
}

fn share(member: &Member, members: &[Member], shards: usize) -> f64 {
    let total: f64 = members.iter().filter(|m| m.takes_part()).map(|m| m.weight).sum();
    if member.takes_part() { shards as f64 * member.weight / total } else { 0.0 }
}

/// Assigns shards to members from scratch: each goes to the first node on the ring after its hash that is below its
/// limit, in the order of IDs. Empty if there are no members.
pub fn assign(shards: &[i64], members: &[Member], virtual_nodes: u32) -> Vec<(i64, i32)> {
    let shards: BTreeSet<i64> = shards.iter().copied().collect();
    let mut plan = Plan::new(members, virtual_nodes, shards.len(), &[]);
    shards.into_iter().filter_map(|shard| Some((shard, plan.place(shard)?))).collect()
}

/// Which empty shards move, and where, when the members of the ring are these:
///
/// - those on a node that is no member go to their place on the ring;
/// - a member that holds no shard is new and takes its share from the old members: first what they
///   hold above their limits, then what the ring gives it, up to its limit; and if that is less
///   than its share, more from the fullest. No old member gives more than
///   what it holds above its share. Nothing moves between old members.
///
/// Shards that are not empty count, and stay. Moves come in the order of the shards' ids.
pub fn rebalance_empty(current: &[Held], members: &[Member], virtual_nodes: u32) -> Vec<Move> {
    let held: BTreeMap<i64, Held> = current.iter().map(|held| (held.shard, *held)).collect();
    let current: Vec<Held> = held.into_values().collect();
    let mut plan = Plan::new(members, virtual_nodes, current.len(), &current);
    let new: Vec<i32> = plan.nodes.iter().filter(|(_, n)| n.load == 0).map(|(&id, _)| id).collect();
    let mut moves = plan.house(&current);
    let mut movable: Vec<Held> = current
        .into_iter()
        .filter(|held| held.empty && plan.nodes.contains_key(&held.node))
        .collect();
    for id in new {
        plan.fill(id, &mut movable, &mut moves);
    }
    moves.sort_unstable();
    moves
}

struct Node {
    load: usize,
    limit: usize,
    /// Its share, rounded down.
    share: usize,
    weight: f64,
}

impl Node {
    fn is_full(&self) -> bool {
        self.load >= self.limit
    }
}

struct Plan {
    ring: Ring,
    nodes: BTreeMap<i32, Node>,
}

impl Plan {
    fn new(members: &[Member], virtual_nodes: u32, shards: usize, current: &[Held]) -> Self {
        let node = |member: &Member| Node {
            load: current.iter().filter(|held| held.node == member.id).count(),
            limit: shard_limit(member, members, shards),
            share: share(member, members, shards).floor() as usize,
            weight: member.weight,
        };
        let taking_part = members.iter().filter(|member| member.takes_part());
        Plan {
            ring: Ring::new(members, virtual_nodes),
            nodes: taking_part.map(|member| (member.id, node(member))).collect(),
        }
    }

    /// Counts a shard on its node of the ring, and returns that node.
    fn place(&mut self, shard: i64) -> Option<i32> {
        let open = |id: &i32| self.nodes.get(id).is_some_and(|node| !node.is_full());
        let id = self.ring.walk(&ring_key(shard)).map(|(_, id)| id).find(open)?;
        self.nodes.get_mut(&id)?.load += 1;
        Some(id)
    }

    /// Assigns the empty shards of nodes that are not members.
    fn house(&mut self, current: &[Held]) -> Vec<Move> {
        let mut moves = Vec::new();
        for held in current {
            if held.empty
                && !self.nodes.contains_key(&held.node)
                && let Some(to) = self.place(held.shard)
            {
                moves.push(Move { shard: held.shard, from: held.node, to });
            }
        }
        moves
    }

    /// Assigns shards to a new member, out of `movable`, in which the shards that old members keep remain.
    fn fill(&mut self, new: i32, movable: &mut Vec<Held>, moves: &mut Vec<Move>) {
        // distance on the ring to the new member's next token, and whether the shard is its own
        let distance = |held: &Held| {
            let mut walk = self.ring.walk(&ring_key(held.shard));
            let own = self.ring.owner(&ring_key(held.shard)) == Some(new);
            (!own, walk.find(|&(_, id)| id == new).map(|(far, _)| far), held.shard)
        };
        movable.sort_by_cached_key(distance);
        let own: BTreeSet<i64> = movable
            .iter()
            .filter(|held| self.ring.owner(&ring_key(held.shard)) == Some(new))
            .map(|held| held.shard)
            .collect();
        while let Some(index) = self.next_for(new, movable, &own) {
            let held = movable.remove(index);
            if let Some(node) = self.nodes.get_mut(&held.node) {
                node.load -= 1;
            }
            if let Some(node) = self.nodes.get_mut(&new) {
                node.load += 1;
            }
            moves.push(Move { shard: held.shard, from: held.node, to: new });
        }
    }

    /// The next shard for the new member; None if it has enough.
    fn next_for(&self, new: i32, movable: &[Held], own: &BTreeSet<i64>) -> Option<usize> {
        let node = self.nodes.get(&new)?;
        if node.is_full() {
            return None;
        }
        let donor = self.fullest(movable)?;
        let from_donor = || movable.iter().position(|held| held.node == donor);
        let giver = self.nodes.get(&donor)?;
        if giver.load > giver.limit {
            return from_donor();
        }
        let rich = |id: i32| self.nodes.get(&id).is_some_and(|node| node.load > node.share);
        let owned = movable.iter().position(|held| own.contains(&held.shard) && rich(held.node));
        if owned.is_some() {
            return owned;
        }
        if node.load < node.share && rich(donor) { from_donor() } else { None }
    }

    /// The member with the most shards relative to its weight among those with shards to give.
    fn fullest(&self, movable: &[Held]) -> Option<i32> {
        let givers: BTreeSet<i32> = movable.iter().map(|held| held.node).collect();
        let load = |id: &i32| self.nodes.get(id).map_or(0.0, |n| n.load as f64 / n.weight);
        let over = |id: &i32| self.nodes.get(id).is_some_and(|n| n.load > n.limit);
        givers
            .into_iter()
            .max_by(|a, b| (over(a).cmp(&over(b))).then(load(a).total_cmp(&load(b))).then(b.cmp(a)))
    }
}

/// The hash key of a shard on the ring.
fn ring_key(shard: i64) -> Vec<u8> {
    format!("shard/{shard}").into_bytes()
}
