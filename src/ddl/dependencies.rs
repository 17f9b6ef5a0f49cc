//! What a definition leans on: everything that a statement makes or alters is looked at, with all that it was made
//! from, as `pg_depend` has it.
//!
//! Invariant: what is on a node leans only on what that node has. A node has no names but those that are here as well, so
//! a name of the statement's text that means such a thing here means the same there, by the same `search_path`.

use super::locations::Locations;
use super::object_location::{self, Location};
use super::statement_scope::StatementScope;
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::catalog::references;
use crate::pg::hooks::object_access::Event;

/// An error if something that the statement made or altered leans on what is not where it is.
pub(super) fn check_all(scope: &StatementScope) -> Result<()> {
    let left = scope.touched.iter().filter(|touched| touched.event != Event::Dropped);
    left.map(|touched| touched.object).try_for_each(check)
}

/// An error if the object leans on what is not where it is.
pub(super) fn check(object: Object) -> Result<()> {
    let Some(location) = object_location::of_named(object)? else { return Ok(()) };
    for below in references::of(object) {
        if object::is_given(below) {
            continue;
        }
        let Some(other) = object_location::of_named(below)? else { continue };
        if !may_lean(object, &location, below, &other) {
            let mut locations = Locations::default();
            locations.add(location);
            locations.add(other);
            let error = locations.refusal()?.hint(HINT);
            return Err(match object::identity(below)? {
                Some(name) => error.context(format!("reference to {name}")),
                None => error,
            });
        }
    }
    Ok(())
}

const HINT: &str = "Qualify the names with their schema, or set search_path so that they refer to objects of the same \
    schema.";

fn may_lean(object: Object, location: &Location, below: Object, other: &Location) -> bool {
    match (location, other) {
        (Location::Node(one, _), Location::Node(other, _)) => one.node == other.node,
        // A copy of a reference table has no sequences, and what else is here alone has its own rules.
        (_, Location::EveryNode)
        | (Location::Coordinator(_) | Location::EveryNode, Location::Coordinator(_)) => true,
        // What is here may use a tenant's types and functions, which are here as well; of the rows, only views.
        (Location::Coordinator(_), Location::Node(..)) => {
            !object::is_relation(below) || object::is_rule(object) || object::is_view(object)
        }
        (Location::Node(..), Location::Coordinator(_))
        | (Location::EveryNode, Location::Node(..)) => false,
    }
}
