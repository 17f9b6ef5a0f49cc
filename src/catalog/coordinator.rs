//! SQL by which a coordinator tells a node whose it is, as text for a session there: on `helios.cluster`, `helios.identity`
//! and `helios.coordinator`, which a node of an older version has as well.

use crate::error::Result;
use crate::remote::Record;
use helios_core::quote::literal;

/// What a person runs on a node that its former cluster has not let go.
pub const RELEASE: &str = "UPDATE helios.cluster SET node_of = NULL";

/// Makes the node a cluster's own, whose coordinator answers at these addresses.
pub fn claim(cluster: i64, addresses: &str) -> String {
    format!("UPDATE helios.cluster SET node_of = {cluster}, coordinator = {}", literal(addresses))
}

/// Leaves the public key by which the node knows sessions of its coordinator.
pub fn set_key(key: &str) -> String {
    format!("UPDATE helios.identity SET coordinator = {}", literal(key))
}

/// Makes the node nobody's, if it is this cluster's.
pub fn release(cluster: i64) -> String {
    format!(
        "WITH freed AS (UPDATE helios.cluster SET node_of = NULL WHERE node_of = {cluster} RETURNING 1)
         UPDATE helios.identity SET coordinator = NULL WHERE EXISTS (SELECT FROM freed)"
    )
}

/// Asks which cluster the server is a node of; see [`holder_in`].
pub const HOLDER: &str = "SELECT node_of FROM helios.cluster";

/// The cluster in an answer to [`HOLDER`]; None: it is a node of none.
pub fn holder_in(rows: &[Record]) -> Result<Option<i64>> {
    rows.first().map_or(Ok(None), |row| row.parsed("node_of"))
}

/// Asks for the names of the nodes that the server itself has as a coordinator, in column `name`.
pub const NODES: &str = "SELECT name FROM helios.node WHERE NOT is_local ORDER BY 1";

/// A server that has used a node as its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinator {
    pub system_identifier: u64,
    /// The latest timeline that it was on.
    pub timeline: u32,
}

impl Coordinator {
    /// Asks which coordinator of a cluster the node knows; see [`Coordinator::known_in`].
    pub fn known(cluster: i64) -> String {
        format!(
            "SELECT system_identifier, timeline FROM helios.coordinator
              WHERE cluster OPERATOR(pg_catalog.=) '{cluster}'::pg_catalog.int8"
        )
    }

    /// The coordinator in an answer to [`Coordinator::known`]; None if the node knows none that can be understood.
    pub fn known_in(rows: &[Record]) -> Option<Self> {
        let row = rows.first()?;
        Some(Self {
            system_identifier: row.parsed("system_identifier").ok()??,
            timeline: row.parsed("timeline").ok()??,
        })
    }

    /// Tells the node that this is the coordinator of a cluster, unless it knows another one or a later timeline.
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

/// Lets the node forget that servers with other system identifiers were coordinators of the cluster.
pub fn forget_others(cluster: i64, system_identifier: u64) -> String {
    format!(
        "DELETE FROM helios.coordinator WHERE cluster OPERATOR(pg_catalog.=) '{cluster}'::pg_catalog.int8
            AND system_identifier OPERATOR(pg_catalog.<>) '{system_identifier}'::pg_catalog.numeric"
    )
}
