//! Decides where a query runs: collects what it touches as plain data, and asks the router.

use super::relations::{OnNode, holds_rows, is_elsewhere, may_move};
use super::{catalogs, remote_query, several_places, shipped, sizes, unsupported};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::absent;
use crate::executor::function_rules::KnownFunctions;
use crate::executor::server_functions;
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::hooks::planner::{InParts, Planned};
use crate::pg::session;
use crate::pg::tree::row_fence;
use crate::pg::tree::set_aside::{self, SetAside};
use crate::pg::tree::union_all;
use crate::pg::tree::{QueryTree, RelationUse, Survey};
use helios_core::route::{self, Route, Touched};
use pgrx::pg_sys::{self, Oid, errcodes::PgSqlErrorCode};

/// The objects that a query touches, and the namespaces of the remote ones.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) touched: Vec<Touched>,
    pub(super) namespaces: Vec<Oid>,
    /// The query names a view in a plain schema, which does not exist on nodes.
    pub(super) local_view: bool,
    /// The query names a built-in relation.
    pub(super) catalogs: bool,
}

/// Surveys a query and decides; for a remote query, returns its plan.
pub(super) fn decide<'a>(query: QueryTree<'a>, source: &[u8]) -> Result<Planned<'a>> {
    let survey = query.survey::<KnownFunctions>();
    let facts = gather(&survey)?;
    match route::route(&facts.touched, &node_name) {
        Route::Here => {
            survey.redirect::<KnownFunctions>(is_redirected)?;
            Ok(Planned::Here)
        }
        Route::Parts => in_parts(query, Vec::new(), false),
        Route::Refused(reason) => {
            if let Some(plan) = several_places::plan(query, &survey, &facts.touched)? {
                return Ok(plan);
            }
            Err(Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, reason.message)
                .detail(reason.detail)
                .hint(reason.hint))
        }
        Route::Node { .. } if facts.catalogs && catalogs::suffice(&survey, &facts.namespaces)? => {
            survey.redirect::<KnownFunctions>(is_redirected)?;
            Ok(Planned::Here)
        }
        // A function that uses what its node does not have runs here.
        Route::Node { node, .. }
            if !survey.functions.is_empty()
                && route::may_run_in_parts(&facts.touched)
                && absent::any_needs_this_server(&survey.functions, NodeId(node))? =>
        {
            in_parts(query, Vec::new(), false)
        }
        Route::Node { node, .. } => {
            let Facts { touched, namespaces, local_view, catalogs } = facts;
            let place = OnNode { node, namespaces, local_view, catalogs };
            match unsupported::check(query, &survey, &place) {
                Ok(()) => remote_query::plan(query, source, survey, place),
                // What the node cannot do, this server does over the node's rows, or ahead of the statement.
                Err(_) if route::may_run_in_parts(&touched) => in_parts(query, Vec::new(), false),
                Err(error) => several_places::plan(query, &survey, &touched)?.ok_or(error),
            }
        }
    }
}

/// Lets PostgreSQL plan a query here, over the rows of nodes, and of the queries in `first`, which were set aside already.
/// `locks`: nodes are to lock rows that they give.
pub(super) fn in_parts<'a>(
    query: QueryTree<'a>,
    first: Vec<SetAside>,
    locks: bool,
) -> Result<Planned<'a>> {
    let survey = query.survey::<KnownFunctions>();
    let may_be_sent = first.is_empty() && !locks && shipped::may_be_sent(query, &survey);
    let whole = may_be_sent.then(|| query.copy());
    survey.redirect::<KnownFunctions>(is_redirected)?;
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
    // Those of the tables that are read one by one, in one request for each node.
    let left = query.survey::<KnownFunctions>().relations;
    sizes::fetch(&left.iter().map(|relation| relation.oid).collect::<Vec<Oid>>())?;
    row_fence::keep_copies(query, &mut is_elsewhere)?;
    Ok(Planned::InParts(InParts { set_aside, whole }))
}

/// Whether a call of a function on this relation is redirected: the relation may have moved when the statement runs, or it is a
/// sequence, and which one was used last matters to `lastval()`.
fn is_redirected(relation: Oid) -> Result<bool> {
    Ok(crate::executor::last_written().is_some() || may_move(relation)?)
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
    let relations: Vec<Oid> = relations.iter().map(|relation| relation.oid).collect();
    sizes::fetch(&relations)?;
    let mut rows = 0.0;
    for relation in relations.into_iter().filter(|oid| oid.to_u32() >= FIRST_USER_OID) {
        if is_elsewhere(relation)? {
            rows += sizes::of(relation)?.map_or(0.0, |size| size.rows);
        }
    }
    Ok(rows)
}

