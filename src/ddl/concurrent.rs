//! CREATE INDEX, DROP INDEX and DETACH PARTITION with CONCURRENTLY: several transactions on the node, which has the
//! rows; an ordinary change of the shell, which has none.
//!
//! The node comes first, because its work can be waited for without holding a lock here, and cannot be undone.
//! If this server fails afterwards, the error says what the node has done already.

use super::send;
use crate::directory;
use crate::error::Result;
use crate::pg::statement::Statement;
use crate::pg::utility_hook::Step;
use crate::pg::{object, session};

/// None: another statement, or one about this server's own tables.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    if !statement.is_concurrent() {
        return Ok(None);
    }
    let Some(relation) = statement.subject() else { return Ok(None) };
    let Some(object::Belongs::Relation { namespace, .. }) =
        object::belongs(object::of_relation(relation))
    else {
        return Ok(None);
    };
    let Some(place) = directory::placement(namespace)? else { return Ok(None) };
    session::refuse_transaction_block(statement.is_top_level(), c"a statement with CONCURRENTLY");
    send::alone(place.node, statement.text())?;
    Ok(Some(Step::pass(statement.not_concurrent())))
}
