//! The plan for a statement that runs on one node with rows of other places, which are sent there first: because it changes
//! tables of that node, or because the node has most of the rows that it reads.

use super::facts::{Facts, gather, node_name};
use super::relations::{OnNode, is_missing, is_remote};
use super::{local_functions, sizes, unsupported};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::absent;
use crate::executor::function_rules::KnownFunctions;
use crate::pg::catalog::names;
use crate::pg::catalog::object::{FIRST_USER_OID, Object};
use crate::pg::catalog::types;
use crate::pg::exec::estimate;
use crate::pg::exec::local_rows::is_sent_in_binary;
use crate::pg::exec::remote_plan::RemotePlan;
use crate::pg::tree::copy_insert;
use crate::pg::tree::current_of;
use crate::pg::tree::places::Places;
use crate::pg::tree::shipment::{self, Shipped};
use crate::pg::tree::{QueryTree, Survey, deparse};
use crate::{settings, transaction};
use helios_core::node_interface::RECEIVE_ROWS;
use helios_core::route::{self, Route, Touched};
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode as Code};

/// What the node of the changed tables has.
struct Target {
    node: NodeId,
}

impl Places for Target {
    fn stays(&self, survey: &Survey<'_>) -> Result<bool> {
        let Facts { touched, .. } = gather(survey)?;
        Ok(match route::route(&touched, &node_name) {
            Route::Here => {
                local_functions::check(survey).is_ok()
                    && !survey.set_config
                    && touched
                        .iter()
                        .all(|thing| matches!(thing, Touched::Reference { write: false, .. }))
            }
            Route::Node { node, .. } => {
                node == self.node.0 && local_functions::check(survey).is_ok() && !survey.set_config
            }
            Route::Parts | Route::Refused(_) => false,
        })
    }

    fn has_rows(&self, relation: Oid) -> Result<bool> {
        if relation.to_u32() < FIRST_USER_OID {
            return Ok(false);
        }
        if !is_remote(relation)? {
            return catalog::has_visible_copies(relation);
        }
        self.changes_rows(relation)
    }

    fn changes_rows(&self, relation: Oid) -> Result<bool> {
        let Some(namespace) = names::relation_namespace(relation) else { return Ok(false) };
        Ok(catalog::placement(namespace)?.is_some_and(|place| place.node == self.node))
    }

    fn check_type(&self, of_type: Oid) -> Result<()> {
        if of_type.to_u32() < FIRST_USER_OID
            || !is_missing(Object::of_type(of_type), Some(self.node))?
        {
            return Ok(());
        }
        let name = types::qualified_name(of_type);
        Err(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("type {name} does not exist on the node of this statement"),
        )
        .detail("The statement runs where the table is that it changes, and rows of other places are sent there first.")
        .hint(format!("Cast the values of type {name} to text in a subquery, or create the type in a plain schema.")))
    }
}

/// The plan, if all that the statement changes is on `node`, and everything else can be sent there. `function` gives the rows
/// there.
///
/// Errors: 0A000 for a part of it that cannot.
pub(super) fn plan(
    query: QueryTree<'_>,
    survey: &Survey<'_>,
    node: NodeId,
    function: Oid,
) -> Result<Option<RemotePlan>> {
    if !query.means_its_text() {
        return Ok(None);
    }
    Ok(for_node(query, survey, node, function)?.map(|sent| sent.plan))
}

/// A statement for a node, and the queries whose rows are sent there.
struct Sent<'a> {
    plan: RemotePlan,
    sources: Vec<QueryTree<'a>>,
}

/// What runs on `node`; None if not all of it can.
fn for_node<'a>(
    query: QueryTree<'a>,
    survey: &Survey<'_>,
    node: NodeId,
    function: Oid,
) -> Result<Option<Sent<'a>>> {
    let params = survey.params.iter().map(|param| param.id).max().unwrap_or(0);
    let target = Target { node };
    let shipped = shipment::take_out::<KnownFunctions>(query, &target, function, params + 1)?;
    if shipped.sources.is_empty() {
        return Ok(None);
    }
    let mut survey = shipped.query.survey::<KnownFunctions>();
    let Facts { touched, namespaces, local_view, catalogs } = gather(&survey)?;
    let on_node = match route::route(&touched, &node_name) {
        Route::Node { node: found, .. } => found == node.0,
        _ => false,
    };
    if !on_node {
        return Ok(None);
    }
    // Of the functions that belong to one server this is the one that a node may be asked for.
    survey.functions.retain(|&called| called != function);
    unsupported::check(
        shipped.query,
        &survey,
        &OnNode { node: node.0, namespaces: namespaces.clone(), local_view, catalogs },
    )?;
    if !survey.cursors.is_empty() {
        current_of::hide_names(shipped.query);
    }
    let plan = RemotePlan {
        sql: deparse::rewritten_text(shipped.query)?,
        offset: None,
        params,
        writes: query.writes(),
        unsettles: survey.calls_volatile_function(),
        cursor: survey.cursors.first().cloned(),
        namespaces,
        copy: copy(query, &shipped, node, function)?,
        sources: shipped.sources,
    };
    Ok(Some(Sent { plan, sources: shipped.queries }))
}

