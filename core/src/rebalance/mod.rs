//! Plans which shards move where, so that the nodes are loaded according to their capacity.
//!
//! Job: given nodes and shards, compute an ordered plan of moves within limits; and given statistics of shards over
//! time, decide which ones to split or merge.
//! Invariant: a plan moves no more bytes than its bounds allow, moves a shard once, never onto a node that is not open,
//! and never makes the fullest node fuller; equal input gives an equal plan.
//! Locks: none; the whole folder is pure.
//!
//! The weight of a shard is its part of the cluster's load and of its bytes, half each (bytes alone while the cluster is
//! idle). A node's fair share is its part of the capacity of all open nodes.
//!
//! The moves are derived from a level: every node above it gives away its excess, largest shards first, to the emptiest
//! node. The lowest level that the budget allows is found by bisection. Sources: Graham, "Bounds on Multiprocessing
//! Timing Anomalies" (1969) for the order; Aggarwal, Motwani, Zhu, "The Load Rebalancing Problem" (2003) for the
//! threshold.

mod hysteresis;
mod level;

#[cfg(test)]
mod hysteresis_tests;
#[cfg(test)]
mod tests;

pub use hysteresis::{Adjustment, Delays, Hysteresis, ShardLoad};

use level::Level;
use std::collections::BTreeMap;

/// Below this load (seconds of statements per second, for the whole cluster) only bytes count, because so little
/// activity has no predictive value.
const IDLE: f64 = 0.05;

/// Role of a node in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It gives away and accepts shards.
    Open,
    /// It keeps its shards, and is not considered.
    Closed,
    /// It gives away all of its shards.
    Draining,
}

/// A node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// Its capacity, greater than zero; 1 is the default.
    pub weight: f64,
    /// What it does.
    pub role: Role,
}

/// A shard with schemas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shard {
    /// Its id.
    pub id: i64,
    /// The node that it is on.
    pub node: i32,
    /// Its size in bytes.
    pub bytes: f64,
    /// Its load in seconds of statements per second.
    pub load: f64,
    /// Whether it can be moved now.
    pub is_movable: bool,
}

/// Limits of a plan, and its minimum benefit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Fraction of the cluster's bytes that a plan may move (`helios.max_movement`).
    pub max_movement: f64,
    /// Minimum reduction of the greatest deviation from a fair share, in fair shares (`helios.min_improvement`).
    pub min_improvement: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { max_movement: 0.1, min_improvement: 0.1 }
    }
}

/// Distribution of the load among open nodes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Balance {
    /// The fullest node's load relative to its fair share: 1 is even.
    pub fullest: f64,
    /// The greatest deviation of a node from its fair share, relative to that.
    pub deviation: f64,
}

/// One shard's move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// The shard.
    pub shard: i64,
    /// Where it is.
    pub from: i32,
    /// Where it goes.
    pub to: i32,
    /// Its size in bytes.
    pub bytes: f64,
    /// Its load.
    pub load: f64,
    /// The balance before this move, after all previous ones.
    pub before: Balance,
    /// The balance after it.
    pub after: Balance,
}

/// Assessment of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The moves are worthwhile.
    Worthwhile,
    /// The possible moves have too little benefit; the plan is empty.
    TooLittle,
    /// No move would be an improvement.
    Even,
}

/// The moves of one wave.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In this order.
    pub moves: Vec<Move>,
    /// Approximate number of waves of this size until nothing is left to do, including this one.
    pub waves: u32,
    /// Its assessment.
    pub verdict: Verdict,
    /// Shards that exceed their node's fair share, which should be split or moved to a node with more capacity.
    pub too_big: Vec<i64>,
    /// The balance before.
    pub before: Balance,
    /// The balance after all moves.
    pub after: Balance,
}

