//! Parts of a statement that a node cannot run as written.

use super::relations::{self, OnNode};
use super::{catalogs, local_functions, session_user};
use crate::error::{Error, Result};
use crate::pg::catalog::object;
use crate::pg::session::xact;
use crate::pg::tree::{QueryTree, Survey};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// 0A000 if a part of the statement would fail or mean something else on its node.
pub(super) fn check(query: QueryTree<'_>, survey: &Survey, place: &OnNode) -> Result<()> {
    if place.catalogs || survey.object_number.is_some() {
        catalogs::check(survey, place.node)?;
    }
    if xact::has_other_session_user() {
        session_user::refuse_other(survey)?;
    }
    if survey.set_config {
        return Err(unsupported(
            "cannot call set_config() in a statement with a distributed table",
        )
        .hint("Call set_config() in a separate statement before this one."));
    }
    if survey.bound.is_some() || !survey.functions.is_empty() {
        local_functions::check(survey)?;
    }
    if query.assigns_element() {
        return Err(unsupported("cannot assign a value from a node to an array element or field")
            .hint("Assign it to a plain variable first."));
    }
    if survey.table_number {
        return Err(unsupported("cannot use tableoid of a distributed table as a number")
            .detail("Tables have different OIDs on their node.")
            .hint("Use tableoid::regclass, which yields the table's name on both servers."));
    }
    if survey.cursors.len() > 1 {
        return Err(unsupported(
            "cannot use WHERE CURRENT OF with several cursors in one statement",
        )
        .hint("Use a statement for each cursor."));
    }
    if survey.named.is_empty() {
        return Ok(());
    }
    match relations::named_elsewhere(&survey.named, &place.namespaces)? {
        Some(object) => Err(is_elsewhere(&object::identity(object)?.unwrap_or_default())),
        None => Ok(()),
    }
}

fn is_elsewhere(name: &str) -> Error {
    unsupported(&format!("{name} is not on the node of this statement"))
        .detail("On the node, the name would refer to another object or to none.")
        .hint("Qualify the name with the schema of the statement's tables, or set search_path.")
}

/// 0A000 for a part of a statement.
pub(super) fn unsupported(part: &str) -> Error {
    Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, part).detail(
        "The text of the statement is sent to a node, where this part of it cannot be evaluated.",
    )
}
