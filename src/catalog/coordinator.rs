//! SQL with which a coordinator registers itself on a node, as text for a session there: on `helios.cluster`,
//! `helios.identity` and `helios.coordinator`, which exist on nodes of older versions, too.

use crate::error::Result;
use crate::remote::Record;
use helios_core::quote::literal;

/// The statement to run manually on a node that its former cluster has not released.
pub const RELEASE: &str = "UPDATE helios.cluster SET node_of = NULL";

/// Registers the node as belonging to a cluster whose coordinator is at these addresses.
pub fn claim(cluster: i64, addresses: &str) -> String {
    format!("UPDATE helios.cluster SET node_of = {cluster}, coordinator = {}", literal(addresses))
}

/// Stores the public key with which the node verifies sessions of its coordinator.
pub fn set_key(key: &str) -> String {
    format!("UPDATE helios.identity SET coordinator = {}", literal(key))
}

/// Releases the node if it belongs to this cluster.
pub fn release(cluster: i64) -> String {
    format!(
        "WITH freed AS (UPDATE helios.cluster SET node_of = NULL WHERE node_of = {cluster} RETURNING 1)
         UPDATE helios.identity SET coordinator = NULL WHERE EXISTS (SELECT FROM freed)"
    )
}

/// Queries the cluster that the server is a node of; see [`holder_in`].
pub const HOLDER: &str = "SELECT node_of FROM helios.cluster";

/// The cluster in a result of [`HOLDER`]; `None` if the server is not a node.
pub fn holder_in(rows: &[Record]) -> Result<Option<i64>> {
    rows.first().map_or(Ok(None), |row| row.parsed("node_of"))
}

/// Queries the names of the nodes that the server itself has as a coordinator, in column `name`.
pub const NODES: &str = "SELECT name FROM helios.node WHERE NOT is_local ORDER BY 1";

/// A server that has acted as a node's coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinator {
    pub system_identifier: u64,
    /// Its latest known timeline.
    pub timeline: u32,
}

impl Coordinator {
    /// Queries which coordinator of a cluster is registered on the node; see [`Coordinator::known_in`].
    pub fn known(cluster: i64) -> String {
        format!(
            "SELECT system_identifier, timeline FROM helios.coordinator
              WHERE cluster OPERATOR(pg_catalog.=) '{cluster}'::pg_catalog.int8"
        )
    }

    /// The coordinator in a result of [`Coordinator::known`]; `None` if no valid one is registered.
    pub fn known_in(rows: &[Record]) -> Option<Self> {
        let row = rows.first()?;
        Some(Self {
            system_identifier: row.parsed("system_identifier").ok()??,
            timeline: row.parsed("timeline").ok()??,
        })
    }

    /// Registers this server as the coordinator of a cluster, unless the node has another one or a later timeline.
    pub fn note(self, cluster: i64) -> String {
        format!(
            "INSERT INTO helios.coordinator AS c (cluster, system_identifier, timeline)
             VALUES ('{cluster}', '{}', '{}')
             ON CONFLICT (cluster) DO UPDATE SET timeline = excluded.timeline
              WHERE c.timeline OPERATOR(pg_catalog.<) excluded.timeline
                AND c.system_identifier OPERATOR(pg_catalog.=) excluded.system_identifier",
            self.system_identifier, self.timeline
        )
    }
}

/// Removes the node's records of coordinators of the cluster with other system identifiers.
pub fn forget_others(cluster: i64, system_identifier: u64) -> String {
    format!(
        "DELETE FROM helios.coordinator WHERE cluster OPERATOR(pg_catalog.=) '{cluster}'::pg_catalog.int8
            AND system_identifier OPERATOR(pg_catalog.<>) '{system_identifier}'::pg_catalog.numeric"
    )
}
