//! Statements that change or lock rows in several places, or change those of one with rows of others.
//!
//! A statement runs where the table is that it changes: rows of other places are sent there first. A WITH query that changes rows
//! elsewhere runs before it. What only locks rows runs here, and the nodes lock what they give.

use super::facts::gather;
use super::relations::is_elsewhere;
use super::{parts, shipped};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::names;
use crate::pg::hooks::planner::Planned;
use crate::pg::tree::with_changes::{self, Change};
use crate::pg::tree::{QueryTree, Survey, row_locks, with_lists};
use helios_core::route::Touched;
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};

/// A node, or None for this server.
type Place = Option<NodeId>;

/// The plan of a statement that neither one node nor this server can run as it is; None if there is none.
///
/// Errors: 0A000 for a part of it that cannot be taken out.
pub(super) fn plan<'a>(
    query: QueryTree<'a>,
    survey: &Survey<'_>,
    touched: &[Touched],
) -> Result<Option<Planned<'a>>> {
    let Some(function) = names::function("helios", "shipped_rows", &[pg_sys::INT8OID]) else {
        return Ok(None);
    };
    let mut changes = with_changes::of(query);
    let place = place_of(query, &changes, touched)?;
    // One that runs before the statement takes along what it alone reads.
    while let Some(reader) = open_elsewhere(&changes, place)? {
        let before = changes.len();
        with_lists::move_into(query, reader);
        changes = with_changes::of(query);
        if changes.len() == before {
            break;
        }
    }
    let mut moved = Vec::new();
    for change in &changes {
        if place_of_table(change.target)? != place {
            check(query, change)?;
            moved.push(change);
        }
    }
    if let Some(node) = place {
        let plan = shipped::plan(query, survey, node, function)?;
        if plan.is_some() || with_changes::target(query).is_some() || !changes.is_empty() {
            return Ok(plan.map(Planned::Remote));
        }
    }
    if with_changes::target(query).map_or(Ok(None), place_of_table)?.is_some() {
        return Ok(None);
    }
    if touched.iter().any(|thing| matches!(thing, Touched::LastValue { node: Some(_) })) {
        return Ok(None);
    }
    let first = moved.into_iter().map(|change| with_changes::run_first(query, change, function));
    let first: Vec<_> = first.collect();
    let locks = row_locks::move_to_tables(query, &mut is_elsewhere)?;
    parts::plan(query, first, locks).map(Some)
}

/// The number of a WITH query that changes another place than `place` and reads other WITH queries.
fn open_elsewhere(changes: &[Change<'_>], place: Place) -> Result<Option<usize>> {
    for change in changes.iter().rev().filter(|change| !change.is_closed) {
        if place_of_table(change.target)? != place {
            return Ok(Some(change.index));
        }
    }
    Ok(None)
}

/// Where a statement runs: where the table is that it changes. One that changes none by itself runs on the only node where its
/// WITH queries change rows, or where rows are locked, and else here.
fn place_of(query: QueryTree<'_>, changes: &[Change<'_>], touched: &[Touched]) -> Result<Place> {
    if let Some(target) = with_changes::target(query) {
        return place_of_table(target);
    }
    let mut places = Vec::new();
    for change in changes {
        places.push(place_of_table(change.target)?);
    }
    for thing in touched {
        match thing {
            Touched::Remote { node, write: true, .. } => places.push(Some(NodeId(*node))),
            Touched::LocalTable { write: true, .. } | Touched::Reference { write: true, .. } => {
                places.push(None);
            }
            _ => {}
        }
    }
    let first = places.first().copied().flatten();
    Ok(first.filter(|_| places.iter().all(|place| *place == first)))
}

fn place_of_table(table: Oid) -> Result<Place> {
    let Some(namespace) = names::relation_namespace(table) else { return Ok(None) };
    Ok(catalog::placement(namespace)?.map(|placement| placement.node))
}

/// Whether a WITH query can run before its statement: nobody sees its changes who would not see them on one server.
///
/// Errors: 0A000 if not.
fn check(query: QueryTree<'_>, change: &Change<'_>) -> Result<()> {
    let name = &change.name;
    let refused = |detail: String| {
        Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("WITH query \"{name}\" cannot run on another server than its statement"),
        )
        .detail(detail)
        .hint(format!(
            "Run \"{name}\" as a statement of its own, in the same transaction, for example with CREATE TEMPORARY TABLE … AS."
        ))
    };
    if !change.query.means_its_text() {
        return Err(refused(
            "It changes rows through a view, whose checks its server does not have.".into(),
        ));
    }
    if !change.is_closed {
        return Err(refused("It reads from another WITH query.".into()));
    }
    let Some(rest) = with_changes::without(query, change.index) else { return Ok(()) };
    let rest = rest.survey::<KnownFunctions>();
    if rest.relations.iter().any(|relation| relation.oid == change.target)
        && catalog::has_visible_copies(change.target)?
    {
        let table = names::displayed_relation_name(change.target);
        return Err(refused(format!(
            "The statement also uses \"{table}\", of whose copies it would see the changes of \"{name}\"."
        )));
    }
    let used = nodes(&gather(&rest)?.touched);
    let own = nodes(&gather(&change.query.survey::<KnownFunctions>())?.touched);
    match own.into_iter().find(|node| used.contains(node)) {
        Some(node) => {
            let node = &catalog::node(NodeId(node))?.name;
            Err(refused(format!(
                "Both use tables of node \"{node}\", where the statement would see the changes of \"{name}\"."
            )))
        }
        None => Ok(()),
    }
}

fn nodes(touched: &[Touched]) -> Vec<i32> {
    let node = |thing: &Touched| match thing {
        Touched::Remote { node, .. } | Touched::Advanced { node, .. } => Some(*node),
        _ => None,
    };
    touched.iter().filter_map(node).collect()
}
