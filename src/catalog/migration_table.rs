//! Rows of `helios.migration_table`: tables copied by a migration.

use crate::error::Result;
use crate::pg::session::sql;

/// A table to be moved.
#[derive(Clone, Debug)]
pub struct MovingTable {
    pub schema: String,
    pub name: String,
    /// The clause that restores its replica identity; None if that was not changed.
    pub identity: Option<String>,
    /// Whether logical replication can replicate its changes.
    pub logged: bool,
    pub blocks: u64,
    /// Estimated number of rows.
    pub rows: u64,
    /// The round in which it was copied.
    pub round: Option<i32>,
    /// Number of its owner among the owners of the moving tables.
    pub part: i32,
}

impl MovingTable {
    /// The qualified name, quoted for SQL.
    pub fn qualified(&self) -> String {
        pgrx::spi::quote_qualified_identifier(&self.schema, &self.name)
    }
}

/// Records the tables to be moved and their size. Existing rows are kept.
pub fn add(id: i64, tables: &[MovingTable]) -> Result<()> {
    let insert = "INSERT INTO helios.migration_table (migration, schema, name, identity, logged, blocks, rows, part)
                  SELECT $1, t.* FROM unnest($2::name[], $3::name[], $4::text[], $5::bool[], $6::bigint[], $7::bigint[], $8::int[]) AS t
                  ON CONFLICT DO NOTHING";
    let column = |get: &dyn Fn(&MovingTable) -> String| tables.iter().map(get).collect::<Vec<_>>();
    let identity: Vec<Option<String>> = tables.iter().map(|t| t.identity.clone()).collect();
    let logged: Vec<bool> = tables.iter().map(|t| t.logged).collect();
    let blocks: Vec<i64> = tables.iter().map(|t| t.blocks as i64).collect();
    let rows: Vec<i64> = tables.iter().map(|t| t.rows as i64).collect();
    let parts: Vec<i32> = tables.iter().map(|t| t.part).collect();
    sql::run(
        insert,
        &[
            id.into(),
            column(&|t| t.schema.clone()).into(),
            column(&|t| t.name.clone()).into(),
            identity.into(),
            logged.into(),
            blocks.into(),
            rows.into(),
            parts.into(),
        ],
    )?;
    let update = "UPDATE helios.migration SET (rows_total, bytes_total) =
                    (SELECT coalesce(sum(rows), 0), coalesce(sum(blocks), 0) * current_setting('block_size')::bigint
                       FROM helios.migration_table WHERE migration = $1) WHERE id = $1";
    sql::run(update, &[id.into()])
}

/// The tables to be moved, largest first.
pub fn of_migration(id: i64) -> Result<Vec<MovingTable>> {
    let select = "SELECT schema::text, name::text, identity, logged, blocks, rows, round, part FROM helios.migration_table
                   WHERE migration = $1 ORDER BY blocks DESC, schema, name";
    sql::rows(select, &[id.into()], |row| {
        Ok(MovingTable {
            schema: row.value("schema")?,
            name: row.value("name")?,
            identity: row.option("identity")?,
            logged: row.value("logged")?,
            blocks: row.value::<i64>("blocks")? as u64,
            rows: row.value::<i64>("rows")? as u64,
            round: row.option("round")?,
            part: row.value("part")?,
        })
    })
}

/// Records that all rows of a table have been copied.
pub fn set_copied(id: i64, table: &MovingTable, round: i32) -> Result<()> {
    let update = "UPDATE helios.migration_table SET round = $4 WHERE migration = $1 AND schema = $2::name AND name = $3::name";
    let (schema, name) = (table.schema.as_str(), table.name.as_str());
    sql::run(update, &[id.into(), schema.into(), name.into(), round.into()])
}

/// Deletes the tables of an ended migration.
pub fn forget(migration: i64) -> Result<()> {
    sql::run("DELETE FROM helios.migration_table WHERE migration = $1", &[migration.into()])
}
