//! SET CONSTRAINTS, SET TRANSACTION SNAPSHOT and DEALLOCATE ALL, which must also be applied to sessions with nodes;
//! COMMIT PREPARED and ROLLBACK PREPARED, which must be executed on the nodes, too.

use super::follow_up::FollowUp;
use super::statement_scope::begin;
use super::{expressions, send};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::executor::server_functions;
use crate::pg::hooks::utility::Step;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::transaction;

/// Called before the server runs the command.
pub(super) fn before(statement: &Statement) -> Result<Step> {
    if statement.deallocates_all() {
        transaction::forget_statements();
    }
    // In a transaction block it fails.
    if statement.discards_all() && !statement.in_transaction_block() {
        server_functions::forget_seed();
    }
    if let Some(gid) = statement.finishes_prepared()
        && catalog::in_use()
        && let Some(transaction) = transaction::user_prepared(&gid)?
    {
        return Ok(begin(*statement, FollowUp::FinishPrepared { transaction }));
    }
    if let Some(identifier) = statement.snapshot_to_import()
        && catalog::in_use()
    {
        let (own, nodes) = transaction::snapshots::parse(&identifier)?;
        transaction::snapshots::check_unused()?;
        return Ok(begin(statement.with_snapshot(&own), FollowUp::ImportSnapshot(nodes)));
    }
    set_constraints(statement)?;
    expressions::route_arguments(statement)
}

/// The server checks the names; the constraints of distributed schemas are checked on their nodes.
fn set_constraints(statement: &Statement) -> Result<()> {
    let Some(names) = statement.set_constraints() else { return Ok(()) };
    if !catalog::in_use() {
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
            if let Some(place) = catalog::placement_of(&schema)? {
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
