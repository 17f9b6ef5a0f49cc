//! Queries that PostgreSQL plans here, over the rows of nodes.

use super::facts::{gather, node_name};
use super::relations::{is_elsewhere, may_move};
use super::{shipped, sizes};
use crate::catalog;
use crate::error::Result;
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::hooks::planner::{InParts, Planned};
use crate::pg::tree::inheritance_trees;
use crate::pg::tree::policies;
use crate::pg::tree::row_fence;
use crate::pg::tree::set_aside::{self, SetAside};
use crate::pg::tree::union_all;
use crate::pg::tree::{QueryTree, Survey};
use helios_core::route::{self, Route};
use pgrx::pg_sys::{self, Oid};

/// Lets PostgreSQL plan a query here, over the rows of nodes, and of the queries in `first`, which were set aside already.
/// `locks`: nodes are to lock rows that they give.
pub(super) fn plan<'a>(
    query: QueryTree<'a>,
    first: Vec<SetAside>,
    locks: bool,
) -> Result<Planned<'a>> {
    let survey = query.survey::<KnownFunctions>();
    let may_be_sent = first.is_empty() && !locks && shipped::may_be_sent(query, &survey);
    let whole = may_be_sent.then(|| query.copy());
    survey.redirect::<KnownFunctions>(is_redirected)?;
    policies::leave_to_nodes(query, &mut is_elsewhere)?;
    let mut set_aside = first;
    let function = names::function("helios", "shipped_rows", &[pg_sys::INT8OID]);
    // Of a query that is set aside, the node would not know which rows to lock.
    if let Some(function) = function.filter(|_| !locks) {
        set_aside.extend(union_all::rewrite::<KnownFunctions>(query, &mut one_node)?);
        let mut is_on_one_node = |survey: &Survey<'_>| Ok(one_node(survey)?.is_some());
        set_aside.extend(set_aside::set_aside::<KnownFunctions>(
            query,
            function,
            &mut is_on_one_node,
        )?);
    }
    if let Some(function) = function {
        set_aside.extend(inheritance_trees::set_aside_trees(
            query,
            function,
            &mut are_on_one_node,
        )?);
    }
    // Those of the tables that are read one by one, in one request for each node.
    let left = query.survey::<KnownFunctions>().relations;
    sizes::fetch(&left.iter().map(|relation| relation.oid).collect::<Vec<Oid>>())?;
    row_fence::keep_copies(query, &mut is_elsewhere)?;
    Ok(Planned::InParts(InParts { set_aside, whole }))
}

/// Whether a call of a function on this relation is redirected: the relation may have moved when the statement runs, or it is a
/// sequence, and which one was used last matters to `lastval()`.
pub(super) fn is_redirected(relation: Oid) -> Result<bool> {
    Ok(crate::executor::last_written().is_some() || may_move(relation)?)
}

/// Whether a table and all that inherit from it are elsewhere, and stay together.
fn are_on_one_node(root: Oid) -> Result<bool> {
    let mut shard = None;
    for member in names::inheritors(root) {
        let namespace = names::relation_namespace(member);
        let Some(placement) = namespace.map_or(Ok(None), catalog::placement)? else {
            return Ok(false);
        };
        if *shard.get_or_insert(placement.shard) != placement.shard {
            return Ok(false);
        }
    }
    Ok(shard.is_some() && is_elsewhere(root)?)
}

/// The node that has everything of a query that only reads.
fn one_node(survey: &Survey<'_>) -> Result<Option<i32>> {
    let facts = gather(survey)?;
    if survey.bound.is_some() || !survey.functions.is_empty() || facts.catalogs {
        return Ok(None);
    }
    Ok(match route::route(&facts.touched, &node_name) {
        Route::Node { node, .. } => Some(node),
        _ => None,
    })
}

/// The namespaces on nodes that a query touches.
pub fn namespaces(query: QueryTree<'_>) -> Result<Vec<Oid>> {
    Ok(gather(&query.survey::<KnownFunctions>())?.namespaces)
}

/// About how many rows the tables on nodes have that a query reads.
pub fn rows(query: QueryTree<'_>) -> Result<f64> {
    let relations = query.survey::<KnownFunctions>().relations;
    let relations: Vec<Oid> =
        relations.iter().flat_map(|relation| names::inheritors(relation.oid)).collect();
    sizes::fetch(&relations)?;
    let mut rows = 0.0;
    for relation in relations.into_iter().filter(|oid| oid.to_u32() >= FIRST_USER_OID) {
        if is_elsewhere(relation)? {
            rows += sizes::of(relation)?.map_or(0.0, |size| size.rows);
        }
    }
    Ok(rows)
}
