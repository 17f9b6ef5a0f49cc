//! CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW in a distributed schema: the shell gets the definition,
//! the node the rows.

use super::frame::{Frame, Plan};
use super::{propagate, send, then};
use crate::directory::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::statement::Statement;
use crate::pg::utility_hook::{Completion, Step};
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// None: another statement, or one that makes a relation elsewhere.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some(table) = statement.table_as() else { return Ok(None) };
    let Some(place) = directory::placement(table.namespace)? else { return Ok(None) };
    if table.exists_and_may {
        return Ok(Some(Step::pass(*statement)));
    }
    if table.from_prepared || statement.has_parameters() {
        let node = directory::node(place.node)?;
        let what =
            if table.from_prepared { "the result of a prepared statement" } else { "parameters" };
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot make \"{}\" from {what}", table.name),
        )
        .detail(format!("Its rows are made on node \"{}\", from the statement's text.", node.name))
        .hint("Make the table first, then use INSERT."));
    }
    Ok(Some(then(statement.with_no_data(), Plan::TableAs { node: place.node })))
}

/// Makes it on the node; gives the number of rows, if any were made.
pub(super) fn after(
    node: NodeId,
    frame: &Frame,
    statement: &Statement,
) -> Result<Option<Completion>> {
    propagate::check(frame, statement)?;
    let tag = send::work(node, statement)?;
    let rows = tag.strip_prefix("SELECT ").and_then(|rows| rows.parse().ok());
    Ok(rows.map(|rows| Completion { rows }))
}
