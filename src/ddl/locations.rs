//! The combined locations of the objects that a command touches: whether it can run at all, and where.

use super::object_location::Location;
use crate::catalog::{self, NodeId};
use crate::error::{self, Error, Result};
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
#[derive(Default)]
pub(super) struct Locations {
    /// Nodes, with one affected schema each.
    pub(super) nodes: BTreeMap<NodeId, String>,
    /// A relation that exists on this server only.
    pub(super) here: Option<String>,
    /// A shared object was touched.
    pub(super) everywhere: bool,
}

impl Locations {
    pub(super) fn add(&mut self, location: Location) {
        match location {
            Location::Node(place, schema) => {
                self.nodes.entry(place.node).or_insert(schema);
            }
            Location::Coordinator(name) => self.here = Some(name),
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
        .hint("Use a separate command for each schema."))
    }
}
