//! The plan for a statement that changes tables of one node with rows of other places: it runs on that node, and the rows are
//! sent there first.

use super::decision::{Facts, gather, node_name};
use super::relations::{OnNode, is_remote};
use super::unsupported;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::exec::remote_plan::RemotePlan;
use crate::pg::tree::shipment::{self, Places};
use crate::pg::tree::{QueryTree, Survey, deparse};
use helios_core::route::{self, Route, Touched};
use pgrx::pg_sys::{self, Oid};

/// What the node of the changed tables has.
struct Target {
    node: NodeId,
}

impl Places for Target {
    fn stays(&self, survey: &Survey<'_>) -> Result<bool> {
        let Facts { touched, .. } = gather(survey)?;
        Ok(match route::route(&touched, &node_name) {
            Route::Here => {
                survey.bound.is_none() && touched.iter().all(|thing| {
                    matches!(thing, Touched::Reference { .. })
                })
            }
            Route::Node { node, .. } => node == self.node.0,
            Route::Parts | Route::Refused(_) => false,
        })
    }

    fn has_rows(&self, relation: Oid) -> Result<bool> {
        if relation.to_u32() < FIRST_USER_OID {
            return Ok(false);
        }
        if !is_remote(relation)? {
            return catalog::is_reference(relation);
        }
        let Some(namespace) = names::relation_namespace(relation) else { return Ok(false) };
        Ok(catalog::placement(namespace)?.is_some_and(|place| place.node == self.node))
    }
}

/// The plan, if all that the statement changes is on one node, and everything else can be sent there.
///
/// Errors: 0A000 for a part of it that cannot.
pub(super) fn plan(
    query: QueryTree<'_>,
    survey: &Survey<'_>,
    touched: &[Touched],
) -> Result<Option<RemotePlan>> {
    let mut nodes = touched.iter().filter_map(|thing| match thing {
        Touched::Remote { node, write: true, .. } => Some(*node),
        _ => None,
    });
    let Some(node) = nodes.next() else { return Ok(None) };
    if nodes.any(|other| other != node) || query.cannot_be_deparsed() && !query.changes_named_table() {
        return Ok(None);
    }
    let Some(function) = names::function("helios", "shipped_rows", &[pg_sys::INT8OID]) else {
        return Ok(None);
    };
    let params = survey.params.iter().map(|param| param.id).max().unwrap_or(0);
    let target = Target { node: NodeId(node) };
    let shipped = shipment::take_out::<KnownFunctions>(query, &target, function, params + 1)?;
    if shipped.sources.is_empty() {
        return Ok(None);
    }
    let mut survey = shipped.query.survey::<KnownFunctions>();
    let Facts { touched, namespaces, local_view, catalogs } = gather(&survey)?;
    let on_node = match route::route(&touched, &node_name) {
        Route::Node { node: found, .. } => found == node,
        _ => false,
    };
    if !on_node || local_view {
        return Ok(None);
    }
    // Of the functions that belong to one server this is the one that a node may be asked for.
    survey.functions.retain(|&called| called != function);
    unsupported::check(
        shipped.query,
        &survey,
        &OnNode { node, namespaces: namespaces.clone(), local_view, catalogs },
    )?;
    Ok(Some(RemotePlan {
        sql: deparse::rewritten_text(shipped.query)?,
        offset: None,
        params,
        writes: true,
        unsettles: survey.calls_volatile_function(),
        namespaces,
        sources: shipped.sources,
    }))
}
