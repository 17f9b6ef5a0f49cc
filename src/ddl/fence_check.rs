//! Rejects DDL in a schema frozen by a migration: objects that a command names before it runs, objects that it alters
//! or drops when the server accesses them, objects that it created when it has run.

use super::statement_scope::StatementScope;
use crate::catalog::fences;
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::hooks::object_access::Event;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::statement_names::Granted;
use pgrx::pg_sys::NodeTag;

/// 55006 if the command names an object in a fenced schema. Errors are raised as early as possible: on the coordinator
/// before anything is sent to a node, and before a command has completed some of its own transactions.
pub(super) fn check_named(statement: &Statement) -> Result<()> {
    match statement.tag() {
        NodeTag::T_TruncateStmt => return check_all(target_tables(statement)),
        // REFRESH writes the rows of a materialized view.
        NodeTag::T_RefreshMatViewStmt => {
            return fences::check_writes(
                &mut target_tables(statement).into_iter().map(|object| object.id),
            );
        }
        _ => {}
    }
    let schemas = statement.rename_schema().map(|(old, _)| vec![old]);
    let schemas = schemas.or(statement.drop_schemas().map(|(schemas, _)| schemas));
    for schema in schemas.into_iter().flatten().chain(statement.new_schema()) {
        if let Some(namespace) = session::namespace(&schema) {
            fences::check_definition(namespace)?;
        }
    }
    check_all(statement.named())?;
    if statement.tag() == NodeTag::T_IndexStmt {
        check_all(statement.subject().map(object::of_relation))?;
    }
    match statement.granted() {
        Some(Granted::Objects(objects)) => check_all(objects),
        Some(Granted::RelationsIn(schemas) | Granted::RoutinesIn(schemas)) => {
            schemas.into_iter().try_for_each(fences::check_definition)
        }
        _ => Ok(()),
    }
}

fn target_tables(statement: &Statement) -> Vec<Object> {
    let targets = statement.relation_targets().unwrap_or_default().into_iter();
    let relations = targets.filter_map(|item| item.relation);
    relations.flat_map(names::inheritors).map(object::of_relation).collect()
}

/// Called for objects that the server is about to alter, drop or truncate.
pub fn touches(object: Object) -> Result<()> {
    if fences::is_up()? { check(object) } else { Ok(()) }
}

/// 55006 if something was created in a fenced schema.
pub(super) fn check_made(scope: &StatementScope) -> Result<()> {
    if !fences::is_up()? {
        return Ok(());
    }
    let made = scope.touched.iter().filter(|touched| touched.event == Event::Created);
    check_all(made.map(|touched| touched.object))
}

fn check_all(objects: impl IntoIterator<Item = Object>) -> Result<()> {
    objects.into_iter().try_for_each(check)
}

fn check(object: Object) -> Result<()> {
    match object::belongs(object) {
        Some(Belongs::Relation { namespace, .. } | Belongs::Schema(namespace)) => {
            fences::check_definition(namespace)
        }
        _ => Ok(()),
    }
}
