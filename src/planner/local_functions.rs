//! Functions tied to this server: in a statement with a distributed table they would run on its node, and affect or
//! describe that server.

use crate::catalog::own_objects::{asks_directory, is_internal, is_own_view};
use crate::error::{Error, Result};
use crate::executor::server_functions::{FunctionScope, scope_of};
use crate::pg::catalog::names::{displayed_call, displayed_relation_name};
use crate::pg::hooks::executor::PlannedRelation;
use crate::pg::tree::Survey;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// 0A000 if a statement that runs on a node calls a function tied to this server.
pub(super) fn check(survey: &Survey) -> Result<()> {
    if let Some((function, scope)) =
        survey.bound.and_then(|function| Some((function, scope_of(function)?)))
    {
        return Err(refusal(function, scope));
    }
    let belongs_here = |function: &&Oid| asks_directory(**function) || is_internal(**function);
    match survey.functions.iter().find(belongs_here) {
        Some(&function) => Err(directory_refusal(function)),
        None => Ok(()),
    }
}

/// 0A000 if a function that runs on a node reads the directory through one of Helios' views, because it is empty there.
pub(super) fn check_views(mut relations: impl Iterator<Item = PlannedRelation>) -> Result<()> {
    let ours = |relation: &PlannedRelation| relation.kind == b'v' && is_own_view(relation.oid);
    match relations.find(ours) {
        Some(PlannedRelation { oid: view, .. }) => Err(Error::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot read {} in a function that runs on a node", displayed_relation_name(view)),
        )
        .detail("It shows the directory, which exists on the coordinator only.")
        .hint("Read it in a separate statement or in a function of a plain schema; these run on the coordinator.")),
        None => Ok(()),
    }
}

fn beside(function: Oid) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot call {} in a statement with a distributed table", displayed_call(function)),
    )
}

fn refusal(function: Oid, scope: FunctionScope) -> Error {
    let error = beside(function);
    let name = displayed_call(function);
    match scope {
        FunctionScope::Session => error
            .detail("It would affect the session on the node, not this session.")
            .hint(format!("Call {name} in a separate statement.")),
        FunctionScope::Seed => error
            .detail("setseed() was called in this session, but the statement runs on the table's node, where that seed \
                has no effect.")
            .hint(format!("Call {name} in a separate statement and pass its result as a parameter, or discard the seed \
                with DISCARD ALL.")),
        FunctionScope::Server => error
            .detail("The statement runs on the table's node, where the function would return information about that \
                server.")
            .hint(format!(
                "Call it in a separate statement and pass its result as a parameter. If {name} is called by a column \
                    default or a view, change that definition."
            )),
        FunctionScope::LargeObject => error
            .detail("Large objects are stored on this server, but the statement runs on the table's node.")
            .hint(format!(
                "Store the object's OID in the table, and call {name} in a separate statement of the same transaction."
            )),
    }
}

fn directory_refusal(function: Oid) -> Error {
    beside(function)
        .detail("It reads the directory, which exists on the coordinator only, but the statement runs on the table's \
            node.")
        .hint(format!(
            "Call {} in a separate statement, or on rows fetched to the coordinator with CREATE TEMPORARY TABLE … AS.",
            displayed_call(function)
        ))
}
