//! Changes the catalogs with the privileges of their owner: a role that may create schemas may create distributed ones,
//! without privileges on the catalogs.

use super::cache::catalogs_owner;
use super::rows::{Address, NodeId, ShardId};
use super::tables::CredentialRow;
use crate::error::{Error, Result};
use crate::pg::catalog::privileges::RunAs;
use crate::pg::catalog::table::{Column, Table};
use crate::pg::catalog::value::Name;
use crate::pg::session::sql;
use helios_core::migration::ENDED;
use pgrx::pg_sys::Oid;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// A node to be added.
pub struct NewNode<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its addresses.
    pub addresses: &'a [Address],
    /// Database name on the node.
    pub database: &'a str,
    /// Connection options as key=value.
    pub options: &'a [String],
    /// Capacity relative to the other nodes.
    pub weight: f64,
    /// Whether new schemas may be placed on it.
    pub takes_schemas: bool,
}

/// Adds a schema to the shard to which its key belongs.
pub fn insert_schema(name: &str, key: &str, shard: ShardId) -> Result<()> {
    as_owner(|| {
        touch()?;
        let insert = "INSERT INTO helios.schema (name, shard, key) VALUES ($1::name, $2, $3)";
        sql::run(insert, &[name.into(), shard.0.into(), key.into()])
    })
}

/// Deletes a schema, and its dedicated shard unless colocated schemas remain in it.
pub fn forget_schema(name: &str) -> Result<()> {
    as_owner(|| {
        let delete = "WITH gone AS (DELETE FROM helios.schema WHERE name = $1::name RETURNING shard) SELECT shard FROM gone";
        for shard in sql::rows(delete, &[name.into()], |row| row.value::<i64>("shard"))? {
            let delete = "DELETE FROM helios.shard s WHERE id = $1 AND kind = 'dedicated'
                             AND NOT EXISTS (SELECT FROM helios.schema c WHERE c.shard = s.id)";
            sql::run(delete, &[shard.into()])?;
        }
        release_shard_name(name)
    })
}

/// Updates the name after ALTER SCHEMA … RENAME.
pub fn rename_schema(old: &str, new: &str) -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.schema SET name = $2::name WHERE name = $1::name";
        sql::run(update, &[old.into(), new.into()])?;
        let update = "UPDATE helios.shard SET name = $2 WHERE kind = 'dedicated' AND name = $1";
        sql::run(update, &[old.into(), new.into()])
    })
}

/// A dedicated shard has the name of one of its schemas: if this one leaves it, that of another.
fn release_shard_name(schema: &str) -> Result<()> {
    let update = "UPDATE helios.shard s
                     SET name = (SELECT min(c.name::text) FROM helios.schema c WHERE c.shard = s.id AND c.name <> $1::name)
                   WHERE s.kind = 'dedicated' AND s.name = $1";
    sql::run(update, &[schema.into()])
}

/// Creates a dedicated shard for a schema on a node.
pub fn dedicated_shard(schema: &str, node: NodeId) -> Result<ShardId> {
    as_owner(|| {
        touch()?;
        release_shard_name(schema)?;
        let insert =
            "INSERT INTO helios.shard (name, kind, node) VALUES ($1, 'dedicated', $2) RETURNING id";
        let id = sql::one::<i64>(insert, &[schema.into(), node.0.into()])?;
        id.map(ShardId).ok_or_else(|| {
            Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not assign an ID to the shard")
        })
    })
}

/// Assigns a schema to another shard on the same node.
pub fn put_schema(name: &str, shard: ShardId) -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.schema SET shard = $2 WHERE name = $1::name";
        sql::run(update, &[name.into(), shard.0.into()])
    })
}

/// Sets whether a shard is about to move, so that no new schemas are placed in it.
pub fn set_moving(shard: ShardId, moving: bool) -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.shard SET state = CASE WHEN $2 THEN 'moving' ELSE 'active' END WHERE id = $1";
        sql::run(update, &[shard.0.into(), moving.into()])
    })
}

/// Names of the schemas in a shard, in order.
pub fn schemas_of(shard: ShardId) -> Result<Vec<String>> {
    as_owner(|| {
        let select = "SELECT name::text FROM helios.schema WHERE shard = $1 ORDER BY 1";
        sql::rows(select, &[shard.0.into()], |row| row.value("name"))
    })
}

/// Changes the nodes of shards in the directory. The caller holds the shards' locks exclusively.
pub fn move_shards(moves: &[(ShardId, NodeId)]) -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.shard s SET node = m.node FROM unnest($1::bigint[], $2::integer[]) AS m(id, node)
                       WHERE s.id = m.id";
        let shards: Vec<i64> = moves.iter().map(|(shard, _)| shard.0).collect();
        let nodes: Vec<i32> = moves.iter().map(|(_, node)| node.0).collect();
        sql::run(update, &[shards.into(), nodes.into()])
    })
}

/// Inserts a node into the directory; returns its ID.
pub fn add_node(node: &NewNode<'_>) -> Result<NodeId> {
    as_owner(|| {
        let insert =
            "INSERT INTO helios.node (name, hosts, ports, database, options, weight, takes_schemas)
                      VALUES ($1::name, $2, $3, $4::name, $5, $6, $7) RETURNING id";
        let hosts: Vec<String> = node.addresses.iter().map(|a| a.host.clone()).collect();
        let ports: Vec<i32> = node.addresses.iter().map(|a| i32::from(a.port)).collect();
        let id = sql::one::<i32>(
            insert,
            &[
                node.name.into(),
                hosts.into(),
                ports.into(),
                node.database.into(),
                node.options.to_vec().into(),
                node.weight.into(),
                node.takes_schemas.into(),
            ],
        )?;
        id.map(NodeId).ok_or_else(|| {
            Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not assign an ID to the node")
        })
    })
}

