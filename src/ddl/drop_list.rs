//! DROP of a list whose members live in different places: this server drops them all here, and each node gets a DROP of
//! those that it has, all in one: what refers to a reference table goes with it.

use super::object_placement::{self, Home};
use super::statement_scope::Plan;
use super::{send, then};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::utility::Step;
use crate::pg::tree::statement::Statement;

/// What a node has to drop.
pub type Part = (NodeId, String);

/// None: another statement, or one whose objects are all there and in one place, which gets its own text.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some(drop) = statement.drop_list() else { return Ok(None) };
    let named = statement.named();
    let mut listed: Vec<(Home, Object)> = Vec::new();
    for &object in &named {
        listed.extend(object_placement::of_named(object)?.map(|home| (home, object)));
    }
    let one_place = listed.windows(2).all(|pair| is_same_place(&pair[0].0, &pair[1].0));
    // The name of a missing one could mean something there, as far as other names are a part of it.
    if one_place && (drop.length == 1 || listed.len() == drop.length) {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for node in catalog::remote_nodes()? {
        let there = listed.iter().filter(|(home, _)| match home {
            Home::Here(_) => false,
            Home::Node(place, _) => place.node == node.id,
            Home::Everywhere => true,
        });
        let names =
            there.map(|(_, object)| object::identity(*object)).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = names.into_iter().flatten().collect();
        if !names.is_empty() {
            let text = format!("{} {}{}", drop.verb, names.join(", "), drop.behavior);
            parts.push((node.id, text));
        }
    }
    Ok(Some(then(*statement, Plan::DropList(parts))))
}

fn is_same_place(one: &Home, other: &Home) -> bool {
    match (one, other) {
        (Home::Node(one, _), Home::Node(other, _)) => one.node == other.node,
        (Home::Here(_), Home::Here(_)) | (Home::Everywhere, Home::Everywhere) => true,
        _ => false,
    }
}

pub(super) fn after(parts: &[Part]) -> Result<()> {
    if !catalog::in_use() {
        return Ok(());
    }
    parts.iter().try_for_each(|(node, text)| send::to(*node, text.as_bytes()))
}
