//! DROP of a list whose members live in different places: this server drops them all here, and each node gets a DROP of
//! those that it has.

use super::frame::Plan;
use super::home::{self, Home};
use super::{send, then};
use crate::directory::{self, NodeId};
use crate::error::Result;
use crate::pg::object;
use crate::pg::statement::Statement;
use crate::pg::utility_hook::Step;

/// What a node has to drop, or every node (None).
pub type Part = (Option<NodeId>, String);

/// None: another statement, or one whose objects are all in one place, which gets its own text.
pub(super) fn before(statement: &Statement) -> Result<Option<Step>> {
    let Some(drop) = statement.drop_list() else { return Ok(None) };
    let mut places: Vec<(Home, Vec<String>)> = Vec::new();
    for object in statement.named() {
        let Some(home) = home::of(object)? else { continue };
        let Some(identity) = object::identity(object)? else { continue };
        match places.iter_mut().find(|(place, _)| is_same_place(place, &home)) {
            Some((_, identities)) => identities.push(identity),
            None => places.push((home, vec![identity])),
        }
    }
    if places.len() < 2 {
        return Ok(None);
    }
    let part = |(home, identities): (Home, Vec<String>)| {
        let text = format!("{} {}{}", drop.verb, identities.join(", "), drop.behavior);
        match home {
            Home::Here(_) => None,
            Home::Node(place, _) => Some((Some(place.node), text)),
            Home::Everywhere => Some((None, text)),
        }
    };
    Ok(Some(then(*statement, Plan::DropList(places.into_iter().filter_map(part).collect()))))
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
