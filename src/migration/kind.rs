//! The kinds of migrations, and everything in which one kind differs from the others.
//!
//! All kinds take the same states; where a step depends on what the migration is for, it asks its [`Kind`]. Where it
//! depends on what a server at one end can do, it asks that [`Endpoint`] instead.

use crate::catalog::migration::{Becomes, Migration, NewMigration};
use crate::catalog::{NodeId, ShardId};
use crate::replication::endpoint::Endpoint;
use helios_core::migration::State;

/// The purpose of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A shard, or one of its schemas, moves from one node to another.
    Move,
    /// A plain schema of this server becomes a distributed schema on a node; its tables here become shells.
    Distribute,
    /// A distributed schema moves to this server and becomes a plain one.
    Undistribute,
    /// A replica of a shard is created and follows the primary; the migration switches only when the replica is
    /// promoted.
    Replica,
    /// A schema of a foreign server is imported; this server gets shells for it with the switch.
    Import,
}

impl Kind {
    /// The kind of a migration. It never changes, because it follows from columns that are written once.
    pub fn of(migration: &Migration) -> Self {
        match (Endpoint::of(migration.source), migration.becomes) {
            (Endpoint::Foreign(_), _) => Self::Import,
            _ if migration.keeps => Self::Replica,
            (_, Some(Becomes::Distributed)) => Self::Distribute,
            (_, Some(Becomes::Plain)) => Self::Undistribute,
            (_, None) => Self::Move,
        }
    }

    /// The row of a new migration of this kind that moves all of these schemas.
    pub fn row(
        self,
        shard: ShardId,
        schemas: &[String],
        source: NodeId,
        target: NodeId,
    ) -> NewMigration<'_> {
        let becomes = match self {
            Self::Distribute => Some(Becomes::Distributed),
            Self::Undistribute => Some(Becomes::Plain),
            Self::Move | Self::Replica | Self::Import => None,
        };
        let keeps = self == Self::Replica;
        NewMigration { shard, former_shard: None, becomes, schemas, source, target, keeps }
    }

    /// Whether the copy at this endpoint consists of this server's shells of a distributed schema: the definition
    /// exists from the beginning, and remains when the rows are removed.
    pub fn uses_shells(self, endpoint: Endpoint) -> bool {
        match (self, endpoint) {
            // The switch creates the shells.
            (Self::Import, _) | (_, Endpoint::Node(_) | Endpoint::Foreign(_)) => false,
            (_, Endpoint::Local) => true,
        }
    }

    /// The next state after both copies were found equal.
    pub fn after_verify(self) -> State {
        match self {
            Self::Replica => State::InStep,
            Self::Move | Self::Distribute | Self::Undistribute | Self::Import => State::Switch,
        }
    }

    /// Whether the schema is a plain one of this server after the migration has ended.
    pub fn leaves_plain_schema(self, outcome: State) -> bool {
        match self {
            Self::Distribute => outcome != State::Finished,
            Self::Undistribute => outcome == State::Finished,
            Self::Move | Self::Replica | Self::Import => false,
        }
    }
}

/// Whether the schemas' definition exists on the target before the migration starts, as shells.
pub fn target_has_definition(migration: &Migration) -> bool {
    Kind::of(migration).uses_shells(Endpoint::of(migration.target))
}
