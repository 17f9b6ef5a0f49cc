//! The location of an object, which determines the nodes to which commands on it are sent.

use crate::catalog::{self, NodeId, Placement};
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::catalog::references;
use crate::pg::session;
use pgrx::pg_sys::Oid;
use std::collections::HashSet;

/// Location of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On one node, in the distributed schema of this name.
    Node(Placement, String),
    /// On this server only: the relation of this name, or something created from one.
    Coordinator(String),
    /// On all nodes.
    EveryNode,
}

impl Location {
    /// Name of the object that determines the location.
    fn name(&self) -> &str {
        match self {
            Location::Node(_, name) | Location::Coordinator(name) => name,
            Location::EveryNode => "",
        }
    }
}

/// The location of an object; None if it no longer exists or is irrelevant (temporary or built-in).
pub fn of(object: Object) -> Result<Option<Location>> {
    let Some(belongs) = object::belongs(object) else { return Ok(None) };
    Ok(match belongs {
        Belongs::Relation { relation, .. } if is_reference(relation)? => {
            // The effects of a trigger on rows here are replicated with the rows.
            (!object::is_trigger(object)).then_some(Location::EveryNode)
        }
        Belongs::Server => None,
        Belongs::Database => Some(location_of_dependencies(object)?),
        Belongs::Relation { relation, namespace } => {
            // A foreign key refers to an index; people know the table.
            let table = names::table_of_index(relation).unwrap_or(relation);
            let here = || Location::Coordinator(session::quoted_relation_name(table));
            Some(in_schema(namespace)?.unwrap_or_else(here))
        }
        Belongs::Schema(namespace) => Some(match in_schema(namespace)? {
            Some(location) => location,
            None if object::as_schema(object).is_some() => Location::EveryNode,
            None => location_of_dependencies(object)?,
        }),
    })
}

/// The location of an object that a command names or depends on: a temporary object is on this server only, and its
/// name refers to another object on a node.
pub fn of_named(object: Object) -> Result<Option<Location>> {
    Ok(match of(object)? {
        None if object::is_temporary(object) => {
            Some(Location::Coordinator(match object::is_relation(object) {
                true => format!("temporary relation {}", session::quoted_relation_name(object.id)),
                false => "a temporary object".to_owned(),
            }))
        }
        location => location,
    })
}

/// Whether the relation is a reference table or an index of one.
fn is_reference(relation: Oid) -> Result<bool> {
    catalog::is_reference(names::table_of_index(relation).unwrap_or(relation))
}

/// The location of all objects in a distributed schema; None for another schema.
fn in_schema(namespace: Oid) -> Result<Option<Location>> {
    let Some(place) = catalog::any_placement(namespace)? else { return Ok(None) };
    let name = session::namespace_name(namespace).unwrap_or_default();
    Ok(Some(if place.node == NodeId::LOCAL {
        Location::Coordinator(name)
    } else {
        Location::Node(place, name)
    }))
}

/// An object outside of distributed schemas is everywhere, unless it depends on a table or on an object in a
/// distributed schema, which are in one place.
fn location_of_dependencies(object: Object) -> Result<Location> {
    let mut visited = HashSet::from([object]);
    let mut open = vec![object];
    let mut location = Location::EveryNode;
    while let Some(next) = open.pop() {
        for below in references::of(next) {
            if object::is_given(below) || !visited.insert(below) {
                continue;
            }
            let found = match object::belongs(below) {
                Some(Belongs::Relation { relation, .. }) if is_reference(relation)? => continue,
                Some(Belongs::Relation { relation, namespace }) => {
                    let here = || Location::Coordinator(session::quoted_relation_name(relation));
                    in_schema(namespace)?.unwrap_or_else(here)
                }
                Some(Belongs::Schema(namespace)) => match in_schema(namespace)? {
                    Some(found) => found,
                    None if object::as_schema(below).is_some() => continue,
                    None => {
                        open.push(below);
                        continue;
                    }
                },
                Some(Belongs::Server) => Location::Coordinator("a temporary object".into()),
                Some(Belongs::Database) | None => continue,
            };
            location = match (location, found) {
                (Location::EveryNode, found) => found,
                (Location::Node(one, schema), Location::Node(other, _))
                    if one.node == other.node =>
                {
                    Location::Node(one, schema)
                }
                (_, found) => Location::Coordinator(found.name().to_owned()),
            };
        }
    }
    Ok(location)
}

/// Whether this is a schema or an object in one, and not a member of an extension.
pub(super) fn is_in_schema(object: Object) -> bool {
    matches!(object::belongs(object), Some(Belongs::Relation { .. } | Belongs::Schema(_)))
}
