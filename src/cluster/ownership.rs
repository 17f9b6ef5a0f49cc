//! The cluster that a node belongs to, recorded on the node itself, so that two coordinators cannot share a node by
//! accident.

use crate::catalog::{self, Node, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::privileges;
use crate::pg::session::server_state;
use crate::remote::Session;
use crate::transaction::{self, Mode};
use helios_core::quote;
use pgrx::PgLogLevel;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::rc::Rc;

/// Registers the node with this cluster in the current transaction.
pub fn stake(node: &Node) -> Result<()> {
    let here = catalog::node(NodeId::LOCAL)?;
    let addresses: Vec<String> =
        here.addresses.iter().map(|a| format!("{}:{}", a.host, a.port)).collect();
    let sql = format!(
        "UPDATE helios.cluster SET node_of = {}, coordinator = {}",
        catalog::cluster_id()?,
        quote::literal(&addresses.join(", "))
    );
    transaction::execute(node.id, sql.as_bytes(), Mode::Transaction, true)?;
    let key = catalog::proof::public_key_for(node.id)?;
    let sql = format!("UPDATE helios.identity SET coordinator = '{key}'");
    transaction::execute(node.id, sql.as_bytes(), Mode::Transaction, true)?;
    Ok(())
}

/// Clears the record on a node of a former coordinator with another system identifier.
pub fn succeed(node: &Node) -> Result<()> {
    let role = privileges::session_user();
    let mut session = Session::connect(&Rc::new(transaction::target(node, &role)?), &role)?;
    session.query(&format!(
        "DELETE FROM helios.coordinator WHERE cluster OPERATOR(pg_catalog.=) '{}'::pg_catalog.int8
            AND system_identifier OPERATOR(pg_catalog.<>) '{}'::pg_catalog.numeric",
        catalog::cluster_id()?,
        server_state::system_identifier()
    ))?;
    Ok(())
}

/// Raises an error if the server is a node of another cluster.
pub fn check(node: &Node, session: &mut Session) -> Result<()> {
    match holder(session)? {
        Some(cluster) if cluster != catalog::cluster_id()? => Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("server \"{}\" is a node of another cluster", node.name),
        )
        .detail(format!("It belongs to cluster {cluster}."))
        .hint(
            "Remove it from that cluster with helios_remove_node(). If that cluster no longer exists, run this on the \
                server: \
               UPDATE helios.cluster SET node_of = NULL",
        )),
        _ => Ok(()),
    }
}

/// Returns the cluster that the server is registered with as a node.
pub fn holder(session: &mut Session) -> Result<Option<i64>> {
    let rows = session.query("SELECT node_of FROM helios.cluster")?;
    Ok(rows.into_iter().flatten().flatten().next().and_then(|id| id.parse().ok()))
}

/// Statement that releases a node.
fn free(cluster: i64) -> String {
    format!(
        "WITH freed AS (UPDATE helios.cluster SET node_of = NULL WHERE node_of = {cluster} RETURNING 1)
         UPDATE helios.identity SET coordinator = NULL WHERE EXISTS (SELECT FROM freed)"
    )
}

/// Releases a node for other clusters when the current transaction commits. An unreachable node must not block its
/// removal, so failure to release it is only a warning.
pub fn release(node: &Node) -> Result<()> {
    let cluster = catalog::cluster_id()?;
    if let Err(error) = transaction::execute_afterwards(node.id, free(cluster).as_bytes()) {
        let message = format!("could not release node \"{}\"", node.name);
        let warning = Error::new(Code::ERRCODE_WARNING, message).detail(error.to_string()).hint(
            "Before adding it to another cluster, run this on the node: UPDATE helios.cluster SET node_of = NULL",
        );
        crate::pg::error::notify(PgLogLevel::WARNING, &warning);
    }
    Ok(())
}
