//! Sends DDL to nodes inside the client's transaction.

use super::statement_scope;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::failpoint;
use crate::pg::error::Hush;
use crate::pg::exec::copy_from::PINNED;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::transaction::{self, Mode};
use helios_core::quote::literal;
use pgrx::PgLogLevel;
use pgrx::pg_sys::NodeTag;

/// Runs a DDL command on one node. Its notices are dropped, because this server has already raised them.
///
/// While a dump is restored, the nodes belong to another cluster: then the command runs on the shells only, and a
/// notice says so.
pub fn to(node: NodeId, text: &[u8]) -> Result<()> {
    define(node, text, true)
}

/// `warnings_too`: also drop the node's warnings, which this server has already raised.
fn define(node: NodeId, text: &[u8], warnings_too: bool) -> Result<()> {
    if let Err(not_ours) = catalog::node(node)?.check_ours() {
        crate::pg::error::notify(PgLogLevel::NOTICE, &not_ours);
        return Ok(());
    }
    if statement_scope::keep_for_later(node, text) {
        return Ok(());
    }
    let _hush = Hush::begin(warnings_too);
    failpoint::hit(failpoint::DEFINITION_SEND_BEFORE)?;
    transaction::execute(node, text, Mode::Transaction, true)?;
    failpoint::hit(failpoint::DEFINITION_SEND_AFTER)
}

/// Runs a command that processes or creates rows on one node; returns its command tag.
pub fn work(node: NodeId, statement: &Statement) -> Result<String> {
    let done = transaction::execute(node, statement.text(), Mode::Transaction, true);
    done.map_err(|error| statement.shift(error))
}

/// Runs the command's own text on one node.
pub fn own(node: NodeId, statement: &Statement) -> Result<()> {
    // Rows exist on the node only, and may run functions that raise warnings.
    let has_rows = matches!(
        statement.tag(),
        NodeTag::T_AlterTableStmt | NodeTag::T_IndexStmt | NodeTag::T_AlterDomainStmt
    );
    define(node, statement.text(), !has_rows).map_err(|error| statement.shift(error))
}

/// Runs the command's own text on every other node.
pub fn own_to_all(statement: &Statement) -> Result<()> {
    to_all(statement.text()).map_err(|error| statement.shift(error))
}

/// Runs the command on every other node.
pub fn to_all(text: &[u8]) -> Result<()> {
    for node in catalog::remote_nodes()? {
        to(node.id, text)?;
    }
    Ok(())
}

/// Creates a function on every node.
pub fn function_to_all(statement: &Statement) -> Result<()> {
    catalog::remote_nodes()?.iter().try_for_each(|node| unchecked_function(node.id, statement))
}

/// Creates a function on a node. Its text, which this server has checked, may name tables that the node does not have:
/// that is no error until the function is called there.
pub fn unchecked_function(node: NodeId, statement: &Statement) -> Result<()> {
    let mine = session::setting("check_function_bodies").unwrap_or_else(|| "on".into());
    to(node, b"SET LOCAL check_function_bodies = off")?;
    own(node, statement)?;
    to(node, format!("SET LOCAL check_function_bodies = {mine}").as_bytes())
}

/// GRANT or REVOKE on the current database, which may have another name on a node.
pub fn grant_on_database(statement: &Statement) -> Result<()> {
    for node in catalog::remote_nodes()? {
        if let Some(text) = statement.grant_on_database(&node.database) {
            to(node.id, text.as_bytes())?;
        }
    }
    Ok(())
}

/// Runs the command on one node outside of the transaction, and returns its command tag.
pub fn alone(node: NodeId, text: &[u8]) -> Result<String> {
    transaction::execute(node, text, Mode::Autocommit, true)
}

/// Runs work on the rows of some of the command's relations on one node.
pub fn part(node: NodeId, text: &[u8]) -> Result<()> {
    transaction::execute(node, text, Mode::Transaction, true)?;
    Ok(())
}

/// Runs a statement of ours on one node. Its notices and warnings are dropped, because this server has raised those of the
/// client's command.
pub(super) fn run(node: NodeId, text: &str) -> Result<()> {
    let _hush = Hush::begin(true);
    let done = transaction::execute(node, text.as_bytes(), Mode::Transaction, true);
    done.map(|_| ()).map_err(|mut error| {
        error.fields_mut().position = None; // it would refer to a text that the client did not send
        error
    })
}

/// Runs work on one node with settings under which constants and values mean the same on every server, as another role
/// if one is given, which must be the role whose code may run.
pub(super) fn pinned(
    node: NodeId,
    role: Option<&str>,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    run(node, "SAVEPOINT helios_pinned")?;
    if let Some(role) = role {
        run(node, &format!("SELECT helios.run_as({})", literal(role)))?;
    }
    let settings = PINNED[1..].iter().map(|(name, value)| {
        let [name, value] = [name, value].map(|text| literal(&text.to_string_lossy()));
        format!("pg_catalog.set_config({name}, {value}, true)")
    });
    run(node, &format!("SELECT {}", settings.collect::<Vec<_>>().join(", ")))?;
    work()?;
    run(node, "RELEASE SAVEPOINT helios_pinned")?;
    // Code of the role may have changed others as well, in particular search_path.
    transaction::forget_settings_of(node);
    Ok(())
}