pub(super) fn node_name(id: i32) -> String {
    match catalog::node(NodeId(id)) {
        Ok(node) => node.name.clone(),
        // The node was removed after the placement was read; its ID still identifies it.
        Err(_) => format!("node {id}"),
    }
}

/// Looks up the locations of everything that `survey` found.
pub(super) fn gather(survey: &Survey) -> Result<Facts> {
    let mut facts = Facts::default();
    for relation in &survey.relations {
        facts.add_relation(*relation)?;
    }
    for relation in &survey.data_arguments {
        facts.add_argument(*relation)?;
    }
    for &function in &survey.functions {
        if let Some(namespace) = names::function_namespace(function) {
            facts.add_remote(namespace, false)?;
        }
    }
    // A statement that itself advances a sequence refers to that one.
    if survey.lastval && survey.data_arguments.iter().all(|argument| !argument.write) {
        facts.add_last_value()?;
    }
    Ok(facts)
}

impl Facts {
    fn add_relation(&mut self, relation: RelationUse) -> Result<()> {
        if relation.oid.to_u32() < FIRST_USER_OID {
            self.catalogs = true;
            self.touched.push(if server_functions::holds_large_objects(relation.oid) {
                let name = names::displayed_relation_name(relation.oid);
                Touched::LocalTable { name, write: relation.write }
            } else {
                Touched::Catalog
            });
            return Ok(());
        }
        let Some(namespace) = names::relation_namespace(relation.oid) else { return Ok(()) };
        if self.add_remote(namespace, relation.write)? {
            return Ok(());
        }
        let name = || names::displayed_relation_name(relation.oid);
        match relation.kind {
            // A view counts as the relations that it selects from, which are in the query as well.
            b'v' => self.local_view = true,
            _ if names::is_temporary_namespace(namespace) => {
                self.touched.push(Touched::TempTable { name: name() });
            }
            b'S' => self.touched.push(Touched::LocalSequence { name: name() }),
            b'r' if catalog::has_visible_copies(relation.oid)? => {
                self.touched.push(Touched::Reference { name: name(), write: relation.write })
            }
            kind if holds_rows(kind) => {
                self.touched.push(Touched::LocalTable { name: name(), write: relation.write })
            }
            _ => {}
        }
        Ok(())
    }

    /// An argument of a function like nextval().
    fn add_argument(&mut self, argument: RelationUse) -> Result<()> {
        if argument.write
            && argument.oid.to_u32() >= FIRST_USER_OID
            && let Some(namespace) = names::relation_namespace(argument.oid)
            && let Some((node, schema, shard)) = self.remote(namespace)?
        {
            self.touched.push(Touched::Advanced { node, schema, shard });
            return Ok(());
        }
        self.add_relation(argument)
    }

    /// Whether the namespace is remote.
    fn add_remote(&mut self, namespace: Oid, write: bool) -> Result<bool> {
        let Some((node, schema, shard)) = self.remote(namespace)? else { return Ok(false) };
        self.touched.push(Touched::Remote { node, schema, shard, write });
        Ok(true)
    }

    /// Node, name and shard of a namespace that is remote, which is added to those.
    fn remote(&mut self, namespace: Oid) -> Result<Option<(i32, String, i64)>> {
        let Some(placement) = catalog::placement(namespace)? else { return Ok(None) };
        if !self.namespaces.contains(&namespace) {
            self.namespaces.push(namespace);
        }
        let schema = session::namespace_name(namespace).unwrap_or_default();
        Ok(Some((placement.node.0, schema, placement.shard.0)))
    }

    /// `lastval()` refers to the sequence last used, on the server where this session last wrote.
    fn add_last_value(&mut self) -> Result<()> {
        let last = crate::executor::last_written();
        let placement = last.map_or(Ok(None), catalog::placement)?;
        if let Some(namespace) = last
            && self.namespaces.is_empty()
        {
            // Nothing else says where to go.
            self.add_remote(namespace, false)?;
        }
        let node = placement.map(|placement| placement.node.0);
        self.touched.push(Touched::LastValue { node });
        Ok(())
    }
}
