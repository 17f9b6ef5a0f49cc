//! Gathers what a query touches, as plain data for the route.

use crate::catalog;
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::catalog::object::FIRST_USER_OID;
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::session;
use crate::pg::tree::server_functions;
use crate::pg::tree::{RelationUse, Survey};
use helios_core::route::Touched;
use pgrx::pg_sys::Oid;

/// What a query touches, and the namespaces of everything remote among it.
#[derive(Default)]
pub struct Facts {
    pub touched: Vec<Touched>,
    pub namespaces: Vec<Oid>,
    /// A view of a plain schema is among it, which a node does not have.
    pub local_view: bool,
}

/// Looks up where everything that `survey` found lives.
pub fn gather(survey: &Survey) -> Result<Facts> {
    let mut facts = Facts::default();
    for relation in survey.relations.iter().chain(&survey.data_arguments) {
        facts.add_relation(*relation)?;
    }
    for &function in &survey.functions {
        if let Some(namespace) = names::function_namespace(function) {
            facts.add_remote(namespace, false)?;
        }
    }
    if survey.lastval {
        facts.add_last_value()?;
    }
    Ok(facts)
}

/// A type or collation in the statement that the node with these schemas has not: one of another node's schema, or a
/// temporary one.
pub fn named_elsewhere(survey: &Survey, namespaces: &[Oid]) -> Result<Option<Object>> {
    if survey.named.is_empty() {
        return Ok(None);
    }
    let node = match namespaces.first() {
        Some(&namespace) => catalog::placement(namespace)?.map(|place| place.node),
        None => None,
    };
    for &object in &survey.named {
        let elsewhere = match object::belongs(object) {
            Some(Belongs::Schema(namespace) | Belongs::Relation { namespace, .. }) => {
                catalog::any_placement(namespace)?
                    .is_some_and(|placement| Some(placement.node) != node)
            }
            Some(Belongs::Server) => true,
            _ => false,
        };
        if elsewhere {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

impl Facts {
    fn add_relation(&mut self, relation: RelationUse) -> Result<()> {
        if relation.oid.to_u32() < FIRST_USER_OID {
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
            // A view is what it selects from, and that is in the query as well.
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

    /// `lastval()` speaks of the sequence used last, which is where this session wrote last.
    fn add_last_value(&mut self) -> Result<()> {
        // A statement that advances a sequence itself asks for that one.
        if !self.namespaces.is_empty() {
            return Ok(());
        }
        let remote = match crate::executor::last_written() {
            Some(namespace) => self.add_remote(namespace, false)?,
            None => false,
        };
        if !remote {
            self.touched.push(Touched::LastValue { node: None });
        }
        Ok(())
    }
}

/// Whether relations of this `relkind` hold rows of their own (or stand for some that do).
pub fn holds_rows(kind: u8) -> bool {
    matches!(kind, b'r' | b'p' | b'm' | b'f' | b't')
}

/// Whether the relation is a shell.
pub fn is_remote(relation: Oid) -> Result<bool> {
    if relation.to_u32() < FIRST_USER_OID {
        return Ok(false);
    }
    match names::relation_namespace(relation) {
        Some(namespace) => Ok(catalog::placement(namespace)?.is_some()),
        None => Ok(false),
    }
}

/// Whether the relation is here now, but may be elsewhere when the statement runs.
pub fn may_move(relation: Oid) -> Result<bool> {
    match names::relation_namespace(relation) {
        Some(namespace) => Ok(catalog::any_placement(namespace)?.is_some()),
        None => Ok(false),
    }
}