/// From the first added node on, new schemas are placed on nodes, not on this server.
pub fn exclude_local_node() -> Result<()> {
    as_owner(|| {
        sql::run(
            "UPDATE helios.node SET takes_schemas = false WHERE is_local AND takes_schemas",
            &[],
        )
    })
}

/// Makes all nodes this cluster's. A copy of another cluster's database becomes a cluster first.
pub fn adopt_nodes() -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.cluster c
                         SET (id, database) = (('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint
                                               & 9223372036854775807, d.oid)
                        FROM pg_database d WHERE d.datname = current_database() AND c.database <> d.oid
                       RETURNING true";
        if sql::one::<bool>(update, &[])?.is_some() {
            super::proof::renew()?;
        }
        // The other cluster's migrations are not part of the dump.
        sql::run("UPDATE helios.shard SET state = 'active' WHERE state <> 'active'", &[])?;
        sql::run("UPDATE helios.node SET cluster = (SELECT id FROM helios.cluster)", &[])
    })
}

/// Deletes a node without shards from the directory.
pub fn remove_node(node: NodeId) -> Result<()> {
    as_owner(|| {
        sql::run("DELETE FROM helios.node WHERE id = $1", &[node.0.into()])?;
        // When the last one is gone, this server is the whole cluster again.
        let update = "UPDATE helios.node SET takes_schemas = true
                       WHERE is_local AND NOT EXISTS (SELECT FROM helios.node WHERE NOT is_local)";
        sql::run(update, &[])
    })
}

/// Names of the distributed schemas on a node, in order.
pub fn schemas_on(node: NodeId) -> Result<Vec<String>> {
    as_owner(|| {
        let select =
            "SELECT c.name::text FROM helios.schema c JOIN helios.shard s ON s.id = c.shard
                       WHERE s.node = $1 ORDER BY 1";
        sql::rows(select, &[node.0.into()], |row| row.value("name"))
    })
}

/// The schema's node as of the transaction's snapshot; `None` if it was not distributed then.
pub fn node_in_snapshot(schema: &str) -> Result<Option<NodeId>> {
    let select = "SELECT p.node FROM helios.schema s JOIN helios.shard p ON p.id = s.shard WHERE s.name = $1::name";
    Ok(as_owner(|| sql::read_one::<i32>(select, &[schema.into()]))?.map(NodeId))
}

/// The distributed schemas being moved.
pub fn moving_schemas() -> Result<Vec<String>> {
    let select = format!(
        "SELECT unnest(schemas)::text AS schema FROM helios.migration WHERE NOT keeps AND state NOT IN ({ENDED})"
    );
    as_owner(|| sql::read_rows(&select, &[], |row| row.value("schema")))
}

/// A reference table.
pub struct ReferenceTable {
    /// Its OID on this server.
    pub relation: Oid,
    /// Its qualified name, quoted as needed.
    pub name: String,
}

/// The OIDs of the reference tables, as a subquery for conditions on PostgreSQL's catalogs.
pub const REFERENCES: &str = "SELECT relation FROM helios.reference_table";

/// All reference tables in order of creation.
pub fn references() -> Result<Vec<ReferenceTable>> {
    as_owner(|| {
        let select = "SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
                        FROM helios.reference_table r JOIN pg_class c ON c.oid = r.relation
                             JOIN pg_namespace n ON n.oid = c.relnamespace
                       ORDER BY r.created, 2";
        sql::rows(select, &[], |row| {
            Ok(ReferenceTable { relation: row.value("oid")?, name: row.value("name")? })
        })
    })
}

/// Records a table as a reference table.
pub fn add_reference(relation: Oid) -> Result<()> {
    as_owner(|| {
        sql::run("INSERT INTO helios.reference_table (relation) VALUES ($1)", &[relation.into()])
    })
}

/// Deletes a reference table, which may have been dropped.
pub fn forget_reference(relation: Oid) -> Result<()> {
    as_owner(|| {
        sql::run("DELETE FROM helios.reference_table WHERE relation = $1", &[relation.into()])
    })
}

/// The password of a role on a node, if stored in the catalog; a row for the node takes precedence over one for all.
pub fn password(node: NodeId, role: &str) -> Result<Option<String>> {
    const ROLE: Column<CredentialRow, Name> = Column::named("role");
    let Some(table) = Table::find_by_index("credential_node_role_key") else { return Ok(None) };
    let mut rows = table.rows(&[ROLE.equals(Name(role.to_owned()))])?;
    rows.retain(|row| row.node.is_none_or(|of| of == node.0));
    rows.sort_by_key(|row| row.node.is_none());
    Ok(rows.into_iter().next().map(|row| row.password))
}

/// Marks the shards as no longer those of CREATE EXTENSION, so that rows of a dump do not replace them.
pub(super) fn touch() -> Result<()> {
    sql::run("UPDATE helios.cluster SET pristine = false WHERE pristine", &[])
}

/// Runs work with the privileges of the catalogs' owner.
pub fn as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let owner = catalogs_owner()?;
    let _as_owner = RunAs::role(owner);
    work()
}
