//! The cluster that a node belongs to, recorded on the node itself, so that two coordinators cannot share a node by
//! accident.

use crate::catalog::{self, Node, NodeId, coordinator};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::session::server_state;
use crate::remote::Session;
use crate::transaction::{self, Mode};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Registers the node with this cluster in the current transaction.
pub fn stake(node: &Node) -> Result<()> {
    let here = catalog::node(NodeId::LOCAL)?;
    let addresses: Vec<String> =
        here.addresses.iter().map(|a| format!("{}:{}", a.host, a.port)).collect();
    let claim = coordinator::claim(catalog::cluster_id()?, &addresses.join(", "));
    transaction::execute(node.id, claim.as_bytes(), Mode::Transaction, true)?;
    let key = coordinator::set_key(&catalog::proof::public_key_for(node.id)?);
    transaction::execute(node.id, key.as_bytes(), Mode::Transaction, true)?;
    Ok(())
}

/// Clears the record on a node of a former coordinator with another system identifier.
pub fn succeed(node: &Node) -> Result<()> {
    let role = privileges::session_user();
    let mut session = Session::connect(&Rc::new(transaction::target(node, &role)?), &role)?;
    let (cluster, system) = (catalog::cluster_id()?, server_state::system_identifier());
    session.query(&coordinator::forget_others(cluster, system)).map(|_| ())
}

/// Raises an error if the server is a node of another cluster.
pub fn check(node: &Node, session: &mut Session) -> Result<()> {
    match holder(session)? {
        Some(cluster) if cluster != catalog::cluster_id()? => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("server \"{}\" is a node of another cluster", node.name),
        )
        .detail(format!("It belongs to cluster {cluster}."))
        .hint(format!(
            "Remove it from that cluster with helios_remove_node(). If that cluster no longer exists, run this on the server: {}",
            coordinator::RELEASE
        ))),
        _ => Ok(()),
    }
}

/// Returns the cluster that the server is registered with as a node.
pub fn holder(session: &mut Session) -> Result<Option<i64>> {
    coordinator::holder_in(&session.query(coordinator::HOLDER)?)
}

/// Releases a node for other clusters when the current transaction commits. An unreachable node must not block its
/// removal, so failure to release it is only a warning.
pub fn release(node: &Node) -> Result<()> {
    let release = coordinator::release(catalog::cluster_id()?);
    if let Err(error) = transaction::execute_afterwards(node.id, release.as_bytes()) {
        transaction::warn_not_released(&node.name, &error);
    }
    Ok(())
}
