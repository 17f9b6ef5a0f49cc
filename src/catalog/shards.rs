//! Rows of `helios.shard`: reading, splitting, merging.

use super::rows::{NodeId, Shard, ShardId};
use super::store::{as_owner, touch};
use crate::error::{Error, Result};
use crate::pg::session::sql;
use helios_core::migration::ENDED;
use helios_core::shard::{Bounds, KeyRange, Rectangle};
use helios_core::slot;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::HashMap;

/// A schema in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its name.
    pub name: String,
    /// The key by which it was placed, which does not change when it is renamed.
    pub key: String,
}

impl Resident {
    /// Whether it is within these bounds.
    pub fn is_in(&self, bounds: &Rectangle) -> bool {
        bounds.contains(self.slot(), &self.key)
    }

    /// Its hash slot.
    pub fn slot(&self) -> u16 {
        slot::slot_of(&self.key)
    }
}

/// All shards, by ID.
pub fn shards() -> Result<Vec<Shard>> {
    read("", None)
}

/// The shard with this ID; 42704 if it does not exist.
pub fn shard(id: ShardId) -> Result<Shard> {
    read("WHERE s.id = $1", Some(id))?.pop().ok_or_else(|| {
        Error::new(Code::ERRCODE_UNDEFINED_OBJECT, format!("shard {} does not exist", id.0))
            .hint("The view helios_shards lists the shards of this cluster.")
    })
}

fn read(which: &str, id: Option<ShardId>) -> Result<Vec<Shard>> {
    let select = format!(
        "WITH moving(shard, schemas) AS MATERIALIZED (
            SELECT shard, schemas FROM helios.migration
             WHERE NOT (keeps AND state = 'cleanup') AND state NOT IN ({ENDED}))
         SELECT s.id, s.kind, s.node, s.slot_from, s.slot_to, s.key_from, s.key_to, s.replicas,
                (SELECT count(*) FROM helios.schema c WHERE c.shard = s.id) AS schemas,
                s.state <> 'active' OR s.id IN (SELECT shard FROM moving)
                OR s.id IN (SELECT c.shard FROM moving m JOIN helios.schema c ON c.name = ANY (m.schemas)) AS is_moving
           FROM helios.shard s {which} ORDER BY s.id"
    );
    let arguments: Vec<_> = id.iter().map(|id| id.0.into()).collect();
    as_owner(|| sql::rows(&select, &arguments, from_row))
}

fn from_row(row: &sql::Row<'_>) -> Result<Shard> {
    let bounds = match row.value::<String>("kind")?.as_str() {
        "dedicated" => Bounds::Dedicated,
        _ => Bounds::Pooled(Rectangle {
            slots: row.value::<i32>("slot_from")? as u16..row.value::<i32>("slot_to")? as u16,
            keys: KeyRange { from: row.option("key_from")?, to: row.option("key_to")? },
        }),
    };
    Ok(Shard {
        id: ShardId(row.value("id")?),
        bounds,
        node: NodeId(row.value("node")?),
        schemas: row.value::<i64>("schemas")? as u64,
        is_moving: row.value("is_moving")?,
        replicas: row.value("replicas")?,
    })
}

/// The schemas of a shard.
pub fn residents(shard: ShardId) -> Result<Vec<Resident>> {
    let select = "SELECT name::text, key FROM helios.schema WHERE shard = $1";
    as_owner(|| {
        sql::rows(select, &[shard.0.into()], |row| {
            let name = row.value::<String>("name")?;
            let key = row.option::<String>("key")?;
            Ok(Resident { key: key.unwrap_or_else(|| slot::key_of(&name).to_owned()), name })
        })
    })
}

/// Names of all distributed schemas.
pub fn schema_names() -> Result<Vec<String>> {
    Ok(shards_of_schemas()?.into_iter().map(|(name, _)| name).collect())
}

/// All distributed schemas with their shards.
pub fn shards_of_schemas() -> Result<Vec<(String, ShardId)>> {
    as_owner(|| {
        sql::read_rows("SELECT name::text, shard FROM helios.schema", &[], |row| {
            Ok((row.value("name")?, ShardId(row.value("shard")?)))
        })
    })
}

/// All distributed schemas with their nodes.
pub fn nodes_of_schemas() -> Result<HashMap<String, NodeId>> {
    let select =
        "SELECT c.name::text, s.node FROM helios.schema c JOIN helios.shard s ON s.id = c.shard";
    let rows = as_owner(|| {
        sql::read_rows(select, &[], |row| Ok((row.value("name")?, NodeId(row.value("node")?))))
    })?;
    Ok(rows.into_iter().collect())
}

/// Splits a shard: it keeps the bounds `keeps`; a new shard on the same node gets the bounds `gives` and the named
/// schemas. Returns the new shard's ID. The caller holds the shard's lock exclusively.
pub fn split_shard(
    shard: ShardId,
    keeps: &Rectangle,
    gives: &Rectangle,
    schemas: &[&str],
) -> Result<ShardId> {
    as_owner(|| {
        touch()?;
        let insert = "INSERT INTO helios.shard (kind, node, slot_from, slot_to, key_from, key_to)
                      SELECT kind, node, $2, $3, $4, $5 FROM helios.shard WHERE id = $1 RETURNING id";
        let [from, to] = [gives.slots.start, gives.slots.end].map(i32::from);
        let (key_from, key_to) = (gives.keys.from.clone(), gives.keys.to.clone());
        let arguments = [shard.0.into(), from.into(), to.into(), key_from.into(), key_to.into()];
        let new = sql::one::<i64>(insert, &arguments)?.ok_or_else(|| {
            Error::new(Code::ERRCODE_INTERNAL_ERROR, "could not assign an ID to the shard")
        })?;
        set_bounds(shard, keeps)?;
        let update = "UPDATE helios.schema SET shard = $1 WHERE name = ANY ($2::text[]::name[])";
        sql::run(update, &[new.into(), schemas.to_vec().into()])?;
        Ok(ShardId(new))
    })
}

