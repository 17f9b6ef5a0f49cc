//! Where an object lives, and so which nodes have to follow what is done to it.

use crate::catalog::{self, NodeId, Placement};
use crate::error::Result;
use crate::pg::catalog::names;
use crate::pg::catalog::object::{self, Belongs, Object};
use crate::pg::session;
use pgrx::pg_sys::Oid;
use std::collections::HashSet;

/// Where an object lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// On one node, in the distributed schema of this name.
    Node(Placement, String),
    /// On this server alone: the relation of this name, or something made from one.
    Here(String),
    /// Wherever tenants are.
    Everywhere,
}

impl Home {
    /// The name of what gives the home.
    fn name(&self) -> &str {
        match self {
            Home::Node(_, name) | Home::Here(name) => name,
            Home::Everywhere => "",
        }
    }
}

/// Where the object lives; None if it is gone or of no concern (temporary, or of the server's own).
pub fn of(object: Object) -> Result<Option<Home>> {
    let Some(belongs) = object::belongs(object) else { return Ok(None) };
    Ok(match belongs {
        Belongs::Relation { relation, .. } if is_reference(relation)? => {
            // What a trigger does to the rows here is copied with the rows.
            (!object::is_trigger(object)).then_some(Home::Everywhere)
        }
        Belongs::Server => None,
        Belongs::Database => Some(rests_on(object)?),
        Belongs::Relation { relation, namespace } => {
            let here = || Home::Here(session::relation_name(relation));
            Some(in_schema(namespace)?.unwrap_or_else(here))
        }
        Belongs::Schema(namespace) => Some(match in_schema(namespace)? {
            Some(home) => home,
            None if object::as_schema(object).is_some() => Home::Everywhere,
            None => rests_on(object)?,
        }),
    })
}

/// Where an object lives that a statement names or leans on: what is temporary is on this server alone, and its name
/// means another object on a node.
pub fn of_named(object: Object) -> Result<Option<Home>> {
    Ok(match of(object)? {
        None if object::is_temporary(object) => {
            Some(Home::Here(match object::is_relation(object) {
                true => format!("temporary relation {}", session::relation_name(object.id)),
                false => "a temporary object".to_owned(),
            }))
        }
        home => home,
    })
}

/// Whether the relation is a reference table or an index of one.
fn is_reference(relation: Oid) -> Result<bool> {
    catalog::is_reference(names::table_of_index(relation).unwrap_or(relation))
}

/// The home that a distributed schema gives to all in it; None for another schema.
fn in_schema(namespace: Oid) -> Result<Option<Home>> {
    let Some(place) = catalog::home(namespace)? else { return Ok(None) };
    let name = session::namespace_name(namespace).unwrap_or_default();
    Ok(Some(if place.node == NodeId::LOCAL { Home::Here(name) } else { Home::Node(place, name) }))
}

/// An object of no distributed schema is everywhere, unless it was made from a table, or from something in a
/// distributed schema, which are in one place.
fn rests_on(object: Object) -> Result<Home> {
    let mut seen = HashSet::from([object]);
    let mut open = vec![object];
    let mut home = Home::Everywhere;
    while let Some(next) = open.pop() {
        for below in object::references(next) {
            if object::is_given(below) || !seen.insert(below) {
                continue;
            }
            let found = match object::belongs(below) {
                Some(Belongs::Relation { relation, .. }) if is_reference(relation)? => continue,
                Some(Belongs::Relation { relation, namespace }) => {
                    let here = || Home::Here(session::relation_name(relation));
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
                Some(Belongs::Server) => Home::Here("something temporary".into()),
                Some(Belongs::Database) | None => continue,
            };
            home = match (home, found) {
                (Home::Everywhere, found) => found,
                (Home::Node(one, schema), Home::Node(other, _)) if one.node == other.node => {
                    Home::Node(one, schema)
                }
                (_, found) => Home::Here(found.name().to_owned()),
            };
        }
    }
    Ok(home)
}