/// Computes the plan for the cluster's current state. Draining nodes come first: as long as they have shards, only
/// these are moved, regardless of the balance.
///
/// Time: sorting the shards, and a pass over the moving ones for each of about twenty levels.
pub fn plan(nodes: &[Node], shards: &[Shard], bounds: &Bounds) -> Plan {
    let cluster = Cluster::new(nodes, shards);
    let bytes: f64 = cluster.shards.iter().map(|shard| shard.bytes).sum();
    let budget = bytes * bounds.max_movement;
    let too_big = cluster.too_big();
    let before = cluster.balance(&cluster.carried);
    let none = |verdict| Plan {
        moves: Vec::new(),
        waves: 0,
        verdict,
        too_big: too_big.clone(),
        before,
        after: before,
    };
    if cluster.open.is_empty() {
        return none(Verdict::Even);
    }
    let leaving = cluster.leaving();
    if !leaving.is_empty() {
        let (wave, _) = cluster.first_wave(&leaving, budget);
        let waves = cluster.count_waves(&leaving, budget);
        return cluster.finished(wave, waves, too_big);
    }
    let (chosen, waves) = cluster.level(budget);
    if chosen.is_empty() {
        return none(Verdict::Even);
    }
    let plan = cluster.finished(chosen, waves, too_big.clone());
    // what rounding hides is no gain
    match before.deviation - plan.after.deviation >= bounds.min_improvement - 1e-9 {
        true => plan,
        false => none(Verdict::TooLittle),
    }
}

/// A shard, by its position in the list, and the open node to which it moves.
type Chosen = (usize, usize);

/// The planner's view of the cluster.
struct Cluster<'a> {
    shards: &'a [Shard],
    /// Weight of each shard; the sum is about 1.
    weights: Vec<f64>,
    /// Open nodes, by ID.
    open: Vec<Node>,
    /// The open node of each shard.
    places: Vec<Option<usize>>,
    /// Load of each open node.
    carried: Vec<f64>,
    /// Fair load of an open node of weight 1: the total load divided by the total capacity.
    fair: f64,
    draining: Vec<i32>,
}

impl<'a> Cluster<'a> {
    fn new(nodes: &[Node], shards: &'a [Shard]) -> Self {
        let mut open: Vec<Node> =
            nodes.iter().filter(|n| n.role == Role::Open && n.weight > 0.0).copied().collect();
        open.sort_by_key(|node| node.id);
        let draining: Vec<i32> =
            nodes.iter().filter(|n| n.role == Role::Draining).map(|n| n.id).collect();
        let index: BTreeMap<i32, usize> = open.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
        let places: Vec<_> = shards.iter().map(|shard| index.get(&shard.node).copied()).collect();
        let weights = weights(shards);
        let mut carried = vec![0.0; open.len()];
        let mut total = 0.0;
        for ((shard, place), weight) in shards.iter().zip(&places).zip(&weights) {
            if let Some(place) = place {
                carried[*place] += weight;
            }
            if place.is_some() || draining.contains(&shard.node) {
                total += weight;
            }
        }
        let fair = total / open.iter().map(|node| node.weight).sum::<f64>();
        Cluster { shards, weights, open, places, carried, fair, draining }
    }

    fn share(&self, node: usize) -> f64 {
        self.fair * self.open[node].weight
    }

    fn balance(&self, carried: &[f64]) -> Balance {
        let mut balance = Balance::default();
        for (node, carried) in carried.iter().enumerate() {
            let part = if self.fair > 0.0 { carried / self.share(node) } else { 1.0 };
            balance.fullest = balance.fullest.max(part);
            balance.deviation = balance.deviation.max((part - 1.0).abs());
        }
        balance
    }

    fn too_big(&self) -> Vec<i64> {
        let big = |i: &usize| {
            let place = self.places[*i];
            place.is_some_and(|node| self.weights[*i] > self.share(node))
        };
        (0..self.shards.len()).filter(big).map(|i| self.shards[i].id).collect()
    }

