//! Snapshots shared by several sessions: `pg_export_snapshot()` and `SET TRANSACTION SNAPSHOT`.
//!
//! An exported snapshot represents one snapshot per node, taken one right after the other. The identifier contains all
//! of them: PostgreSQL's own, then `+node:identifier` for each node. So no state must be kept: when the exporting
//! transaction has ended, its transactions on the nodes have, too, and the servers no longer accept the identifiers.
//! Each node is consistent; snapshots of two nodes are not taken at exactly the same moment.

use super::execution::query;
use super::mode::Mode;
use super::sessions::open_nodes;
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::session::sql;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

thread_local! {
    /// Snapshots to be imported by nodes that join the local transaction; None to let them take their own.
    static IMPORTED: RefCell<Option<BTreeMap<NodeId, String>>> = const { RefCell::new(None) };
    /// Whether nodes may have snapshots that are older than the directory as this transaction sees it.
    static IS_SHARED: Cell<bool> = const { Cell::new(false) };
}

/// Exports a snapshot of each node in addition to this server's; returns the combined identifier.
pub fn export(own: &str) -> Result<String> {
    let mut all = own.to_owned();
    // A transaction that imports it on a standby sees what the standby has.
    if sql::read_one::<bool>("SELECT pg_catalog.pg_is_in_recovery()", &[])? == Some(true) {
        return Ok(all);
    }
    // After a restore the nodes belong to another cluster, and nothing is read there.
    let nodes = catalog::remote_nodes()?;
    for node in nodes.iter().filter(|node| node.check_ours().is_ok()) {
        let ask = b"SELECT pg_catalog.pg_export_snapshot()";
        let rows = query(node.id, ask, Mode::Transaction)?;
        let exported = rows.into_iter().flatten().flatten().next().unwrap_or_default();
        all.push_str(&format!("+{}:{exported}", node.id.0));
        IS_SHARED.set(true);
    }
    Ok(all)
}

/// Splits an identifier into this server's own and those of the nodes.
///
/// 22023 if it is invalid.
pub fn parse(identifier: &str) -> Result<(String, BTreeMap<NodeId, String>)> {
    let mut parts = identifier.split('+');
    let own = parts.next().unwrap_or_default().to_owned();
    let one = |part: &str| {
        let (node, exported) = part.split_once(':')?;
        let is_plain = exported.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_plain.then_some((NodeId(node.parse().ok()?), exported.to_owned()))
    };
    let nodes = parts.map(one).collect::<Option<BTreeMap<_, _>>>();
    let nodes = nodes.filter(|_| !own.is_empty()).ok_or_else(|| {
        Error::new(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid snapshot identifier: \"{identifier}\""),
        )
    })?;
    Ok((own, nodes))
}

/// Records that the local transaction has imported a snapshot.
pub fn imported(nodes: BTreeMap<NodeId, String>) {
    IMPORTED.set(Some(nodes));
    IS_SHARED.set(true);
}

/// The command for a node right after BEGIN.
///
/// 0A000 if the local transaction's imported snapshot does not cover the node.
pub fn command_for(node: &catalog::Node) -> Result<Option<Vec<u8>>> {
    IMPORTED.with_borrow(|imported| {
        let Some(nodes) = imported else { return Ok(None) };
        match nodes.get(&node.id) {
            Some(exported) => Ok(Some(format!("SET TRANSACTION SNAPSHOT '{exported}'").into_bytes())),
            None => Err(Error::new(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("the imported snapshot does not cover node \"{}\"", node.name),
            )
            .detail("It was exported by a replication slot, or before the node was part of the cluster.")
            .hint("Export the snapshot in a transaction on this server: SELECT pg_export_snapshot().")),
        }
    })
}

/// Whether [`check_place`] applies to this transaction.
#[inline]
pub fn is_shared() -> bool {
    IS_SHARED.get()
}

/// 40001 if the schema was not on this node when the snapshot was taken, because the snapshot would not show its rows
/// as they were.
pub fn check_place(schema: &str, node: NodeId) -> Result<()> {
    if !is_shared() {
        return Ok(());
    }
    if catalog::node_in_snapshot(schema)? == Some(node) {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("schema \"{schema}\" was moved after the snapshot was exported"),
    )
    .hint("Export a new snapshot and try again."))
}

/// Called at the end of the local transaction.
pub fn forget() {
    IMPORTED.set(None);
    IS_SHARED.set(false);
}

/// Rejects importing a snapshot when a node already has its own, as PostgreSQL does for its own transaction.
pub fn check_unused() -> Result<()> {
    if open_nodes().is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
        "SET TRANSACTION SNAPSHOT must be called before any query",
    ))
}
