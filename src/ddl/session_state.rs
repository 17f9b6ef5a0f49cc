//! Utility statements that define nothing: those that move rows are run on the node, those that change the
//! session are noted for the sessions to nodes.

use super::send;
use crate::directory::{self, NodeId};
use crate::error::Result;
use crate::executor::utility::{self, StatementText};
use crate::pg::session;
use crate::pg::statement::Statement;
use crate::pg::utility_hook::{Completion, Step};
use crate::transaction;
use pgrx::pg_sys::NodeTag;

/// Before the server runs the statement.
pub(super) fn before(statement: &Statement) -> Result<Step> {
    match statement.tag() {
        NodeTag::T_VariableSetStmt => transaction::note_settings_changed(),
        NodeTag::T_DiscardStmt | NodeTag::T_DeallocateStmt => {
            transaction::note_settings_changed();
            if statement.forgets_statements() {
                transaction::forget_statements();
            }
        }
        NodeTag::T_CopyStmt => return copy(statement),
        NodeTag::T_CallStmt => return call(statement),
        NodeTag::T_ConstraintsSetStmt => return set_constraints(statement),
        _ => {}
    }
    Ok(Step::pass(*statement))
}

fn text(statement: &Statement) -> StatementText<'_> {
    StatementText { source: statement.source(), sql: statement.text(), offset: statement.offset() }
}

fn copy(statement: &Statement) -> Result<Step> {
    let Some(view) = statement.copy_view() else { return Ok(Step::pass(*statement)) };
    Ok(match utility::copy(&view, text(statement))? {
        Some(rows) => Step { completion: Some(Completion::Copy(rows)), ..Step::done(statement) },
        None => Step::pass(*statement),
    })
}

fn call(statement: &Statement) -> Result<Step> {
    let Some(view) = statement.call_view() else { return Ok(Step::pass(*statement)) };
    Ok(match utility::call(&view, text(statement))? {
        true => Step::done(statement),
        false => Step::pass(*statement),
    })
}

/// The server checks the names; the constraints of distributed schemas are looked at on their nodes.
fn set_constraints(statement: &Statement) -> Result<Step> {
    let here = Ok(Step::pass(*statement));
    let Some(names) = statement.set_constraints() else { return here };
    if !directory::in_use() {
        return here;
    }
    let mut nodes: Vec<NodeId> = Vec::new();
    if names.is_empty() {
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
    here
}