/// Merges two shards: `stays` gets the bounds `joined` and all schemas. The caller holds the locks of both exclusively.
pub fn join_shards(stays: ShardId, goes: ShardId, joined: &Rectangle) -> Result<()> {
    as_owner(|| {
        touch()?;
        let update = "UPDATE helios.schema SET shard = $1 WHERE shard = $2";
        sql::run(update, &[stays.0.into(), goes.0.into()])?;
        sql::run("DELETE FROM helios.shard WHERE id = $1", &[goes.0.into()])?;
        set_bounds(stays, joined)
    })
}

/// Merges two dedicated shards on the same node: `stays` gets all schemas. The caller holds the locks of both exclusively.
pub fn join_dedicated(stays: ShardId, goes: ShardId) -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.schema SET shard = $1 WHERE shard = $2";
        sql::run(update, &[stays.0.into(), goes.0.into()])?;
        sql::run("DELETE FROM helios.shard WHERE id = $1", &[goes.0.into()])
    })
}

/// Records that two shards are to be merged after a migration has moved them to the same node.
pub fn note_merge(stays: ShardId, goes: ShardId, migration: i64) -> Result<()> {
    as_owner(|| {
        let insert = "INSERT INTO helios.merge (stays, goes, migration) VALUES ($1, $2, $3)";
        sql::run(insert, &[stays.0.into(), goes.0.into(), migration.into()])
    })
}

fn set_bounds(shard: ShardId, bounds: &Rectangle) -> Result<()> {
    let update = "UPDATE helios.shard SET (slot_from, slot_to, key_from, key_to) = ($2, $3, $4, $5) WHERE id = $1";
    let [from, to] = [bounds.slots.start, bounds.slots.end].map(i32::from);
    let (key_from, key_to) = (bounds.keys.from.clone(), bounds.keys.to.clone());
    sql::run(update, &[shard.0.into(), from.into(), to.into(), key_from.into(), key_to.into()])
}

/// Pairs of shards to be merged whose migration has ended, with its ID.
pub fn merges_due() -> Result<Vec<(ShardId, ShardId, i64)>> {
    let select = format!(
        "SELECT w.stays, w.goes, w.migration FROM helios.merge w LEFT JOIN helios.migration m ON m.id = w.migration
          WHERE m.id IS NULL OR m.state IN ({ENDED})"
    );
    as_owner(|| {
        sql::read_rows(&select, &[], |row| {
            let (stays, goes) = (row.value("stays")?, row.value("goes")?);
            Ok((ShardId(stays), ShardId(goes), row.value("migration")?))
        })
    })
}

/// Deletes the record of the pair that waited for this migration.
pub fn forget_merge(migration: i64) -> Result<()> {
    as_owner(|| sql::run("DELETE FROM helios.merge WHERE migration = $1", &[migration.into()]))
}

/// Schemas on a node whose names are LIKE the pattern, with their shards.
pub fn schemas_like(node: NodeId, pattern: &str) -> Result<Vec<(String, ShardId)>> {
    let select =
        "SELECT c.name::text, c.shard FROM helios.schema c JOIN helios.shard s ON s.id = c.shard
                   WHERE s.node = $1 AND c.name::text LIKE $2 ORDER BY 1";
    as_owner(|| {
        sql::rows(select, &[node.0.into(), pattern.into()], |row| {
            Ok((row.value("name")?, ShardId(row.value("shard")?)))
        })
    })
}

/// Number of migrations that have not ended, without those in their rollback window.
pub fn migrations_under_way() -> Result<i64> {
    let select = format!(
        "SELECT count(*) FROM helios.migration WHERE state NOT IN ('in_step', 'dual_write_back', {ENDED})"
    );
    as_owner(|| Ok(sql::read_one(&select, &[])?.unwrap_or(0)))
}

/// Bytes per second of the latest migrations that have switched; None if there are none.
pub fn migration_rate() -> Result<Option<f64>> {
    let select = "SELECT (sum(bytes_done) / nullif(sum(extract(epoch FROM switched - created)), 0))::double precision
                    FROM (SELECT * FROM helios.migration WHERE switched IS NOT NULL AND bytes_done > 0
                           ORDER BY id DESC LIMIT 20) AS m";
    as_owner(|| sql::read_one(select, &[]))
}

/// Sets the state of a node.
pub fn set_node_state(node: NodeId, state: &str, takes_schemas: bool) -> Result<()> {
    as_owner(|| {
        let update = "UPDATE helios.node SET (state, takes_schemas) = ($2, $3) WHERE id = $1";
        sql::run(update, &[node.0.into(), state.into(), takes_schemas.into()])
    })
}

/// Sets the intended number of copies of a shard, including the primary.
pub fn set_replicas(shard: ShardId, count: i32) -> Result<()> {
    as_owner(|| {
        touch()?;
        let update = "UPDATE helios.shard SET replicas = $2 WHERE id = $1";
        sql::run(update, &[shard.0.into(), count.into()])
    })
}
