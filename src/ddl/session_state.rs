//! SET CONSTRAINTS, SET TRANSACTION SNAPSHOT and DEALLOCATE ALL, which sessions to nodes have to follow; COMMIT PREPARED and ROLLBACK PREPARED,
//! which the nodes themselves follow.

use super::frame::Plan;
use super::{expressions, send};
use crate::directory::{self, NodeId};
use crate::error::Result;
use crate::pg::statement::Statement;
use crate::pg::utility_hook::Step;
use crate::pg::{server_functions, session};
use crate::transaction;

/// Before the server runs the statement.
pub(super) fn before(statement: &Statement) -> Result<Step> {
    if statement.deallocates_all() {
        transaction::forget_statements();
    }
    // In a transaction block it fails.
    if statement.discards_all() && !statement.in_transaction_block() {
        server_functions::forget_seed();
    }
    if let Some(gid) = statement.finishes_prepared()
        && directory::in_use()
        && let Some(transaction) = transaction::user_prepared(&gid)?
    {
        return Ok(super::then(*statement, Plan::FinishPrepared { transaction }));
    }
    if let Some(identifier) = statement.snapshot_to_import()
        && directory::in_use()
    {
        let (own, nodes) = transaction::snapshots::parse(&identifier)?;
        transaction::snapshots::check_unused()?;
        return Ok(super::then(statement.with_snapshot(&own), Plan::ImportSnapshot(nodes)));
    }
    set_constraints(statement)?;
    expressions::route_arguments(statement)
}

/// The server checks the names; the constraints of distributed schemas are looked at on their nodes.
fn set_constraints(statement: &Statement) -> Result<()> {
    let Some(names) = statement.set_constraints() else { return Ok(()) };
    if !directory::in_use() {
        return Ok(());
    }
    let mut nodes: Vec<NodeId> = Vec::new();
    if names.is_empty() {
        if statement.in_transaction_block() {
            transaction::note_all_constraints(statement.text());
        }
        nodes = transaction::open_nodes();
    }
    for (schema, name) in names {
        let schemas = match schema {
            Some(schema) => vec![schema],
            None => session::schemas_with_constraint(&name)?,
        };
        for schema in schemas {
            if let Some(place) = directory::placement_of(&schema)? {
                nodes.push(place.node);
            }
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    for node in nodes {
        send::own(node, statement)?;
    }
    Ok(())
}
