//! Rows of the catalogs as values. The column numbers are those of `sql/helios--0.1.0.sql`.

use crate::pg::catalog::Row;
use std::collections::BTreeMap;

/// Names a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub i32);

impl NodeId {
    /// This server itself.
    pub const LOCAL: NodeId = NodeId(0);
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
}

impl Node {
    pub(super) fn from_row(row: &Row) -> Option<Self> {
        let hosts: Vec<String> = row.get(3)?;
        let ports: Vec<i32> = row.get(4)?;
        let address = |(host, port): (String, i32)| Address { host, port: port as u16 };
        let options: Vec<String> = row.get(6)?;
        Some(Self {
            id: NodeId(row.get(1)?),
            name: row.name(2)?,
            addresses: hosts.into_iter().zip(ports).map(address).collect(),
            database: row.name(5)?,
            options: options.iter().map(|option| split_option(option)).collect(),
            is_local: row.get(7)?,
            state: row.get(9)?,
            weight: row.get(10)?,
            takes_schemas: row.get(11)?,
        })
    }
}

fn split_option(option: &str) -> (String, String) {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    (key.to_owned(), value.to_owned())
}

/// What bounds a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardKind {
    /// A rectangle of hash slots (`slots.0` ≤ slot < `slots.1`) and keys (from ≤ key < to; None is no bound).
    Pooled { slots: (u16, u16), keys: (Option<String>, Option<String>) },
    /// Holds the one schema that it was made for.
    Dedicated,
}

/// A group of schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number.
    pub id: ShardId,
    /// What bounds it.
    pub kind: ShardKind,
    /// The server that holds it.
    pub node: NodeId,
    /// How many schemas it holds.
    pub schemas: u64,
}

impl Shard {
    /// Whether it holds whatever its bounds say, not one schema.
    pub fn is_pooled(&self) -> bool {
        matches!(self.kind, ShardKind::Pooled { .. })
    }
}
