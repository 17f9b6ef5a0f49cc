//! Decides where a query runs: collects what it touches as plain data, and asks the router.

use super::relations::{OnNode, holds_rows, may_move};
use super::{catalogs, remote_query};
use crate::catalog::{self, NodeId};
use crate::error::{Error, Result};
use crate::executor::function_rules::KnownFunctions;
use crate::executor::server_functions;
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::hooks::planner::Planned;
use crate::pg::session;
use crate::pg::tree::{QueryTree, RelationUse, Survey};
use helios_core::route::{self, Route, Touched};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};

/// The objects that a query touches, and the namespaces of the remote ones.
#[derive(Default)]
struct Facts {
    touched: Vec<Touched>,
    namespaces: Vec<Oid>,
    /// The query names a view in a plain schema, which does not exist on nodes.
    local_view: bool,
    /// The query names a built-in relation.
    catalogs: bool,
}

/// Surveys a query and decides; for a remote query, returns its plan.
pub(super) fn decide(query: QueryTree<'_>, source: &[u8]) -> Result<Planned> {
    let survey = query.survey::<KnownFunctions>();
    let facts = gather(&survey)?;
    match route::route(&facts.touched, &node_name) {
        Route::Here => {
            survey.redirect::<KnownFunctions>(is_redirected)?;
            Ok(Planned::Here)
        }
        Route::Refused(reason) => {
            Err(Error::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, reason.message)
                .detail(reason.detail)
                .hint(reason.hint))
        }
        Route::Node { .. } if facts.catalogs && catalogs::suffice(&survey, &facts.namespaces)? => {
            survey.redirect::<KnownFunctions>(is_redirected)?;
            Ok(Planned::Here)
        }
        Route::Node { node, .. } => {
            let Facts { namespaces, local_view, catalogs, .. } = facts;
            remote_query::plan(
                query,
                source,
                survey,
                OnNode { node, namespaces, local_view, catalogs },
            )
        }
    }
}

fn node_name(id: i32) -> String {
    match catalog::node(NodeId(id)) {
        Ok(node) => node.name.clone(),
        // The node was removed after the placement was read; its ID still identifies it.
        Err(_) => format!("node {id}"),
    }
}

/// Whether a call of a function on this relation is redirected: the relation may have moved when the statement runs, or it is a
/// sequence, and which one was used last matters to `lastval()`.
fn is_redirected(relation: Oid) -> Result<bool> {
    Ok(crate::executor::last_written().is_some() || may_move(relation)?)
}

/// Looks up the locations of everything that `survey` found.
fn gather(survey: &Survey) -> Result<Facts> {
    let mut facts = Facts::default();
    for relation in survey.relations.iter().chain(&survey.data_arguments) {
        facts.add_relation(*relation)?;
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
            b'r' if catalog::is_reference(relation.oid)? => {
                self.touched.push(Touched::Reference { name: name(), write: relation.write })
            }
            kind if holds_rows(kind) => {
                self.touched.push(Touched::LocalTable { name: name(), write: relation.write })
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the namespace is remote.
    fn add_remote(&mut self, namespace: Oid, write: bool) -> Result<bool> {
        let Some(placement) = catalog::placement(namespace)? else { return Ok(false) };
        if !self.namespaces.contains(&namespace) {
            self.namespaces.push(namespace);
        }
        let schema = session::namespace_name(namespace).unwrap_or_default();
        self.touched.push(Touched::Remote {
            node: placement.node.0,
            schema,
            shard: placement.shard.0,
            write,
        });
        Ok(true)
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
