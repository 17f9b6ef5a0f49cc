//! Where an object lives, and so which nodes have to follow what is done to it.

use crate::catalog::{self, NodeId, Placement};
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::catalog::references;
use crate::pg::session;
use pgrx::pg_sys::Oid;
use std::collections::HashSet;

/// Where an object lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On one node, in the distributed schema of this name.
    Node(Placement, String),
    /// On this server alone: the relation of this name, or something made from one.
    Coordinator(String),
    /// Wherever tenants are.
    EveryNode,
}

impl Location {
    /// The name of what gives the location.
    fn name(&self) -> &str {
        match self {
            Location::Node(_, name) | Location::Coordinator(name) => name,
            Location::EveryNode => "",
        }
    }
}

/// Where the object lives; None if it is gone or of no concern (temporary, or of the server's own).
pub fn of(object: Object) -> Result<Option<Location>> {
    let Some(belongs) = object::belongs(object) else { return Ok(None) };
    Ok(match belongs {
        Belongs::Relation { relation, .. } if is_reference(relation)? => {
            // What a trigger does to the rows here is copied with the rows.
            (!object::is_trigger(object)).then_some(Location::EveryNode)
        }
        Belongs::Server => None,
        Belongs::Database => Some(rests_on(object)?),
        Belongs::Relation { relation, namespace } => {
            let here = || Location::Coordinator(session::quoted_relation_name(relation));
            Some(in_schema(namespace)?.unwrap_or_else(here))
        }
        Belongs::Schema(namespace) => Some(match in_schema(namespace)? {
            Some(location) => location,
            None if object::as_schema(object).is_some() => Location::EveryNode,
            None => rests_on(object)?,
        }),
    })
}

/// Where an object lives that a statement names or leans on: what is temporary is on this server alone, and its name
/// means another object on a node.
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

/// The location that a distributed schema gives to all in it; None for another schema.
fn in_schema(namespace: Oid) -> Result<Option<Location>> {
    let Some(place) = catalog::any_placement(namespace)? else { return Ok(None) };
    let name = session::namespace_name(namespace).unwrap_or_default();
    Ok(Some(if place.node == NodeId::LOCAL {
        Location::Coordinator(name)
    } else {
        Location::Node(place, name)
    }))
}

/// An object of no distributed schema is everywhere, unless it was made from a table, or from something in a
/// distributed schema, which are in one place.
fn rests_on(object: Object) -> Result<Location> {
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

/// Whether this is an object of a schema, or a schema, and no extension has made it.
pub(super) fn is_in_schema(object: Object) -> bool {
    matches!(object::belongs(object), Some(Belongs::Relation { .. } | Belongs::Schema(_)))
}
