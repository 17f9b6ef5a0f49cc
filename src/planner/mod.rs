//! Decides where a statement runs, and creates the plan for one that runs on a node.
//!
//! Invariant: a plan for a node carries the statement's own text, or text that PostgreSQL deparsed from the tree before
//! rewriting; nothing is rewritten here. What cannot be routed is rejected with 0A000, never answered wrongly.
//!
//! Locks: none are taken while planning; the executor locks the shards and reads the placement again.

mod catalogs;
pub mod decision;
mod facts;
pub mod local_functions;
pub mod parts;
pub mod relations;
pub mod remote_query;
mod session_user;
mod several_places;
pub mod shipped;
pub mod sizes;
pub mod unsupported;

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::function_rules::KnownFunctions;
use crate::pg::exec::nesting;
use crate::pg::hooks::executor::PlannedRelation;
use crate::pg::hooks::planner::{Planned, Review};
use crate::pg::tree::QueryTree;
use crate::settings::session;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};

/// Decides whether PostgreSQL or a node plans and runs a query.
pub fn plan<'a>(query: QueryTree<'a>, source: &[u8]) -> Result<Planned<'a>> {
    if session::has_other_login() && !query.is_utility() {
        session_user::refuse_on_node(&query.survey::<KnownFunctions>())?;
    }
    if query.is_utility() || query.is_trivial() {
        return Ok(Planned::Here);
    }
    catalog::gate::admit()?;
    if !catalog::in_use() {
        return Ok(Planned::Here);
    }
    decision::decide(query, source)
}

/// 0A000 if the query of CREATE TABLE AS, to be run on this node, would read the node's catalogs, or use OIDs that are
/// different there.
pub fn refuse_numbers(query: &crate::pg::tree::Survey, node: NodeId) -> Result<()> {
    catalogs::check(query, node.0).map_err(|error| {
        error.hint("Create the table in a plain schema, or transfer the rows through the coordinator with COPY.")
    })
}

/// Checks the relations of a plan for shells, which must not be read.
pub fn review(relations: &mut dyn Iterator<Item = Oid>) -> Result<Review> {
    if !catalog::in_use() {
        return Ok(Review::Keep);
    }
    for oid in relations {
        // A view counts as the relations that it reads, which are in the list as well.
        if relations::is_remote(oid)? && !crate::pg::catalog::names::is_view(oid) {
            return Ok(Review::Replan);
        }
    }
    Ok(Review::Keep)
}

/// Whether the query calls user-defined functions, which PostgreSQL may inline.
pub fn may_inline(query: QueryTree<'_>) -> bool {
    !query.is_utility()
        && !query.is_trivial()
        && catalog::in_use()
        && !query.survey::<KnownFunctions>().functions.is_empty()
}

fn first_remote(relations: &[Oid]) -> Result<Option<Oid>> {
    for &oid in relations {
        if relations::is_remote(oid)? {
            return Ok(Some(oid));
        }
    }
    Ok(None)
}

/// Rejects a plan that would read or write a shell. Should never be needed.
pub fn guard(relations: &mut dyn Iterator<Item = PlannedRelation>) -> Result<()> {
    if catalog::proof::is_coordinators() && (nesting::depth() > 0 || nesting::is_nested()) {
        return local_functions::check_views(relations);
    }
    if !catalog::in_use() {
        return Ok(());
    }
    for PlannedRelation { oid, kind, .. } in relations.filter(|relation| relation.used) {
        // Rows are routed to partitions at execution, so the plan does not name these.
        let shell = match kind {
            b'p' => first_remote(&crate::pg::catalog::names::inheritors(oid))?,
            _ if relations::holds_rows(kind) && relations::is_remote(oid)? => Some(oid),
            _ => None,
        };
        if let Some(oid) = shell {
            let name = crate::pg::catalog::names::displayed_relation_name(oid);
            return Err(Error::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot use the local copy of distributed table \"{name}\""),
            )
            .detail("Its rows are on a node; this plan would read or change the empty local copy.")
            .hint("Run the statement directly instead of through this code path."));
        }
    }
    Ok(())
}
