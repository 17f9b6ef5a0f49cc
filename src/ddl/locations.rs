//! The combined locations of the objects that a command touches: whether it can run at all, and where.

use super::object_location::Location;
use crate::catalog::{self, NodeId};
use crate::error::{self, Error, Result};
use crate::pg::session::sql;
use helios_core::quote;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::BTreeMap;

/// Where a command must run in addition to this server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Here,
    Node(NodeId),
    All,
}

/// Locations of the objects that a command touched.
#[derive(Clone, Default)]
pub(super) struct Locations {
    /// Nodes, with one affected schema each.
    pub(super) nodes: BTreeMap<NodeId, String>,
    /// A relation that exists on this server only.
    pub(super) here: Option<String>,
    /// A shared object was touched.
    pub(super) everywhere: bool,
    /// One of the objects is to refer to the others, so that a separate command for each does not help.
    pub(super) refers: bool,
    /// The object on this server was found first: it is the one that refers to the others.
    pub(super) here_first: bool,
}

impl Locations {
    pub(super) fn add(&mut self, location: Location) {
        match location {
            Location::Node(place, schema) => {
                self.nodes.entry(place.node).or_insert(schema);
            }
            Location::Coordinator(name) => {
                self.here_first |= self.nodes.is_empty();
                self.here = Some(name);
            }
            Location::EveryNode => self.everywhere = true,
        }
    }

    pub(super) fn reach(&self) -> Reach {
        match self.nodes.first_key_value() {
            _ if self.everywhere => Reach::All,
            Some((node, _)) => Reach::Node(*node),
            None => Reach::Here,
        }
    }

    /// Raises an error if the command cannot run in one place.
    pub(super) fn check(&self) -> Result<()> {
        let places = self.nodes.len() + usize::from(self.here.is_some());
        if places > 1 { Err(self.refusal()?) } else { Ok(()) }
    }

    /// Like [`Self::check`], for names in the command's text, where shared objects count as another place.
    pub(super) fn check_named(&self) -> Result<()> {
        let places =
            self.nodes.len() + usize::from(self.here.is_some()) + usize::from(self.everywhere);
        if places > 1 { Err(self.refusal()?) } else { Ok(()) }
    }

    pub(super) fn refusal(&self) -> Result<Error> {
        let mut parts = Vec::new();
        for (node, schema) in &self.nodes {
            let node = catalog::node(*node)?;
            parts.push(format!("schema \"{schema}\" is on node \"{}\"", node.name));
        }
        if let Some(name) = &self.here {
            parts.push(format!("{name} is on this server"));
        }
        if self.everywhere {
            parts.push("the rest is on every node".into());
        }
        Ok(Error::new(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "DDL command affects objects on more than one node",
        )
        .detail(format!("{}.", error::capitalized(&parts.join(", "))))
        .hint(self.remedy()?))
    }

    /// What to do instead, with the names filled in.
    fn remedy(&self) -> Result<String> {
        let mut schemas = self.nodes.values();
        let first = schemas.next().filter(|_| self.refers);
        Ok(match (first, schemas.next(), &self.here) {
            (Some(first), Some(other), _) => colocate(other, first),
            (Some(schema), None, None) if self.everywhere => make_in(schema),
            (Some(schema), None, Some(_)) if self.here_first => make_in(schema),
            (Some(schema), None, Some(name)) => share(name, schema)?,
            _ => "Use a separate command for each schema.".to_owned(),
        })
    }
}

/// The remedy for objects of two schemas of which one refers to the other.
fn colocate(one: &str, other: &str) -> String {
    let (one, other) = (quote::literal(one), quote::literal(other));
    format!("Bring both schemas to one node first: SELECT helios_colocate({one}, {other});")
}

/// The remedy for an object elsewhere that refers to something of a distributed schema.
fn make_in(schema: &str) -> String {
    format!("Create the object that refers to it in schema {} as well.", quote::identifier(schema))
}

/// The remedy for something of a distributed schema that refers to `name`, which only this server has.
fn share(name: &str, schema: &str) -> Result<String> {
    // What is no relation has another form of name, which to_regclass() does not accept.
    const KIND: &str = "SELECT CASE WHEN c.relpersistence = 't' THEN 'temporary' ELSE c.relkind::text END
                          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                         WHERE pg_catalog.format('%I.%I', n.nspname, c.relname) = $1
                            OR pg_catalog.format('pg_temp.%I', c.relname) = $1 AND n.oid = pg_catalog.pg_my_temp_schema()
                            OR pg_catalog.quote_ident(c.relname) = $1 AND pg_catalog.pg_table_is_visible(c.oid)
                         LIMIT 1";
    let move_with = |kind: &str| {
        format!(
            "Move the {kind} to that schema: ALTER {} {name} SET SCHEMA {};",
            kind.to_uppercase(),
            quote::identifier(schema)
        )
    };
    Ok(match sql::one::<String>(KIND, &[name.into()])?.as_deref() {
        Some("r") => format!(
            "Make it a reference table, which every node has: SELECT helios_create_reference_table({});",
            quote::literal(name)
        ),
        Some("S") => move_with("sequence"),
        Some("v") => move_with("view"),
        Some("m") => move_with("materialized view"),
        Some("p" | "f") => format!("Create it in schema {} instead.", quote::identifier(schema)),
        None if catalog::any_placement_of(name)?.is_some() => colocate(schema, name),
        _ => format!(
            "Create a permanent object in schema {} and use that one.",
            quote::identifier(schema)
        ),
    })
}
