//! Moves that reduce the load of every node to one level.

use super::{Chosen, Cluster};

/// A smaller excess, as a fraction of the level, is ignored, because moving another shard would have no noticeable
/// effect.
const SLACK: f64 = 0.005;
/// Number of fitting shards among which the one with the greatest benefit per byte is chosen.
const LOOKED_AT: usize = 16;
/// Factor by which a shard's benefit per byte must exceed that of a larger one to be preferred.
const MUCH_BETTER: f64 = 1.1;

/// Shards of each open node, lightest first.
pub struct Level<'a> {
    cluster: &'a Cluster<'a>,
    sorted: Vec<Vec<usize>>,
}

impl<'a> Level<'a> {
    pub fn new(cluster: &'a Cluster<'a>) -> Self {
        let mut sorted = vec![Vec::new(); cluster.open.len()];
        for (shard, place) in cluster.places.iter().enumerate() {
            let weighs = cluster.weights[shard] > 0.0;
            if let (Some(node), true, true) = (place, weighs, cluster.shards[shard].is_movable) {
                sorted[*node].push(shard);
            }
        }
        for shards in &mut sorted {
            shards.sort_by(|&a, &b| {
                (cluster.weights[a].total_cmp(&cluster.weights[b]))
                    .then(cluster.shards[b].id.cmp(&cluster.shards[a].id))
            });
        }
        Level { cluster, sorted }
    }

    /// The moves after which no node carries more than `level` per unit of its capacity, as far as its shards allow.
    /// The fullest node comes first.
    pub fn moves(&self, level: f64) -> Vec<Chosen> {
        let mut carried = self.cluster.carried.clone();
        let mut stock: Vec<Stock> =
            self.sorted.iter().map(|shards| Stock::new(shards.len())).collect();
        let mut done = vec![false; carried.len()];
        let mut moves = Vec::new();
        loop {
            let fill = |node: usize| carried[node] / self.cluster.open[node].weight;
            let above = |node: &usize| !done[*node] && fill(*node) > level * (1.0 + SLACK);
            let fullest =
                (0..carried.len()).filter(above).max_by(|&a, &b| fill(a).total_cmp(&fill(b)));
            let Some(from) = fullest else { return moves };
            match self.next(from, level, &carried, &mut stock[from]) {
                Some((at, to)) => {
                    let shard = self.sorted[from][at];
                    stock[from].take(at);
                    carried[from] -= self.cluster.weights[shard];
                    carried[to] += self.cluster.weights[shard];
                    moves.push((shard, to));
                }
                None => done[from] = true,
            }
        }
    }

    /// The next shard to be moved away from a node, by its position among the node's shards, and its target.
    fn next(
        &self,
        from: usize,
        level: f64,
        carried: &[f64],
        stock: &mut Stock,
    ) -> Option<(usize, usize)> {
        let Cluster { weights, open, .. } = self.cluster;
        let shards = &self.sorted[from];
        let emptiest = |weight: f64| {
            let filled = |node: usize| (carried[node] + weight) / open[node].weight;
            let others = (0..open.len()).filter(|node| *node != from);
            others.min_by(|&a, &b| filled(a).total_cmp(&filled(b)))
        };
        // the target with the most free capacity up to the level
        let room = |node: usize| level * open[node].weight - carried[node];
        let widest = (0..open.len()).filter(|node| *node != from).map(room).fold(0.0, f64::max);
        let excess = -room(from);
        let fits = excess.min(widest);
        let end = shards.partition_point(|&shard| weights[shard] <= fits);
        if let Some(at) = self.best(shards, end, stock) {
            let weight = weights[shards[at]];
            let to = emptiest(weight).filter(|&to| weight <= room(to));
            let widest = || {
                (0..open.len()).filter(|n| *n != from).max_by(|&a, &b| room(a).total_cmp(&room(b)))
            };
            return Some((at, to.or_else(widest)?));
        }
        // nothing fits: the lightest remaining one, if that improves the fullest node
        let at = (end..shards.len()).find(|&at| !stock.is_taken(at))?;
        let weight = weights[shards[at]];
        let to = emptiest(weight)?;
        let after = (carried[to] + weight) / open[to].weight;
        (after < carried[from] / open[from].weight * (1.0 - SLACK)).then_some((at, to))
    }

    /// The shard to be moved, among the largest remaining ones before this position.
    fn best(&self, shards: &[usize], end: usize, stock: &mut Stock) -> Option<usize> {
        let worth = |at: usize| {
            let shard = shards[at];
            self.cluster.weights[shard] / self.cluster.shards[shard].bytes.max(1.0)
        };
        let largest = stock.last_before(end)?;
        let mut best = (worth(largest), largest);
        let mut at = largest;
        for _ in 1..LOOKED_AT {
            let Some(next) = stock.last_before(at) else { break };
            // much lighter ones would only cause more moves
            if self.cluster.weights[shards[next]] * 2.0 < self.cluster.weights[shards[largest]] {
                break;
            }
            if worth(next) > best.0 * MUCH_BETTER {
                best = (worth(next), next);
            }
            at = next;
        }
        Some(best.1)
    }
}

/// The remaining shards of a node: a union-find over positions, after Tarjan (1975), with path halving.
struct Stock {
    /// For position + 1: itself if the shard remains, otherwise a position further left; 0 is the end.
    left: Vec<u32>,
}

impl Stock {
    fn new(count: usize) -> Self {
        Stock { left: (0..=count as u32).collect() }
    }

    fn take(&mut self, at: usize) {
        self.left[at + 1] = at as u32;
    }

    fn is_taken(&self, at: usize) -> bool {
        self.left[at + 1] != at as u32 + 1
    }

    /// The last remaining position before this one.
    fn last_before(&mut self, end: usize) -> Option<usize> {
        let mut at = end;
        while self.left[at] as usize != at {
            let next = self.left[self.left[at] as usize];
            self.left[at] = next;
            at = next as usize;
        }
        at.checked_sub(1)
    }
}
