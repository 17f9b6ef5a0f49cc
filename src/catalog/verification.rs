//! Rows of `helios.verification` and `helios.mismatch`: results of comparing two copies.

use crate::error::Result;
use crate::pg::session::sql;

/// Result of comparing a table.
pub struct Verification<'a> {
    pub schema: &'a str,
    pub relation: &'a str,
    pub source_rows: i64,
    pub target_rows: i64,
    pub mismatches: i64,
}

/// Deletes a migration's results, including its mismatches.
pub fn forget(migration: i64) -> Result<()> {
    sql::run("DELETE FROM helios.verification WHERE migration = $1", &[migration.into()])
}

/// Records the result for a table.
pub fn insert(migration: i64, found: &Verification<'_>) -> Result<()> {
    let insert = "INSERT INTO helios.verification (migration, schema, relation, source_rows, target_rows, mismatches)
                  VALUES ($1, $2::name, $3::name, $4, $5, $6)";
    let values = [
        migration.into(),
        found.schema.into(),
        found.relation.into(),
        found.source_rows.into(),
        found.target_rows.into(),
        found.mismatches.into(),
    ];
    sql::run(insert, &values)
}

/// Records one mismatch in a table recorded by [`insert`].
pub fn insert_mismatch(
    migration: i64,
    found: &Verification<'_>,
    kind: &str,
    key: &str,
) -> Result<()> {
    let insert = "INSERT INTO helios.mismatch (migration, schema, relation, kind, key)
                  VALUES ($1, $2::name, $3::name, $4, $5)";
    let (schema, relation) = (found.schema.into(), found.relation.into());
    sql::run(insert, &[migration.into(), schema, relation, kind.into(), key.into()])
}
