//! Where a new schema goes.

use super::{Space, Strategy};
use crate::slot::{key_of, slot_of};

/// A node as placement sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// The node's id.
    pub id: i32,
    /// The node's name.
    pub name: &'a str,
    /// Its capacity, 1 being ordinary.
    pub weight: f64,
    /// Its load, in any unit that all candidates share.
    pub load: f64,
    /// How many schemas live on it.
    pub schemas: u64,
    /// May new schemas be placed on it?
    pub takes_schemas: bool,
}

impl Candidate<'_> {
    fn is_open(&self) -> bool {
        self.takes_schemas && self.weight > 0.0
    }

    fn relative_load(&self) -> f64 {
        self.load / self.weight
    }
}

/// What becomes of a new schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It joins this pooled shard, on whatever node that is.
    Pooled {
        /// The shard's id.
        shard: i64,
    },
    /// It gets a shard of its own on this node.
    Dedicated {
        /// The node's id.
        node: i32,
    },
}

/// Why a schema can not be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// ON NODE names no node (SQLSTATE 42704).
    #[error("node \"{0}\" does not exist")]
    UnknownNode(String),
    /// ON NODE names a node that takes no new schemas (SQLSTATE 55000).
    #[error("node \"{0}\" takes no new schemas")]
    ClosedNode(String),
    /// No node takes new schemas (SQLSTATE 55000).
    #[error("no node takes new schemas")]
    NoNode,
}

/// Places the schema `name`: onto `on_node` if one is named, else by the strategy. The least loaded
/// node is the one with the least load for its weight; among equals the one with the fewest
/// schemas, then the lowest id.
///
/// A pooled shard keeps its keys whatever node it is on: if that node takes no new schemas, the
/// shard is about to leave it.
pub fn place(
    strategy: Strategy,
    name: &str,
    on_node: Option<&str>,
    space: &Space,
    nodes: &[Candidate<'_>],
) -> Result<Decision, PlaceError> {
    if let Some(wanted) = on_node {
        let node = nodes.iter().find(|node| node.name == wanted);
        let node = node.ok_or_else(|| PlaceError::UnknownNode(wanted.into()))?;
        if !node.is_open() {
            return Err(PlaceError::ClosedNode(wanted.into()));
        }
        return Ok(Decision::Dedicated { node: node.id });
    }
    match strategy {
        Strategy::LeastLoaded => {
            let open = nodes.iter().filter(|node| node.is_open());
            let least = open.min_by(|a, b| {
                (a.relative_load().total_cmp(&b.relative_load()))
                    .then(a.schemas.cmp(&b.schemas))
                    .then(a.id.cmp(&b.id))
            });
            least.map(|node| Decision::Dedicated { node: node.id }).ok_or(PlaceError::NoNode)
        }
        Strategy::Hash | Strategy::Range | Strategy::Composite => {
            let shard = space.find(slot_of(name), key_of(name)).ok_or(PlaceError::NoNode)?;
            Ok(Decision::Pooled { shard })
        }
    }
}
