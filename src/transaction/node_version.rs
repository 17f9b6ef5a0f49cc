//! Which functions of Helios a node has: until it is updated, a node of the previous version lacks some.
//!
//! The version is asked for once a session, and only by callers of such functions. An older version is asked for again each
//! time, because the node may be updated while the session lasts.

use super::execution::{self, borrow};
use super::links;
use super::mode::Mode;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use helios_core::node_interface::{self, Item, Standing};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Whether a node has a function.
pub fn has_function(node: NodeId, function: &Item) -> Result<bool> {
    Ok(version_without(node, function)?.is_none())
}

/// Checks that a node has a function that a statement needs.
///
/// Errors: 55000 if the node's version of Helios does not have it.
pub fn require_function(node: NodeId, function: &Item) -> Result<()> {
    let Some(version) = version_without(node, function)? else { return Ok(()) };
    let link = links::link(node)?;
    let name = &borrow(&link)?.node.name;
    Err(Error::new(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("helios {version} on node \"{name}\" does not support this statement"),
    )
    .detail(format!(
        "The statement needs version {} or later on the node.",
        node_interface::since(function)
    ))
    .hint(node_interface::node_update()))
}

/// The version of a node that does not have the function.
fn version_without(node: NodeId, function: &Item) -> Result<Option<String>> {
    let link = links::link(node)?;
    if borrow(&link)?.has_own_version {
        return Ok(None);
    }
    let ask = b"SELECT extversion FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'helios'";
    let rows = execution::query(node, ask, Mode::Transaction)?;
    let version = rows.into_iter().flatten().flatten().next().unwrap_or_default();
    borrow(&link)?.has_own_version = node_interface::standing(&version) == Standing::Same;
    Ok((!node_interface::has(&version, function)).then_some(version))
}
