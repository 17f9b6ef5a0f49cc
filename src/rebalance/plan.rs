//! Current load of the cluster, the rebalance plan, and its execution.

use super::moves::start_move;
use crate::catalog::{self, Node, NodeId, Shard, ShardId};
use crate::error::Result;
use crate::pg::error::notify;
use crate::pg::session::subtransaction;
use crate::settings;
use crate::shared::node_health;
use crate::stats;
use helios_core::rebalance::{self as core, Bounds, Plan, Role};
use pgrx::PgLogLevel;
use std::collections::HashMap;
use std::rc::Rc;

/// Assumed transfer rate of a move, in bytes per second, until one has finished.
const USUAL_RATE: f64 = 30e6;

/// A plan with the data that it was computed from.
pub struct Prepared {
    /// The moves and their expected result.
    pub plan: Plan,
    /// Number of schemas in each shard.
    pub schemas: HashMap<i64, u64>,
    /// Measured transfer rate of moves, in bytes per second.
    pub rate: f64,
}

/// Reads schema sizes from the nodes and plans the next wave. A node that does not respond is left unchanged, with a
/// warning.
pub fn prepare() -> Result<Prepared> {
    let stats::Measured { sizes, silent } = stats::measure(None)?;
    stats::warn(&silent);
    let silent: Vec<NodeId> = silent.into_iter().map(|(node, _)| node).collect();
    let nodes = catalog::nodes()?;
    let nodes: Vec<core::Node> = nodes
        .iter()
        .map(|node| core::Node { id: node.id.0, weight: node.weight, role: role(node, &silent) })
        .collect();
    let shards: Vec<Shard> =
        catalog::shards()?.into_iter().filter(|shard| shard.schemas > 0).collect();
    let weights = stats::weights(&shards, &sizes)?;
    let describe = |shard: &Shard| {
        let weight = weights.get(&shard.id.0).copied().unwrap_or_default();
        core::Shard {
            id: shard.id.0,
            node: shard.node.0,
            // a schema without tables is treated like a small one
            bytes: weight.bytes.max(1.0),
            load: weight.load,
            is_movable: !shard.is_moving && !silent.contains(&shard.node),
        }
    };
    let described: Vec<core::Shard> = shards.iter().map(describe).collect();
    let plan = core::plan(&nodes, &described, &bounds());
    let schemas = shards.iter().map(|shard| (shard.id.0, shard.schemas)).collect();
    Ok(Prepared { plan, schemas, rate: catalog::migration_rate()?.unwrap_or(USUAL_RATE) })
}

fn bounds() -> Bounds {
    Bounds {
        max_movement: settings::MAX_MOVEMENT.get(),
        min_improvement: settings::MIN_IMPROVEMENT.get(),
    }
}

fn role(node: &Rc<Node>, silent: &[NodeId]) -> Role {
    let offline = || {
        let health = node_health::of(node.id.0);
        use crate::shared::node_health::State::{Offline, Silent};
        health.is_some_and(|health| matches!(health.state, Offline | Silent))
    };
    match node.state.as_str() {
        _ if node.is_foreign || silent.contains(&node.id) => Role::Closed,
        "draining" => Role::Draining,
        "offline" => Role::Closed,
        _ if !node.takes_schemas || offline() => Role::Closed,
        _ => Role::Open,
    }
}

/// Starts the moves of a plan in order; returns the migrations. A move that cannot be started is skipped with a
/// warning.
pub fn execute(plan: &Plan) -> Vec<i64> {
    let start = |shard, to| subtransaction::attempt(|| start_move(ShardId(shard), NodeId(to)));
    let mut migrations = Vec::new();
    for step in &plan.moves {
        match start(step.shard, step.to) {
            Ok(migration) => migrations.push(migration),
            Err(error) => {
                let line = format!("moving shard {}", step.shard);
                notify(PgLogLevel::WARNING, &error.context(line));
            }
        }
    }
    migrations
}
