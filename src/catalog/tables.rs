//! The tables in schema `helios` that are read and written without SQL: one struct per table, one field per column.

use crate::pg::catalog::table::catalog_table;
use crate::pg::catalog::value::{Name, RegClass, Timestamp};
use pgrx::pg_sys::Oid;

catalog_table! {
    /// A row of `helios.cluster`.
    pub struct ClusterRow: "helios"."cluster" {
        pub id: i64,
        /// The database in which the cluster was created; a copy has another OID.
        pub database: Oid,
        /// The cluster that has this database as a node.
        pub node_of: Option<i64>,
        /// Address of that cluster's coordinator.
        pub coordinator: Option<String>,
    }
}

catalog_table! {
    /// A row of `helios.identity`.
    pub struct IdentityRow: "helios"."identity" {
        /// The seed from which this server's keys are derived.
        pub seed: String,
        /// The public key of this node's coordinator.
        pub coordinator: Option<String>,
    }
}

catalog_table! {
    /// A row of `helios.node`.
    pub struct NodeRow: "helios"."node" {
        pub id: i32,
        pub name: Name,
        pub hosts: Vec<String>,
        pub ports: Vec<i32>,
        pub database: Name,
        /// Connection options as key=value.
        pub options: Vec<String>,
        pub is_local: bool,
        pub state: String,
        pub weight: f64,
        pub takes_schemas: bool,
        /// The cluster to which the node was added.
        pub cluster: i64,
    }
}

catalog_table! {
    /// The node of a row of `helios.shard`.
    pub struct ShardNodeRow: "helios"."shard" {
        pub node: i32,
    } by {
        id: i64,
    }
}

catalog_table! {
    /// A row of `helios.schema`.
    pub struct SchemaRow: "helios"."schema" {
        pub shard: i64,
    } by {
        name: Name,
    }
}

catalog_table! {
    /// A row of `helios.reference_table`.
    pub struct ReferenceTableRow: "helios"."reference_table" {} by {
        relation: RegClass,
    }
}

catalog_table! {
    /// A row of `helios.fence`.
    pub struct FenceRow: "helios"."fence" {
        pub schema: Name,
        pub migration: i64,
        pub kind: String,
        pub keeps: bool,
    }
}

catalog_table! {
    /// A row of `helios.replica`.
    pub struct ReplicaRow: "helios"."replica" {
        pub migration: i64,
        pub node: i32,
        pub slots: Vec<String>,
    } by {
        shard: i64,
    }
}

catalog_table! {
    /// A row of `helios.credential`.
    pub struct CredentialRow: "helios"."credential" {
        /// NULL: every node.
        pub node: Option<i32>,
        pub password: String,
    } by {
        role: Name,
    }
}

catalog_table! {
    /// A row of `helios.transaction`.
    pub struct TransactionRow: "helios"."transaction" {
        pub gid: String,
        pub node: i32,
        pub created: Timestamp,
    }
}

catalog_table! {
    /// The progress columns of a row of `helios.migration`.
    pub struct MigrationProgressRow: "helios"."migration" {
        pub state: String,
        pub request: Option<String>,
        pub rows_done: i64,
        pub rows_total: i64,
        pub error: Option<String>,
    } by {
        id: i64,
    }
}
