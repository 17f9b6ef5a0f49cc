//! References of a schema on this server to objects outside of it, before it is distributed: all of these must exist on
//! the schema's node, and no object that stays here may depend on one that moves, except for views, which work from
//! here.

use super::object_location::{self, Location};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::migration::preflight;
use crate::migration::requirements::{self, Need};
use crate::pg::catalog::object::{self, Object};
use crate::pg::session::own_settings::OwnSettings;
use crate::remote::read_own_rows;
use crate::transaction::{self, Mode};

/// 0A000 or 55000 with all obstacles, and the remedy for each.
pub(super) fn check(schema: &str, target: NodeId) -> Result<()> {
    let schemas = [schema.to_owned()];
    let node = catalog::node(target)?;
    let needs = needs_of(&schemas)?;
    let (mut lacking, mut everywhere) = (Vec::new(), Vec::new());
    for need in needs.into_iter().filter(|need| need.extension.is_none()) {
        let object = Object { class: need.object.0.into(), id: need.object.1.into() };
        if object::is_given(object) {
            continue;
        }
        match object_location::of(object)? {
            Some(Location::EveryNode) => everywhere.push(need),
            Some(Location::Node(place, _)) if place.node == target => {}
            Some(Location::Node(..) | Location::Coordinator(_)) => lacking.push(need),
            None => {}
        }
    }
    if let Some(question) = requirements::absent(&everywhere) {
        for row in transaction::query(target, question.as_bytes(), Mode::Transaction)? {
            let at = row.into_iter().flatten().next().and_then(|at| at.parse::<usize>().ok());
            lacking.extend(at.and_then(|at| everywhere.get(at)).cloned());
        }
    }
    if !lacking.is_empty() {
        return Err(requirements::refusal(schema, &format!("node \"{}\"", node.name), &lacking));
    }
    preflight::check_here(&schemas)
}

fn needs_of(schemas: &[String]) -> Result<Vec<Need>> {
    let _path = OwnSettings::safe_path();
    read_own_rows(&requirements::query(schemas))?.iter().map(Need::of_row).collect()
}
