//! Dependencies of definitions: checks everything that a command creates or alters, and everything that it depends on
//! according to `pg_depend`.
//!
//! Invariant: objects on a node depend only on objects that exist on that node. All names on a node also exist here, so
//! a name in the command's text that refers to such an object here refers to the same object there, with the same
//! `search_path`.

use super::locations::Locations;
use super::object_location::{self, Location};
use super::statement_scope::StatementScope;
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::catalog::references;
use crate::pg::hooks::object_access::Event;

/// Raises an error if something that the command created or altered depends on an object elsewhere.
pub(super) fn check_all(scope: &StatementScope) -> Result<()> {
    let left = scope.touched.iter().filter(|touched| touched.event != Event::Dropped);
    left.map(|touched| touched.object).try_for_each(check)
}

/// Raises an error if the object depends on an object elsewhere.
pub(super) fn check(object: Object) -> Result<()> {
    let Some(location) = object_location::of_named(object)? else { return Ok(()) };
    for below in references::of(object) {
        if object::is_given(below) {
            continue;
        }
        let Some(other) = object_location::of_named(below)? else { continue };
        if !may_depend_on(object, &location, below, &other) {
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

fn may_depend_on(object: Object, location: &Location, below: Object, other: &Location) -> bool {
    match (location, other) {
        (Location::Node(one, _), Location::Node(other, _)) => one.node == other.node,
        // A copy of a reference table has no sequences; other objects on this server have their own rules.
        (_, Location::EveryNode)
        | (Location::Coordinator(_) | Location::EveryNode, Location::Coordinator(_)) => true,
        // Local objects may use a tenant's types and functions, which exist here as well; of its relations, only views
        // may be used by them.
        (Location::Coordinator(_), Location::Node(..)) => {
            !object::is_relation(below) || object::is_rule(object) || object::is_view(object)
        }
        (Location::Node(..), Location::Coordinator(_))
        | (Location::EveryNode, Location::Node(..)) => false,
    }
}
