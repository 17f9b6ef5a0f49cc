//! Rows of `helios.verification` and `helios.mismatch`: what comparing two copies has found.

use crate::error::Result;
use crate::pg::session::sql;

/// What comparing a table has found.
pub struct Verification<'a> {
    pub schema: &'a str,
    pub relation: &'a str,
    pub source_rows: i64,
    pub target_rows: i64,
    pub mismatches: i64,
}

/// Forgets what was found for a migration, its mismatches too.
pub fn forget(migration: i64) -> Result<()> {
    sql::run("DELETE FROM helios.verification WHERE migration = $1", &[migration.into()])
}

/// Notes what was found in a table.
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

/// Notes one difference in a table that [`insert`] has noted.
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
