//! Determines the node of a statement: locks its shards, and reads the placement again under the locks.

use crate::catalog::{self, NodeId, ShardId};
use crate::error::{Error, Result};
use crate::pg::exec::custom_scan::Attempt;
use crate::pg::session::{self, xact};
use crate::settings;
use crate::transaction::{self, snapshots};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};

/// Locks the shards of these namespaces and returns their common node.
///
/// Errors: 40001 if they are no longer on the same node or no longer on a node (they were moved after the statement was
/// planned).
pub fn locate(namespaces: impl Iterator<Item = Oid> + Clone) -> Result<NodeId> {
    locked_node(namespaces)?.ok_or_else(moved)
}

/// Like [`locate`], but a statement whose schemas were moved may be replanned with a new snapshot, which sees the rows
/// in their new place.
///
/// Errors: 40001 if they were moved and the transaction uses one snapshot for all of its statements.
pub fn locate_or_replan(namespaces: impl Iterator<Item = Oid> + Clone) -> Result<Attempt<NodeId>> {
    match locked_node(namespaces)? {
        Some(node) => Ok(Attempt::Done(node)),
        None if xact::has_one_snapshot() => Err(moved()),
        None => Ok(Attempt::Replan),
    }
}

/// None if they are no longer on the same node or no longer on a node.
fn locked_node(namespaces: impl Iterator<Item = Oid> + Clone) -> Result<Option<NodeId>> {
    transaction::refuse_standby()?;
    let mut locked: Vec<ShardId> = Vec::new();
    loop {
        let mut new = Vec::new();
        let mut nodes = Vec::new();
        for namespace in namespaces.clone() {
            let Some(placement) = catalog::placement(namespace)? else { return Ok(None) };
            if !locked.contains(&placement.shard) && !new.contains(&placement.shard) {
                new.push(placement.shard);
            }
            nodes.push(placement.node);
        }
        // A placement read under the locks stays valid until the transaction ends.
        if new.is_empty() {
            let Some(&first) = nodes.first() else { return Ok(None) };
            if nodes.iter().any(|node| *node != first) {
                return Ok(None);
            }
            if snapshots::is_shared() {
                for namespace in namespaces.clone().filter_map(session::namespace_name) {
                    snapshots::check_place(&namespace, first)?;
                }
            }
            if settings::SYNCHRONOUS_REPLICAS.get() {
                for &shard in &locked {
                    transaction::expect_replicas(first, &catalog::replicas(shard)?);
                }
            }
            return Ok(Some(first));
        }
        new.sort_by_key(|shard| shard.0);
        for &shard in &new {
            catalog::lock_shard_shared(shard);
        }
        locked.extend(new);
    }
}

fn moved() -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "a distributed schema was moved after the statement was planned",
    )
    .hint("Run the transaction again.")
}
