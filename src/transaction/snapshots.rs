//! Snapshots that several sessions share: `pg_export_snapshot()` and `SET TRANSACTION SNAPSHOT`.
//!
//! What is exported here stands for one snapshot a node, taken one right after the other. The identifier says all of them:
//! PostgreSQL's own, then `+node:identifier` for each node. So nothing has to be kept: where the transaction that
//! exported has ended, its transactions on the nodes have too, and the servers know the identifiers no more. Each node is
//! consistent; two nodes' snapshots are not of exactly one moment.

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
    /// What nodes that join the local transaction have to import; None: they take snapshots of their own.
    static IMPORTED: RefCell<Option<BTreeMap<NodeId, String>>> = const { RefCell::new(None) };
    /// Whether nodes may have snapshots that are older than the directory that this transaction sees.
    static IS_SHARED: Cell<bool> = const { Cell::new(false) };
}

/// Exports a snapshot of each node beside the one of this server; gives the identifier of all of them.
pub fn export(own: &str) -> Result<String> {
    let mut all = own.to_owned();
    // Whoever imports it on a standby reads what the standby has.
    if sql::read_one::<bool>("SELECT pg_catalog.pg_is_in_recovery()", &[])? == Some(true) {
        return Ok(all);
    }
    // A restored directory's nodes are another cluster's: nothing is read there.
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

/// Divides an identifier: this server's own, and those of the nodes.
///
/// 22023 if it is none.
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

/// The local transaction has imported a snapshot.
pub fn imported(nodes: BTreeMap<NodeId, String>) {
    IMPORTED.set(Some(nodes));
    IS_SHARED.set(true);
}

/// What a node has to do right behind its BEGIN.
///
/// 0A000 if the snapshot that the local transaction has imported says nothing of the node.
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

/// Whether [`check_place`] has something to say about this transaction.
#[inline]
pub fn is_shared() -> bool {
    IS_SHARED.get()
}

/// 40001 if the schema was not on this node when the snapshot was taken: there, the snapshot would not show its rows as
/// they were.
pub fn check_place(schema: &str, node: NodeId) -> Result<()> {
    if !is_shared() {
        return Ok(());
    }
    // With the snapshot of the transaction, which sees the directory as it was.
    let select = "SELECT p.node FROM helios.schema s JOIN helios.shard p ON p.id = s.shard WHERE s.name = $1::name";
    let then = catalog::as_owner(|| sql::read_one::<i32>(select, &[schema.into()]))?;
    if then == Some(node.0) {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("schema \"{schema}\" was moved after the snapshot was exported"),
    )
    .hint("Export a new snapshot and try again."))
}

/// The local transaction has ended.
pub fn forget() {
    IMPORTED.set(None);
    IS_SHARED.set(false);
}

/// Refuses to import a snapshot where a node has one of its own already, which PostgreSQL would see of its own.
pub fn check_unused() -> Result<()> {
    if open_nodes().is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::ERRCODE_ACTIVE_SQL_TRANSACTION,
        "SET TRANSACTION SNAPSHOT must be called before any query",
    ))
}