/// The COPY that does what an INSERT would do with the rows that are sent; empty if there is none. The node is busy with it while
/// this server reads the rows, so they come from elsewhere.
fn copy(
    query: QueryTree<'_>,
    shipped: &Shipped<'_>,
    node: NodeId,
    function: Oid,
) -> Result<Vec<u8>> {
    let [source] = shipped.queries[..] else { return Ok(Vec::new()) };
    let survey = source.survey::<KnownFunctions>();
    if source.writes() || !survey.functions.is_empty() || survey.calls_volatile_function() {
        return Ok(Vec::new());
    }
    let is_there = |thing: &Touched| match thing {
        Touched::Remote { node: other, .. } | Touched::Advanced { node: other, .. } => {
            *other == node.0
        }
        _ => false,
    };
    if gather(&survey)?.touched.iter().any(is_there) {
        return Ok(Vec::new());
    }
    let fewest = settings::MIN_COPIED_ROWS.get();
    let text = match fewest < 0 {
        true => None,
        false => copy_insert::text(query, shipped.query, function, &is_sent_in_binary),
    };
    let Some(text) = text else { return Ok(Vec::new()) };
    let rows = match fewest {
        0 => 0.0,
        // It runs from its text, which could not be made of it once more.
        _ if source.cannot_be_deparsed() => remote_rows_of(source)?,
        _ => rows_of(source)?,
    };
    Ok(if rows < f64::from(fewest) { Vec::new() } else { text.into_bytes() })
}

/// How many times fewer rows must be sent than fetched, at least.
const FEWER: f64 = 10.0;

/// Whether a query that this server plans over the rows of nodes might run on one of them.
pub(super) fn may_be_sent(query: QueryTree<'_>, survey: &Survey<'_>) -> bool {
    !query.writes()
        && !query.cannot_be_deparsed()
        && survey.bound.is_none()
        && !survey.set_config
        && !survey.lastval
}

/// The plan for such a query, whose plan here fetches so many rows, if a node can run it and is sent much fewer rows for it.
pub fn read(query: QueryTree<'_>, fetched_rows: f64) -> Result<Option<RemotePlan>> {
    let fewest = settings::MIN_FETCHED_ROWS.get();
    if fewest < 0 || fetched_rows < f64::from(fewest) || !query.is_checked_as_caller() {
        return Ok(None);
    }
    let survey = query.survey::<KnownFunctions>();
    let Some(node) = largest_node(&survey)? else { return Ok(None) };
    let facts = gather(&survey)?;
    let needs_this_server = absent::any_needs_this_server(&survey.functions, node)?;
    if facts.catalogs || facts.local_view || needs_this_server {
        return Ok(None);
    }
    if !transaction::has_function(node, &RECEIVE_ROWS)? {
        return Ok(None);
    }
    let Some(function) = names::function("helios", "shipped_rows", &[pg_sys::INT8OID]) else {
        return Ok(None);
    };
    let sent = match for_node(query, &survey, node, function) {
        Ok(Some(sent)) => sent,
        Ok(None) => return Ok(None),
        // The plan over the rows of nodes can do it.
        Err(error) if error.is(Code::ERRCODE_FEATURE_NOT_SUPPORTED) => return Ok(None),
        Err(error) => return Err(error),
    };
    if fewest == 0 {
        return Ok(Some(sent.plan));
    }
    let mut sent_rows = 0.0;
    for source in sent.sources {
        sent_rows += rows_of(source)?;
    }
    Ok((sent_rows * FEWER <= fetched_rows).then_some(sent.plan))
}

/// About how many rows a query gives.
fn rows_of(source: QueryTree<'_>) -> Result<f64> {
    Ok(match estimate::rows(source) {
        Some(rows) => rows,
        None => remote_rows_of(source)?,
    })
}

fn remote_rows_of(source: QueryTree<'_>) -> Result<f64> {
    let nodes = remote_rows(&source.survey::<KnownFunctions>())?;
    Ok(nodes.into_iter().map(|(_, rows)| rows).sum())
}

/// The rows that each node has of these tables.
fn remote_rows(survey: &Survey<'_>) -> Result<Vec<(NodeId, f64)>> {
    let mut nodes: Vec<(NodeId, f64)> = Vec::new();
    for relation in &survey.relations {
        if !is_remote(relation.oid)? {
            continue;
        }
        let Some(namespace) = names::relation_namespace(relation.oid) else { continue };
        let Some(place) = catalog::placement(namespace)? else { continue };
        let rows = sizes::of(relation.oid)?.map_or(0.0, |size| size.rows);
        match nodes.iter_mut().find(|(node, _)| *node == place.node) {
            Some((_, all)) => *all += rows,
            None => nodes.push((place.node, rows)),
        }
    }
    Ok(nodes)
}

/// The node that has most of the rows.
fn largest_node(survey: &Survey<'_>) -> Result<Option<NodeId>> {
    let nodes = remote_rows(survey)?;
    Ok(nodes.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(node, _)| node))
}
