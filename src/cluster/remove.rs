//! Removes a node from the cluster.

use super::{connect, ownership};
use crate::catalog::{self, Node};
use crate::ddl::reference_table;
use crate::error::{Error, Result};
use crate::rebalance;
use crate::replica;
use crate::transaction;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Removes a node that has no schemas, replicas or unfinished transactions.
pub fn remove(name: &str) -> Result<()> {
    let _path = transaction::SafePath::begin();
    catalog::lock_cluster();
    let node = catalog::node_named(name)?;
    if node.is_local {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("cannot remove node \"{name}\""),
        )
        .detail("The coordinator cannot be removed from its own cluster.")
        .hint("To remove the whole cluster, run DROP EXTENSION helios."));
    }
    catalog::nodes()?.iter().try_for_each(|node| node.check_ours())?;
    let members: Vec<Rc<Node>> =
        catalog::nodes()?.iter().filter(|other| other.id != node.id).cloned().collect();
    rebalance::place_empty_shards(&members)?;
    let schemas = catalog::schemas_on(node.id)?;
    if !schemas.is_empty() {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot remove node \"{name}\" because it holds distributed schemas"),
        )
        .detail(format!("Schemas: {}.", schemas.join(", ")))
        .hint("Drop them or move them to other nodes first."));
    }
    replica::refuse_node(node.id, format!("cannot remove node \"{name}\""))?;
    let migrations = catalog::migration::of_node(node.id)?;
    if let Some(id) = migrations.first() {
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!("cannot remove node \"{name}\" because migration {id} uses it"),
        )
        .detail("The node still has a copy of the schemas being moved.")
        .hint("Finish the migration with helios_finish_migration(), or cancel it with helios_cancel_migration()."));
    }
    finish_transactions(&node)?;
    reference_table::drop_from_node(&node)?;
    ownership::release(&node)?;
    catalog::remove_node(node.id)
}

/// Finishes prepared transactions on the node; a node with transactions still to be committed cannot be removed.
fn finish_transactions(node: &Node) -> Result<()> {
    let records = catalog::transaction::records(node)?;
    if records.is_empty() {
        return Ok(());
    }
    let rows = connect(node)?.query("SELECT gid FROM pg_catalog.pg_prepared_xacts")?;
    let prepared: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let (open, finished): (Vec<_>, Vec<_>) =
        records.into_iter().map(|record| record.gid).partition(|gid| prepared.contains(gid));
    if !open.is_empty() {
        let count = open.len();
        return Err(Error::new(
            Code::ERRCODE_OBJECT_IN_USE,
            format!(
                "cannot remove node \"{}\" because it has {count} unfinished prepared transactions",
                node.name
            ),
        )
        .detail(format!(
            "Committed on the coordinator, but still prepared on the node: {}.",
            open.join(", ")
        ))
        .hint("The recovery worker is finishing them; try again in a moment."));
    }
    catalog::transaction::forget(node.id, &finished)
}
