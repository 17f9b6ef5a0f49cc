//! SQL on the tables of schema `helios` that a node has, as text for a session there: fences and markers.

use super::migration::Migration;
use helios_core::quote::literal;

fn array(schemas: &[String]) -> String {
    let schemas: Vec<_> = schemas.iter().map(|schema| literal(schema)).collect();
    format!("ARRAY[{}]::name[]", schemas.join(", "))
}

/// Keeps definitions of the migration's schemas from being changed.
pub fn fence_definitions(migration: &Migration) -> String {
    format!(
        "INSERT INTO helios.fence (schema, migration, kind, keeps) SELECT s, {}, 'definition', {} FROM unnest({}) AS s
         ON CONFLICT DO NOTHING",
        migration.id,
        migration.keeps,
        array(&migration.schemas)
    )
}

/// Keeps everybody from writing the migration's schemas.
pub fn fence_writes(migration: &Migration) -> String {
    format!(
        "INSERT INTO helios.fence (schema, migration, kind, keeps) SELECT s, {}, 'writes', {} FROM unnest({}) AS s
         ON CONFLICT (schema, migration) DO UPDATE SET kind = 'writes'",
        migration.id,
        migration.keeps,
        array(&migration.schemas)
    )
}

/// Keeps everybody from writing one schema, which is not in use any more.
pub fn fence_former(migration: i64, schema: &str) -> String {
    format!(
        "INSERT INTO helios.fence (schema, migration, kind, keeps) VALUES ({}, {migration}, 'writes', true)
         ON CONFLICT (schema, migration) DO UPDATE SET kind = 'writes'",
        literal(schema)
    )
}

/// Changes what the migration's fences keep from being changed.
pub fn set_fence_kind(migration: i64, kind: &str) -> String {
    format!("UPDATE helios.fence SET kind = {} WHERE migration = {migration}", literal(kind))
}

/// Tells in column `against_writes` whether the migration's fence keeps the schema from being written; no row without a
/// fence. With a lock: a switch that is prepared on the node, and committed elsewhere, is about to change the row. So the
/// kind is a column, and no condition, which would be tested on the row as it was before the lock.
pub fn lock_fence(migration: i64, schema: &str) -> String {
    format!(
        "SELECT kind = 'writes' AS against_writes FROM helios.fence
          WHERE migration = {migration} AND schema = {} FOR UPDATE",
        literal(schema)
    )
}

/// Takes the migration's fences down.
pub fn lift_fences(migration: i64) -> String {
    format!("DELETE FROM helios.fence WHERE migration = {migration}")
}

/// Leaves a marker that a step has been committed.
pub fn add_marker(migration: i64, step: &str) -> String {
    format!(
        "INSERT INTO helios.migration_marker (migration, direction, token) VALUES ({migration}, {}, 0)",
        literal(step)
    )
}

/// Gives a row if a step has left its marker.
pub fn find_marker(migration: i64, step: &str) -> String {
    format!(
        "SELECT FROM helios.migration_marker WHERE migration = {migration} AND direction = {}",
        literal(step)
    )
}

/// Forgets the migration's markers.
pub fn forget_markers(migration: i64) -> String {
    format!("DELETE FROM helios.migration_marker WHERE migration = {migration}")
}
