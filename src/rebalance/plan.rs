//! The cluster as it is, a plan for it, and its execution.

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

/// Bytes a second that a move is taken to make when none has finished yet.
const USUAL_RATE: f64 = 30e6;

/// A plan, with what it was made from.
pub struct Prepared {
    /// The moves, and what they come to.
    pub plan: Plan,
    /// How many schemas each shard holds.
    pub schemas: HashMap<i64, u64>,
    /// Bytes a second that moves have made so far.
    pub rate: f64,
}

/// Asks the nodes for their sizes and plans the next wave. A node that does not answer is left as it is, with a
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
            // what holds no table yet is moved like what holds little
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

/// Starts the moves of a plan, in order; gives the migrations. A move that cannot be started is left out, with a
/// warning that says why.
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
