//! DROP, GRANT and REVOKE of a list of objects in different places, and ALTER DEFAULT PRIVILEGES in schemas of different places: this
//! server processes the whole list, and each node gets a single command for those that it has, so that objects referring to a
//! reference table are dropped with it.

use super::follow_up::FollowUp;
use super::object_location::{self, Location};
use super::propagate::has_references;
use super::send;
use super::statement_scope::begin;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::utility::Step;
use crate::pg::session;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::statement_names::Granted;
use crate::pg::tree::statement_parts::AroundList;
use pgrx::pg_sys::Oid;

/// The objects of a list, and where they are.
type Found = Vec<(Location, Object)>;

/// None for another command, or one whose objects all exist in one place, which is sent with its own text.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some((around, found)) = list(statement)? else { return Ok(None) };
    let one_place = found.windows(2).all(|pair| is_same_place(&pair[0].0, &pair[1].0));
    // The qualified name of a missing object could refer to something there.
    if one_place && (around.length == 1 || found.len() == around.length) {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for node in catalog::remote_nodes()? {
        let there = found.iter().filter(|(location, _)| match location {
            Location::Coordinator(_) => false,
            Location::Node(place, _) => place.node == node.id,
            Location::EveryNode => true,
        });
        let names =
            there.map(|(_, object)| object::identity(*object)).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = names.into_iter().flatten().collect();
        if !names.is_empty() {
            parts.push((node.id, format!("{}{}{}", around.head, names.join(", "), around.tail)));
        }
    }
    Ok(Some(begin(*statement, FollowUp::ObjectList(parts))))
}

fn list(statement: &Statement) -> Result<Option<(AroundList, Found)>> {
    if let Some(around) = statement.around_dropped() {
        return Ok(Some((around, found(statement.named())?)));
    }
    if let Some((around, names)) = statement.around_default_privileges() {
        let schemas = names.iter().filter_map(|name| session::namespace(name));
        return Ok(Some((around, found(schemas.map(object::of_schema))?)));
    }
    let Some((around, granted)) = statement.around_granted().zip(statement.granted()) else {
        return Ok(None);
    };
    Ok(match granted {
        Granted::Objects(objects) => Some((around, found(objects)?)),
        Granted::RoutinesIn(schemas) => {
            Some((around, found(schemas.into_iter().map(object::of_schema))?))
        }
        Granted::RelationsIn(schemas) => Some((around, with_relations(schemas)?)),
        _ => None,
    })
}

fn found(objects: impl IntoIterator<Item = Object>) -> Result<Found> {
    let mut found = Vec::new();
    for object in objects {
        found.extend(object_location::of_named(object)?.map(|location| (location, object)));
    }
    Ok(found)
}

/// Schemas of which the relations are meant: a plain one has none on the nodes but reference tables.
fn with_relations(schemas: Vec<Oid>) -> Result<Found> {
    let mut all = found(schemas.into_iter().map(object::of_schema))?;
    for (location, schema) in &mut all {
        if matches!(location, Location::EveryNode) && !has_references(schema.id)? {
            *location =
                Location::Coordinator(session::namespace_name(schema.id).unwrap_or_default());
        }
    }
    Ok(all)
}

fn is_same_place(one: &Location, other: &Location) -> bool {
    match (one, other) {
        (Location::Node(one, _), Location::Node(other, _)) => one.node == other.node,
        (Location::Coordinator(_), Location::Coordinator(_))
        | (Location::EveryNode, Location::EveryNode) => true,
        _ => false,
    }
}

pub(super) fn after(parts: &[(NodeId, String)]) -> Result<()> {
    if !catalog::in_use() {
        return Ok(());
    }
    parts.iter().try_for_each(|(node, text)| send::to(*node, text.as_bytes()))
}
