//! Runs a statement on its node and brings its rows to where they belong.
//!
//! Invariant: the placement is read again after the shard's lock is held, and the statement goes to what was read then.
//! Rows go to the client as they came wherever that gives the same bytes; memory does not grow with a result.
//!
//! Locks: shards in share mode, in the order of their ids, until the end of the transaction.

pub mod copy;
pub mod explain;
pub mod function_calls;
pub mod reference;
pub mod reference_change;
pub mod reference_text;
pub mod replica_reads;
pub mod run;
pub mod scan;
pub mod types;
pub mod utility;
pub mod value;

use crate::catalog::{self, NodeId, ShardId};
use crate::error::{Error, Result};
use crate::pg::exec::nesting;
use crate::pg::session::{self, client, xact};
use crate::settings;
use crate::transaction::{self, Mode, snapshots};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};
use std::cell::Cell;

/// Locks the shards of these namespaces and gives the one node that they are on.
///
/// Errors: 40001 if they are no longer together or no longer on a node (they moved after the statement was planned).
pub fn locate(namespaces: impl Iterator<Item = Oid> + Clone) -> Result<NodeId> {
    locked_node(namespaces)?.ok_or_else(moved)
}

/// As [`locate`]; None if they moved and the statement may be planned again, which takes a snapshot that sees the rows
/// where they are now.
///
/// Errors: 40001 if they moved, and the transaction has one snapshot for all of its statements.
pub fn locate_or_plan_anew(
    namespaces: impl Iterator<Item = Oid> + Clone,
) -> Result<Option<NodeId>> {
    match locked_node(namespaces)? {
        None if xact::has_one_snapshot() => Err(moved()),
        node => Ok(node),
    }
}

/// None if they are no longer together or no longer on a node.
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
        // What was read under the locks holds until the transaction ends.
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
        "a distributed schema moved after the statement was planned",
    )
    .hint("Run the transaction again.")
}

thread_local! {
    static LAST_WRITTEN: Cell<Option<Oid>> = const { Cell::new(None) };
}

/// Notes that a statement of this session changes something in this namespace.
pub fn note_write(namespace: Oid) {
    LAST_WRITTEN.set(Some(namespace));
}

/// The namespace that this session wrote to last on a node: its node knows `lastval()`.
pub fn last_written() -> Option<Oid> {
    LAST_WRITTEN.get()
}

/// Whether the statement that runs now is alone in its transaction, so that it needs no BEGIN on its node.
pub fn mode() -> Mode {
    let alone = !nesting::is_nested()
        && client::has_client()
        && !client::in_transaction_block()
        && !transaction::in_use()
        && !xact::wrote_here()
        && !xact::has_own_properties()
        && (client::in_simple_query() || client::next_message_is_sync());
    if alone { Mode::Autocommit } else { Mode::Transaction }
}
