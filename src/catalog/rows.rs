//! What the catalogs tell, as values.

use super::tables::{FenceRow, NodeRow};
use crate::error::{Error, Result};
use crate::pg::session;
use helios_core::shard::{Bounds, Rectangle};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::collections::BTreeMap;

/// Names a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub i32);

impl NodeId {
    /// This server itself.
    pub const LOCAL: NodeId = NodeId(0);

    /// Whether it stands for a server that is no node of the cluster: one that a schema is imported from.
    pub fn is_outside(self) -> bool {
        self.0 < 0
    }
}

/// Names a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub i64);

/// Where something lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The group that it moves with.
    pub shard: ShardId,
    /// The server that holds the group.
    pub node: NodeId,
}

/// One of the places a node can be reached at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name, address, or directory of a Unix socket.
    pub host: String,
    /// TCP port (or the socket's number).
    pub port: u16,
}

/// A PostgreSQL server of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where it is, tried in this order.
    pub addresses: Vec<Address>,
    /// The database there.
    pub database: String,
    /// Options of the connection: sslmode, sslrootcert, sslcert, sslkey, connect_timeout.
    pub options: BTreeMap<String, String>,
    /// Whether it is this server itself.
    pub is_local: bool,
    /// online, degraded, offline or draining.
    pub state: String,
    /// Capacity in relation to the others.
    pub weight: f64,
    /// Whether new schemas may be placed on it.
    pub takes_schemas: bool,
    /// Whether it belongs to another cluster: the directory came out of a dump or a copy of that one's coordinator.
    pub is_foreign: bool,
}

impl Node {
    /// `cluster` is this one.
    pub(super) fn from_row(row: NodeRow, cluster: Option<i64>) -> Self {
        let address = |(host, port): (String, i32)| Address { host, port: port as u16 };
        Self {
            id: NodeId(row.id),
            name: row.name.0,
            addresses: row.hosts.into_iter().zip(row.ports).map(address).collect(),
            database: row.database.0,
            options: row.options.iter().map(|option| split_option(option)).collect(),
            is_local: row.is_local,
            state: row.state,
            weight: row.weight,
            takes_schemas: row.takes_schemas,
            is_foreign: !row.is_local && Some(row.cluster) != cluster,
        }
    }

    /// 55000 for a node of another cluster, whose data are not ours to change or to show.
    pub fn check_ours(&self) -> Result<()> {
        if !self.is_foreign {
            return Ok(());
        }
        Err(Error::new(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("node \"{}\" belongs to another cluster", self.name),
        )
        .detail("The directory of this database was restored from a dump, or is a copy of that cluster's coordinator.")
        .hint("If that coordinator no longer exists, run SELECT helios_adopt_nodes() to make this database the \
            coordinator of its nodes. If this database is meant to be a copy, run DROP EXTENSION helios to turn the \
            schemas into ordinary ones, and then restore their rows."))
    }
}

fn split_option(option: &str) -> (String, String) {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    (key.to_owned(), value.to_owned())
}

/// A group of schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number.
    pub id: ShardId,
    /// What bounds it.
    pub bounds: Bounds,
    /// The server that holds it.
    pub node: NodeId,
    /// How many schemas it holds.
    pub schemas: u64,
    /// A migration moves it, or a schema of it, at this moment, or it has further copies.
    pub is_moving: bool,
    /// How many copies of it there are to be, the one in use included.
    pub replicas: i32,
}

/// A copy of a shard that is complete and follows the one in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The migration that made it.
    pub migration: i64,
    /// Where it is.
    pub node: NodeId,
    /// That node's name.
    pub name: String,
    /// Slots on the node in use that it follows by.
    pub slots: Vec<String>,
}

impl Shard {
    /// Its rectangle, if it holds whatever lies in that, and not one schema.
    pub fn rectangle(&self) -> Option<&Rectangle> {
        match &self.bounds {
            Bounds::Pooled(rectangle) => Some(rectangle),
            Bounds::Dedicated => None,
        }
    }
}

/// What a migration keeps from being changed.
#[derive(Clone, Debug)]
pub struct Fence {
    pub(super) namespace: Oid,
    pub(super) schema: String,
    pub(super) migration: i64,
    /// Rows too, not only the definition.
    pub(super) writes: bool,
    /// As long as there is a further copy, not only while it moves.
    pub(super) keeps: bool,
}

impl Fence {
    /// None: there is no such schema here.
    pub(super) fn from_row(row: FenceRow) -> Option<Self> {
        Some(Self {
            namespace: session::namespace(&row.schema.0)?,
            schema: row.schema.0,
            migration: row.migration,
            writes: row.kind == "writes",
            keeps: row.keeps,
        })
    }
}
