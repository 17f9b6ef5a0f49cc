//! CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW in a distributed schema: the shell gets the definition, the
//! node computes the rows. If a table's rows need other servers, the node gets the shell's definition, and the rows are
//! inserted like those of INSERT … SELECT.

use super::follow_up::FollowUp;
use super::object_location::{self, Location};
use super::statement_scope::{StatementScope, begin};
use super::{like, propagate, send};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::utility::{Completion, Step};
use crate::pg::session::{self, sql};
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// None for another command, or one that creates a relation elsewhere.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some(table) = statement.table_as() else { return Ok(None) };
    let Some(place) = catalog::placement(table.namespace)? else { return Ok(None) };
    if table.exists_and_may {
        return Ok(Some(Step::pass(*statement)));
    }
    if table.from_prepared || statement.has_parameters() {
        let node = catalog::node(place.node)?;
        let what =
            if table.from_prepared { "the result of a prepared statement" } else { "parameters" };
        return Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot create relation \"{}\" from {what}", table.name),
        )
        .detail(format!(
            "The table is filled on node \"{}\" from the text of the statement.",
            node.name
        ))
        .hint("Create the table first, then use INSERT."));
    }
    let node = place.node;
    let step = match refusal(statement, &table.name, node)? {
        None => FollowUp::TableAs { node },
        Some(refusal) if !table.is_table => return Err(refusal),
        Some(_) if table.no_data => FollowUp::TableFrom { node, query: None },
        Some(_) => FollowUp::TableFrom { node, query: statement.table_as_query()? },
    };
    Ok(Some(begin(statement.with_no_data(), step)))
}

/// Why the node cannot compute the rows from the text of the statement.
fn refusal(statement: &Statement, table: &str, node: NodeId) -> Result<Option<Error>> {
    for object in statement.table_as_references() {
        if !object::is_given(object)
            && let Some(location) = object_location::of_named(object)?
            && !is_there(&location, node)
        {
            return elsewhere(table, object, &location, node).map(Some);
        }
    }
    let survey = statement.table_as_survey::<KnownFunctions>();
    Ok(survey.and_then(|survey| crate::planner::refuse_numbers(&survey, node).err()))
}

fn is_there(location: &Location, node: NodeId) -> bool {
    match location {
        Location::Node(place, _) => place.node == node,
        Location::Coordinator(_) => false,
        Location::EveryNode => true,
    }
}

/// The rows are computed on the node, where the query's text could refer to other objects or to none.
fn elsewhere(table: &str, object: Object, location: &Location, node: NodeId) -> Result<Error> {
    let name = object::identity(object)?.unwrap_or_default();
    let place = match location {
        Location::Node(place, _) => format!("is on node \"{}\"", catalog::node(place.node)?.name),
        _ => "is on this server".to_owned(),
    };
    let node = catalog::node(node)?;
    Ok(Error::new(
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot create relation \"{table}\" from objects that are not on its node"),
    )
    .detail(format!("{name} {place}, but the table is filled on node \"{}\".", node.name))
    .hint(format!("Create \"{table}\" as a table first and fill it with INSERT, or qualify the names with their schema.")))
}

/// Creates a table on the node as it was created here, and inserts the rows of a query that runs here.
pub(super) fn insert(
    node: NodeId,
    scope: &StatementScope,
    query: Option<&str>,
) -> Result<Option<Completion>> {
    let Some(table) = like::define(scope, node)? else { return Ok(None) };
    let Some(query) = query else { return Ok(None) };
    let name = session::quoted_relation_name(table);
    let rows = sql::change(&format!("INSERT INTO {name} {query}"))?;
    Ok(Some(Completion { rows }))
}

/// Creates it on the node; returns the number of rows, if any were computed.
pub(super) fn after(
    node: NodeId,
    scope: &StatementScope,
    statement: &Statement,
) -> Result<Option<Completion>> {
    propagate::check(scope, statement)?;
    let tag = send::work(node, statement)?;
    let rows = tag.strip_prefix("SELECT ").and_then(|rows| rows.parse().ok());
    Ok(rows.map(|rows| Completion { rows }))
}
