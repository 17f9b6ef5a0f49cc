//! Automatic balancing, run periodically by the database's worker.

use super::colocate::join_dedicated;
use super::plan::{execute, prepare};
use super::shards::{At, Merged, merge, split};
use crate::catalog::{self, NodeId, Shard, ShardId};
use crate::error::Result;
use crate::pg::error::notify;
use crate::pg::session::subtransaction;
use crate::settings;
use crate::stats;
use helios_core::rebalance::{Adjustment, Delays, Hysteresis, ShardLoad};
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::time::Instant;

/// State that the worker keeps between its runs.
pub struct Automatic {
    began: Instant,
    hysteresis: Hysteresis,
    nodes: Option<Vec<NodeId>>,
    /// A node has joined since the last plan.
    joined: bool,
}

impl Default for Automatic {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            hysteresis: Hysteresis::default(),
            nodes: None,
            joined: false,
        }
    }
}

impl Automatic {
    /// Whether balance should be checked at once: a node has joined, or a draining node is not empty yet.
    pub fn is_wanted(&mut self) -> Result<bool> {
        let nodes = catalog::nodes()?;
        let now: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
        if let Some(known) = self.nodes.replace(now.clone()) {
            self.joined |= now.iter().any(|node| !known.contains(node));
        }
        Ok((self.joined && settings::AUTO_REBALANCE.get()) || is_leaving()?)
    }

    /// Starts the next wave of moves if one is needed and none is in progress; returns the migrations.
    pub fn balance(&mut self) -> Result<Vec<i64>> {
        let is_leaving = is_leaving()?;
        let may = settings::AUTO_REBALANCE.get() || is_leaving;
        if !may || catalog::migrations_under_way()? > 0 {
            return Ok(Vec::new());
        }
        let plan = prepare()?.plan;
        let joined = std::mem::take(&mut self.joined);
        let uneven = plan.before.deviation > settings::MAX_VARIANCE.get();
        Ok(if uneven || joined || is_leaving { execute(&plan) } else { Vec::new() })
    }

    /// Splits and merges that are due.
    pub fn due(&mut self) -> Result<Vec<Adjustment>> {
        if !settings::AUTO_REBALANCE.get() {
            return Ok(Vec::new());
        }
        let shards = catalog::shards()?;
        let sizes = stats::known_sizes()?;
        let weights = stats::weights(&shards, &sizes)?;
        let bytes: f64 = weights.values().map(|weight| weight.bytes).sum();
        let load: f64 = weights.values().map(|weight| weight.load).sum();
        let part = |shard: &Shard| {
            let weight = weights.get(&shard.id.0).copied().unwrap_or_default();
            let of = |value: f64, all: f64| if all > 0.0 { value / all } else { 0.0 };
            let load = if load >= LITTLE { of(weight.load, load) } else { 0.0 };
            of(weight.bytes, bytes).max(load)
        };
        let measure = |shard: &Shard| {
            let bounds = shard.rectangle()?.clone();
            Some(ShardLoad {
                id: shard.id.0,
                node: shard.node.0,
                bounds,
                part: part(shard),
                schemas: shard.schemas,
                is_at_rest: !shard.is_moving,
            })
        };
        let loads: Vec<ShardLoad> = shards.iter().filter_map(measure).collect();
        let takes = |node: &&std::rc::Rc<catalog::Node>| node.takes_schemas;
        let nodes = catalog::nodes()?.iter().filter(takes).count();
        let least = usize::try_from(settings::INITIAL_SHARDS.get()).unwrap_or(1);
        let now = self.began.elapsed().as_secs_f64();
        let seconds = |setting: i32| f64::from(setting) / 1000.0;
        let delays = Delays {
            hot: seconds(settings::SPLIT_DELAY.get()),
            cold: seconds(settings::MERGE_DELAY.get()),
        };
        Ok(self.hysteresis.observe(now, &loads, nodes, least, delays))
    }

    /// Carries out one split or merge.
    pub fn carry_out(adjustment: Adjustment) -> Result<()> {
        match adjustment {
            Adjustment::Split(shard) => {
                let by_load = split(ShardId(shard), |_| Ok(At::Load));
                by_load.or_else(|_| split(ShardId(shard), |_| Ok(At::Bytes))).map(|_| ())
            }
            // One of them may have been moved since; then they are not merged.
            Adjustment::Merge(one, other) => merge(ShardId(one), ShardId(other)).map(|_| ()),
        }
    }
}

/// The threshold of the move planner, below which only bytes count.
const LITTLE: f64 = 0.05;

fn is_leaving() -> Result<bool> {
    let nodes = catalog::nodes()?;
    let draining: Vec<NodeId> =
        nodes.iter().filter(|node| node.state == "draining").map(|node| node.id).collect();
    let leaves = |shard: &Shard| shard.schemas > 0 && draining.contains(&shard.node);
    Ok(!draining.is_empty() && catalog::shards()?.iter().any(leaves))
}

/// Merges pooled shards; lets the schemas of dedicated ones share a shard.
fn combine(stays: &Shard, goes: &Shard) -> Result<Merged> {
    if stays.rectangle().is_some() || goes.rectangle().is_some() {
        return merge(stays.id, goes.id);
    }
    join_dedicated(stays, goes)?;
    Ok(Merged::Done(stays.id))
}

/// Merges shards that were waiting for a migration that has ended; returns pairs (remaining, removed). Shards that are
/// still on different nodes, or that can no longer be merged, stay separate.
pub fn finish_merges() -> Result<Vec<(ShardId, ShardId)>> {
    let mut joined = Vec::new();
    for (stays, goes, migration) in catalog::merges_due()? {
        let (one, other) = (catalog::shard(stays)?, catalog::shard(goes)?);
        let together = one.node == other.node;
        let outcome = together.then(|| subtransaction::attempt(|| combine(&one, &other)));
        match outcome {
            Some(Ok(Merged::Done(left))) => {
                joined.push((left, if left == stays { goes } else { stays }));
            }
            // currently in use
            Some(Err(error))
                if error.is(Code::ERRCODE_LOCK_NOT_AVAILABLE)
                    || error.is(Code::ERRCODE_OBJECT_IN_USE) =>
            {
                continue;
            }
            Some(Err(error)) => notify(PgLogLevel::LOG, &error),
            Some(Ok(Merged::NeedsMove { .. })) | None => {}
        }
        catalog::forget_merge(migration)?;
    }
    Ok(joined)
}
