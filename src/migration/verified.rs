//! Compares the copies: before the switch, and whenever somebody asks while both are there.

use super::ends::Ends;
use super::record::{self, Migration};
use super::switch::{self, Tried, Way};
use super::verify::{self, Compared, TableName};
use crate::error::{Error, Result};
use crate::pg::worker;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// Compares once, and notes what was found.
///
/// XX001 if the copies differ.
pub fn compare(migration: &Migration, ends: &mut Ends, way: Way) -> Result<Tried> {
    if let Tried::Busy(reason) = switch::same_point(migration, ends, way)? {
        return Ok(Tried::Busy(reason));
    }
    let tables = worker::attempt(|| record::tables(migration.id))?;
    let name = |table: &record::MovingTable| TableName {
        schema: table.schema.clone(),
        name: table.name.clone(),
    };
    // What logical replication does not carry is copied by the switch itself.
    let tables: Vec<TableName> = tables.iter().filter(|table| table.logged).map(name).collect();
    let compared = verify::compare(&mut ends.source, &mut ends.target, &tables)?;
    ends.source.query("COMMIT")?;
    ends.target.query("COMMIT")?;
    worker::attempt(|| verify::record(migration.id, &compared))?;
    let wrong: Vec<&Compared> = compared.iter().filter(|one| one.count > 0).collect();
    let Some(first) = wrong.first() else { return Ok(Tried::Done) };
    let more = match wrong.len() - 1 {
        0 => String::new(),
        more => format!("; and {more} more tables"),
    };
    Err(Error::new(Code::ERRCODE_DATA_CORRUPTED, "the two copies differ")
        .detail(format!("{first}{more}."))
        .hint(format!(
            "The view helios_mismatches names the rows: SELECT * FROM helios_mismatches WHERE migration = {}.",
            migration.id
        )))
}
