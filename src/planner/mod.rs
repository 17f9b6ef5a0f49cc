//! Decides where a statement runs, and makes the plan for one that runs on a node.
//!
//! Invariant: a plan for a node carries the statement's own text, or text that PostgreSQL deparsed from the tree before
//! rewriting; nothing is rewritten here. What cannot be routed is refused with 0A000, never answered wrongly.
//!
//! Locks: none are taken while planning; the executor locks the shards and reads the placement again.

mod catalogs;
mod facts;
pub mod local_functions;
mod session_user;
pub mod text;

use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::pg::catalog::object;
use crate::pg::exec::plan::RemotePlan;
use crate::pg::exec::{evaluate, nesting};
use crate::pg::hooks::planner::Planned;
use crate::pg::session::session_settings;
use crate::pg::tree::{QueryTree, Source};
use facts::Facts;
use helios_core::route::{self, Route};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};

/// Decides whether PostgreSQL or a node plans and runs a query.
pub fn plan(query: QueryTree<'_>, source: &[u8]) -> Result<Planned> {
    if session_settings::has_other_login() && !query.is_utility() {
        session_user::refuse_on_node(&query.survey())?;
    }
    if query.is_utility() || query.is_trivial() {
        return Ok(Planned::Here);
    }
    catalog::gate::admit()?;
    if !catalog::in_use() {
        return Ok(Planned::Here);
    }
    let survey = query.survey();
    let facts = facts::gather(&survey)?;
    match route::route(&facts.touched, &node_name) {
        Route::Here => {
            survey.redirect(facts::may_move)?;
            Ok(Planned::Here)
        }
        Route::Refused(reason) => {
            Err(Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, reason.message)
                .detail(reason.detail)
                .hint(reason.hint))
        }
        Route::Node { .. } if catalogs::suffice(&survey, &facts)? => {
            survey.redirect(facts::may_move)?;
            Ok(Planned::Here)
        }
        Route::Node { node, .. } => {
            catalogs::check(&survey, node)?;
            let plan = remote_plan(query, source, &survey, facts)?;
            Ok(if nesting::depth() > 0 && evaluate::is_expression(query) {
                Planned::Expression(plan, survey.params)
            } else {
                Planned::Remote(plan)
            })
        }
    }
}

/// 0A000 if the query of CREATE TABLE AS, whose rows this node is to make, would see the node's catalogs, or objects by
/// other numbers than here.
pub fn refuse_numbers(query: &crate::pg::tree::Survey, node: NodeId) -> Result<()> {
    catalogs::check(query, node.0).map_err(|error| {
        error.hint("Make the table in a plain schema, or bring the rows to the coordinator and back by COPY.")
    })
}

fn node_name(id: i32) -> String {
    match catalog::node(NodeId(id)) {
        Ok(node) => node.name.clone(),
        // Its row is gone since the placement was read; the number still says which one it was.
        Err(_) => format!("node {id}"),
    }
}

fn remote_plan(
    query: QueryTree<'_>,
    source: &[u8],
    survey: &crate::pg::tree::Survey,
    facts: Facts,
) -> Result<RemotePlan> {
    session_user::refuse_other(survey)?;
    let unsupported = |what: &str| {
        Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, what)
            .detail("The statement runs on a node as it is written, and this part of it cannot.")
    };
    if survey.set_config {
        return Err(unsupported("set_config() cannot be called beside a distributed table")
            .hint("Call it in a statement of its own, before this one."));
    }
    local_functions::check(survey)?;
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
    if let Some(object) = facts::named_elsewhere(survey, &facts.namespaces)? {
        let name = object::identity(object)?.unwrap_or_default();
        return Err(unsupported(&format!("{name} is not on the node of this statement"))
            .detail("Its name would mean something else there, or nothing.")
            .hint(
                "Write the name with the schema of the statement's tables, or set search_path.",
            ));
    }
    let text = match query.source() {
        Source::Statement if facts.local_view => text::expanded(query)?,
        Source::Statement => text::of(query, source, survey)?,
        // The node's own rules run what belongs to the statement.
        Source::AlsoRule => text::Text { sql: Vec::new(), offset: None },
        Source::InsteadRule => {
            return Err(unsupported(
                "rules with several INSTEAD actions are not supported in a distributed schema",
            )
            .hint("Use an INSTEAD OF trigger."));
        }
    };
    let params = survey.params.iter().map(|p| p.id).max().unwrap_or(0);
    let volatile = survey.calls_volatile_function();
    Ok(RemotePlan {
        sql: text.sql,
        offset: text.offset,
        params,
        writes: query.writes() || survey.data_arguments.iter().any(|r| r.write) || volatile,
        unsettles: volatile,
        namespaces: facts.namespaces,
    })
}

/// Whether one of the relations of a plan is a shell, which must not be read.
pub fn reads_shell(relations: &mut dyn Iterator<Item = Oid>) -> Result<bool> {
    if !catalog::in_use() {
        return Ok(false);
    }
    for oid in relations {
        // A view is what it reads, and that is among them as well.
        if facts::is_remote(oid)? && !crate::pg::catalog::names::is_view(oid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the query calls functions of users, which PostgreSQL may inline.
pub fn may_inline(query: QueryTree<'_>) -> bool {
    !query.is_utility()
        && !query.is_trivial()
        && catalog::in_use()
        && !query.survey().functions.is_empty()
}

fn first_remote(relations: &[Oid]) -> Result<Option<Oid>> {
    for &oid in relations {
        if facts::is_remote(oid)? {
            return Ok(Some(oid));
        }
    }
    Ok(None)
}

/// Refuses a plan that would read or write a shell, which never happens.
pub fn guard(relations: &mut dyn Iterator<Item = (Oid, u8)>) -> Result<()> {
    if catalog::proof::is_coordinators() && (nesting::depth() > 0 || nesting::is_nested()) {
        return local_functions::check_views(relations);
    }
    if !catalog::in_use() {
        return Ok(());
    }
    for (oid, kind) in relations {
        // Rows find their partition while the plan runs, so that the plan does not name it.
        let shell = match kind {
            b'p' => first_remote(&crate::pg::catalog::names::inheritors(oid))?,
            _ if facts::holds_rows(kind) && facts::is_remote(oid)? => Some(oid),
            _ => None,
        };
        if let Some(oid) = shell {
            let name = crate::pg::catalog::names::displayed_relation_name(oid);
            return Err(Error::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot use the local copy of distributed table \"{name}\""),
            )
            .detail(
                "Its rows are on a node; this plan would have read or changed the empty copy here.",
            )
            .hint("Run the statement on its own, not through the path that led here."));
        }
    }
    Ok(())
}
