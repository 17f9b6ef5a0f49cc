//! What a query touches, and where that is.

use super::relations::{holds_rows, is_remote};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::executor::server_functions;
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::session;
use crate::pg::tree::{RelationUse, Survey};
use helios_core::route::Touched;
use pgrx::pg_sys::Oid;

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

/// The name of a node, for messages.
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
    for name in &survey.transition_tables {
        facts.touched.push(Touched::LocalTable { name: name.clone(), write: false });
    }
    for &of_type in &survey.row_types {
        facts.add_row_type(of_type)?;
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

    /// The type of a whole row. That of a view in a plain schema is on this server alone, as the view is.
    fn add_row_type(&mut self, of_type: Oid) -> Result<()> {
        let Some(relation) = names::relation_of_type(of_type) else { return Ok(()) };
        if names::is_view(relation) && !is_remote(relation)? {
            let name = names::displayed_relation_name(relation);
            self.touched.push(Touched::RowsOfView { name });
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
