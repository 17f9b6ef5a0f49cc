//! Sends definitions to nodes, inside the client's transaction.

use crate::directory::{self, NodeId};
use crate::error::Result;
use crate::pg::session;
use crate::pg::statement::Statement;
use crate::transaction::{self, Mode};

/// Runs the statement on one node.
pub fn to(node: NodeId, text: &[u8]) -> Result<()> {
    transaction::execute(node, text, Mode::Transaction, true)?;
    Ok(())
}

/// Runs the statement on every node but this server.
pub fn to_all(text: &[u8]) -> Result<()> {
    for node in directory::remote_nodes()? {
        to(node.id, text)?;
    }
    Ok(())
}

/// Makes a function on every node. Its text may name tables that are on this server alone, which is no fault until
/// it is called there.
pub fn function_to_all(text: &[u8]) -> Result<()> {
    let mine = session::setting("check_function_bodies").unwrap_or_else(|| "on".into());
    let restore = format!("SET LOCAL check_function_bodies = {mine}");
    for node in directory::remote_nodes()? {
        to(node.id, b"SET LOCAL check_function_bodies = off")?;
        to(node.id, text)?;
        to(node.id, restore.as_bytes())?;
    }
    Ok(())
}

/// GRANT or REVOKE on the current database, which may have another name on a node.
pub fn grant_on_database(statement: &Statement) -> Result<()> {
    for node in directory::remote_nodes()? {
        if let Some(text) = statement.grant_on_database(&node.database) {
            to(node.id, text.as_bytes())?;
        }
    }
    Ok(())
}

/// Runs the statement on one node so that it commits by itself, and gives its command tag.
pub fn alone(node: NodeId, text: &[u8]) -> Result<String> {
    transaction::execute(node, text, Mode::Autocommit, true)
}
