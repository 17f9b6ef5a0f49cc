//! What a node cannot run as it is written here.

use super::relations::{self, OnNode};
use super::{catalogs, local_functions, session_user};
use crate::error::{Error, Result};
use crate::pg::catalog::object;
use crate::pg::session::xact;
use crate::pg::tree::{QueryTree, Survey};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;

/// 0A000 if a statement for this place has a part that would fail or mean something else there.
pub(super) fn check(query: QueryTree<'_>, survey: &Survey, place: &OnNode) -> Result<()> {
    if place.catalogs || survey.object_number.is_some() {
        catalogs::check(survey, place.node)?;
    }
    if xact::has_other_session_user() {
        session_user::refuse_other(survey)?;
    }
    if survey.set_config {
        return Err(unsupported("set_config() cannot be called beside a distributed table")
            .hint("Call it in a statement of its own, before this one."));
    }
    if survey.bound.is_some() || !survey.functions.is_empty() {
        local_functions::check(survey)?;
    }
    if query.assigns_element() {
        return Err(unsupported("cannot assign a value from a node to an array element or field")
            .hint("Assign it to a plain variable first."));
    }
    if survey.table_number {
        return Err(unsupported("tableoid of a distributed table cannot be used as a number")
            .detail("Tables have other OIDs on their node than here.")
            .hint("Use tableoid::regclass, which is the table's name on both."));
    }
    if survey.current_of {
        return Err(unsupported("WHERE CURRENT OF is not supported in a distributed schema")
            .hint("Name the row by its key instead."));
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
        .detail("Its name would mean something else there, or nothing.")
        .hint("Write the name with the schema of the statement's tables, or set search_path.")
}

/// 0A000 for a part of a statement.
pub(super) fn unsupported(part: &str) -> Error {
    Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, part)
        .detail("The statement runs on a node as it is written, and this part of it cannot.")
}
