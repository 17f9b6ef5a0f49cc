//! SQL text for fences and markers in schema `helios` on a node.

use super::migration::Migration;
use helios_core::quote::literal;

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