    /// Shards to be moved away from draining nodes, largest first, each to the emptiest node at that point.
    fn leaving(&self) -> Vec<Chosen> {
        let leaves =
            |i: &usize| self.shards[*i].is_movable && self.draining.contains(&self.shards[*i].node);
        let mut leaving: Vec<usize> = (0..self.shards.len()).filter(leaves).collect();
        leaving.sort_by(|&a, &b| {
            (self.weights[b].total_cmp(&self.weights[a]))
                .then(self.shards[a].id.cmp(&self.shards[b].id))
        });
        let mut carried = self.carried.clone();
        let mut counts = vec![0usize; self.open.len()];
        let place = |shard: usize| {
            let filled =
                |node: usize| (carried[node] + self.weights[shard]) / self.open[node].weight;
            let best = (0..self.open.len())
                .min_by(|&a, &b| filled(a).total_cmp(&filled(b)).then(counts[a].cmp(&counts[b])))?;
            carried[best] += self.weights[shard];
            counts[best] += 1;
            Some((shard, best))
        };
        leaving.into_iter().filter_map(place).collect()
    }

    /// The moves within the budget, and the rest; at least one, because a large shard could never leave otherwise.
    fn first_wave(&self, moves: &[Chosen], budget: f64) -> (Vec<Chosen>, Vec<Chosen>) {
        let (mut left, mut is_first) = (budget, true);
        moves.iter().partition(|(shard, _)| {
            let bytes = self.shards[*shard].bytes;
            let fits = bytes <= left || is_first;
            if fits {
                left -= bytes;
            }
            is_first = false;
            fits
        })
    }

    fn count_waves(&self, moves: &[Chosen], budget: f64) -> u32 {
        let mut rest = moves.to_vec();
        let mut waves = 0;
        while !rest.is_empty() {
            rest = self.first_wave(&rest, budget).1;
            waves += 1;
        }
        waves
    }

    /// The moves for the lowest level within the budget, and the number of waves needed to level everything.
    fn level(&self, budget: f64) -> (Vec<Chosen>, u32) {
        let level = Level::new(self);
        let even = level.moves(self.fair);
        let bytes = |moves: &[Chosen]| moves.iter().map(|m| self.shards[m.0].bytes).sum::<f64>();
        let waves = (bytes(&even) / budget.max(f64::MIN_POSITIVE)).ceil().clamp(1.0, 1e6) as u32;
        if bytes(&even) <= budget {
            return (even, waves);
        }
        let fill = |node: usize| self.carried[node] / self.open[node].weight;
        let fullest = (0..self.open.len()).map(fill).fold(self.fair, f64::max);
        let (mut low, mut high) = (self.fair, fullest);
        let mut best = Vec::new();
        for _ in 0..20 {
            let middle = low.midpoint(high);
            let moves = level.moves(middle);
            if bytes(&moves) <= budget {
                (best, high) = (moves, middle);
            } else {
                low = middle;
            }
        }
        (best, waves.max(1))
    }

    /// The moves with their effects.
    fn finished(&self, chosen: Vec<Chosen>, waves: u32, too_big: Vec<i64>) -> Plan {
        let mut carried = self.carried.clone();
        let first = self.balance(&carried);
        let mut before = first;
        let mut moves = Vec::with_capacity(chosen.len());
        for (shard, to) in chosen {
            if let Some(from) = self.places[shard] {
                carried[from] -= self.weights[shard];
            }
            carried[to] += self.weights[shard];
            let after = self.balance(&carried);
            let Shard { id, node: from, bytes, load, .. } = self.shards[shard];
            moves.push(Move { shard: id, from, to: self.open[to].id, bytes, load, before, after });
            before = after;
        }
        Plan { moves, waves, verdict: Verdict::Worthwhile, too_big, before: first, after: before }
    }
}

/// The weight of each shard.
fn weights(shards: &[Shard]) -> Vec<f64> {
    let sum = |of: fn(&Shard) -> f64| shards.iter().map(of).sum::<f64>();
    let (bytes, load) = (sum(|shard| shard.bytes), sum(|shard| shard.load));
    let part = |value: f64, total: f64| if total > 0.0 { value / total } else { 0.0 };
    let weight = |shard: &Shard| match (bytes > 0.0, load >= IDLE) {
        (true, true) => (part(shard.bytes, bytes) + part(shard.load, load)) / 2.0,
        (false, true) => part(shard.load, load),
        _ => part(shard.bytes, bytes),
    };
    shards.iter().map(weight).collect()
}
