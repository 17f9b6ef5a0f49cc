//! CREATE INDEX, DROP INDEX and DETACH PARTITION with CONCURRENTLY: several transactions on the node, which has the
//! rows; an ordinary command on the shell, which has none.
//!
//! The node comes first, because its work does not require holding a lock here and cannot be undone. If it fails there,
//! the shell gets what was left behind ([`unfinished`]). If this server fails afterwards, the error says what the node
//! has already done, and the next command on the table repairs it.

use super::unfinished::{self, Scope};
use crate::catalog;
use crate::error::Result;
use crate::pg::catalog::object;
use crate::pg::hooks::utility::Step;
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::{RelationTarget, Statement};
use pgrx::pg_sys::Oid;

/// None for another command, or one on local tables.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    if let Some(indexes) = statement.dropped_indexes() {
        find_left_ones(&indexes)?;
    }
    if !statement.is_concurrent() {
        if let Some((parent, partition)) = statement.detaches()
            && let Some(place) = place_of(parent)?
        {
            unfinished::follow(
                place.node,
                &Scope::of([Some(parent), partition].into_iter().flatten()),
                false,
            )?;
        }
        return Ok(None);
    }
    let Some(relation) = statement.subject() else { return Ok(None) };
    let Some(place) = place_of(relation)? else { return Ok(None) };
    session::refuse_transaction_block(statement.is_top_level(), c"a statement with CONCURRENTLY");
    let partition = statement.detaches().and_then(|(_, partition)| partition);
    let scope = Scope::of([Some(relation), partition].into_iter().flatten());
    unfinished::follow(place.node, &scope, false)?;
    let dropping = statement.dropped_indexes().is_some();
    unfinished::alone(place.node, statement.text(), &scope, dropping)?;
    if let Some(partition) = partition {
        unfinished::follow_checks(place.node, partition)?;
    }
    Ok(Some(Step::pass(statement.not_concurrent())))
}

fn place_of(relation: Oid) -> Result<Option<catalog::Placement>> {
    match object::belongs(object::of_relation(relation)) {
        Some(object::Belongs::Relation { namespace, .. }) => catalog::placement(namespace),
        _ => Ok(None),
    }
}

const SEARCH_PATH: &str = "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]";

/// Indexes to be dropped that do not exist here may exist on a node, left behind by an interrupted command.
pub(super) fn find_left_ones(indexes: &[RelationTarget]) -> Result<()> {
    for index in indexes.iter().filter(|index| index.relation.is_none()) {
        let schemas = match &index.schema {
            Some(schema) => vec![schema.clone()],
            None => sql::in_session_path(SEARCH_PATH, &[])?.unwrap_or_default(),
        };
        for schema in schemas {
            if let Some(place) = catalog::placement_of(&schema)? {
                unfinished::follow(place.node, &Scope::Schema(schema), false)?;
            }
        }
    }
    Ok(())
}
