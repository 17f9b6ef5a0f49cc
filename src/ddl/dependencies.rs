//! What a definition leans on: everything that a statement makes or alters is looked at, with all that it was made
//! from, as `pg_depend` has it.
//!
//! Invariant: what is on a node leans only on what that node has. A node has no names but those that are here as well, so
//! a name of the statement's text that means such a thing here means the same there, by the same `search_path`.

use super::object_placement::{self, Home};
use super::propagate::Homes;
use super::statement_scope::Frame;
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::hooks::object_access::Event;

/// An error if something that the statement made or altered leans on what is not where it is.
pub(super) fn check_all(frame: &Frame) -> Result<()> {
    let left = frame.touched.iter().filter(|touched| touched.event != Event::Dropped);
    left.map(|touched| touched.object).try_for_each(check)
}

/// An error if the object leans on what is not where it is.
pub(super) fn check(object: Object) -> Result<()> {
    let Some(home) = object_placement::of_named(object)? else { return Ok(()) };
    for below in object::references(object) {
        if object::is_given(below) {
            continue;
        }
        let Some(other) = object_placement::of_named(below)? else { continue };
        if !may_lean(object, &home, below, &other) {
            let mut homes = Homes::default();
            homes.add(home);
            homes.add(other);
            let error = homes.refusal()?.hint(HINT);
            return Err(match object::identity(below)? {
                Some(name) => error.context(format!("reference to {name}")),
                None => error,
            });
        }
    }
    Ok(())
}

const HINT: &str = "Write names with their schema, or set search_path, so that they mean objects of the same schema.";

fn may_lean(object: Object, home: &Home, below: Object, other: &Home) -> bool {
    match (home, other) {
        (Home::Node(one, _), Home::Node(other, _)) => one.node == other.node,
        // A copy of a reference table has no sequences, and what else is here alone has its own rules.
        (_, Home::Everywhere) | (Home::Here(_) | Home::Everywhere, Home::Here(_)) => true,
        // What is here may use a tenant's types and functions, which are here as well; of the rows, only views.
        (Home::Here(_), Home::Node(..)) => {
            !object::is_relation(below) || object::is_rule(object) || object::is_view(object)
        }
        (Home::Node(..), Home::Here(_)) | (Home::Everywhere, Home::Node(..)) => false,
    }
}
