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
use crate::pg::session::sql;

/// Raises an error if something that the command created or altered depends on an object elsewhere.
pub(super) fn check_all(scope: &StatementScope) -> Result<()> {
    let left = scope.touched.iter().filter(|touched| touched.event != Event::Dropped);
    left.map(|touched| touched.object).try_for_each(|object| check(object, &Sequences::Same))
}

/// Where the sequences may be that a table's defaults use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sequences {
    /// Where the table is.
    Same,
    /// Anywhere: the defaults were copied from a table elsewhere, and their sequences are looked up when they are used.
    Copied,
    /// Where the table is if these columns use them; the defaults of other columns stay as they were copied.
    SameFor(Vec<String>),
}

impl Sequences {
    /// Whether a table may use this sequence, which is elsewhere.
    fn allow(&self, table: Object, sequence: Object) -> Result<bool> {
        let is_default = object::is_table(table) && object::is_sequence(sequence);
        if !is_default || object::is_temporary(sequence) {
            return Ok(false);
        }
        let used = "SELECT EXISTS (
            SELECT FROM pg_catalog.pg_attrdef d
              JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
              JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND p.objid = d.oid
             WHERE d.adrelid = $1 AND p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refobjid = $2
               AND a.attname::text = ANY ($3))";
        match self {
            Self::Same => Ok(false),
            Self::Copied => Ok(true),
            Self::SameFor(columns) => {
                let arguments = [table.id.into(), sequence.id.into(), columns.clone().into()];
                Ok(sql::one::<bool>(used, &arguments)? == Some(false))
            }
        }
    }
}

/// Raises an error if the object depends on an object elsewhere.
pub(super) fn check(object: Object, sequences: &Sequences) -> Result<()> {
    let Some(location) = object_location::of_named(object)? else { return Ok(()) };
    for below in references::of(object) {
        if object::is_given(below) {
            continue;
        }
        let Some(other) = object_location::of_named(below)? else { continue };
        if may_depend_on(object, &location, below, &other)
            || matches!(location, Location::Node(..)) && sequences.allow(object, below)?
        {
            continue;
        }
        let mut locations = Locations { refers: true, ..Locations::default() };
        locations.add(location);
        locations.add(other);
        let error = locations.refusal()?;
        let hint = error.fields().hint.as_deref().map(String::from_utf8_lossy);
        let hint = format!("{} {HINT}", hint.unwrap_or_default());
        let error = error.hint(hint);
        return Err(match object::identity(below)? {
            Some(name) => error.context(format!("reference to {name}")),
            None => error,
        });
    }
    Ok(())
}

const HINT: &str = "If the name should refer to another object, qualify it with its schema.";

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
