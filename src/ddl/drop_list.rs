//! DROP of a list whose members live in different places: this server drops them all here, and each node gets a DROP of
//! those that it has.

use super::frame::Plan;
use super::home::{self, Home};
use super::{send, then};
use crate::directory::{self, NodeId};
use crate::error::Result;
use crate::pg::object::{self, Object};
use crate::pg::statement::Statement;
use crate::pg::utility_hook::Step;

/// What a node has to drop, or every node (None).
pub type Part = (Option<NodeId>, String);

/// None: another statement, or one whose objects are all in one place, which gets its own text.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some(drop) = statement.drop_list() else { return Ok(None) };
    let mut places: Vec<(Home, Vec<Object>)> = Vec::new();
    for object in statement.named() {
        let Some(home) = home::of(object)? else { continue };
        match places.iter_mut().find(|(place, _)| is_same_place(place, &home)) {
            Some((_, objects)) => objects.push(object),
            None => places.push((home, vec![object])),
        }
    }
    if places.len() < 2 {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for (home, objects) in places {
        let node = match home {
            Home::Here(_) => continue,
            Home::Node(place, _) => Some(place.node),
            Home::Everywhere => None,
        };
        let identities = objects.into_iter().map(object::identity).collect::<Result<Vec<_>>>()?;
        let list: Vec<String> = identities.into_iter().flatten().collect();
        parts.push((node, format!("{} {}{}", drop.verb, list.join(", "), drop.behavior)));
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
    if !directory::in_use() {
        return Ok(());
    }
    for (node, text) in parts {
        match node {
            Some(node) => send::to(*node, text.as_bytes())?,
            None => send::to_all(text.as_bytes())?,
        }
    }
    Ok(())
}
