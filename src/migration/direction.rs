//! The direction of a switch, and the channels that replicate in it.

use crate::catalog::NodeId;
use crate::catalog::migration::Migration;
use crate::error::Result;
use crate::pg::ipc::worker;
use crate::replication::channel::{self, Channel};

/// Direction of a switch, and of the changes that flow before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the old copy to the new one.
    Forward,
    /// From the new copy back to the old one.
    Back,
}

impl Direction {
    /// The source and the target of changes.
    pub fn publisher_and_subscriber(self, migration: &Migration) -> (NodeId, NodeId) {
        match self {
            Self::Forward => (migration.source, migration.target),
            Self::Back => (migration.target, migration.source),
        }
    }
}

/// The channels that replicate in this direction.
pub fn channels(migration: &Migration, direction: Direction) -> Result<Vec<Channel>> {
    worker::attempt(|| match direction {
        Direction::Forward => channel::forward(migration),
        Direction::Back => channel::back(migration),
    })
}
