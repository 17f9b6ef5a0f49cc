//! This cluster and its nodes, from the backend's cache.

use super::cache::{Catalogs, cached, catalogs, fill, needed_tables};
use super::rows::{Node, NodeId};
use super::tables::ClusterRow;
use crate::error::{Error, Result};
use crate::pg::catalog::table::Table;
use crate::pg::ipc::worker;
use crate::pg::session;
use crate::settings::MIGRATION_SESSION;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Whether this database has the extension and other nodes, so that something may be elsewhere. Always false for the
/// sessions of a migration, and for functions called while changes are applied to a copy. True if the nodes cannot be
/// read, so that whoever asks for one gets that error, and no shell is mistaken for an empty table. While an extension
/// script creates the cluster, there are no nodes.
pub fn in_use() -> bool {
    !MIGRATION_SESSION.get()
        && !worker::applies_changes()
        && match catalogs() {
            Catalogs::Known(_) => nodes().map_or_else(
                |_| {
                    !matches!(
                        Table::<ClusterRow>::find().map(|table| table.first(&[])),
                        Some(Ok(None))
                    )
                },
                |nodes| nodes.iter().any(|node| !node.is_local),
            ),
            // Access to Helios' own objects will raise the error.
            Catalogs::Other(other) => other.has_nodes(),
            Catalogs::Missing => false,
        }
}

/// All nodes, by ID.
pub fn nodes() -> Result<Rc<Vec<Rc<Node>>>> {
    if let Some(nodes) = cached(|cache| cache.nodes.clone()) {
        return Ok(nodes);
    }
    let tables = needed_tables()?;
    fill(
        || {
            let cluster = own_cluster()?;
            let rows = tables.node.all()?.into_iter();
            let mut nodes: Vec<Rc<Node>> =
                rows.map(|row| Rc::new(Node::from_row(row, cluster))).collect();
            nodes.sort_by_key(|node| node.id);
            Ok(Rc::new(nodes))
        },
        |cache, nodes| cache.nodes = Some(nodes),
    )
}

/// The other nodes of this cluster, by ID.
pub fn remote_nodes() -> Result<Vec<Rc<Node>>> {
    let ours = |node: &&Rc<Node>| !node.is_local && !node.is_foreign;
    Ok(nodes()?.iter().filter(ours).cloned().collect())
}

/// The node with this ID; 42704 if it does not exist.
pub fn node(id: NodeId) -> Result<Rc<Node>> {
    nodes()?.iter().find(|node| node.id == id).cloned().ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("node {} does not exist", id.0))
    })
}

/// The node with this name; 42704 if it does not exist.
pub fn node_named(name: &str) -> Result<Rc<Node>> {
    let nodes = nodes()?;
    nodes.iter().find(|node| node.name == name).cloned().ok_or_else(|| {
        let known: Vec<_> = nodes.iter().map(|node| format!("\"{}\"", node.name)).collect();
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("node \"{name}\" does not exist"))
            .hint(format!("Nodes of this cluster: {}.", known.join(", ")))
    })
}

/// The cluster's ID, which identifies its nodes and prepared transactions.
pub fn cluster_id() -> Result<i64> {
    Ok(cluster_row()?.id)
}

/// Like [`cluster_id`]; None in a copy of the database in which the cluster was created.
fn own_cluster() -> Result<Option<i64>> {
    let row = cluster_row()?;
    Ok((row.database.to_u32() == session::database_id()).then_some(row.id))
}

fn cluster_row() -> Result<ClusterRow> {
    needed_tables()?;
    let row = Table::find().map_or(Ok(None), |table| table.first(&[]))?;
    row.ok_or_else(|| Error::new(Code::ERRCODE_DATA_CORRUPTED, "table helios.cluster is empty"))
}

/// Whether this database is a node of a cluster.
pub fn is_node() -> Result<bool> {
    match catalogs() {
        Catalogs::Known(_) => Ok(node_of()?.is_some()),
        Catalogs::Other(other) => Ok(other.is_node()),
        Catalogs::Missing => Ok(false),
    }
}

/// The address of this node's coordinator, as registered by it.
pub fn coordinator_address() -> Result<Option<String>> {
    match catalogs() {
        Catalogs::Known(_) => Ok(node_of()?.and_then(|row| row.coordinator)),
        Catalogs::Other(_) | Catalogs::Missing => Ok(None),
    }
}

/// The row of the cluster that has this database as a node. A copy of a node's database is not a node.
fn node_of() -> Result<Option<ClusterRow>> {
    let row: Option<ClusterRow> = Table::find().map_or(Ok(None), |table| table.first(&[]))?;
    let is_ours = |row: &ClusterRow| row.database.to_u32() == session::database_id();
    Ok(row.filter(|row| row.node_of.is_some() && is_ours(row)))
}
