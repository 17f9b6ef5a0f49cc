//! Reads from replicas (`helios.read_from = 'any'`).
//!
//! The shard's lock, which the statement already holds, keeps a replica listed in the directory from being removed or
//! promoted; its lag is in shared memory.

use crate::catalog::{self, NodeId, Replica};
use crate::error::Result;
use crate::pg::session;
use crate::settings;
use crate::shared::node_health::{self, State};
use crate::shared::replica_states;
use pgrx::pg_sys::Oid;
use std::cell::Cell;

thread_local! {
    /// Number of statements sent to replicas, for a round robin among them.
    static TURN: Cell<usize> = Cell::new(std::process::id() as usize);
}

/// A node with replicas of all these schemas within the maximum lag, if there is one and the session wants to read from
/// replicas. The schemas' shards are locked.
pub fn near(namespaces: impl Iterator<Item = Oid>) -> Result<Option<NodeId>> {
    let mut nodes: Option<Vec<NodeId>> = None;
    for namespace in namespaces {
        let Some(place) = catalog::placement(namespace)? else { return Ok(None) };
        let replicas = catalog::replicas(place.shard)?;
        let here: Vec<NodeId> = replicas
            .iter()
            .filter(|replica| is_near(replica))
            .map(|replica| replica.node)
            .collect();
        match &mut nodes {
            None => nodes = Some(here),
            Some(nodes) => nodes.retain(|node| here.contains(node)),
        }
    }
    let nodes = nodes.unwrap_or_default();
    let turn = TURN.get();
    TURN.set(turn.wrapping_add(1));
    Ok(turn.checked_rem(nodes.len()).and_then(|at| nodes.get(at)).copied())
}

fn is_near(replica: &Replica) -> bool {
    let answers = node_health::of(replica.node.0)
        .is_none_or(|health| !matches!(health.state, State::Offline | State::Silent));
    let bound = i64::from(settings::MAX_REPLICA_LAG.get()) * 1000;
    let near = |state: replica_states::State| {
        state.degraded == 0 && session::clock() - state.complete_until <= bound
    };
    answers && replica_states::of(replica.migration).is_some_and(near)
}
