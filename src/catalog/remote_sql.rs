//! SQL text for fences and markers in schema `helios` on a node.

use super::migration::Migration;
use crate::error::Result;
use crate::remote::Record;
use helios_core::quote::literal;
use std::slice;

fn array(schemas: &[String]) -> String {
    let schemas: Vec<_> = schemas.iter().map(|schema| literal(schema)).collect();
    format!("ARRAY[{}]::name[]", schemas.join(", "))
}

/// Blocks DDL in the migration's schemas.
pub fn fence_definitions(migration: &Migration) -> String {
    format!(
        "INSERT INTO helios.fence (schema, migration, kind, keeps) SELECT s, {}, 'definition', {} FROM unnest({}) AS s
         ON CONFLICT DO NOTHING",
        migration.id,
        migration.keeps,
        array(&migration.schemas)
    )
}

/// Blocks writes to the migration's schemas.
pub fn fence_writes(migration: &Migration) -> String {
    format!(
        "INSERT INTO helios.fence (schema, migration, kind, keeps) SELECT s, {}, 'writes', {} FROM unnest({}) AS s
         ON CONFLICT (schema, migration) DO UPDATE SET kind = 'writes'",
        migration.id,
        migration.keeps,
        array(&migration.schemas)
    )
}

/// Blocks writes to one schema that is no longer the active copy.
pub fn fence_former(migration: i64, schema: &str) -> String {
    format!(
        "INSERT INTO helios.fence (schema, migration, kind, keeps) VALUES ({}, {migration}, 'writes', true)
         ON CONFLICT (schema, migration) DO UPDATE SET kind = 'writes'",
        literal(schema)
    )
}

/// Changes what the migration's fences block.
pub fn set_fence_kind(migration: i64, kind: &str) -> String {
    format!("UPDATE helios.fence SET kind = {} WHERE migration = {migration}", literal(kind))
}

/// Returns in column `against_writes` whether the migration's fence blocks writes to the schema; no row if there is no
/// fence. Locks the row: a switch that is prepared on the node, and committed elsewhere, is about to change it. So the
/// kind is a column and not a condition, which would be evaluated on the row version before the lock.
pub fn lock_fence(migration: i64, schema: &str) -> String {
    format!(
        "SELECT kind = 'writes' AS against_writes FROM helios.fence
          WHERE migration = {migration} AND schema = {} FOR UPDATE",
        literal(schema)
    )
}

/// Removes the migration's fences.
pub fn lift_fences(migration: i64) -> String {
    format!("DELETE FROM helios.fence WHERE migration = {migration}")
}

/// Inserts a marker that shows that a step has been committed.
pub fn add_marker(migration: i64, step: &str) -> String {
    format!(
        "INSERT INTO helios.migration_marker (migration, direction, token) VALUES ({migration}, {}, 0)",
        literal(step)
    )
}

/// Returns a row if a step's marker exists.
pub fn find_marker(migration: i64, step: &str) -> String {
    format!(
        "SELECT FROM helios.migration_marker WHERE migration = {migration} AND direction = {}",
        literal(step)
    )
}

/// Deletes the migration's markers.
pub fn forget_markers(migration: i64) -> String {
    format!("DELETE FROM helios.migration_marker WHERE migration = {migration}")
}

/// The table of the markers that replication channels send from one node to another. A foreign server has a separate table.
pub const MARKERS: &str = "helios.migration_marker";

/// Identifies the marker of a channel: its migration, and what distinguishes it from other channels' markers.
pub type MarkerKey = (i64, String);

/// A condition for the rows of these channels.
fn any_of(keys: &[MarkerKey]) -> String {
    let key = |(migration, direction): &MarkerKey| format!("({migration}, {})", literal(direction));
    let keys: Vec<_> = keys.iter().map(key).collect();
    format!("(migration, direction) IN ({})", keys.join(", "))
}

/// Creates a channel's marker in [`MARKERS`] or a similar table.
pub fn add_channel_marker(table: &str, (migration, direction): &MarkerKey) -> String {
    format!(
        "INSERT INTO {table} (migration, direction, token) VALUES ({migration}, {}, 0) ON CONFLICT DO NOTHING",
        literal(direction)
    )
}

/// Updates channels' markers on the publisher.
pub fn write_markers(table: &str, keys: &[MarkerKey], token: i64) -> String {
    format!("UPDATE {table} SET token = {token} WHERE {}", any_of(keys))
}

/// Returns a row if a channel's marker has reached this token.
pub fn find_token(table: &str, key: &MarkerKey, token: i64) -> String {
    format!("SELECT FROM {table} WHERE {} AND token >= {token}", any_of(slice::from_ref(key)))
}

/// The current position of a channel's marker.
pub struct Marker {
    pub key: MarkerKey,
    pub token: i64,
}

impl Marker {
    /// Queries the markers of channels on a node; see [`Marker::read`].
    pub fn of(keys: &[MarkerKey]) -> String {
        format!("SELECT migration, direction, token FROM {MARKERS} WHERE {}", any_of(keys))
    }

    /// Parses a row of the result.
    pub fn read(row: &Record) -> Result<Self> {
        let key = (row.parsed("migration")?.unwrap_or(0), row.text("direction")?);
        Ok(Self { key, token: row.parsed("token")?.unwrap_or(0) })
    }
}

/// Queries the lowest token of some channels' markers, in column `token`; NULL if one was never written.
pub fn least_token(keys: &[MarkerKey]) -> String {
    format!("SELECT nullif(min(token), 0) AS token FROM {MARKERS} WHERE {}", any_of(keys))
}

/// Prevents concurrent changes of grants on the markers until the transaction ends. A server outside of the cluster
/// does not have this table.
pub fn lock_markers() -> String {
    format!(
        "DO $$BEGIN IF to_regclass('{MARKERS}') IS NOT NULL THEN
         LOCK TABLE {MARKERS} IN SHARE UPDATE EXCLUSIVE MODE; END IF; END$$"
    )
}
