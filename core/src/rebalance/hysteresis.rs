//! Decides which shards to split or merge automatically, after a delay, so that a single busy or idle minute has no
//! effect.

use crate::shard::Rectangle;
use std::collections::{HashMap, HashSet};

/// A shard with this fraction of a node's fair share shall be split.
const HOT: f64 = 0.8;
/// Two adjacent shards that together have this fraction of the mean shard's load shall be merged.
const COLD: f64 = 0.3;

/// For how many seconds a shard must be hot, or a pair cold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delays {
    /// Before a split (`helios.split_delay`).
    pub hot: f64,
    /// Before a merge (`helios.merge_delay`).
    pub cold: f64,
}

/// A pooled shard at one point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardLoad {
    /// Its id.
    pub id: i64,
    /// Its node.
    pub node: i32,
    /// Its bounds.
    pub bounds: Rectangle,
    /// Its fraction of the whole cluster's load, 0 to 1.
    pub part: f64,
    /// How many schemas it holds.
    pub schemas: u64,
    /// No operation on it is in progress.
    pub is_at_rest: bool,
}

/// An adjustment to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Split this shard.
    Split(i64),
    /// Merge these two adjacent shards on the same node.
    Merge(i64, i64),
}

/// Since when shards have been hot, and pairs of them cold.
#[derive(Debug, Clone, Default)]
pub struct Hysteresis {
    hot: HashMap<i64, f64>,
    cold: HashMap<(i64, i64), f64>,
}

impl Hysteresis {
    /// Observes all pooled shards. `now`: seconds since any point in time; `nodes`: number of nodes that share the
    /// load; `least`: minimum number of shards after merging. A shard is in at most one adjustment, and its timer is
    /// then reset.
    pub fn observe(
        &mut self,
        now: f64,
        shards: &[ShardLoad],
        nodes: usize,
        least: usize,
        delays: Delays,
    ) -> Vec<Adjustment> {
        let fair = 1.0 / nodes.max(1) as f64;
        let hot = shards.iter().filter(|s| s.is_at_rest && s.schemas > 1 && s.part >= HOT * fair);
        let hot: HashSet<i64> = hot.map(|shard| shard.id).collect();
        let mean = 1.0 / shards.len().max(1) as f64;
        let cold = neighbours(shards).filter(|(a, b)| a.part + b.part <= COLD * mean);
        let cold: Vec<(i64, i64)> = cold.map(|(a, b)| (a.id, b.id)).collect();
        self.hot.retain(|id, _| hot.contains(id));
        self.cold.retain(|pair, _| cold.contains(pair));

        let mut adjustments = Vec::new();
        for shard in shards.iter().filter(|shard| hot.contains(&shard.id)) {
            if now - *self.hot.entry(shard.id).or_insert(now) >= delays.hot {
                self.hot.remove(&shard.id);
                adjustments.push(Adjustment::Split(shard.id));
            }
        }
        let (mut left, mut busy) = (shards.len(), HashSet::new());
        for (a, b) in cold {
            let since = now - *self.cold.entry((a, b)).or_insert(now);
            if since >= delays.cold && left > least && !busy.contains(&a) && !busy.contains(&b) {
                self.cold.remove(&(a, b));
                busy.extend([a, b]);
                left -= 1;
                adjustments.push(Adjustment::Merge(a, b));
            }
        }
        adjustments
    }
}

/// Mergeable pairs on the same node: each shard with the next one in order.
fn neighbours(shards: &[ShardLoad]) -> impl Iterator<Item = (&ShardLoad, &ShardLoad)> {
    let mut sorted: Vec<&ShardLoad> = shards.iter().collect();
    let place = |shard: &ShardLoad| (shard.bounds.slots.start, shard.bounds.keys.from.clone());
    sorted.sort_by_cached_key(|shard| place(shard));
    let pairs: Vec<_> = sorted.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs.into_iter().filter(|(a, b)| {
        a.node == b.node && a.is_at_rest && b.is_at_rest && a.bounds.join(&b.bounds).is_some()
    })
}
