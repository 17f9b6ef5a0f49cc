//! On a node: DDL is only accepted from the coordinator, whose shells would otherwise differ from the tables here.
//!
//! Clients may still do everything with temporary objects, process rows and files (TRUNCATE, VACUUM, REINDEX, …), and
//! change objects of the server or database that belong to no schema (roles, extensions, publications, subscriptions).
//! A superuser who must repair something manually sets `helios.migration_session`.

use super::object_location::is_in_schema;
use super::statement_scope::StatementScope;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::catalog::object;
use crate::pg::hooks::object_access::Event;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::statement_names::Granted;
use pgrx::pg_sys::NodeTag;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Whether the command may execute DDL on a node and comes from one of the node's own clients.
pub(super) fn concerns(statement: &Statement) -> Result<bool> {
    let works_on_rows = matches!(
        statement.tag(),
        NodeTag::T_VacuumStmt
            | NodeTag::T_ReindexStmt
            | NodeTag::T_ClusterStmt
            | NodeTag::T_RefreshMatViewStmt
            | NodeTag::T_LockStmt
            | NodeTag::T_TruncateStmt
    );
    Ok(!works_on_rows
        && !catalog::in_use()
        && catalog::is_node()?
        && !catalog::proof::is_coordinators())
}

/// Rejects commands that do not report the objects that they change, or report them too late.
pub(super) fn before(statement: &Statement) -> Result<()> {
    // It commits more than once, so touched objects would be known too late.
    let subject = statement.is_concurrent().then(|| statement.subject());
    if subject.flatten().is_some_and(|relation| is_in_schema(object::of_relation(relation))) {
        return Err(refusal());
    }
    let changed = match statement.granted() {
        Some(Granted::Objects(objects)) => objects,
        Some(Granted::RelationsIn(schemas) | Granted::RoutinesIn(schemas)) => {
            schemas.into_iter().map(object::of_schema).collect()
        }
        Some(_) => Vec::new(),
        None if statement.tag() == NodeTag::T_DropStmt => Vec::new(),
        None => statement.named(),
    };
    match changed.into_iter().any(is_in_schema) {
        true => Err(refusal()),
        false => Ok(()),
    }
}

/// Raises an error if the command touched a non-temporary object in a schema.
pub(super) fn after(scope: &StatementScope) -> Result<()> {
    let touched = scope.touched.iter().any(|touched| match touched.event {
        Event::Dropped => touched.in_schema,
        Event::Created | Event::Altered => is_in_schema(touched.object),
    });
    if touched { Err(refusal()) } else { Ok(()) }
}

fn refusal() -> Error {
    let hint = match catalog::coordinator_address().ok().flatten() {
        Some(address) => format!("Connect to the coordinator at {address}."),
        None => "Connect to the coordinator.".to_owned(),
    };
    Error::new(Code::ERRCODE_FEATURE_NOT_SUPPORTED, "cannot execute DDL on a node")
        .detail(
            "This server is a node of a cluster, and the coordinator would not be aware of the change.",
        )
        .hint(hint)
}
