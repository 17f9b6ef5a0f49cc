//! Values read from the catalogs.

use super::tables::{FenceRow, NodeRow};
use crate::error::{Error, Result};
use crate::pg::session;
use helios_core::shard::{Bounds, Rectangle};
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode as Code};
use std::collections::BTreeMap;

/// ID of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub i32);

impl NodeId {
    /// This server itself.
    pub const LOCAL: NodeId = NodeId(0);

    /// Whether it identifies a server outside of the cluster, from which a schema is imported.
    pub fn is_outside(self) -> bool {
        self.0 < 0
    }
}

/// ID of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub i64);

/// Placement of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The shard to which it belongs.
    pub shard: ShardId,
    /// The node of the shard.
    pub node: NodeId,
}

/// One of a node's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name, address, or directory of a unix socket.
    pub host: String,
    /// TCP port (or the socket's number).
    pub port: u16,
}

/// A PostgreSQL server of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its ID.
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its addresses, tried in this order.
    pub addresses: Vec<Address>,
    /// Database name on the node.
    pub database: String,
    /// Options of the connection: sslmode, sslrootcert, sslcert, sslkey, connect_timeout.
    pub options: BTreeMap<String, String>,
    /// Whether it is this server.
    pub is_local: bool,
    /// online, degraded, offline or draining.
    pub state: String,
    /// Capacity relative to the other nodes.
    pub weight: f64,
    /// Whether new schemas may be placed on it.
    pub takes_schemas: bool,
    /// Whether it belongs to another cluster, because the directory was restored from a dump or is a copy of that
    /// cluster's coordinator.
    pub is_foreign: bool,
}

impl Node {
    /// `cluster` is the ID of this cluster.
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

    /// 55000 for a node of another cluster, whose data must not be changed or shown.
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

/// A group of schemas that moves as a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its ID.
    pub id: ShardId,
    /// What bounds it.
    pub bounds: Bounds,
    /// The node that has it.
    pub node: NodeId,
    /// Number of schemas in it.
    pub schemas: u64,
    /// A migration moves it or one of its schemas, or it has replicas.
    pub is_moving: bool,
    /// Intended number of copies, including the primary.
    pub replicas: i32,
}

/// A replica that is complete and follows the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The migration that created it.
    pub migration: i64,
    /// Its node.
    pub node: NodeId,
    /// Name of the node.
    pub name: String,
    /// Slots on the primary through which it follows.
    pub slots: Vec<String>,
}

impl Shard {
    /// Its rectangle, if it is pooled.
    pub fn rectangle(&self) -> Option<&Rectangle> {
        match &self.bounds {
            Bounds::Pooled(rectangle) => Some(rectangle),
            Bounds::Dedicated => None,
        }
    }
}

/// What a migration blocks on a schema.
#[derive(Clone, Debug)]
pub struct Fence {
    pub(super) namespace: Oid,
    pub(super) schema: String,
    pub(super) migration: i64,
    /// Blocks writes to rows, in addition to DDL.
    pub(super) writes: bool,
    /// Exists as long as there are replicas, not only during a move.
    pub(super) keeps: bool,
}

impl Fence {
    /// None if the schema does not exist here.
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
