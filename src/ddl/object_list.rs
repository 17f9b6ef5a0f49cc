//! DROP of a list of objects in different places: this server drops them all, and each node gets a single DROP of those
//! that it has, so that objects referring to a reference table are dropped with it.

use super::follow_up::FollowUp;
use super::object_location::{self, Location};
use super::send;
use super::statement_scope::begin;
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::utility::Step;
use crate::pg::tree::statement::Statement;

/// None for another command, or one whose objects all exist in one place, which is sent with its own text.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some(drop) = statement.drop_list() else { return Ok(None) };
    let named = statement.named();
    let mut found: Vec<(Location, Object)> = Vec::new();
    for &object in &named {
        found.extend(object_location::of_named(object)?.map(|location| (location, object)));
    }
    let one_place = found.windows(2).all(|pair| is_same_place(&pair[0].0, &pair[1].0));
    // The qualified name of a missing object could refer to something there.
    if one_place && (drop.length == 1 || found.len() == drop.length) {
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
            let text = format!("{} {}{}", drop.verb, names.join(", "), drop.behavior);
            parts.push((node.id, text));
        }
    }
    Ok(Some(begin(*statement, FollowUp::DropList(parts))))
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
